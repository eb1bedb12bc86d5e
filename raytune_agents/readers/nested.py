"""Seal-Tools and NESTFUL: one request, several calls, later ones using the results of earlier ones.

Seal-Tools writes tools and answer as Python literals inside the prompt; `responses` (API_call_0
...) are the names of results, NESTFUL's `label` (var1, used as $var1.key$) likewise: they become
the call's id.

ComplexFuncBench (arXiv 2501.10132) has NESTFUL's form in `nestful-wrapper`, with the answer of each
call: its rows are runs.
"""

from __future__ import annotations

import re
from typing import Any

from raytune_agents.calls.gold import exact_gold
from raytune_agents.readers.shapes import read_call, read_tools, rest_of
from raytune_agents.readers.strict import as_text, dump, value_of
from raytune_agents.records import JsonObject, Message, RecordError, ToolCall, Trajectory


def seal_tools(row: JsonObject) -> Trajectory:
    prompt, answer = (as_text(t["value"]) for t in row["conversations"][:2])
    _, listed, rest = prompt.partition("api_list = [")
    tools_text, instruction, rest = rest.partition("\ntask_instruction = ")
    query, ends, _ = rest.rpartition("\nOutput:")
    if not (listed and instruction and ends):
        raise RecordError("no api_list and task_instruction in the prompt")
    tools = value_of("[" + tools_text.rstrip())
    calls = tuple(_call(c) for c in value_of(answer))
    query = query.rstrip()
    query = query[1:-1] if query[:1] in ("'", '"') else query
    return Trajectory(
        (Message("user", query), Message("assistant", tool_calls=calls)),
        read_tools(tools),
        source_id=as_text(row.get("id")),
        meta=rest_of(row, "id", "conversations"),
    )


def _call(item: JsonObject) -> ToolCall:
    names = item.get("responses") or [""]
    return read_call({"name": item["api"], "arguments": item["parameters"], "id": names[0]})


def nestful(row: JsonObject) -> Trajectory:
    """{input, output: [{name, arguments, label}]}: all calls in one turn, with references; where
    each has its `response`, a run of it, with references resolved and what came back."""
    steps = value_of(row["output"])
    system = [Message("system", as_text(row["system"]))] if row.get("system") else []
    request, gold = Message("user", as_text(row["input"])), ""
    if steps and all("response" in s for s in steps):
        answer = _run(request.content, steps)
    else:
        calls = tuple(read_call(_step(s)) for s in steps)
        answer = [Message("assistant", tool_calls=calls)]
        if any(REFERENCE.search(c.arguments) for c in calls):  # fits no schema but that of text
            gold = dump(exact_gold(calls))
    return Trajectory(
        (*system, request, *answer),
        read_tools(row.get("tools")),
        source_id=as_text(row.get("sample_id")),
        gold=gold,
        meta=rest_of(row, "input", "output", "tools", "sample_id", "system"),
    )


def _step(item: JsonObject) -> JsonObject:
    named = {k: v for k, v in item.items() if k != "label"}
    return named | {"id": as_text(item.get("label")).lstrip("$")}


# --- runs: ComplexFuncBench, as nestful-wrapper keeps it --------------------------------------

REFERENCE = re.compile(r"\$(var\d+)((?:\.[^.$]+)*)\$")
MOST_STEPS = 100  # each looks into all answers of its turn
SHORT = 4  # characters: a shorter value may stand in an answer by chance


def _run(request: str, steps: list[JsonObject]) -> list[Message]:
    """Turns of calls, each turn with what came back but the last."""
    turns = turns_of_steps(request, steps)
    messages: list[Message] = []
    for number, turn in enumerate(turns):
        bare = ({k: s[k] for k in ("name", "arguments")} for s in turn)
        calls = [read_call(b | {"id": f"call_{number}_{i}"}) for i, b in enumerate(bare)]
        messages.append(Message("assistant", tool_calls=tuple(calls)))
        messages += [
            Message("tool", as_text(s["response"]), name=c.name, tool_call_id=c.id)
            for s, c in zip(turn, calls if turn is not turns[-1] else ())
        ]
    return messages


def turns_of_steps(request: str, steps: list[JsonObject]) -> list[list[JsonObject]]:
    """Steps with their references resolved, those in one turn that need nothing of one another: no
    reference, and no value that only an answer of the turn has. Raises RecordError."""
    if len(steps) > MOST_STEPS:
        raise RecordError(f"more than {MOST_STEPS} steps")
    memory: dict[str, Any] = {}
    turns: list[list[JsonObject]] = []
    fresh: set[str] = set()  # labels of this turn
    for step in steps:
        arguments = step["arguments"]
        texts = (v for v in arguments.values() if isinstance(v, str))
        named = {m[1] for text in texts for m in REFERENCE.finditer(text)}
        bare = {k: resolved_value(v, memory) for k, v in arguments.items()}
        seen = "".join(as_text(s["response"]) for s in turns[-1]) if turns else ""
        long = (v for v in bare.values() if isinstance(v, str) and len(v) >= SHORT)
        if not turns or named & fresh or any(v in seen and v not in request for v in long):
            turns.append([])
            fresh = set()
        turns[-1].append(step | {"arguments": bare})
        label = as_text(step.get("label"))
        memory[label] = step["response"]
        fresh.add(label)
    return turns


def resolved_value(value: Any, memory: dict[str, Any]) -> Any:
    """A value for "$var1.key.inner$", of a list's first element; other values as they are. Raises
    RecordError where there is none."""
    found = REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return value
    at = memory.get(found[1])
    for key in found[2].split(".")[1:]:
        at = at[0] if isinstance(at, list) and at else at
        at = at.get(key) if isinstance(at, dict) else None
    if at is None:
        raise RecordError(f"a reference to nothing: {value[:40]}")
    return at
