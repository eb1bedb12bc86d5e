"""MINT runs: {state: {history, success, terminate_reason}, task}; Python as the tool.

`<thought>`, `<execute>` and `<solution>` become a thought and a call; the environment's word
after a call is an observation, the few-shot example stays in the first user turn.
"""

from __future__ import annotations

from raytune_agents.readers.outcomes import outcome_score
from raytune_agents.readers.shapes import read_role
from raytune_agents.readers.strict import as_text
from raytune_agents.readers.turns import episode
from raytune_agents.records import JsonObject, Message, RecordError, ToolCall, Trajectory

KEYS = {"execute": "code", "solution": "answer"}


def read(row: JsonObject) -> Trajectory:
    state, task = row["state"], row["task"]
    messages: list[Message] = []
    for item in state["history"]:
        message = Message(read_role(item["role"]), as_text(item.get("content")))
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
        outcome=outcome_score(state.get("success")),
        outcome_word=as_text(state.get("terminate_reason")),
        meta={"state": meta, "task": task},
    )


def _turn(text: str) -> Message:
    thought, text = _cut_out(text, "thought")
    calls: tuple[ToolCall, ...] = ()
    opened = {name: at for name in KEYS if (at := text.find(f"<{name}>")) >= 0}
    if opened:
        name = min(opened, key=opened.__getitem__)
        inner, text = _cut_out(text, name)
        if inner is not None:
            code = inner.removeprefix("\n").rstrip()
            calls = (ToolCall.of(name, **{KEYS[name]: code}),)
    content = text.strip().removeprefix("Assistant:").strip()
    return Message("assistant", content, (thought or "").strip(), calls)


def _cut_out(text: str, tag: str) -> tuple[str | None, str]:
    """What stands in the first element of that name, None without one; and the text without it."""
    before, opened, rest = text.partition(f"<{tag}>")
    inner, closed, after = rest.partition(f"</{tag}>")
    return (inner, before + after.lstrip()) if opened and closed else (None, text)
