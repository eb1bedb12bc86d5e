"""The thought before an answer, in the marks of any family.

A template may open the thought in the prompt, so that the answer holds its end alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from raytune_agents.calls.families import THOUGHT_MARKS
from raytune_agents.calls.json_text import SPACE, decode

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
    what stands before a closing one is the thought, unless the mark is text within a call."""
    start = SPACE.match(text).end()
    if opened := _OPEN.match(text, start):
        thought, closed, rest = text[opened.end() :].partition(THOUGHT_MARKS[opened[0]])
        return Thought(thought.strip(), rest, not closed)
    closed = _CLOSE.search(text)
    if not closed or _in_a_call(text, start, closed.start()):
        return Thought("", text)
    return Thought(text[: closed.start()].strip(), text[closed.end() :])


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
