"""What a positive must pass before anyone's opinion is asked: its format, then its execution.

The order of APIGen (arXiv 2406.18518, section 3.2): format check, execution, semantic judge (the
judge asks an engine and is a part of `rewrite`). A check gives "" or a reason that is counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from raytune_agents import agents, sandbox
from raytune_agents.agents.wording import survives
from raytune_agents.agents.worlds import (
    Episode,
    WorldDown,
    ends_in_world,
    failed_observation,
    task_in,
    task_of,
    world_code,
)
from raytune_agents.agents.worlds.process import made_tasks
from raytune_agents.calls import judge, schema_errors
from raytune_agents.config import ConfigError, GenerateConfig
from raytune_agents.generate import augment
from raytune_agents.negatives import answer_text, trajectory_fault
from raytune_agents.records import Trajectory

# where a row can fall out, in this order
STAGES = ("similar", "named", "format", "execution", "judge")


def format_fault(row: Trajectory) -> str:
    """Every trained call names a candidate and fits its schema; the last turn is right by the
    row's gold."""
    if row.target is None:
        return "no_answer"
    for call in row.trained_calls:
        errors = schema_errors(call, row.tools)
        if errors:
            return errors[0]
    return "" if judge(answer_text(row.target), row).ok else "not_the_gold"


@dataclass(frozen=True)
class Executor:
    """Runs rows' calls: in the agent's world, or in the sandbox where the spec names a module."""

    specs: tuple[agents.AgentSpec, ...] = ()
    limits: sandbox.Limits = field(default_factory=sandbox.Limits)

    def fault(self, row: Trajectory) -> str:
        """Why the row's calls do not run, or "". A run in a world must reach its goal again."""
        agent = row.source.removeprefix("agent/")
        spec = next((s for s in self.specs if s.name == agent), None)
        try:
            if ends_in_world(row):
                return trajectory_fault(row, row)
            plain = augment.unmask(row) if "mask" in row.meta else row
            if spec and spec.module_path:
                why = sandbox.execution_fault(plain, spec.module_path, self.limits)
                return why.removeprefix("execution:")
            return refused(plain, spec) if spec and spec.world else ""
        except WorldDown as error:
            return f"world:{error}"


def refused(row: Trajectory, spec: agents.AgentSpec) -> str:
    """The first call that the agent's tools do not take, or "". What a tool finds (no such file)
    depends on the world: it counts only where the row names its own, with its observations.
    Raises WorldDown."""
    own = task_of(row)
    episode = Episode(own or task_in(spec, spec.first_task or {"seed": row.seed}), spec.toolspecs)
    made = []
    for call in row.calls:
        errors = schema_errors(call, spec.toolspecs)
        if errors:
            return f"{call.name}: {errors[0]}"
        made.append(episode.call(call))
    seen = [m.content for m in row.messages if m.role == "tool"]
    if own and (seen != made[: len(seen)] or failed_observation(made[-1])):
        return "unreal"
    return ""


def task_fault(spec: agents.AgentSpec, example: agents.ExampleConfig) -> str:
    """Why an example's calls do not reach the goal of its task, or ""."""
    episode = Episode(task_in(spec, example.task or {}), spec.toolspecs)
    try:
        seen = [episode.call(c.call) for c in example.calls]
        score = episode.score(example.answer)
    except WorldDown as error:
        return str(error)
    if lost := [fact for fact in example.facts if not survives(fact, example.answer)]:
        return f"its answer lacks the facts {lost}"
    return "" if score >= 1 else f"its calls reach a score of {score:g}, the tools said {seen}"


def check_world(spec: agents.AgentSpec) -> None:
    """A user's world begins, and examples with a task reach its goal. Raises ConfigError."""
    where = f"agent {spec.name!r}: world={spec.world!r}"
    try:
        made = made_tasks(world_code(spec), 0, 1)
        first = made[0].get("task") or {} if made else spec.first_task
        Episode(task_in(spec, first), None).score("")
    except WorldDown as error:
        raise ConfigError(f"{where}: {error}") from None
    for i, example in enumerate(spec.examples):
        if example.task is not None and (fault := task_fault(spec, example)):
            raise ConfigError(f"{where}: examples.{i}: {fault}")


def executor(config: GenerateConfig) -> Executor:
    """The executor of the config's agents. Raises ConfigError where a spec's module is no file,
    its world does not do what its examples do, or the sandbox would refuse to run either."""
    specs = tuple(map(agents.load_spec, config.agents))
    for spec in specs:
        code = world_code(spec) if spec.world else None
        own = code if code and not code.shipped else None
        if spec.module_path or (own and not own.remote):
            sandbox.require_walls()
        if own:
            check_world(spec)
    return Executor(specs, sandbox.Limits(config.tool_timeout_s, config.tool_memory_mib))
