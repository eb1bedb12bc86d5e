"""Fair baselines: the untrained model with what a prompt or a grammar can give it.

An arm that beats the bare base may only have learned to emit a call. `base_few_shot` is shown
examples of the train split before each request; `base_constrained` must answer with calls of the
offered tools, as `tool_choice: "required"` of vLLM's server makes it (so it cannot decline, and is
asked only where calls are right). What a trained arm gains over both is what it learned to choose.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from raytune_agents.calls.schema import json_schema, properties_of, schema_of
from raytune_agents.evaluate.measured import BASE
from raytune_agents.records import JsonSchema, Message, ToolSpec, Trajectory

FEW_SHOT, CONSTRAINED = f"{BASE}_few_shot", f"{BASE}_constrained"
BASELINES = (FEW_SHOT, CONSTRAINED)


@dataclass(frozen=True, slots=True)
class Arm:
    """Who answers: an adapter folder ("" = the base model), the marker of its prompts, examples
    shown before each request, and whether it must call."""

    name: str
    adapter: str = ""
    marker: str = ""
    shots: tuple[Trajectory, ...] = ()
    constrained: bool = False

    @property
    def baseline(self) -> bool:
        return self.name in BASELINES


def examples_to_show(rows: Iterable[Trajectory], count: int, seed: int) -> tuple[Trajectory, ...]:
    """`count` short rows of different tools, drawn by the seed; the last one is answered without a
    call where there is such a row, so that declining is shown too."""
    if not count:
        return ()
    able = {  # not the rows themselves, which may be many
        (_length(r), r.id, r.calls[0].name if r.calls else "", bool(r.tools))
        for r in rows
        if r.target and not r.failed and sum(m.role != "system" for m in r.prompt) == 1
    }
    # The shorter half: examples take their room from the row that is asked.
    short = sorted(able)[: max(count, len(able) // 2)]
    random.Random(f"few_shot/{seed}").shuffle(short)
    # A row without tools declines nothing: only one that could have called shows how.
    declined = [i for _, i, called, tools in short if not called and tools][: int(count > 1)]
    shown: dict[str, str] = {}  # first tool that is called -> row id
    for _, row_id, called, _ in short:
        if called and called not in shown and len(shown) < count - len(declined):
            shown[called] = row_id
    wanted = [*shown.values(), *declined]
    found = {r.id: r for r in rows if r.id in wanted}
    return tuple(found[i] for i in wanted)


def _length(row: Trajectory) -> int:
    """Characters of the request and its answer."""
    answer = row.answer
    return len(row.query) + len(answer.content) + sum(len(c.arguments) for c in answer.tool_calls)


def with_shots(row: Trajectory, shots: Sequence[Trajectory]) -> Trajectory:
    """The row with examples as earlier turns, each with the names of its own tools; nothing of them
    is trained."""
    if not shots:
        return row
    turns: list[Message] = []
    for shot in shots:
        offered = ", ".join(f"{t.name}({', '.join(properties_of(t))})" for t in shot.tools)
        text = f"{shot.query}\n(tools of this example: {offered})" if offered else shot.query
        turns += [Message("user", text), replace(shot.answer, thought="", loss=False)]
    # After the system turn: templates refuse one that stands later.
    at = next((i for i, m in enumerate(row.messages) if m.role != "system"), 0)
    return replace(row, messages=(*row.messages[:at], *turns, *row.messages[at:]))


def call_schema(tools: Sequence[ToolSpec]) -> str:
    """The JSON Schema of one or more calls of these tools, [{"name", "parameters"}], as vLLM's
    server builds it for `tool_choice: "required"`; "" without tools."""
    if not tools:
        return ""
    one = [
        {
            "type": "object",
            "properties": {"name": {"enum": [t.name]}, "parameters": _grammar_of(t)},
            "required": ["name", "parameters"],
            "additionalProperties": False,
        }
        for t in tools
    ]
    return json.dumps({"type": "array", "minItems": 1, "items": {"anyOf": one}})


def _grammar_of(tool: ToolSpec) -> JsonSchema:
    """The tool's parameters with the keywords that every grammar backend takes."""
    made = _plain(json_schema(schema_of(tool)))
    properties = made.get("properties", {})
    # A required name without a property would let no call through the grammar.
    known = [name for name in made.get("required", []) if name in properties]
    closed: JsonSchema = {"type": "object", "properties": properties, "required": known}
    return closed | {"additionalProperties": False}


def _plain(schema: Any) -> JsonSchema:
    """A schema of types, enums and nesting alone; pattern, format and limits are left to the model,
    and a reference allows anything."""
    if not isinstance(schema, dict) or "$ref" in schema:
        return {}
    out: JsonSchema = {k: schema[k] for k in ("type", "enum", "const") if k in schema}
    if isinstance(properties := schema.get("properties"), dict):
        out["properties"] = {k: _plain(v) for k, v in properties.items()}
        out["required"] = [k for k in schema.get("required") or () if k in properties]
    if isinstance(schema.get("items"), dict):
        out["items"] = _plain(schema["items"])
    if isinstance(several := schema.get("anyOf"), list) and several:
        out["anyOf"] = [_plain(s) for s in several]
    return out
