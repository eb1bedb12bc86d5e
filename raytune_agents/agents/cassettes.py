"""What an MCP server answers, recorded once and replayed as a world: no server is needed again.

`record_tasks` carries out the calls of a spec's tasks, each task in a session of its own, so that
equal tasks find equal states. What is no answer of a tool (a time-out, a dead server, a picture) is
no recording: its task is left out with the reason. `write_recording` makes the world's package,
a class of its own beside `cassette.jsonl`; both are the user's to edit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raytune_agents.agents import AgentSpec, ExampleConfig
from raytune_agents.agents.init import world_name, world_template
from raytune_agents.agents.mcp_tools import TIMEOUT_S, NotRecorded, ask_server, tool_answer
from raytune_agents.config import ConfigError
from raytune_agents.records import JsonObject

MAX_CALLS = 200  # of all tasks together
CLOSE_S = 15.0  # for a server to end; the package kills one that does not after a few seconds


@dataclass
class Recording:
    """The tasks that were recorded, their lines of the cassette, and why others were left out."""

    examples: list[ExampleConfig] = field(default_factory=list)
    lines: list[JsonObject] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)  # (request, reason)


def record_tasks(
    server: str, examples: Sequence[ExampleConfig], timeout_s: float = TIMEOUT_S
) -> Recording:
    """Carry out the calls of `examples` on a running server, `timeout_s` for each call. Raises
    ConfigError where no task could be recorded."""
    out = Recording([e for e in examples if e.task is None])
    for number, example in enumerate(e for e in examples if e.task is not None):
        calls = [[c.name, c.arguments] for c in example.calls]
        try:
            if len(out.lines) + len(calls) > MAX_CALLS:
                raise NotRecorded(f"more than {MAX_CALLS} calls in all")
            answers = _session(server, calls, timeout_s)
        except (NotRecorded, ConfigError) as error:
            out.left_out.append((example.request, str(error)))
            continue
        out.lines += [
            {"task": number, "name": n, "arguments": a} | answer
            for (n, a), answer in zip(calls, answers)
        ]
        task = {"id": number, "calls": calls}
        out.examples.append(example.model_copy(update={"task": task}))
    if not out.lines:
        why = out.left_out[0][1] if out.left_out else "no task has a call"
        raise ConfigError(f"--mcp {server!r}: nothing could be recorded: {why}")
    return out


def _session(server: str, calls: Sequence[list[Any]], timeout_s: float) -> list[JsonObject]:
    """{observation} or {error} for each call, all made in one session. Raises NotRecorded,
    ConfigError."""

    async def make_calls(client: Any) -> list[JsonObject]:
        return [await tool_answer(client, name, arguments, timeout_s) for name, arguments in calls]

    # cancelled while it closes, the package would wait for the server as long as that likes
    answers = ask_server(server, make_calls, timeout_s * (len(calls) + 1) + CLOSE_S)
    if "error" in answers[-1]:
        raise NotRecorded(f"{calls[-1][0]} fails: {answers[-1]['error'][:200]}")
    return answers


def write_recording(spec: AgentSpec, folder: Path, recording: Recording) -> str:
    """Write the world's package; returns its name as a spec has it, "module:Class"."""
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(world_template("cassette", spec), encoding="utf-8")
    lines = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in recording.lines)
    (folder / "cassette.jsonl").write_text(lines, encoding="utf-8")
    return f"{folder.name}:{world_name(spec)}"
