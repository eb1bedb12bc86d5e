"""What a positive must pass before anyone's opinion is asked: its format, then its execution.

The order of APIGen (arXiv 2406.18518, section 3.2): format check, execution, semantic judge (the
judge asks an engine and is a part of `stream`). A check gives "" or a reason that is counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from raytune_agents import agents, sandbox
from raytune_agents.agents.worlds import WORLDS, World
from raytune_agents.calls import judge, schema_errors
from raytune_agents.config import GenerateConfig
from raytune_agents.generate import augment
from raytune_agents.negatives import answer_text, trajectory_fault
from raytune_agents.records import Trajectory

STAGES = ("similar", "format", "execution", "judge")  # where a row can fall out, in this order


def format_fault(row: Trajectory) -> str:
    """Every call names a candidate and fits its schema; the last turn is right by the row's
    gold."""
    if row.target is None:
        return "no_answer"
    for call in row.calls:
        errors = schema_errors(call, row.tools)
        if errors:
            return errors[0]
    return "" if judge(answer_text(row.target), row).ok else "not_the_gold"


@dataclass(frozen=True)
class Executor:
    """Runs rows' calls: in the agent's world, or in the sandbox where the spec names a module."""

    modules: tuple[tuple[str, str], ...] = ()  # (agent, path of its tool module)
    limits: sandbox.Limits = field(default_factory=sandbox.Limits)

    def fault(self, row: Trajectory) -> str:
        """Why the row's calls do not run, or "". A run in a world must reach its goal again."""
        agent = row.source.removeprefix("agent/")
        if "goal" in row.meta:
            return trajectory_fault(row, row)
        plain = augment.unmask(row) if "mask" in row.meta else row
        module = dict(self.modules).get(agent)
        if module:
            why = sandbox.execution_fault(plain, module, self.limits)
            return why.removeprefix("execution:")
        return refused(plain, agent) if agent in WORLDS else ""


def refused(row: Trajectory, agent: str) -> str:
    """The first call that the agent's tools do not take, or "". What a tool finds (no such file)
    depends on the world: it counts only where the row names its own, with its observations."""
    own = row.meta.get("world")
    world = World(agent, own["seed"] if own else row.seed)
    told = []
    for call in row.calls:
        errors = schema_errors(call, world.tools)
        if errors:
            return f"{call.name}: {errors[0]}"
        told.append(world.call(call))
    seen = [m.content for m in row.messages if m.role == "tool"]
    if own and (seen != told[: len(seen)] or told[-1].startswith('{"error"')):
        return "unreal"
    return ""


def executor(section: GenerateConfig) -> Executor:
    """The executor of the section's agents. Raises ConfigError where a spec's module is no file, or
    where the sandbox would refuse to run it."""
    paths = [(agents.load(name).name, agents.module_path(name)) for name in section.agents]
    limits = sandbox.Limits(section.tool_timeout_s, section.tool_memory_mib)
    if any(path for _, path in paths):
        sandbox.require_walls()
    return Executor(tuple((name, str(path)) for name, path in paths if path), limits)
