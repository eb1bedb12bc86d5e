"""Text -> tool calls, and back.

One function reads every dialect that models write: calls in JSON, in Python or in a family's own
tags (`dialects`), between the tags of any family, in a ```json fence, in the channels of gpt-oss
and Muse, as ReAct's `Action:` / `Action Input:`, or bare. JSON is read strictly, and a text that is
no call, is broken or ends within a thought has an error label, never an exception. Argument text is
kept byte for byte where it was JSON.

Left out: whether the call is a good one (`schema`, `match`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from raytune_agents.calls.dialects import shape_of
from raytune_agents.calls.families import SPELLINGS, TAGS, TURN_ENDS
from raytune_agents.calls.json_text import SPACE, NotACall, decode, dumps, slice_of, strict_json
from raytune_agents.calls.pythonic import START, python_calls
from raytune_agents.calls.thoughts import split_thought
from raytune_agents.records import Message, ToolCall, ToolSpec

DECODER_FAILED = "decoder_failed"  # the text meant to be a call is broken JSON or broken Python
WRONG_FORMAT = "decoder_wrong_output_format"  # it can be read, but it is not a call
CUT = "cut"  # the text ends within a thought: there is no answer yet

# Hunyuan's tags end in a word of the checkpoint: <tool_call:opensource>
_OPEN = re.compile("|".join(map(re.escape, TAGS)) + r"|<tool_calls?:\w+>", re.IGNORECASE)
CLOSE = re.compile(
    "|".join(re.escape(t) for t in TAGS.values() if t) + r"|</tool_calls?:\w+>", re.IGNORECASE
)
# This one matches everywhere, if only nothing: `match` never gives None.
_BETWEEN: Any = re.compile(r"[\s,;]*")
_FENCE = re.compile(r"```(json|python|tool_call|tool_code|tool_use)?[ \t]*\n")
_REACT = re.compile(
    r"^[ \t]*Action(?: \d+)?:([^\n]*)\n\s*Action Input(?: \d+)?:\s*(?:```(?:json)?\s*)?",
    re.MULTILINE,
)
_BARE_CALL = re.compile(r"\[\s*(\{|\]|[A-Za-z_][\w.]*\()")
_SPACED = re.compile(r"\[\s*[A-Za-z_][\w.-]*(?: [\w.-]+)+\(.*\)\s*\]", re.DOTALL)
_BARE_FUNCTION = re.compile(
    r"<function=[^>\n]+>\s*(?:<parameter=|</function>|\{)"
    r"|<(?:function|tool|invoke) name=[^>\n]+>\s*(?:<param(?:eter)? name=|</)"
)
_PYTHON_TAG = "<|python_tag|>"
# what words for the user stand between: Command, Ernie, Hunyuan
_WORDS = re.compile(
    r"\s*(?:<\|START_(?:RESPONSE|TEXT)\|>|<response>|<answer>|<\|begin_of_solution\|>)(.*?)"
    r"(?:<\|END_(?:RESPONSE|TEXT)\|>|</response>|</answer>|<\|end_of_solution\|>)?\s*",
    re.DOTALL,
)
_CHANNEL = re.compile(
    r"(?:<\|start\|>)?(?:assistant)?"
    r"(?P<head>\s*(?:to=[^\s<]+)?\s*(?:<\|(?:channel|constrain)\|>[^<]*)*)<\|message\|>"
)
_CHANNEL_END = re.compile(r"<\|(?:end|call|return|eom|eot|start)\|>|\Z")
_RECIPIENT = re.compile(r"\bto=(?:functions\.)?([^\s<]+)")

# beside the arguments of a call
_OF_CALL = {"name", "tool_name", "type", "id", "call_id", "tool_call_id", "index"}


@dataclass(frozen=True, slots=True)
class Parsed:
    """What an answer says. `calls` is empty where `error` is set; `text` is the prose outside."""

    calls: tuple[ToolCall, ...]
    error: str
    dialect: str  # tool_call, json, fence, pythonic, react, llama, channel, text; see `dialects`
    text: str
    thought: str = ""


# --- one call ---


def _call(value: Any, source: str) -> ToolCall:
    """A decoded JSON value, written as `source`, as a call. Raises NotACall or ValueError."""
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    name = value.get("name", value.get("tool_name")) if isinstance(value, dict) else None
    if not isinstance(name, str) or not name:
        raise NotACall("no name")
    words = ("arguments", "parameters", "args", *(("input",) if "type" in value else ()))
    key = next((k for k in words if k in value), "")
    arguments = value.get(key)
    more = value.keys() - _OF_CALL - {key}
    is_tool = key == "parameters" and "description" in more
    if is_tool or (more and not key):  # no call, but a tool or an answer in JSON
        raise NotACall("no arguments")
    if arguments is None:
        return ToolCall(name)
    is_text = isinstance(arguments, str)
    if not isinstance(strict_json(arguments) if is_text else arguments, dict):
        raise NotACall("arguments are not an object")
    return ToolCall(name, arguments if is_text else slice_of(source, key, arguments))


def _one_key_calls(items: Any) -> list[ToolCall]:
    """Apertus' calls, `[{"name": {arguments}}]`. Raises NotACall."""
    if not isinstance(items, list) or not all(isinstance(i, dict) and len(i) == 1 for i in items):
        raise NotACall("no name")
    pairs = [pair for item in items for pair in item.items()]
    if not all(isinstance(arguments, dict) for _, arguments in pairs):
        raise NotACall("arguments are not an object")
    return [ToolCall(name, dumps(arguments)) for name, arguments in pairs]


def _json_calls(body: str) -> list[ToolCall]:
    """Calls of JSON text: an object, a list, or objects one after another. Raises ValueError."""
    stop = len(body)
    at = 0
    if body.startswith("["):
        items = strict_json(body)
        if not items or items == [{}]:
            return []
        at, stop = 1, len(body) - 1
    calls = []
    while (at := _BETWEEN.match(body, at).end()) < stop:
        value, end = decode(body, at)
        calls.append(_call(value, body[at:end]))
        at = end
    return calls


# --- a whole answer ---


def _looks_like_call(body: str) -> bool:
    return body.startswith("{") or bool(_BARE_CALL.match(body))


def _body_calls(body: str) -> list[ToolCall]:
    """Calls of a text that is nothing but calls, JSON or pythonic. Raises ValueError."""
    body = body.strip()
    if not body:
        raise NotACall("empty")
    return python_calls(body) if START.match(body) else _json_calls(body)


def _tagged_body(
    text: str, at: int, close: str, tools: Sequence[ToolSpec]
) -> tuple[list[ToolCall], int, str]:
    """Calls of the body that starts at `at`, where it ends, and its dialect."""
    if shape := shape_of(text, at):
        name, read = shape
        return *read(text, at, tools), name
    calls: list[ToolCall] = []
    while text.startswith("{", at):  # decode first: the arguments may hold the closing tag as text
        value, end = decode(text, at)
        calls.append(_call(value, text[at:end]))
        at = _BETWEEN.match(text, end).end()  # MiniMax M1 writes several between one pair of tags
    if calls:
        return calls, end, "tool_call"
    if text.startswith("[", at) and not START.match(text, at):
        items, end = decode(text, at)
        apertus = close == "<|tools_suffix|>"
        calls = _one_key_calls(items) if apertus else _json_calls(text[at:end])
        return calls, end, "tool_call"
    end = text.lower().find(close.lower(), at) if close else -1
    end = len(text) if end < 0 else end
    body = text[at:end].rstrip().removesuffix("```")
    return _body_calls(body), end, "pythonic" if START.match(body.strip()) else "tool_call"


def _is_word(text: str, at: int) -> bool:
    """Whether prose stands behind a tag, which it only names: a later one holds the call."""
    if text.startswith("`", at) and not text.startswith("```", at):
        return True
    if text.startswith(("{", "["), at) or START.match(text, at) or shape_of(text, at):
        return False
    following = _OPEN.search(text, at)
    return following is not None and not CLOSE.search(text, at, following.start())


def _tagged(text: str, tools: Sequence[ToolSpec]) -> tuple[list[ToolCall], str, str]:
    """Calls between tags. The closing tag may be missing at the end: generation stops there."""
    calls, prose, at, dialect = [], [], 0, "tool_call"
    while opened := _OPEN.search(text, at):
        prose.append(text[at : opened.start()])
        tag = opened[0].lower() if opened[0].lower() in TAGS else opened[0]
        start = opened.end() - (1 if tag.endswith("[") else 0)
        start = SPACE.match(text, start).end()
        if fence := _FENCE.match(text, start):  # MiniCPM
            start = SPACE.match(text, fence.end()).end()
        if _OPEN.match(text, start):  # one tag around the tags of all calls
            at = start
            continue
        if _is_word(text, start):
            prose.append(opened[0])
            at = opened.end()
            continue
        found, end, dialect = _tagged_body(text, start, TAGS.get(tag, ""), tools)
        calls += found
        at = SPACE.match(text, end).end()
        at = SPACE.match(text, at + 3).end() if fence and text.startswith("```", at) else at
        closed = CLOSE.match(text, at)
        if not closed and at < len(text) and not _OPEN.match(text, at):
            raise ValueError("text after the call")
        while closed:
            at = closed.end()
            closed = CLOSE.match(text, SPACE.match(text, at).end())
    return calls, "".join([*prose, text[at:]]), dialect


def _fenced(text: str) -> tuple[list[ToolCall], str] | None:
    """Calls in code fences; None where no fence looks like a call."""
    calls, prose, at, found, broken = [], [], 0, False, False
    while opened := _FENCE.search(text, at):
        start = SPACE.match(text, opened.end()).end()
        # JSON may hold the mark of a fence. Broken JSON costs a pass over the text: once.
        if not broken and text.startswith(("{", "["), start):
            try:
                start = decode(text, start)[1]
            except ValueError:
                broken = True
        close = text.find("```", start)
        close = len(text) if close < 0 else close
        body = text[opened.end() : close].strip()
        meant = opened[1] not in (None, "json", "python") and START.match(body)  # Gemma 3
        if meant or _looks_like_call(body):
            found = True
            listed = body.startswith("{") and '"tool_calls"' in body and _object_of_calls(body)
            calls += listed.calls if listed else _body_calls(body)
            prose.append(text[at : opened.start()])
        else:
            prose.append(text[at : close + 3])
        at = close + 3
    return (calls, "".join([*prose, text[at:]])) if found else None


def _react(text: str) -> tuple[list[ToolCall], str] | None:
    """Calls of a ReAct answer; text after a call up to the next Action is not the model's prose."""
    calls, matches = [], list(_REACT.finditer(text))
    for match in matches:
        name = match[1].strip()
        if not name or not text.startswith("{", match.end()):
            raise NotACall("Action Input is not a JSON object")
        _, end = decode(text, match.end())
        calls.append(ToolCall(name, text[match.end() : end]))
    return (calls, text[: matches[0].start()]) if matches else None


def _channels(text: str, tools: Sequence[ToolSpec]) -> Parsed:
    """The messages of one answer in gpt-oss' Harmony or Muse's protocol: `to=NAME` is a call,
    `analysis` and `to=self` a thought, the rest prose."""
    calls: list[ToolCall] = []
    thoughts, prose, at, open_thought = [], [], 0, False
    while opened := _CHANNEL.match(text, at):
        head, start = opened["head"], SPACE.match(text, opened.end()).end()
        end_mark: Any = _CHANNEL_END.search(text, start)
        to = _RECIPIENT.search(head)
        name = to[1] if to else ""
        thinks = name == "self" or (not name and "analysis" in head)
        if name and not thinks and name != "user":
            if text.startswith("{", start):
                value, end = decode(text, start)
                calls.append(_call({"name": name, "arguments": value}, text[start:end]))
                end_mark = _CHANNEL_END.search(text, end)
            elif name == "python":  # its one argument is bare
                calls.append(ToolCall.of(name, code=text[start : end_mark.start()]))
            else:
                found = _tagged(text[start : end_mark.start()], tools)[0]
                if not found:
                    raise NotACall(f"a message to {name} that is no call")
                calls += found
        else:
            (thoughts if thinks else prose).append(text[opened.end() : end_mark.start()])
        open_thought = thinks and not end_mark[0]
        at = SPACE.match(text, end_mark.end()).end()
    prose.append(text[at:])
    if open_thought and not calls:
        return Parsed((), CUT, "channel", "", "\n".join(thoughts))
    return Parsed(tuple(calls), "", "channel", "\n".join(prose).strip(), "\n".join(thoughts))


def without_ends(text: str) -> str:
    """The text without the tokens that end it."""
    body = text.strip()
    for end in TURN_ENDS:
        body = body.removesuffix(end).rstrip()
    return body


def _read(text: str, tools: Sequence[ToolSpec]) -> Parsed:
    if "<|message|>" in text and _CHANNEL.match(text):
        return _channels(text, tools)
    thought = split_thought(text)
    if thought.is_open:
        return Parsed((), CUT, "thought", "", thought.text)
    found = _answer(thought.rest, tools)
    marked = _WORDS.fullmatch(found.text)
    words = marked[1].strip() if marked else found.text
    return replace(found, thought=thought.text or found.thought, text=words)


def _answer(text: str, tools: Sequence[ToolSpec]) -> Parsed:
    """What stands behind the thought."""
    body = without_ends(text)
    for spelt, by in SPELLINGS:
        body = spelt.sub(by, body)
    head, _, rest = body.partition("<|python_end|>")  # Llama 4 speaks between marks, then calls
    before, marked, words = head.partition("<|python_start|>")
    if marked and _looks_like_call(rest.lstrip()) and not _looks_like_call(before):
        return replace(_answer(rest, tools), text=(before + words).strip())
    if _OPEN.search(body):
        calls, prose, dialect = _tagged(body, tools)
        return Parsed(tuple(calls), "", dialect, prose.strip())
    if bare := _BARE_FUNCTION.search(body):  # without a tag around, or with one that was dropped
        calls, prose, dialect = _tagged(f"<tool_call>{body[bare.start() :]}", tools)
        return Parsed(tuple(calls), "", dialect, (body[: bare.start()] + prose).strip())
    tagged = body.startswith(_PYTHON_TAG)
    body = body.removeprefix(_PYTHON_TAG).strip()
    if body.startswith("{") and '"tool_calls"' in body and (found := _object_of_calls(body)):
        return found
    if tagged or _looks_like_call(body):
        dialect = "pythonic" if START.match(body) else "json"
        calls = _body_calls(body)
        llama = tagged or ('"parameters"' in body and '"arguments"' not in body)
        dialect = "llama" if llama and dialect == "json" else dialect
        return Parsed(tuple(calls), "", dialect, "")
    for dialect, reader in (("react", _react), ("fence", _fenced)):
        if found := reader(body):
            return Parsed(tuple(found[0]), "", dialect, found[1].strip())
    if body.endswith(")") and START.match(body):
        return Parsed(tuple(python_calls(body)), "", "pythonic", "")
    if _SPACED.match(body):
        with suppress(ValueError):  # it is a remark in brackets
            return Parsed(tuple(python_calls(body)), "", "pythonic", "")
    if '"name"' in body and ('"arguments"' in body or '"parameters"' in body):
        raise NotACall("a call inside prose")
    return Parsed((), "", "text", text.strip())


def _object_of_calls(body: str) -> Parsed | None:
    """xLAM's answer, {"thought": "...", "tool_calls": [...]}; None for any other object."""
    value = strict_json(body)
    listed, thought = value.get("tool_calls"), value.get("thought", "")
    if not isinstance(listed, list) or not isinstance(thought, str) or "name" in value:
        return None
    calls = _json_calls(slice_of(body, "tool_calls", listed))
    return Parsed(tuple(calls), "", "json", "" if calls else thought, thought if calls else "")


def parse(text: str, tools: Sequence[ToolSpec] = ()) -> Parsed:
    """Read the calls of an answer in any dialect. Never raises.

    `tools` give the types of arguments where a dialect writes all of them as bare text. `error` is
    "" (also for prose without a call), cut, decoder_failed or decoder_wrong_output_format.
    """
    if not isinstance(text, str):
        return Parsed((), WRONG_FORMAT, "", "")
    try:
        return _read(text, tools)
    except NotACall:
        return Parsed((), WRONG_FORMAT, "", text)
    except ValueError:
        return Parsed((), DECODER_FAILED, "", text)


def turn_of(text: str, parsed: Parsed) -> Message:
    """An answer as a turn of its conversation. Words beside calls count as the thought, where the
    answer has none of its own."""
    if parsed.error or not (parsed.calls or parsed.thought):
        return Message("assistant", text)
    if not parsed.thought:
        return Message("assistant", thought=parsed.text, tool_calls=parsed.calls)
    return Message("assistant", parsed.text, parsed.thought, parsed.calls)


def render_call(call: ToolCall) -> str:
    """One call in our dialect; the argument text is kept byte for byte."""
    name = json.dumps(call.name, ensure_ascii=False)
    return f'<tool_call>{{"name": {name}, "arguments": {call.arguments or "{}"}}}</tool_call>'


def render_calls(calls: tuple[ToolCall, ...] | list[ToolCall]) -> str:
    """Calls in our dialect, one per line; no call is ''."""
    return "\n".join(render_call(c) for c in calls)
