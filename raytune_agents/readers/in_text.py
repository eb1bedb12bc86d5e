"""What stands as text in a turn: calls in the dialects of models, observations and tools in tags.

`calls.parse` reads an answer as a model writes it; here stands what only rows of a source need:
names that are no identifiers and tags that sources use.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from html import unescape
from itertools import islice
from typing import Any

from raytune_agents.calls.coerce import call_of
from raytune_agents.calls.families import TAGS
from raytune_agents.calls.json_text import decode
from raytune_agents.calls.parse import parse
from raytune_agents.calls.pythonic import expression_end, unprinted
from raytune_agents.readers import aliases
from raytune_agents.readers.fields import Fields, items_of, object_of, unread_fields
from raytune_agents.readers.parameters import parameter_names
from raytune_agents.readers.parts import result_text
from raytune_agents.readers.shapes import read_calls
from raytune_agents.readers.strict import as_text, value_or
from raytune_agents.records import Message, RecordError, ToolCall, ToolSpec

# --- calls ------------------------------------------------------------------------------------

CALL_TAG = re.compile(r"<(/?)(?:tool_?calls?|function_?calls?|multi_?tool_?calls?)>", re.IGNORECASE)
_GLAIVE = re.compile(r"<(/?)functioncall>", re.IGNORECASE)
# text behind one of these is a call whatever the tools are
_MARKS = (
    "<tool_call: <tool_calls: <functioncall> <|python_tag|> <function= <invoke <|tool_call_begin|>"
)
MARKED = re.compile("|".join(map(re.escape, (*TAGS, *_MARKS.split()))), re.IGNORECASE)
# a block of code in which models act: smolagents, Gemini
CODE = re.compile(
    r"(?:```(?:py|python|tool_code)\n|<code>\s*)(?P<code>.*?)(?:```|</code>)(?:<end_code>)?",
    re.DOTALL,
)
_WRAP = r"</?[\w:|-]{1,40}>|`{1,3}\w{0,20}|\*{2,}"  # what stands around calls
_LABEL = (
    r"\b(?:(?:function|tool|api)[ _-]?(?:calls?|use|requests?)|calling tools?)\s?:?"
    r"|^(?:call|request|action|api-request):"
)
_OPENS = r"<{1,2}/?[a-zA-Z|][^<>\n]{0,60}>{0,2}|[\[{(\"'<>]"  # a tag that names the tool, quotes
_BEFORE = re.compile(rf"(?:{_WRAP}|{_LABEL}|{_OPENS})\s*\Z", re.IGNORECASE | re.MULTILINE)
# between a tool's name and its arguments, and around a call: marks alone
_GAP: Any = re.compile(r"(?:[\s\"'`*:=>(]|</?[\w:.|-]{1,40}+>)*+")
_NOTHING = re.compile(
    r"(?:<{1,2}+/?[a-zA-Z|][^<>\n]{0,60}+>{0,2}+|[\s\"'`*()\[\]{};,.:<]|(?:Action|Call)\b)*+"
)
_SPACE: Any = re.compile(r"\s*")
_AFTER = re.compile(rf"(?:{_WRAP})\s*\Z")
CAME_BACK = re.compile(  # what a turn of the user begins with where programs speak for it
    r"(?:OBSERVATION|Observation|EXECUTION RESULT of \[([\w.-]+)\]):[ \t]*\n?"
)
_LITERAL = re.compile(r"\[?\s*\{\s*'")
_CHILD = re.compile(r"<(\w+)>(.*?)</\1>", re.DOTALL)
MOST_CHARS = 10_000  # of arguments in Python
MOST_BRACKETS = 20  # tried as the start of a list: text of brackets would take for ever
_MOST_TAGS = 200  # of a text that is searched for tags within tags


def with_calls(message: Message, tools: Sequence[ToolSpec]) -> Message:
    """An assistant turn with the calls that stand in its text; the text beside them stays.

    Text in a model's call tags is a call whatever it names; other text only where it calls tools
    of the row and nothing else. What cannot be read stays as it is, for the rule `parses` to see.
    """
    text = message.content
    if message.role != "assistant" or message.tool_calls or not text:
        return message
    if "&lt;" in text and MARKED.search(plain := unescape(text)):
        text = plain
    if "<|message|>" in text and (found := parse(text, tools)).dialect == "channel":
        thought = "\n".join(filter(None, (message.thought, found.thought)))
        return replace(message, content=found.text, thought=thought, tool_calls=found.calls)
    if MARKED.search(text):
        calls, rest = _marked(text, tools)
    elif any(tool.name in text for tool in tools):
        calls, rest = _unmarked(text, tools)
    else:
        return message
    if not calls and not CODE.search(text):
        calls, rest = _spelt_calls(text, tools) or ((), text)
    return replace(message, content=rest, tool_calls=tuple(calls)) if calls else message


def _marked(text: str, tools: Sequence[ToolSpec]) -> tuple[Sequence[ToolCall], str]:
    plain = _GLAIVE.sub(r"<\1function_call>", text)
    start = MARKED.search(plain)
    lead = plain[: start.start()] if start else ""
    ours = lead.endswith("\n") and lead.removesuffix("\n")  # as our own writers put it
    for prose, body in (("", plain), (lead, plain[len(lead) :])):  # a marker after a sentence
        found = parse(body, tools)
        if found.calls:
            content = (prose + found.text).strip()
            return found.calls, ours if ours and ours.strip() == content else content
    calls: list[ToolCall] = []
    rest, at = [], 0
    while opened := CALL_TAG.search(text, at):  # Glaive's quotes, Python literals
        closed = CALL_TAG.search(text, opened.end())
        end = closed.start() if closed else len(text)
        try:
            body = text[opened.end() : end].replace("<|endoftext|>", "").strip()
            calls += read_calls(body, tools)
        except RecordError:
            return (), text
        rest.append(text[at : opened.start()])
        at = closed.end() if closed else len(text)
    return calls, "".join([*rest, text[at:]]).strip()


def _unmarked(text: str, tools: Sequence[ToolSpec]) -> tuple[Sequence[ToolCall], str]:
    names = {t.name for t in tools}
    found = parse(text, tools)
    if found.calls and {c.name for c in found.calls} <= names:
        return found.calls, found.text.removesuffix("Code:").rstrip()
    if block := CODE.search(text):
        rest = text[: block.start()].rstrip().removesuffix("Code:") + text[block.end() :]
        return code_calls(block["code"], names), rest.strip()
    if found := code_calls(text[:MOST_CHARS], names):
        return found, ""
    return _last_calls(text, names) or ((), text)


def _last_calls(text: str, names: Collection[str]) -> tuple[Sequence[ToolCall], str] | None:
    """Calls in JSON, or as a Python literal, that end a text, and what is said before them. What
    stands around them, a tag or a label ("Tool call:"), says nothing."""
    body = _without(_AFTER, text)
    for opened in islice(re.finditer(r"[\[{]", body), MOST_BRACKETS):
        at = opened.start()
        try:
            value, end = decode(body, at)
        except ValueError:
            if not _LITERAL.match(body, at):
                continue
            value, end = value_or(body[at:]), len(body)
            if value is None:
                return None
        if end == len(body) and (calls := _calls_of(value, names)):
            return calls, _without(_BEFORE, body[:at])
    return None


def _without(mark: re.Pattern[str], text: str) -> str:
    """The text without the marks at its end."""
    text = text.strip()
    while found := mark.search(text, max(0, len(text) - 60)):
        text = text[: found.start()].rstrip()
    return text


def _calls_of(value: Any, names: Collection[str]) -> Sequence[ToolCall]:
    """The calls that a value is, all of them of known tools with their arguments; else ()."""
    items = Fields(object_of(value)).peek(aliases.CALLS) or value
    for item in items_of(items):
        fields = Fields(object_of(item))
        body = fields.peek("function")
        fields = Fields(body) if isinstance(body, dict) else fields
        if not fields.have(aliases.ARGUMENTS) or fields.have("description"):
            return ()
    try:
        with unread_fields():
            calls = read_calls(items)
    except RecordError:
        return ()
    return calls if all(c.name in names for c in calls) else ()


def _spelt_calls(text: str, tools: Sequence[ToolSpec]) -> tuple[Sequence[ToolCall], str] | None:
    """Calls that end a text, each a tool's name and its arguments in JSON, Python or a tag each,
    whatever marks stand between and around them (GLM-4, Cline, ToolACE, API-Bank); and what is said
    before them."""
    known = {t.name: t for t in tools if t.name in text}
    if not known or text.count("<") > _MOST_TAGS:
        return None
    listed = "|".join(map(re.escape, sorted(known, key=len, reverse=True)))
    calls: list[ToolCall] = []
    start = end = 0
    for found in islice(re.finditer(rf"(?<![\w./-])(?:{listed})(?![\w-])", text), _MOST_TAGS):
        if found.start() < end:
            continue
        spelt = _arguments_at(text, found, known[found[0]], bool(calls))
        if spelt and calls and not _NOTHING.fullmatch(text, end, found.start()):
            return None
        start = start if calls else found.start()
        if spelt:
            calls, end = [*calls, spelt[0]], spelt[1]
    if not calls or not _NOTHING.fullmatch(text, end):
        return None
    return calls, _without(_BEFORE, text[:start])


def _arguments_at(
    text: str, name: re.Match[str], tool: ToolSpec, goes_on: bool
) -> tuple[ToolCall, int] | None:
    """The call whose name stands at `name`, and where its arguments end."""
    at, known = name.end(), parameter_names(tool.parameters)
    before = text[: name.start()].rstrip(" \t`*")[-1:] or "\n"
    if text.startswith("(", at) and before in ("\n[:>,;" if goes_on else "\n[:>"):
        end = expression_end(text[: at + MOST_CHARS], at + 1, ")") + 1
        code = f"f{text[at:end]}"
        found = parse(code).calls if end and _written_out(code) else ()
        if len(found) == 1 and found[0].args.keys() <= known:
            return replace(found[0], name=tool.name), end
    gap = _GAP.match(text, at).end()
    if text.startswith("{", gap):
        try:
            value, end = decode(text, gap)
        except ValueError:
            return None
        return (ToolCall(tool.name, text[gap:end]), end) if value.keys() <= known else None
    tag = re.compile(rf"<({'|'.join(map(re.escape, known)) or '(?!)'})>")
    child = tag.search(text, at, at + 200)
    pairs: list[tuple[str, str]] = []
    if child and _GAP.fullmatch(text, at, child.start()):
        at = child.start()
        while (child := _CHILD.match(text, at)) and child[1] in known:
            pairs.append((child[1], child[2]))
            at = _SPACE.match(text, child.end()).end()
    once = len(dict(pairs)) == len(pairs) > 0
    return (call_of(tool.name, pairs, [tool], trim=True), at) if once else None


def code_calls(code: str, names: Collection[str]) -> list[ToolCall]:
    """The calls of a code action that does nothing but call tools, one per statement: `x = f(a=1)`,
    `print(default_api.f(a=1))`, and show what came back. [] where it does anything else: what it
    would call is not known."""
    calls: list[ToolCall] = []
    try:
        statements = ast.parse(code.strip()).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    for statement in statements:
        node = unprinted(getattr(statement, "value", None))
        if calls and _shows(statement):
            continue
        own = parse(ast.unparse(node)).calls if isinstance(node, ast.Call) else ()
        if len(own) != 1 or own[0].name not in names or not _literal(node):
            return []
        calls += own
    return calls


def _shows(statement: ast.stmt) -> bool:
    """Whether a statement only shows values: `print(x)`, or `x` alone."""
    if not isinstance(statement, ast.Expr):
        return False
    called = [node for node in ast.walk(statement) if isinstance(node, ast.Call)]
    return all(node is statement.value and ast.unparse(node.func) == "print" for node in called)


def _written_out(code: str) -> bool:
    """Whether a call has no variables, or is no Python: its texts were pasted in."""
    try:
        return _literal(ast.parse(code, mode="eval").body)
    except (SyntaxError, ValueError, AttributeError, RecursionError, MemoryError):
        return True


def _literal(node: Any) -> bool:
    """Whether a call's arguments are named and written out, no variables of the code."""
    try:
        return not node.args and all(
            ast.literal_eval(k.value) is not NotImplemented for k in node.keywords
        )
    except ValueError:
        return False


def calls_in(text: str, tools: Sequence[ToolSpec]) -> Sequence[ToolCall]:
    """The calls of a text that is known to hold nothing else, () where it cannot be read."""
    found = parse(_GLAIVE.sub(r"<\1function_call>", text)).calls
    return found or (_spelt_calls(text, tools) or ((), ""))[0]


# --- observations -----------------------------------------------------------------------------

_SEEN = re.compile(
    r"\s*<(tool_?responses?|tool_?results?|function_?responses?|function_?results?|tool_?outputs?)>",
    re.IGNORECASE,
)


def observations_in(message: Message) -> list[Message]:
    """A turn that is nothing but results in tags, as one observation for each; else the turn."""
    if message.role not in ("tool", "user") or not _SEEN.match(message.content):
        return [message]
    found, text, at = [], message.content, 0
    while opened := _SEEN.match(text, at):
        close = f"</{opened[1]}>"
        end = text.find(close, opened.end())
        if end < 0:
            return [message]
        inner = text[opened.end() : end].removeprefix("\n").removesuffix("\n")
        found.append(result_in_text(inner, message))
        at = end + len(close)
    return found if not text[at:].strip() else [message]


def result_in_text(text: str, message: Message) -> Message:
    """One result; Hermes writes {"name", "content"} around it, ToolACE {"name", "results"}."""
    name, key = message.name, message.tool_call_id
    value = value_or(text) if text.lstrip()[:1] == "{" else None
    fields = Fields(value, "result") if isinstance(value, dict) and len(value) <= 4 else None
    if fields and (fields.have("name") or fields.have(aliases.TURN_ID)):
        content = fields("content", "result", "output", "response", "results")
        if content is not None:
            name, key = as_text(fields("name")) or name, as_text(fields(aliases.CALL_ID)) or key
            text = result_text(content)
    return Message("tool", text, name=name, tool_call_id=key)


def program_turns(messages: Sequence[Message]) -> list[Message]:
    """User turns after calls as observations, where one says of itself that it came back from
    there (SWE-smith's `OBSERVATION:`, OpenHands' `EXECUTION RESULT of [tool]:`): a program speaks
    for that user, also where it says that nothing was put out."""
    after = [i for i, m in enumerate(messages[1:], 1) if messages[i - 1].tool_calls]
    after = [i for i in after if messages[i].role == "user"]
    labels = {i: found for i in after if (found := CAME_BACK.match(messages[i].content))}
    if not labels:
        return list(messages)
    out = list(messages)
    for i in after:
        found, called = labels.get(i), messages[i - 1].tool_calls[-1].name
        text = messages[i].content[found.end() :] if found else messages[i].content
        out[i] = Message("tool", text, name=(found and found[1]) or called)
    return out
