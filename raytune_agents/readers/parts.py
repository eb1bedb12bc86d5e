"""Content that is a list of parts: text, thoughts, calls and results in the words of any provider.

OpenAI (chat, Responses, Assistants), Anthropic, Gemini, Bedrock, Mistral, Cohere, LLaMA-Factory,
the AI SDK and MCP write such lists. A part of a picture or of sound is no text: its row is bad,
with the part's type as the reason, because an answer to a picture cannot be learned without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from raytune_agents.readers import aliases
from raytune_agents.readers.fields import (
    Fields,
    Names,
    blank,
    fold,
    meanings_of,
    names_of,
    note,
    object_of,
)
from raytune_agents.readers.shapes import read_call, read_calls
from raytune_agents.readers.strict import as_text, value_or
from raytune_agents.records import JsonObject, Message, RecordError, ToolSpec

KINDS = meanings_of("part_kinds")
# parts without `type` are told by the one key that they have
PART_TYPE, BY_KEY, TEXT = names_of("part_type"), names_of("part_key"), names_of("part_text")
_CALLS = ("tooluse", "toolresult", "toolcall")  # parts whose JSON text is no answer in JSON
_QUOTED = (*_CALLS, "text", "inputtext", "outputtext", "thinking", "reasoning", "imageurl", "image")
ABOUT_CALL = PART_TYPE + Names("output result state step caller cache_control is_error error_text")
ABOUT_RESULT = PART_TYPE + Names("is_error role status cache_control state error_code outcome")
_ANSWER = Names("result output response observation tool_result")
Piece = tuple[str, Any]  # (text, str), (thought, str), (call, ToolCall) or (result, Message)


def kind_of_part(part: Any) -> str:
    """text, thought, call, result, media, code, nothing, or "" for what is no part we know."""
    if isinstance(part, str):
        return "text"
    if not isinstance(part, dict):
        return ""
    fields = Fields(part)
    kind = fields.peek(PART_TYPE)
    if isinstance(kind, str):
        word = fold(kind.rpartition(".")[2])  # .NET names the class: Some.Library.TextContent
        if word in KINDS:
            return KINDS[word]
        if word.endswith("toolresult"):  # web_search_tool_result, mcp_tool_result ...
            return "result"
        if word.startswith("data") and "data" in fields.left:  # the AI SDK: for the page alone
            return "nothing"
        return "call" if word.startswith("tool") and "toolcallid" in fields.left else ""
    found = fields.have(BY_KEY)
    if found[:1] == ["text"] and part.get("thought") is True:  # Gemini's flag
        return "thought"
    if found:
        return KINDS.get(found[0], "")
    named = "name" in fields.left and {"arguments", "args"} & fields.left.keys()
    return "call" if named else ""


def is_parts(content: Any) -> bool:
    """Whether a list is one of parts, rather than data that a tool gave."""
    items = content if isinstance(content, list) else ()
    objects = [p for p in items if not isinstance(p, str)]
    return bool(objects) and all(kind_of_part(p) and _is_bare(p) for p in objects)


def _is_bare(part: JsonObject) -> bool:
    """Whether an object says what part it is, or holds too little to be data."""
    return bool(Fields(part).have(PART_TYPE)) or sum(v is not None for v in part.values()) <= 2


def pieces(content: Any, role: str, tools: Sequence[ToolSpec] = ()) -> Iterator[Piece]:
    """What a turn's content holds, in its order. Raises RecordError on what cannot be text."""
    if isinstance(content, dict) and kind_of_part(content) and role != "tool":
        content = [content]
    if role == "tool" and isinstance(content, list) and content and all(map(_names_call, content)):
        yield from (("result", result_of(body)) for body in content)
        return
    if not isinstance(content, list) or (role == "tool" and not is_parts(content)):
        yield "text", result_text(content) if role == "tool" else as_text(content)
        return
    for part in content:
        if part is None:
            continue
        kind = kind_of_part(part)
        if not kind:
            word = type(part).__name__
            if isinstance(part, dict):
                word = part.get("type") or ", ".join(map(str, part))
            raise RecordError(f"a content part of an unknown type: {str(word)[:40]}")
        yield from _piece(part, kind, role, tools)


def _names_call(body: Any) -> bool:
    """Whether an object is a result that names its call."""
    return bool(Fields(object_of(body)).have(aliases.TURN_ID)) and not kind_of_part(body)


def unquoted(content: Any) -> Any:
    """Content that is the JSON text of its parts, as tables of text keep it, as these parts."""
    alone = isinstance(content, str) and content[:1] == "{"
    listed = isinstance(content, str) and content[:2] == "[{"
    if not (alone or listed) or "type" not in content[:200]:
        return content
    parts, words = value_or(content), _QUOTED
    if alone:
        parts, words = [parts], _CALLS
    known = is_parts(parts) and all(fold(str(object_of(p).get("type"))) in words for p in parts)
    return parts if known else content


def answered_calls(column: Any) -> tuple[Any, list[Message]]:
    """A column of calls, and the results that stand in them (the AI SDK's invocations)."""
    items = column if isinstance(column, list) else [column]
    if not any(isinstance(i, dict) or (isinstance(i, str) and set(i) & set("{[(")) for i in items):
        note("turn.calls", column)  # a mark, or the names of tools alone
        return None, []
    results, out = [], []
    for item in items:
        fields = Fields(item, "call") if isinstance(item, dict) else None
        answer = fields(_ANSWER) if fields else None
        if fields is None or answer is None:
            return column, []
        fields.skip("state", "step", "status")
        out.append({item_key: item[item_key] for item_key in fields.left.values()})
        results.append(result_of({"content": answer, "id": fields.peek(aliases.CALL_ID)}))
    return out, results


def _piece(part: Any, kind: str, role: str, tools: Sequence[ToolSpec]) -> Iterator[Piece]:
    if isinstance(part, str):
        yield "text", part
        return
    fields = Fields(part, "part")
    word = str(fields(PART_TYPE) or "")
    inside = (fields.peek(k) for k in fields.have(BY_KEY))
    inner = next((v for v in inside if isinstance(v, dict)), None)
    if kind == "media":
        text = _document(fields)
        if not text:
            named = word or next((str(k) for k in part), "")
            raise RecordError(f"a content part that is no text: {named[:40]}")
        yield "text", text
    elif kind == "text":
        if not fields.have(TEXT) and any(not blank(part[key]) for key in fields.left.values()):
            raise RecordError(f"a text part without text, only {', '.join(fields.left)[:60]}")
        yield "text", _text(fields)
    elif kind == "thought":
        if part.get("thought") is True:  # Gemini's flag
            fields.skip("thought")
        yield "thought", _text(fields)
        fields.skip("signature", "data", "encrypted_content")  # of use to its provider alone
    elif kind == "code":
        yield "call", read_call({"name": "code_execution", "arguments": inner or {}})
        return
    elif kind == "call":
        yield from _call(part, inner, word, role, tools)
        return
    elif kind == "result":
        yield "result", result_of(inner or part)
        return
    fields.rest("cache_control", "id", "index", "state", "closed")


def _text(fields: Fields) -> str:
    """The text of a part; Assistants' {value, annotations} and lists of parts stand inside it."""
    value = fields(TEXT)
    while isinstance(value, dict) and Fields(value).peek(TEXT) is not None:
        inner = Fields(value, "part")
        value = inner(TEXT)
        inner.rest("signature")
    return flat_text(value)


def _document(fields: Fields) -> str:
    """The text of a document that is text: Anthropic's {source: {type: text, data}}, Cohere's
    {document: {data}}."""
    source = fields.peek("source", "document", "file")
    known = isinstance(source, dict) and source.get("type", "text") in ("text", "content")
    plain = known and source.get("media_type") == "text/plain"
    if not known or ({"media_type", "mimeType", "bytes"} & source.keys() and not plain):
        return ""
    fields.skip("source", "document", "file")
    return flat_text(source.get("data") or source.get("content"))


def _call(
    part: JsonObject, inner: Any, word: str, role: str, tools: Sequence[ToolSpec]
) -> Iterator[Piece]:
    """A call; the AI SDK's parts hold its result as well, LLaMA-Factory's are JSON text."""
    body = inner if isinstance(inner, dict) else part
    fields = Fields(body, "part")
    written = fields.peek("value", "content")
    if isinstance(written, str | list) and not {"name", "toolname"} & fields.left.keys():
        for call in read_calls(written, tools):
            yield "call", call
        return
    named = dict(body)
    if "toolcallid" in fields.left and fields.peek("name", "tool_name") is None:
        named["name"] = word.removeprefix("tool-")  # the AI SDK: type "tool-get_weather"
    output = fields.peek("output", "result", "error_text") if "toolcallid" in fields.left else None
    bare = {k: v for k, v in named.items() if fold(k) not in ABOUT_CALL.every}
    call = read_call(bare, tools=tools)
    yield "call", call
    if output is not None:
        yield "result", result_of({"content": output, "id": call.id})


def result_of(body: JsonObject) -> Message:
    """A result of a call as an observation: its text, the call's id, the tool's name."""
    if isinstance(body.get("origin"), dict):  # Haystack: the call that it answers
        body = {k: v for k, v in body.items() if k not in ("origin", "error")} | {
            k: v for k, v in body["origin"].items() if k != "arguments"
        }
    fields = Fields(body, "part")
    key = as_text(fields(aliases.CALL_ID))
    name = as_text(fields("name", "tool_name", "function_name", "tool_type"))
    content = fields(aliases.RESULT)
    fields.rest(ABOUT_RESULT)
    return Message("tool", result_text(content), name=name, tool_call_id=key)


def result_text(content: Any) -> str:
    """The text of what a tool gave: parts as their texts, {result: x} as x, other data as JSON."""
    if isinstance(content, dict):
        only = next(iter(content), "") if len(content) == 1 else ""
        if fold(str(only)) in ("result", "output", "json"):
            return result_text(content[only])
        if isinstance(content.get("type"), str) and content.keys() == {"type", "value"}:  # AI SDK
            return result_text(content["value"])
    return flat_text(content) if is_parts(content) else as_text(content)


def flat_text(content: Any) -> str:
    """The text of parts that should be text alone. Raises RecordError on a picture."""
    if isinstance(content, dict) and kind_of_part(content):
        content = [content]
    if not isinstance(content, list):
        return as_text(content)
    out = []
    for part in content:
        inner = part.get("json") if isinstance(part, dict) else None
        if inner is not None and len(part) == 1:  # Bedrock
            out.append(as_text(inner))
            continue
        kind = kind_of_part(part)
        if not kind or kind == "result":
            out.append(as_text(part))
            continue
        out += [as_text(x) for k, x in _piece(part, kind, "tool", ()) if k in ("text", "thought")]
    return "".join(out)
