"""OpenAI Responses items with a reward (NeMo Gym roll-outs): input and output are lists of items.

Reasoning goes to the thought of the next turn, calls that stand together are one turn.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from raytune_agents.readers.shapes import rest_of, role_of, tools_of
from raytune_agents.readers.strict import text_of
from raytune_agents.readers.turns import episode, score
from raytune_agents.records import Message, ToolCall, Trajectory


def read(row: dict[str, Any]) -> Trajectory:
    asked, answered = row["responses_create_params"], row["response"]
    items = asked["input"]
    items = [{"role": "user", "content": items}] if isinstance(items, str) else items
    messages: list[Message] = []
    thought = ""
    for item in [*items, *answered["output"]]:
        kind = item.get("type") or "message"
        if kind == "reasoning":
            parts = item.get("summary") or item.get("content") or []
            thought = "\n".join(filter(None, (thought, *(text_of(p.get("text")) for p in parts))))
        else:
            _add(messages, item, kind, thought)
            thought = ""
    return episode(
        messages,
        tools_of(asked.get("tools")),
        source_id=text_of(answered.get("id")),
        outcome=score(row.get("reward")),
        outcome_word=f"reward={row.get('reward')}",
        meta=rest_of(row, "responses_create_params", "response", "reward")
        | {"model": answered.get("model")},
    )


def _add(messages: list[Message], item: dict[str, Any], kind: str, thought: str) -> None:
    last = messages[-1] if messages else Message("user")
    if kind == "function_call":
        call = ToolCall(item["name"], item.get("arguments") or "{}", text_of(item.get("call_id")))
        if last.role == "assistant" and not thought:
            messages[-1] = replace(last, tool_calls=(*last.tool_calls, call))
        else:
            messages.append(Message("assistant", "", thought, (call,)))
    elif kind == "function_call_output":
        key = text_of(item.get("call_id"))
        names = {c.id: c.name for m in messages for c in m.tool_calls}
        output = text_of(item.get("output"))
        messages.append(Message("tool", output, name=names.get(key, ""), tool_call_id=key))
    else:
        role = role_of(item["role"])
        content = text_of(item.get("content"))
        messages.append(Message(role, content, thought if role == "assistant" else ""))
