"""The thought before an answer, in the marks of any family.

A template may open the thought in the prompt, so that the answer holds its end alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from raytune_agents.calls.families import THOUGHT_MARKS
from raytune_agents.calls.json_text import SPACE, decode

MOST_NAMED = 50  # marks that are looked at: a hostile text may be made of them
NEAR = 128  # characters at the end of a prompt within which it may open a thought
_OPEN = re.compile("|".join(map(re.escape, THOUGHT_MARKS)))
_CLOSE = re.compile("|".join(map(re.escape, THOUGHT_MARKS.values())))
_CALL = re.compile(
    r"<[|｜]?[\w:▁]*(?:tool|function)[\w▁]*_?calls?[|｜]?>|\[TOOL_CALLS\]|<function="
)


class Thought(NamedTuple):
    """A thought and what stands behind it; `is_open`: the text ends before the thought does."""

    text: str
    rest: str
    is_open: bool = False


def opened_thought(prompt: str) -> str:
    """The mark of a thought that the prompt opens for the answer, with what follows it; or ""."""
    ends = (m for m in _near_end(prompt) if not prompt[m.end() :].strip())
    return next((prompt[m.start() :] for m in ends), "")


def _near_end(prompt: str) -> Iterator[re.Match[str]]:
    return _OPEN.finditer(prompt, max(0, len(prompt) - NEAR))


def answer_with_thought(prompt: str, whole: str, thought: str) -> str:
    """The answer of a chat that writes a thought without the mark that the prompt opens it with;
    "" where the two differ in more than that."""
    opened = opened_thought(prompt)
    stem = prompt.removesuffix(opened).rstrip()
    rest = whole[len(stem) :].lstrip()
    shut = any(opened.startswith(mark) and close in rest for mark, close in THOUGHT_MARKS.items())
    return rest if shut and whole.startswith(stem) and rest.startswith(thought) else ""


def answer_without_thought(prompt: str, whole: str) -> str | None:
    """The answer of a chat that holds no thought, behind a prompt that opens one, or opens and
    shuts it: an opened thought is shut first. None where the two differ in more than that."""
    for opened in _near_end(prompt):
        head, close = prompt[: opened.start()], THOUGHT_MARKS[opened[0]]
        if prompt[opened.end() :].strip() not in ("", close):
            continue
        stem = head if whole.startswith(head) else head.rstrip()
        if not whole.startswith(stem):
            continue
        rest, shut = whole[len(stem) :], rf"{re.escape(opened[0])}\s*{re.escape(close)}"
        if prompt.rstrip().endswith(close):
            return re.sub(rf"\A\s*(?:{shut}|{re.escape(close)})\s*", "", rest)
        bare = rest.lstrip()
        return bare if bare.startswith(close) else f"{close}\n\n{rest}"
    return None


def split_thought(text: str) -> Thought:
    """The thought at the head of an answer and the rest. Where the answer holds no opening mark,
    what stands before a closing one is the thought, unless the mark is text within a call, in
    quotes or in code."""
    start = SPACE.match(text).end()
    if opened := _OPEN.match(text, start):
        end = re.compile(re.escape(THOUGHT_MARKS[opened[0]]))
        closed = next(
            (m for m in end.finditer(text, opened.end()) if not _is_quoted(text, m)), None
        )
        at, behind = closed.span() if closed else (len(text), len(text))
        return Thought(text[opened.end() : at].strip(), text[behind:], not closed)
    ends = islice(_CLOSE.finditer(text), MOST_NAMED)
    closed = next((m for m in ends if not _is_quoted(text, m) and not _in_code(text, m)), None)
    if not closed or _in_a_call(text, start, closed.start()):
        return Thought("", text)
    return Thought(text[: closed.start()].strip(), text[closed.end() :])


def _is_quoted(text: str, mark: re.Match[str]) -> bool:
    """Whether a mark is only named: it stands in quotes."""
    before, after = text[mark.start() - 1 : mark.start()], text[mark.end() : mark.end() + 1]
    return before == after and before in ("`", "'", '"')


def _in_code(text: str, mark: re.Match[str]) -> bool:
    """Whether a mark stands in a block of code."""
    return bool(text.count("```", 0, mark.start()) % 2 and text.count("```", mark.end()) % 2)


def _in_a_call(text: str, start: int, end: int) -> bool:
    """Whether the place lies within the arguments of a call."""
    if text.startswith(("{", "["), start):
        return True
    at = start
    while opened := _CALL.search(text, at, end):
        if text.startswith("<function=", opened.start()):
            return "</function>" not in text[opened.end() : end]
        body = SPACE.match(text, opened.end()).end()
        try:
            _, at = decode(text, body)
        except ValueError:
            at = opened.end()
        if at > end:
            return True
    return False
