"""`raytune-agents init`: a first agent spec from tools, and what a spec may hold."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from raytune_agents.cli.arguments import said_errors


def init(
    tools: Annotated[
        Path | None, typer.Option(help="OpenAI tools, an MCP tool list, OpenAPI, a Python file")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="YAML file to write; NAME.yaml")] = None,
    name: Annotated[str, typer.Option(help="the agent's name; that of the file")] = "",
    positives: Annotated[
        str | None, typer.Option(help="good rows in any known format: examples and profile")
    ] = None,
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
    path.write_text(to_yaml(spec), encoding="utf-8")
    names = ", ".join(t.name for t in spec.tools)
    typer.echo(f"{path}: {len(spec.tools)} tools ({names})")
    typer.echo(f"try it: raytune-agents plan --preview 3 'generate.agents=[{path}]'")
