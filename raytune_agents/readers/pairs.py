"""Preference rows: prompt, chosen, rejected (TRL, ETO), and prompt + completion with or without a
label.

Each part is a list of turns (ETO's hold environment turns inside) or plain text. A pair gives the
chosen row, and the rejected one (pool "negative.rejected") with the chosen as its parent.
"""

from __future__ import annotations

from typing import Any

from raytune_agents.readers.react import structure
from raytune_agents.readers.shapes import rest_of, tools_of
from raytune_agents.readers.strict import text_of
from raytune_agents.readers.turns import episode, messages_of, score
from raytune_agents.records import Message, RecordError, Trajectory

USED = ("id", "prompt", "chosen", "rejected", "completion", "label", "tools")


def _part(value: Any, role: str) -> list[Message]:
    return [Message(role, value)] if isinstance(value, str) else messages_of(value)


def _row(row: dict[str, Any], answer: Any, **fields: Any) -> Trajectory:
    prompt, rest = _part(row["prompt"], "user"), _part(answer, "assistant")
    if not any(m.role == "assistant" for m in rest):
        raise RecordError("an answer without an assistant turn")
    tools = tools_of(row.get("tools"))
    messages, style = [*prompt, *rest], {}
    if not tools and not any(m.tool_calls for m in messages):
        messages, style = structure(messages)
    meta = rest_of(row, *USED) | style
    return episode(messages, tools, source_id=text_of(row.get("id")), meta=meta, **fields)


def read(row: dict[str, Any]) -> Trajectory | list[Trajectory]:
    if "completion" in row:
        label = row.get("label")
        word = "" if label is None else f"label={label}"
        return _row(row, row["completion"], outcome=score(label), outcome_word=word)
    good = _row(row, row["chosen"], outcome=1.0, outcome_word="chosen")
    bad = _row(row, row["rejected"], outcome=0.0, outcome_word="rejected",
               pool="negative.rejected", parents=("@0",))  # fmt: skip
    return [good, bad]
