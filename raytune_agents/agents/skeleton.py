"""A first world for an agent: a file that runs as it is, to be edited by its user.

`world_source` writes the class, `sampled_tasks` gives the spec examples with a task. Left out:
whether they run (`generate.validate_rows`)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from raytune_agents.agents import AgentSpec, ExampleConfig
from raytune_agents.records import Trajectory

SOURCE = '''"""The world of the agent {agent}: where its calls are carried out.

It runs in the sandbox of raytune-agents: no network, no other processes, files only in its own
folder. Edit `reset` and `goal`; each task has an object of its own.
"""
{imports}

class {name}:
    def reset(self, task):
        """Begin a task, the JSON that an example of the spec has as `task`. Equal tasks must give
        equal states. Put what your tools work on into the state."""
        self.task = task
        self.state = {{"calls": []}}
        return self.state

    def call(self, name, arguments):
        """Carry a call out. The model sees what this returns, or the error that it raises."""
        self.state["calls"].append([name, arguments])
        {call}

    def goal(self, state):
        """Whether the task is done: True, False, or a score from 0 to 1. Here: its calls were made.
        Better: whether the state is as it should be, however it came about."""
        return all(call in state["calls"] for call in self.task["calls"])
'''


def world_name(spec: AgentSpec) -> str:
    """The class: my-tools -> MyToolsWorld."""
    words = re.findall(r"[A-Za-z0-9]+", spec.name)
    name = "".join(w[:1].upper() + w[1:] for w in words)
    return f"{name if name[:1].isalpha() else 'Agent' + name}World"


def world_source(spec: AgentSpec, module: str) -> str:
    """The file of the world; `module` is the Python module of its tools, "" where there is none."""
    call = (
        f"return getattr({module}, name)(**arguments)"
        if module
        else ('return {"ok": True}  # what would your tool say?')
    )
    imports = f"\nimport {module}\n" if module else ""
    return SOURCE.format(agent=spec.name, imports=imports, name=world_name(spec), call=call)


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
