"""ToolAlpaca: APIs with instructions and golden calls, or with `Instances` of simulated runs.

Tools come from Function_Description, whose "Parameters: {...}" line holds words such as
"Required. string. ...". An instance that was stopped or could not be parsed is a failure; of the
others the source does not say whether they are right.
"""

from __future__ import annotations

import re
from typing import Any

from raytune_agents.readers.fields import words_of
from raytune_agents.readers.parameters import type_schema
from raytune_agents.readers.shapes import rest_of
from raytune_agents.readers.strict import as_text, dump, value_of
from raytune_agents.readers.turns import episode
from raytune_agents.records import JsonObject, Message, RecordError, ToolCall, ToolSpec, Trajectory

WORDS = re.compile(r"(Required\.?\s+)?(?:Optional\.?\s+)?(\w+(?:\[\w+\])?)\.\s*(.*)", re.DOTALL)
FAILED = ("Agent stopped", "Could not parse")
LONG = words_of("toolalpaca")


def read(row: JsonObject) -> list[Trajectory]:
    described = row["Function_Description"].items()
    tools = tuple(_tool(name, as_text(text)) for name, text in described if name != "components")
    meta, api = rest_of(row, *LONG), as_text(row.get("Name"))
    api = f"{row['run']}/{api}" if "run" in row else api
    if "Instances" in row:
        found = [(i, x) for i, x in enumerate(row["Instances"]) if isinstance(x, dict)]
        rows = [_instance(x, tools, f"{api}.{i}", meta) for i, x in found]
    else:
        pairs = enumerate(zip(row["Instructions"], row["Golden_Answers"]))
        rows = [_golden(q, a, tools, f"{api}.{i}", meta) for i, (q, a) in pairs]
    if not rows:
        raise RecordError("no instance is used")
    return rows


def _tool(name: str, description: str) -> ToolSpec:
    before, found, rest = f"\n{description}".partition("\nParameters: {")
    body = "{" + rest.partition("\nOutput:")[0].rstrip("\n")
    found = found if body.endswith("}") else ""
    listed = value_of(body) if found else {}
    properties, required = {}, []
    for key, text in listed.items():
        words = WORDS.match(as_text(text))
        kind = type_schema(words[2].lower())[0] if words else {}
        properties[key] = kind | {"description": (words[3] if words and kind else as_text(text))}
        if words and words[1]:
            required.append(key)
    schema = {"type": "object", "properties": properties, "required": required}
    return ToolSpec(name, before.removeprefix("\n") if found else description, dump(schema))


def _golden(
    query: str, answer: Any, tools: tuple[ToolSpec, ...], key: str, meta: JsonObject
) -> Trajectory:
    calls = tuple(ToolCall(a["Action"], as_text(a["Action_Input"]) or "{}") for a in answer)
    messages = (Message("user", as_text(query)), Message("assistant", tool_calls=calls))
    return Trajectory(messages, tools, source_id=key, meta=meta)


def _instance(
    run: JsonObject, tools: tuple[ToolSpec, ...], key: str, meta: JsonObject
) -> Trajectory:
    messages = [Message("user", as_text(run["input"]))]
    for (action, arguments, log), seen in run.get("intermediate_steps") or []:
        thought = re.split(r"\n?(?:ASSISTANT )?Action:", as_text(log), maxsplit=1)[0].strip()
        calls = (ToolCall(as_text(action), as_text(arguments) or "{}"),)
        messages.append(Message("assistant", "", thought, calls))
        messages.append(Message("tool", as_text(seen), name=as_text(action)))
    output = as_text(run.get("output"))
    failed = output.startswith(FAILED)
    if output and not failed:
        messages.append(Message("assistant", output))
    elif len(messages) == 1:
        messages.append(Message("assistant", output.removeprefix("Could not parse LLM output: ")))
    return episode(
        messages,
        tools,
        source_id=key,
        outcome=0.0 if failed else None,
        outcome_word=output[:60] if failed else "answered",
        meta=meta | rest_of(run, "input", "output", "intermediate_steps"),
    )
