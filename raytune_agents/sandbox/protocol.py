"""The answers of the sandbox's child: written by it, believed by nobody.

A line is `ID value JSON`, `ID ended "why"` of the sandbox, or `ID error "why"` of the tool, which
may name its exceptions as the sandbox's labels: they are told apart by that word. The ID is that of
the request, drawn anew for each, so that a line written beforehand answers nothing. Standard
library only: the child loads this file by its path.
"""

from __future__ import annotations

import json
from math import isfinite
from typing import Any, NoReturn

DEEPEST = 100  # levels of lists and objects in a value
LONGEST = 2000  # characters of an error
LABELS = ("timeout", "memory", "disk", "output", "not_run")  # of calls that the sandbox ended
BROKEN = ("killed:", "forbidden: ", "import: ", "server: ")  # how others of these begin
FROM_CHILD = ("memory", "forbidden: ", "import: ")  # of those what the child itself sees
dumps = json.dumps  # as it is before a tool can replace it


def depth(value: Any) -> int:
    """Levels of lists and objects in a JSON value, counted up to just past DEEPEST."""
    level, found = [value], 0
    while level and found <= DEEPEST:
        inner = [
            list(x.values()) if isinstance(x, dict) else x
            for x in level
            if isinstance(x, dict | list | tuple)
        ]
        level, found = [v for values in inner for v in values], found + bool(inner)
    return found


def _told(value: Any) -> str:
    """What an object says of itself. Raises TypeError for one that says only where it lies."""
    if " at 0x" in (text := str(value)) and text.startswith("<"):
        kind = type(value).__name__
        raise TypeError(f"a {kind} is no answer: return text, numbers, lists or dicts")
    return text


def result_json(value: Any) -> str:
    """A tool's result as JSON; what JSON does not have is written as `str` writes it. Raises
    ValueError for NaN, an infinity, a lone surrogate, a circle and too many levels, TypeError for
    keys that are no text and for objects without a text."""
    text = dumps(value, ensure_ascii=False, allow_nan=False, default=_told)
    text.encode()
    if depth(value) > DEEPEST:
        raise ValueError(f"a result of more than {DEEPEST} levels")
    return text


def answer_line(ident: str, kind: str, text: str) -> bytes:
    """One answer; `kind` is value, ended or error, `text` its JSON."""
    return f"{ident} {kind} {text}\n".encode()


def described(error: BaseException) -> str:
    """An exception's name and text. Making the text is the tool's code, which may raise too."""
    try:
        text = str(error)
    except BaseException:
        text = "?"
    return f"{type(error).__name__}: {text}"[:LONGEST].encode(errors="replace").decode()


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _finite(text: str) -> float:
    return number if isfinite(number := float(text)) else _refuse(text)


def is_label(error: str) -> bool:
    """Whether an error says that the sandbox ended the call."""
    return error in LABELS or error.startswith(BROKEN)


def parse_answer(line: bytes, ident: str) -> tuple[Any, str]:
    """The (value, error) of the answer to request `ident`. Raises ValueError for anything else."""
    head, kind, text = line.decode().split(" ", 2)
    if head != ident or kind not in ("value", "ended", "error"):
        raise ValueError("no answer to this request")
    try:
        found = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("too many levels") from None
    json.dumps(found, ensure_ascii=False).encode()  # a lone surrogate is no text
    if kind == "value":
        if depth(found) > DEEPEST:
            raise ValueError("too many levels")
        return found, ""
    if not isinstance(found, str) or not 0 < len(found) <= LONGEST:
        raise ValueError("an error is a short text")
    if kind == "ended" and not found.startswith(FROM_CHILD):
        raise ValueError("a label that the child cannot know")
    return None, f"exception {found}" if kind == "error" and is_label(found) else found
