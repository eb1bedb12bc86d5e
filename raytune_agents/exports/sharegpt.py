"""ShareGPT rows as LLaMA-Factory reads them: human, gpt, function_call, observation; system; tools.

Its sides must take turns (human or observation, then gpt or function_call), so observations of one
parallel call are one JSON list. A thought stands in <think> tags. It has no loss flags.
"""

from __future__ import annotations

import json

from raytune_agents.calls.results import in_call_order
from raytune_agents.exports.xlam import behind_thought, calls_text, tools_text
from raytune_agents.records import JsonObject, RecordError, Trajectory

TAGS = {"user": "human", "assistant": "gpt"}


def write(row: Trajectory) -> JsonObject:
    """Raises RecordError where the sides do not take turns or a call has text beside it."""
    messages = list(in_call_order(row.messages))
    if any(m.role == "assistant" and not m.trained for m in messages):
        raise RecordError("an untrained assistant turn: the format has no loss flags")
    system = messages.pop(0).content if messages and messages[0].role == "system" else ""
    out: list[dict[str, str]] = []
    while messages:
        m = messages.pop(0)
        if m.role == "system":
            raise RecordError("a system turn after the first")
        if m.tool_calls and m.content:
            raise RecordError("text beside a call")
        if m.role != "tool":
            tag = "function_call" if m.tool_calls else TAGS[m.role]
            text = calls_text(m.tool_calls) if m.tool_calls else m.content
            out.append({"from": tag, "value": behind_thought(m.thought, text)})
            continue
        seen = [m.content]
        while messages and messages[0].role == "tool":
            seen.append(messages.pop(0).content)
        value = seen[0] if len(seen) == 1 else json.dumps(seen, ensure_ascii=False)
        out.append({"from": "observation", "value": value})
    odd = ("human", "observation")
    if any((t["from"] in odd) != (i % 2 == 0) for i, t in enumerate(out)) or len(out) % 2:
        raise RecordError("the two sides do not take turns")
    extra = {"system": system, "tools": tools_text(row) if row.tools else ""}
    return {"conversations": out} | {k: v for k, v in extra.items() if v}
