"""Which call a result answers: by its id, then by the tool's name, then by its place."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from raytune_agents.records import Message, ToolCall


def pair_results(calls: Sequence[ToolCall], results: Sequence[Message]) -> list[int | None]:
    """For each result the index of its call, None where more results than calls are there, or its
    id is that of a call which has its result."""
    out: list[int | None] = [None] * len(results)
    free = dict.fromkeys(range(len(calls)))
    ids = {call.id for call in calls if call.id}
    for stage in range(4):
        waiting: dict[Any, deque[int]] = defaultdict(deque)
        for i in free:
            waiting[_keys(calls[i].id, calls[i].name)[stage]].append(i)
        for at, result in enumerate(results):
            key = _keys(result.tool_call_id, result.name)[stage]
            # a result whose id is known is of no other call, whatever its name and place
            may = stage < 2 or result.tool_call_id not in ids
            if out[at] is None and key and may and waiting[key]:
                out[at] = call = waiting[key].popleft()
                del free[call]
    return out


def _keys(call_id: str, name: str) -> tuple[Any, str, str, str]:
    """What a result is known by, the surest first: calls of one turn may share an id. The last one
    is the same of all: their place."""
    return (call_id, name) if call_id and name else "", call_id, name, "place"


def in_call_order(messages: Iterable[Message]) -> tuple[Message, ...]:
    """The turns with results in the order of their calls, each with the name and id of its call.

    Results of parallel calls come back in any order; training text and most formats tell them
    apart by their place alone.
    """
    out: list[Message] = []
    waiting: list[ToolCall] = []  # calls without a result yet
    block: list[Message] = []
    is_over = False  # whether the next calls are a new round
    for message in [*messages, Message("user")]:  # the last one only closes a block
        if message.role == "tool":
            block.append(message)
            continue
        if block:
            hits = pair_results(waiting, block)
            answered = set(hits)
            places = [len(waiting) if hit is None else hit for hit in hits]
            order = sorted(range(len(block)), key=places.__getitem__)
            out += [_named(block[i], waiting, hits[i]) for i in order]
            waiting = [call for i, call in enumerate(waiting) if i not in answered]
            block = []
            is_over = True
        is_over = is_over or message.role != "assistant"
        if message.tool_calls:
            waiting = [*(() if is_over else waiting), *message.tool_calls]
            is_over = False
        out.append(message)
    return tuple(out[:-1])


def _named(result: Message, calls: Sequence[ToolCall], hit: int | None) -> Message:
    if hit is None:
        return result
    call = calls[hit]
    return replace(result, name=call.name, tool_call_id=call.id or result.tool_call_id)
