"""Which call a result answers: by its id, then by the tool's name, then by its place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice

from raytune_agents.records import Message, ToolCall


def pair_results(calls: Sequence[ToolCall], results: Sequence[Message]) -> list[int | None]:
    """For each result the index of its call, None where more results than calls are there."""
    out: list[int | None] = [None] * len(results)
    free = dict.fromkeys(range(len(calls)))
    by_id: dict[str, list[int]] = {}
    by_name: dict[str, list[int]] = {}
    for i, call in enumerate(calls):
        by_id.setdefault(call.id, []).append(i)
        by_name.setdefault(call.name, []).append(i)
    ids, names = [r.tool_call_id for r in results], [r.name for r in results]
    for table, keys in ((by_id, ids), (by_name, names)):
        for at, key in enumerate(keys):
            known = table.get(key, []) if key and out[at] is None else []
            out[at] = out[at] if out[at] is not None else _take(known, free)
    return [hit if hit is not None else _take([*islice(free, 1)], free) for hit in out]


def _take(known: list[int], free: dict[int, None]) -> int | None:
    """The first of the known calls that has no result yet; it has one now."""
    while known and known[0] not in free:
        known.pop(0)
    if not known:
        return None
    del free[known[0]]
    return known.pop(0)


def in_call_order(messages: Iterable[Message]) -> tuple[Message, ...]:
    """The turns with results in the order of their calls, each with the name and id of its call.

    Results of parallel calls come back in any order; training text and most formats tell them
    apart by their place alone.
    """
    out: list[Message] = []
    waiting: list[ToolCall] = []  # calls without a result yet
    block: list[Message] = []
    for message in [*messages, Message("user")]:  # the last one only closes a block
        if message.role == "tool":
            block.append(message)
            continue
        if block:
            hits = pair_results(waiting, block)
            places = [len(waiting) if hit is None else hit for hit in hits]
            order = sorted(range(len(block)), key=places.__getitem__)
            out += [_named(block[i], waiting, hits[i]) for i in order]
            waiting, block = [], []
        if message.role != "assistant":
            waiting = []
        waiting += message.tool_calls
        out.append(message)
    return tuple(out[:-1])


def _named(result: Message, calls: Sequence[ToolCall], hit: int | None) -> Message:
    if hit is None:
        return result
    call = calls[hit]
    return replace(result, name=call.name, tool_call_id=call.id or result.tool_call_id)
