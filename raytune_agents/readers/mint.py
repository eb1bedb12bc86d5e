"""MINT runs: {state: {history, success, terminate_reason}, task}; Python as the tool.

`<thought>`, `<execute>` and `<solution>` become a thought and a call; the environment's word
after a call is an observation, the few-shot example stays in the first user turn.
"""

from __future__ import annotations

import re
from typing import Any

from raytune_agents.readers.outcomes import score
from raytune_agents.readers.shapes import role_of
from raytune_agents.readers.strict import text_of
from raytune_agents.readers.turns import episode
from raytune_agents.records import Message, RecordError, ToolCall, Trajectory

THOUGHT = re.compile(r"<thought>\s*(.*?)\s*</thought>\s*", re.DOTALL)
BLOCK = re.compile(r"<(execute|solution)>\n?(.*?)\n?\s*</\1>\s*", re.DOTALL)
KEYS = {"execute": "code", "solution": "answer"}


def read(row: dict[str, Any]) -> Trajectory:
    state, task = row["state"], row["task"]
    messages: list[Message] = []
    for item in state["history"]:
        message = Message(role_of(item["role"]), text_of(item.get("content")))
        if message.role == "assistant":
            message = _turn(message.content)
        elif messages and messages[-1].tool_calls:
            name = messages[-1].tool_calls[0].name
            message = Message("tool", message.content.removeprefix("Observation:\n"), name=name)
        messages.append(message)
    if len(messages) < 2:
        raise RecordError("a run without an answer")
    meta = {k: v for k, v in state.items() if k not in ("history", "success", "terminate_reason")}
    return episode(
        messages,
        source_id=f"{task.get('task_name')}.{task.get('task_id')}",
        outcome=score(state.get("success")),
        outcome_word=text_of(state.get("terminate_reason")),
        meta={"state": meta, "task": task},
    )


def _turn(text: str) -> Message:
    thought, block = THOUGHT.search(text), BLOCK.search(text)
    rest = re.sub(r"^\s*Assistant:\s*", "", BLOCK.sub("", THOUGHT.sub("", text, 1), 1)).strip()
    calls = (ToolCall.of(block[1], **{KEYS[block[1]]: block[2]}),) if block else ()
    return Message("assistant", rest, thought[1] if thought else "", calls)
