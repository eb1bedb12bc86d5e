"""A first world for an agent: a file that runs as it is, to be edited by its user.

`world_template` writes the class, `sampled_tasks` gives the spec examples with a task. Left out:
whether they run (`generate.validate_rows`)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from raytune_agents.agents import FOLDER, AgentSpec, ExampleConfig
from raytune_agents.records import Trajectory
from raytune_agents.storage import filled


def world_name(spec: AgentSpec) -> str:
    """The class: my-tools -> MyToolsWorld."""
    name = "".join(w[:1].upper() + w[1:] for w in re.findall(r"[A-Za-z0-9]+", spec.name))
    return f"{name if name[:1].isalpha() else 'Agent' + name}World"


def world_template(kind: str, spec: AgentSpec, module: str = "") -> str:
    """The source of a world, from data/KIND.py.jinja; `module`: the Python module of its tools."""
    template = FOLDER / "data" / f"{kind}.py.jinja"
    return filled(template, agent=spec.name, name=world_name(spec), module=module)


def sampled_tasks(spec: AgentSpec, rows: Sequence[Trajectory]) -> list[ExampleConfig]:
    """The spec's examples with calls and single-turn rows that were drawn for it, as tasks of the
    skeleton: their calls must be made."""
    own = [e.model_dump() for e in spec.examples if e.calls]
    own += [
        {"request": r.query, "calls": [{"name": c.name, "arguments": c.args} for c in r.calls]}
        for r in rows
    ]
    tasks = {}
    for example in own:
        calls = [[c["name"], c["arguments"]] for c in example["calls"]]
        example |= {"answer": example.get("answer") or "Done.", "task": {"calls": calls}}
        tasks.setdefault(example["request"], ExampleConfig.model_validate(example))
    return [*(e for e in spec.examples if not e.calls), *tasks.values()]
