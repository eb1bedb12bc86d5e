"""`raytune-agents init`: a first agent spec from tools, a world for it, what a spec may hold."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raytune_agents.cli.arguments import said_errors

if TYPE_CHECKING:
    from raytune_agents.agents import AgentSpec

TASKS, SEED = 8, 17  # drawn for a new world


def init(
    tools: Annotated[
        Path | None, typer.Option(help="OpenAI tools, an MCP tool list, OpenAPI, a Python file")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="YAML file to write; NAME.yaml")] = None,
    name: Annotated[str, typer.Option(help="the agent's name; that of the file")] = "",
    positives: Annotated[
        str | None, typer.Option(help="good rows in any known format: examples and profile")
    ] = None,
    world: Annotated[
        bool, typer.Option("--world", help="also a world that carries the calls out, to be edited")
    ] = False,
    schema: Annotated[bool, typer.Option(help="print the JSON Schema of a spec")] = False,
) -> None:
    """Write the spec of an agent that has the tools of a file; go on with it by hand."""
    from raytune_agents.agents.init import init_spec, spec_schema, to_yaml, with_positives
    from raytune_agents.cli.prepare import good_rows, show_profile
    from raytune_agents.config import ConfigError

    with said_errors():
        if schema:
            typer.echo(json.dumps(spec_schema(), indent=2))
            return
        if tools is None:
            raise ConfigError("init: write --tools FILE, or --schema")
        spec = init_spec(tools, name)
        if positives:
            rows, bad = good_rows(positives)
            spec, unfit = with_positives(spec, rows)
            if spec.profile is not None:
                show_profile(spec.profile)
            for why, count in (bad + unfit).most_common():
                typer.echo(f"left out: {count} {why}")
        path = out or Path(f"{spec.name}.yaml")
        if path.exists():
            raise ConfigError(f"{path} exists; write --out with another name")
        if tools.suffix == ".py":
            module = os.path.relpath(tools.resolve(), path.parent.resolve())
            spec = spec.model_copy(update={"module": module})
        spec = with_world(spec, path) if world else spec
        path.write_text(to_yaml(spec), encoding="utf-8")
    names = ", ".join(t.name for t in spec.tools)
    typer.echo(f"{path}: {len(spec.tools)} tools ({names})")
    typer.echo(f"try it: raytune-agents plan --preview 3 'generate.agents=[{path}]'")


def with_world(spec: AgentSpec, path: Path) -> AgentSpec:
    """Write a world beside the spec and give the spec those tasks that run in it. Raises
    ConfigError."""
    from raytune_agents import agents
    from raytune_agents.agents.init import to_yaml
    from raytune_agents.agents.skeleton import drawn_tasks, world_name, world_source
    from raytune_agents.config import ConfigError
    from raytune_agents.generate.checks import task_fault
    from raytune_agents.generate.tasks import tasks

    source = path.with_name(f"{path.stem.replace('-', '_')}_world.py")
    if source.exists():
        raise ConfigError(f"{source} exists; write --out with another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(world_source(spec, Path(spec.module).stem), encoding="utf-8")
    found = drawn_tasks(spec, tasks(spec, TASKS, SEED))
    world = f"{source.name}:{world_name(spec)}"
    path.write_text(to_yaml(spec.model_copy(update={"world": world, "examples": found})))
    spec, kept = agents.load(path), []
    for example in found:
        fault = "" if example.task is None else task_fault(spec, example)
        if fault:
            typer.echo(f"left out: {example.request!r}: {fault}")
        else:
            kept.append(example)
    number = sum(e.task is not None for e in kept)
    typer.echo(f"{source}: {world_name(spec)} with {number} tasks; edit reset and goal")
    return spec.model_copy(update={"examples": kept})
