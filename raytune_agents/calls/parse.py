"""Text -> tool calls, and back.

One function reads every dialect that models write: `<tool_call>{json}</tool_call>` (one or more), a
JSON object or list, a ```json fence, the pythonic `[f(a=1)]`, ReAct's `Action:` / `Action Input:`,
Llama's `{"name", "parameters"}`. JSON is read strictly: a duplicate key, NaN, an infinite number or
nesting below `MAX_DEPTH` is an error label, never an exception. Argument text is kept byte for byte
where it was JSON.

Left out: whether the call is a good one (`schema`, `match`).
"""

from __future__ import annotations

import ast
import json
import math
import re
from dataclasses import dataclass
from typing import Any

from raytune_agents.records import ToolCall

DECODER_FAILED = "decoder_failed"  # the text meant to be a call is broken JSON or broken Python
WRONG_FORMAT = "decoder_wrong_output_format"  # it can be read, but it is not a call
MAX_DEPTH = 100  # levels of nesting; deeper text is an attack or a loop, not a call
MAX_PYTHONIC = 200_000  # characters; Python's own parser is slow and recursive

_OPEN = re.compile(r"<tool_?call>", re.IGNORECASE)
_CLOSE = re.compile(r"</tool_?call>", re.IGNORECASE)
# These two match everywhere, if only nothing: `match` never gives None.
_SPACE: Any = re.compile(r"\s*")
_BETWEEN: Any = re.compile(r"[\s,;]*")
_COLON = re.compile(r"\s*:\s*")
_THINK = re.compile(r"\s*<think>.*?</think>", re.DOTALL)
_FENCE = re.compile(r"```(?:json|python|tool_call|tool_code)?[ \t]*\n")
_REACT = re.compile(r"^[ \t]*Action(?: \d+)?:([^\n]*)\n\s*Action Input(?: \d+)?:\s*", re.MULTILINE)
_PYTHONIC = re.compile(r"(\[\s*)?[A-Za-z_][\w.]*\(")
_MARKERS = ("<|python_tag|>", "[TOOL_CALLS]")
_ENDS = ("<|eom_id|>", "<|eot_id|>", "<|im_end|>", "<|endoftext|>", "</s>")


@dataclass(frozen=True, slots=True)
class Parsed:
    """What an answer says. `calls` is empty where `error` is set; `text` is the prose outside."""

    calls: tuple[ToolCall, ...]
    error: str
    dialect: str  # tool_call, json, fence, pythonic, react, llama, text
    text: str


class NotACall(ValueError):
    """The text can be read, but it does not have the shape of a call."""


# --- strict JSON ---


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a key occurs twice")
    return out


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite)


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [v for x in level for v in (x.values() if isinstance(x, dict) else x)
                 if isinstance(v, dict | list)]  # fmt: skip
        if not level:
            return False
    return True


def decode(text: str, at: int = 0) -> tuple[Any, int]:
    """The JSON value that starts at `at`, and its end. Raises ValueError, also for hostile text."""
    try:
        value, end = _DECODER.raw_decode(text, at)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if end - at > 2 * MAX_DEPTH and isinstance(value, dict | list):  # only long text can be deep
        brackets = text.count("{", at, end) + text.count("[", at, end)
        if brackets > MAX_DEPTH and _too_deep(value):
            raise ValueError("nested too deeply")
    return value, end


def strict_json(text: str) -> Any:
    """The whole text as one JSON value. Raises ValueError."""
    value, end = decode(text, 0 if text.startswith("{") else _SPACE.match(text).end())
    if end != len(text) and _SPACE.match(text, end).end() != len(text):
        raise ValueError("text after the JSON value")
    return value


# --- one call ---


def _slice(text: str, key: str, value: Any) -> str:
    """The bytes of `value` under `key` in the JSON object `text`."""
    quoted = f'"{key}"'
    at = text.find(quoted)
    while at >= 0:
        colon = _COLON.match(text, at + len(quoted))
        if colon:
            found, end = decode(text, colon.end())
            if found == value:
                return text[colon.end() : end]
        at = text.find(quoted, at + 1)
    return json.dumps(value, ensure_ascii=False)  # the key itself was written with escapes


def _call(value: Any, source: str) -> ToolCall:
    """A decoded JSON value, written as `source`, as a call. Raises NotACall or ValueError."""
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    if not isinstance(value, dict) or not isinstance(value.get("name"), str) or not value["name"]:
        raise NotACall("no name")
    key = next((k for k in ("arguments", "parameters", "args") if k in value), "")
    arguments = value.get(key)
    if arguments is None:
        return ToolCall(value["name"])
    if isinstance(arguments, str):
        if not isinstance(strict_json(arguments), dict):
            raise NotACall("arguments are not an object")
        return ToolCall(value["name"], arguments)
    if not isinstance(arguments, dict):
        raise NotACall("arguments are not an object")
    return ToolCall(value["name"], _slice(source, key, arguments))


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


# --- pythonic ---


def _value(node: ast.expr) -> Any:
    """A Python expression as a plain value; a name or an expression is its own text, as in BFCL."""
    if isinstance(node, ast.Name):
        return {"true": True, "false": False, "null": None}.get(node.id, node.id)
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(v) for v in node.elts]
    if isinstance(node, ast.Dict):
        keys = [k for k in node.keys if k is not None]
        if len(keys) < len(node.keys):
            raise NotACall("** in a dict")
        pairs = [(_value(k), _value(v)) for k, v in zip(keys, node.values)]
        if not all(isinstance(k, str) for k, _ in pairs):
            raise NotACall("a key is not text")
        return _unique(pairs)
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def _python_call(node: ast.expr) -> ToolCall:
    if not isinstance(node, ast.Call) or node.args or any(k.arg is None for k in node.keywords):
        raise NotACall("write f(a=1): a call with named arguments")
    arguments = _unique([(k.arg, _value(k.value)) for k in node.keywords if k.arg is not None])
    return ToolCall(
        ast.unparse(node.func), json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    )


def _python_calls(body: str) -> list[ToolCall]:
    """Calls of `[f(a=1), g(b=2)]` or `f(a=1)`. Raises ValueError."""
    if len(body) > MAX_PYTHONIC:
        raise ValueError(f"longer than {MAX_PYTHONIC} characters")
    try:
        root = ast.parse(body, mode="eval").body
        calls = [_python_call(n) for n in (root.elts if isinstance(root, ast.List) else [root])]
    except (SyntaxError, RecursionError, MemoryError, TypeError) as error:
        raise ValueError(f"not Python: {type(error).__name__}") from None
    for call in calls:
        strict_json(call.arguments)
    return calls


# --- a whole answer ---


def _looks_like_call(body: str) -> bool:
    return body.startswith("{") or bool(re.match(r"\[\s*(\{|\]|[A-Za-z_][\w.]*\()", body))


def _body_calls(body: str) -> list[ToolCall]:
    """Calls of a text that is nothing but calls, JSON or pythonic. Raises ValueError."""
    body = body.strip()
    if not body:
        raise NotACall("empty")
    return _python_calls(body) if _PYTHONIC.match(body) else _json_calls(body)


def _tagged(text: str) -> tuple[list[ToolCall], str]:
    """Calls between tags. The closing tag may be missing at the end: generation stops there."""
    calls, prose, at = [], [], 0
    while opened := _OPEN.search(text, at):
        prose.append(text[at : opened.start()])
        start = _SPACE.match(text, opened.end()).end()
        if text.startswith(
            "{", start
        ):  # decode first: the arguments may hold the closing tag as text
            value, end = decode(text, start)
            calls.append(_call(value, text[start:end]))
            at = _SPACE.match(text, end).end()
            closed = _CLOSE.match(text, at)
            if not closed and at < len(text) and not _OPEN.match(text, at):
                raise ValueError("text after the call")
            at = closed.end() if closed else at
        else:
            closed = _CLOSE.search(text, start)
            calls += _body_calls(text[start : closed.start() if closed else len(text)])
            at = closed.end() if closed else len(text)
    return calls, "".join([*prose, text[at:]])


def _fenced(text: str) -> tuple[list[ToolCall], str] | None:
    """Calls in code fences; None where no fence looks like a call."""
    calls, prose, at, found = [], [], 0, False
    while opened := _FENCE.search(text, at):
        close = text.find("```", opened.end())
        close = len(text) if close < 0 else close
        body = text[opened.end() : close].strip()
        if _looks_like_call(body):
            found = True
            calls += _body_calls(body)
            prose.append(text[at : opened.start()])
        else:
            prose.append(text[at : close + 3])
        at = close + 3
    return (calls, "".join([*prose, text[at:]])) if found else None


def _react(text: str) -> tuple[list[ToolCall], str] | None:
    """Calls of a ReAct answer; text after a call up to the next Action is not the model's prose."""
    matches = list(_REACT.finditer(text))
    if not matches:
        return None
    calls = []
    for match in matches:
        name = match[1].strip()
        if not name or not text.startswith("{", match.end()):
            raise NotACall("Action Input is not a JSON object")
        _, end = decode(text, match.end())
        calls.append(ToolCall(name, text[match.end() : end]))
    return calls, text[: matches[0].start()]


def _bare(text: str) -> tuple[str, str]:
    """The text without a leading thought, marker and end tokens; and the marker."""
    thought = _THINK.match(text)
    body = text[thought.end() :].strip() if thought else text.strip()
    for end in _ENDS:
        body = body.removesuffix(end).rstrip()
    for marker in _MARKERS:
        if body.startswith(marker):
            return body.removeprefix(marker).strip(), marker
    return body, ""


def _read(text: str) -> Parsed:
    if _OPEN.search(text):
        calls, prose = _tagged(_bare(text)[0])
        return Parsed(tuple(calls), "", "tool_call", prose.strip())
    body, marker = _bare(text)
    if marker or _looks_like_call(body):
        dialect = "pythonic" if _PYTHONIC.match(body) else "json"
        calls = _body_calls(body)
        llama = marker == _MARKERS[0] or ('"parameters"' in body and '"arguments"' not in body)
        return Parsed(tuple(calls), "", "llama" if llama and dialect == "json" else dialect, "")
    for dialect, reader in (("fence", _fenced), ("react", _react)):
        if found := reader(body):
            return Parsed(tuple(found[0]), "", dialect, found[1].strip())
    if body.endswith(")") and _PYTHONIC.match(body):
        return Parsed(tuple(_python_calls(body)), "", "pythonic", "")
    if '"name"' in body and ('"arguments"' in body or '"parameters"' in body):
        raise NotACall("a call inside prose")
    return Parsed((), "", "text", text.strip())


def parse(text: str) -> Parsed:
    """Read the calls of an answer in any dialect. Never raises.

    `error` is "" (also for prose without a call), decoder_failed or decoder_wrong_output_format.
    """
    if not isinstance(text, str):
        return Parsed((), WRONG_FORMAT, "", "")
    try:
        return _read(text)
    except NotACall:
        return Parsed((), WRONG_FORMAT, "", text)
    except ValueError:
        return Parsed((), DECODER_FAILED, "", text)


def render_call(call: ToolCall) -> str:
    """One call in our dialect; the argument text is kept byte for byte."""
    name = json.dumps(call.name, ensure_ascii=False)
    return f'<tool_call>{{"name": {name}, "arguments": {call.arguments or "{}"}}}</tool_call>'


def render_calls(calls: tuple[ToolCall, ...] | list[ToolCall]) -> str:
    """Calls in our dialect, one a line; no call is ''."""
    return "\n".join(render_call(c) for c in calls)
