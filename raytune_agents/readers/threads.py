"""Which calls of a trace's model are one conversation.

Every call of an agent repeats the conversation so far. A call whose prompt begins with all that an
earlier conversation holds goes on with it; any other starts one of its own (a sub-agent, a judge, a
branch). Prompts are looked up by a running hash of their turns, so the work is linear in the trace.
A prompt that holds results without the turn that called goes on with the conversation whose last
turn did: a server kept the rest of it, or the program left that turn out. A conversation that is
the start of another one is none of its own, also where the program tells its last turn in other
words: the calls as turns of their own, the text with what ended it.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from raytune_agents.readers.fields import note
from raytune_agents.records import Message, ToolSpec

if TYPE_CHECKING:
    from raytune_agents.readers.spans import Span

SIGN = 16  # characters by which an answer's text is looked up
MOST_RETOLD = 100  # turns in other conversations that are compared with one


@dataclass(slots=True)
class CallThread:
    """Model calls that go on from one another."""

    turns: list[Message]
    key: bytes
    spans: list[Span]
    tools: dict[ToolSpec, None] = field(default_factory=dict)


def _identity(message: Message) -> bytes:
    """What makes a turn the same one when it is repeated: its thought and ids often are not."""
    calls = [c.key for c in message.tool_calls]
    return repr((message.role, message.content.strip(), calls)).encode("utf-8", "replace")


def _running(turns: Iterable[Message], key: bytes = b"") -> Iterator[bytes]:
    """The hash of the turns so far, after each of them."""
    for turn in turns:
        key = hashlib.sha1(key + _identity(turn)).digest()
        yield key


def conversations(models: Sequence[Span]) -> list[CallThread]:
    """The conversations of calls in the order of time, none of them the start of another one."""
    found = _threads(models)
    return _without_starts(found) if len(found) > 1 else found


def _threads(models: Sequence[Span]) -> list[CallThread]:
    found: list[CallThread] = []
    by_end: dict[bytes, CallThread] = {}
    called: dict[str | bytes, CallThread] = {}  # a call's id, or all before the turn that called
    for span in models:
        # an end that has since moved on is a branch: it starts a conversation of its own
        keys = list(_running(span.prompt))
        hits = (
            (n, by_end[k])
            for n, k in zip(range(len(keys), 0, -1), reversed(keys))
            if k in by_end and by_end[k].key == k
        )
        n, now = next(hits, None) or _resumed(span.prompt, keys, called)
        if now is None:
            now = CallThread([], b"", [])
            found.append(now)
        before = now.key
        fresh = [*span.prompt[n:], *span.answer]
        *_, now.key = _running(fresh, now.key) if fresh else (now.key,)
        now.turns += fresh
        now.spans.append(span)
        now.tools.update(dict.fromkeys(span.tools))
        by_end[now.key] = now
        last = now.turns[-1]
        if last.tool_calls:
            *_, before = _running(fresh[:-1], before) if fresh[:-1] else (before,)
            called |= dict.fromkeys((before, *(c.id for c in last.tool_calls if c.id)), now)
    return found


def _resumed(
    prompt: Sequence[Message], keys: list[bytes], called: dict[str | bytes, CallThread]
) -> tuple[int, CallThread | None]:
    """(turns of the prompt that it holds, the conversation) of one that has results first, or
    results after turns that call nothing; (0, None) for any other."""
    n = next((i for i, turn in enumerate(prompt) if turn.role == "tool"), None)
    if n is None or (n and prompt[n - 1].tool_calls):
        return 0, None
    now = called.get(keys[n - 1] if n else prompt[0].tool_call_id)
    return (n, now) if now is not None and now.turns[-1].tool_calls else (0, None)


def _without_starts(found: Sequence[CallThread]) -> list[CallThread]:
    """The conversations, each with the calls of those that begin it. A call that failed stays."""
    longer: dict[bytes, CallThread] = {}  # what a conversation that goes on begins with
    told: dict[tuple[bytes, str], list[tuple[CallThread, int]]] = defaultdict(list)
    bases: dict[int, bytes] = {}  # the end of a conversation without its last turn
    for thread in found:
        key = b""
        for n, (turn, after) in enumerate(zip(thread.turns, _running(thread.turns))):
            bases[id(thread)] = key
            if n + 1 < len(thread.turns):
                longer.setdefault(after, thread)
                for sign in _signs(turn):
                    told[key, sign].append((thread, n))
            key = after
    started: set[int] = set()
    for thread in sorted(found, key=lambda t: len(t.turns)):
        last = thread.turns[-1]
        if thread.spans[-1].error:
            continue
        whole = longer.get(thread.key)
        if whole is None:
            sign = next(iter(_signs(last)), "")
            near = told.get((bases[id(thread)], sign), [])[:MOST_RETOLD]
            hits = ((t, n) for t, n in near if _retells(t.turns[n:], last))
            whole, n = next(hits, (None, 0))
            if whole is not None:
                whole.turns[n] = _told_best(whole.turns[n], last)
        if whole is not None:
            note("conversation", "one that is the start of another of its trace")
            whole.spans = sorted([*thread.spans, *whole.spans], key=lambda s: (s.start, s.end))
            whole.tools = thread.tools | whole.tools
            started.add(id(thread))
    return [thread for thread in found if id(thread) not in started]


def _signs(turn: Message) -> Iterator[str]:
    """What an answer is looked up by: its first call, and how its text begins."""
    if turn.role == "assistant":
        if turn.tool_calls:
            yield turn.tool_calls[0].key
        yield turn.content.strip()[:SIGN]


def _told_best(told: Message, answer: Message) -> Message:
    """An answer as it is told later, with the text and the thought that only the answer has."""
    if [c.key for c in told.tool_calls] != [c.key for c in answer.tool_calls]:
        return told
    content, thought = told.content or answer.content, told.thought or answer.thought
    return replace(told, content=content, thought=thought)


def _retells(turns: Sequence[Message], answer: Message) -> bool:
    """Whether turns begin with what an answer says: all its calls, in any number of turns, or its
    text, with what ended it and the calls in it."""
    if not answer.tool_calls:
        text, told_text = answer.content.strip(), turns[0].content.strip()
        stop = told_text.removeprefix(text).split()  # what ended it is no more than a word
        return bool(text) and told_text.startswith(text) and len(stop) < 2
    wanted = [c.key for c in answer.tool_calls]
    told: list[str] = []
    for turn in turns:
        if turn.role not in ("assistant", "tool") or len(told) >= len(wanted):
            break
        told += [c.key for c in turn.tool_calls]
    return told == wanted


def once_told(models: Sequence[Span], steps: Iterable[Span]) -> list[Span]:
    """The calls without those that tell of another one: of a call inside a call, with no tool's
    span between, the one that says more counts, and the inner one where both say as much."""
    parents = {s.id: s.parent for s in steps if s.id}
    calls = {s.id: s for s in models if s.id}
    nearest = {s.id: "" for s in steps if s.kind == "tool"} | {key: key for key in calls}
    dropped: set[str] = set()
    for span in models:
        outer = calls.get(above(span.id, parents, nearest))
        if outer is not None and span.id not in dropped:  # in a cycle one is left
            dropped.add(span.id if _weight(outer) > _weight(span) else outer.id)
    return [s for s in models if not s.id or s.id not in dropped]


def above(key: str, parents: Mapping[str, str], nearest: dict[str, str]) -> str:
    """What `nearest` says of the closest span above one, "" for none. It keeps what is said of the
    spans passed, so that many look-ups are linear together; a cycle ends."""
    passed = []
    key = parents.get(key, "")
    while key and key not in nearest:
        passed.append(key)
        nearest[key] = ""
        key = parents.get(key, "")
    answer = nearest.get(key, "")
    nearest.update(dict.fromkeys(passed, answer))
    return answer


def _weight(span: Span) -> tuple[int, int, int]:
    """How much a call says: what it calls, its turns, its tools."""
    calls = sum(len(turn.tool_calls) for turn in (*span.prompt, *span.answer))
    return calls, len(span.prompt), len(span.tools)
