"""Pythonic calls, `[f(a=1), g(b=2)]` or `f(a=1)`, as Llama, LFM2, OLMo and ToolACE write them.

Python's own parser reads them where they are Python. Templates paste values without escaping them
(`f(text='it's')`), name tools as no language does (`Market Trends API(kind='x')`) and arguments by
Python's keywords (`from='a'`): these are read by hand, only after Python refused."""

from __future__ import annotations

import ast
import re
from contextlib import suppress
from typing import Any

from raytune_agents.calls.json_text import NotACall, decode, dumps, strict_json, unique
from raytune_agents.records import ToolCall

MAX_PYTHONIC = 200_000  # characters; Python's own parser is slow and recursive
# the text of a list in brackets may start with a name of several words
START = re.compile(r"(\[\s*)?[A-Za-z_][\w.]*\(|\[\s*[A-Za-z_][\w.-]*(?: [\w.-]+){0,7}\(")
_NAME = re.compile(r"\s*([A-Za-z_][\w.-]*(?: [\w.-]+){0,7})\(\s*")
_KEY = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*")
_NEXT: Any = re.compile(r"[\s,]*")
_LISTED = (ast.List, ast.Tuple)
NO_CALLS = "neither Python nor calls with pasted values"
_QUOTES = ("'", '"')
_AFTER_STRING = {
    q: re.compile(rf"{q}(?=\s*(?:,\s*[A-Za-z_]\w*\s*=|\)\s*(?:[,\]\n]|\Z)))") for q in _QUOTES
}


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
        return unique(pairs)
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def unprinted(node: Any) -> Any:
    """The expression whose value a call of `print` shows; of any other, the expression itself."""
    prints = isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    return node.args[0] if prints and len(node.args) == 1 else node


def _call(node: ast.AST) -> ToolCall:
    node = unprinted(node)
    if not isinstance(node, ast.Call) or node.args or any(k.arg is None for k in node.keywords):
        raise NotACall("write f(a=1): a call with named arguments")
    arguments = unique([(k.arg, _value(k.value)) for k in node.keywords if k.arg is not None])
    return ToolCall(ast.unparse(node.func).removeprefix("default_api."), dumps(arguments))


def _parsed(text: str, mode: str = "eval") -> Any:
    """The expression in a text, or its statements. Raises ValueError where it is no Python."""
    try:
        return ast.parse(text, mode=mode)
    except (SyntaxError, RecursionError, MemoryError, TypeError) as error:
        raise ValueError(f"not Python: {type(error).__name__}") from None


def python_calls(body: str) -> list[ToolCall]:
    """Calls of a text that is nothing else. Raises ValueError."""
    if len(body) > MAX_PYTHONIC:
        raise ValueError(f"longer than {MAX_PYTHONIC} characters")
    try:
        roots, calls = [getattr(s, "value", s) for s in _parsed(body, "exec").body], []
    except ValueError:
        roots, calls = [], _pasted_calls(body)
    try:
        for root in roots:
            calls += [_call(n) for n in (root.elts if isinstance(root, _LISTED) else [root])]
    except (RecursionError, MemoryError, TypeError) as error:
        raise ValueError(f"not Python: {type(error).__name__}") from None
    for call in calls:
        strict_json(call.arguments)
    return calls


# --- what Python refuses ---


def _pasted_calls(body: str) -> list[ToolCall]:
    """Calls whose values were pasted in unescaped. Raises ValueError where they are none."""
    at, stop = 0, len(body)
    if body.startswith("["):
        if not body.endswith("]"):
            raise ValueError(NO_CALLS)
        at, stop = 1, stop - 1
    calls: list[ToolCall] = []
    while (at := _NEXT.match(body, at).end()) < stop:
        name = _NAME.match(body, at)
        if not name:
            raise ValueError(NO_CALLS)
        pairs, at = _pasted_arguments(body, name.end())
        calls.append(ToolCall(name[1], dumps(unique(pairs))))
    if not calls:
        raise ValueError(NO_CALLS)
    return calls


def _pasted_arguments(body: str, at: int) -> tuple[list[tuple[str, Any]], int]:
    """The named arguments from `at` to the bracket that closes them, and the place after it."""
    pairs: list[tuple[str, Any]] = []
    while not body.startswith(")", at):
        key = _KEY.match(body, at)
        if not key:
            raise ValueError(NO_CALLS)
        value, at = _pasted_value(body, key.end())
        pairs.append((key[1], value))
        at = _NEXT.match(body, at).end()
        if at >= len(body):
            raise ValueError(NO_CALLS)
    return pairs, at + 1


def _pasted_value(body: str, at: int) -> tuple[Any, int]:
    quote = body[at : at + 1]
    if quote in _QUOTES and quote:
        closed = _AFTER_STRING[quote].search(body, at + 1)
        if not closed:
            raise ValueError(NO_CALLS)
        raw = body[at + 1 : closed.start()]
        try:  # its escapes mean what Python means by them, but for a line break as it is
            text = ast.literal_eval(quote + raw.replace("\n", "\\n") + quote)
        except (SyntaxError, ValueError, MemoryError):
            text = raw
        return text, closed.end()
    if quote in ("{", "["):
        with suppress(ValueError):
            return decode(body, at)
    end = expression_end(body, at)
    if end < 0:
        raise ValueError(NO_CALLS)
    return _value(_parsed(body[at:end].strip()).body), end


def expression_end(text: str, at: int, stops: str = "),]") -> int:
    """Where the expression at `at` ends: at one of `stops` outside of its own brackets and quotes;
    -1 where it does not."""
    depth, quote = 0, ""
    while at < len(text):
        char = text[at]
        if quote:
            at += char == "\\"
            quote = "" if char == quote else quote
        elif char in _QUOTES:
            quote = char
        elif char in stops and not depth:
            return at
        else:
            depth += (char in "([{") - (char in ")]}")
        at += 1
    return -1
