"""`raytune-agents init`: an agent's spec and a first run config from tools, good rows, or both."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raytune_agents.cli.shared_options import printed_errors, refuse, refuse_unused

if TYPE_CHECKING:
    from raytune_agents.agents import AgentSpec, ExampleConfig
    from raytune_agents.pipeline.first_run import FirstRun
    from raytune_agents.records import Trajectory

TASKS, SEED = 8, 17  # drawn for a new world
WORLDS = ("_world.py", "_world")  # how a world's file, and a recorded one's folder, end


def init(
    tools: Annotated[
        Path | None, typer.Option(help="OpenAI tools, an MCP tool list, OpenAPI, a Python file")
    ] = None,
    mcp: Annotated[
        str | None, typer.Option(help="an MCP server instead: command, URL, or FILE.json:NAME")
    ] = None,
    openenv: Annotated[
        str | None, typer.Option(help="an OpenEnv server instead: its URL, also the world")
    ] = None,
    only: Annotated[str, typer.Option(help="of --mcp: these tools, by comma")] = "",
    out: Annotated[
        Path | None, typer.Option(help="the spec to write, NAME.yaml; the run is NAME_run.yaml")
    ] = None,
    name: Annotated[str, typer.Option(help="the agent's name; that of the file")] = "",
    positives: Annotated[
        str | None,
        typer.Option(help="good rows in any known format; without --tools, theirs are taken"),
    ] = None,
    model: Annotated[str, typer.Option(help="model.name of the run: a hub id or a folder")] = "",
    folds: Annotated[
        int, typer.Option(min=1, max=20, help="cross-fitting: runs that ask every good row once")
    ] = 1,
    world: Annotated[
        bool,
        typer.Option(
            "--world",
            help="also a world that carries the calls out, to be "
            "edited; of --mcp: recorded answers of the --only tools",
        ),
    ] = False,
    schema: Annotated[bool, typer.Option(help="print the JSON Schema of a spec")] = False,
) -> None:
    """Write an agent's spec and the config of its first run; go on with both by hand."""
    from raytune_agents.agents.init import spec_schema
    from raytune_agents.models import EMBEDDED
    from raytune_agents.pipeline.first_run import FirstRun
    from raytune_agents.pipeline.read import with_catalogue

    with printed_errors():
        if schema:
            given = {"--tools": tools, "--mcp": mcp, "--openenv": openenv, "--out": out}
            refuse_unused(given | {"--positives": positives}, "is not used by --schema")
            return typer.echo(json.dumps(spec_schema(), indent=2))
        spec, found = spec_given(tools, mcp, openenv, only, positives, name)
        refuse_folds(folds, len(found), world)
        path = out or Path(f"{spec.name}.yaml")
        if tools is not None and tools.suffix == ".py":
            module = os.path.relpath(tools.resolve(), path.parent.resolve())
            spec = spec.model_copy(update={"module": module})
        paths = [path.with_stem(f"{path.stem}-{k}") for k in range(folds)] if folds > 1 else [path]
        refuse_taken(*paths, *map(run_path, paths))
        rows = [with_catalogue(row, spec.toolspecs) for row in found]
        named = spec.name, "", spec, positives or "", rows, model or EMBEDDED
        first = FirstRun(*named, bare=sum(not row.tools for row in found), folds=folds)
        with all_or_none(paths):
            for fold, place in enumerate(paths):
                write_fold(replace(first, spec_path=str(place), fold=fold), world, mcp, only)
        if folds > 1:
            say_folds(spec.name, folds, len(rows))


def say_folds(name: str, folds: int, rows: int) -> None:
    """What to type once the folds' runs have ended, and what they can show together."""
    from raytune_agents.pipeline.first_run import detectable_difference

    runs = ",".join(f"runs/{name}-{k}" for k in range(folds))
    typer.echo(f"after all {folds}: raytune-agents compare {runs}")
    typer.echo(f"  {rows} real rows, can show {detectable_difference(rows)}")


@contextmanager
def all_or_none(paths: Sequence[Path]) -> Iterator[None]:
    """After an error, nothing is left of what is written beside these specs: typed again, the
    command must not meet half of it."""
    worlds = [world_path(path, ending) for path in paths for ending in WORLDS]
    own = [place for place in (*paths, *map(run_path, paths), *worlds) if not place.exists()]
    try:
        yield
    except BaseException:
        for place in own:
            if place.is_dir():
                shutil.rmtree(place, ignore_errors=True)
            else:
                place.unlink(missing_ok=True)
        raise


def write_fold(first: FirstRun, world: bool, mcp: str | None, only: str) -> None:
    """The files of a fold (most often there is one), with a world where it is wanted."""
    from raytune_agents.pipeline.first_run import first_split

    path, rows = Path(first.spec_path), first_split(first.rows, first.fold, first.folds)
    spec = with_examples(first.spec, rows, told=first.fold == 0)
    if world and mcp is not None:
        spec = with_recording(spec, path, mcp, listed_names(only))
    elif world and not spec.world:
        spec = with_world(spec, path)
    write_spec_and_run(replace(first, spec=spec, rows=rows))


def spec_given(
    tools: Path | None,
    mcp: str | None,
    openenv: str | None,
    only: str,
    positives: str | None,
    name: str,
) -> tuple[AgentSpec, list[Trajectory]]:
    """The spec of what was named, and the good rows. Raises ConfigError."""
    from raytune_agents.agents import init as made

    named = [x for x in (tools, mcp, openenv) if x is not None]
    if not named and positives is None:
        refuse(
            "init: write --tools FILE, --mcp SERVER, --openenv URL, --positives ROWS, or --schema"
        )
    if only and mcp is None:
        refuse(f"init: --only {only} chooses of --mcp; leave it out, or write --mcp")
    if len(named) > 1:
        refuse("init: --tools, --mcp and --openenv all name tools; write one of them")
    if name and name != (right := made.agent_name(name)):
        refuse(f"--name {name!r} is no agent's name; write {right}")
    rows = read_positives(positives) if positives else []
    if positives and not rows:
        refuse(f"--positives {positives}: {no_rows_hint(positives)}")
    if mcp is not None:
        return made.mcp_spec(mcp, listed_names(only), name), rows
    if openenv is not None:
        return made.openenv_spec(openenv, name), rows
    if tools is None:
        return made.spec_from_rows(rows, name or Path(str(positives)).stem), rows
    return made.init_spec(tools, name), rows


def refuse_folds(folds: int, rows: int, world: bool) -> None:
    """Raises ConfigError where so few rows, or a world, leave no cross-fitting."""
    if folds > 1 and (world or rows < folds):
        refuse(
            f"init: --folds {folds} needs as many good rows ({rows} are here) and no --world; "
            "write fewer folds, and name a world in each spec by hand"
        )


def no_rows_hint(positives: str) -> str:
    """Why a file gave no row: it holds tools, or nothing that is read."""
    from raytune_agents.agents.init import tools_of_file
    from raytune_agents.config import ConfigError

    try:
        tools_of_file(Path(positives))
    except ConfigError:
        return f"no row can be read; see raytune-agents read --explain {positives}"
    return f"it holds tools, not rows; write --tools {positives}"


def listed_names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def refuse_taken(*paths: Path) -> None:
    """Raises ConfigError where one is there."""
    for path in paths:
        if path.exists():
            refuse(f"{path} exists; write --out with another name")


def read_positives(source: str) -> list[Trajectory]:
    """The rows of a source; says what could not be read."""
    from raytune_agents.cli.prepare import good_rows

    rows, bad = good_rows(source)
    for why, count in bad.most_common():
        typer.echo(f"left out: {count} {why}")
    return rows


def with_examples(spec: AgentSpec, rows: list[Trajectory], told: bool = True) -> AgentSpec:
    """The spec with examples and profile of the training rows that fit it: what is kept back is
    quoted nowhere. `told`: says which rows do not fit. Raises ConfigError where none does."""
    from collections import Counter

    from raytune_agents.agents.init import unfit, with_positives
    from raytune_agents.cli.prepare import show_profile

    reasons = [unfit(spec, row) for row in rows]
    for why, count in Counter(filter(None, reasons)).most_common() if told else ():
        typer.echo(f"left out: {count} {why}")
    train = [r for r, why in zip(rows, reasons) if not why and r.split == "train"]
    if not rows or (not train and not all(reasons)):
        return spec
    spec, _ = with_positives(spec, train or rows)
    if spec.profile is not None and told:
        if 0 < len(train) < len(rows):
            typer.echo(f"{len(train)} of {len(rows)} rows are trained on; these look so:")
        show_profile(spec.profile)
    return spec


def run_path(path: Path) -> Path:
    """Where the run config stands beside its spec."""
    return path.with_name(f"{path.stem}_run.yaml")


def write_spec_and_run(first: FirstRun) -> None:
    """The spec and the run config beside it; says what it has no rows for, its suites and minutes,
    and the next command."""
    from raytune_agents.agents import load_spec
    from raytune_agents.agents.init import to_yaml
    from raytune_agents.config import load_config
    from raytune_agents.generate.known import gap_lines, gaps, single_values, with_known
    from raytune_agents.pipeline.first_run import foreseen_minutes, run_yaml, suite_lines

    path = Path(first.spec_path)
    path.write_text(to_yaml(first.spec), encoding="utf-8")
    load_spec(path)  # what cannot be read is refused here, and not by the run
    tools = first.spec.tools
    names = ", ".join(t.name for t in tools[:12])
    typer.echo(f"{path}: {len(tools)} tool{'s' * (len(tools) != 1)} ({names})")
    run = run_path(path)
    known = with_known(first.spec, first.rows)
    for line in gap_lines(gaps(known)):
        typer.echo(f"  no rows for {line}")
    for gap in single_values(known):
        typer.echo(f"  one value for {gap}")
    run.write_text(run_yaml(first), encoding="utf-8")
    minutes = foreseen_minutes(load_config(run))
    run.write_text(run_yaml(first, minutes), encoding="utf-8")
    for line in suite_lines(first):
        typer.echo(f"  {line}")
    typer.echo(f"{run}: " + (f"about {minutes:.0f} minutes" if minutes else "minutes: see plan"))
    typed = shlex.quote(str(run))
    typer.echo(f"look first: raytune-agents plan {typed} --preview 3")
    typer.echo(f"next: raytune-agents run {typed}")


def with_world(spec: AgentSpec, path: Path) -> AgentSpec:
    """Write a world beside the spec and give the spec those tasks that run in it. Raises
    ConfigError."""
    from raytune_agents.agents.init import sampled_tasks, world_name, world_template
    from raytune_agents.generate.tasks import tasks

    source = free_place(world_path(path, WORLDS[0]))
    text = world_template("world", spec, Path(spec.module).stem)
    source.write_text(text, encoding="utf-8")
    found = sampled_tasks(spec, tasks(spec, TASKS, SEED))
    return with_tasks(spec, path, f"{source.name}:{world_name(spec)}", found)


def with_recording(spec: AgentSpec, path: Path, server: str, allowed: list[str]) -> AgentSpec:
    """Carry out tasks on an MCP server, write a world that replays its answers, and give the spec
    those tasks. Raises ConfigError."""
    from raytune_agents.agents.cassettes import record_tasks, write_recording
    from raytune_agents.agents.init import sampled_tasks
    from raytune_agents.generate.tasks import tasks

    if not allowed:
        names = ",".join(t.name for t in spec.tools)
        refuse(f"init: --mcp with --world calls tools; name them by --only {names}")
    folder = free_place(world_path(path, WORLDS[1]))
    recording = record_tasks(server, sampled_tasks(spec, tasks(spec, TASKS, SEED)))
    for request, why in recording.left_out:
        typer.echo(f"left out: {request!r}: {why}")
    world = write_recording(spec, folder, recording)
    typer.echo(f"{folder / 'cassette.jsonl'}: {len(recording.lines)} recorded calls")
    return with_tasks(spec, path, world, recording.examples)


def world_path(path: Path, ending: str) -> Path:
    """Where a world stands beside its spec."""
    return path.with_name(f"{path.stem.replace('-', '_')}{ending}")


def free_place(place: Path) -> Path:
    """The place itself, its folder made. Raises ConfigError where something is there."""
    refuse_taken(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def with_tasks(spec: AgentSpec, path: Path, world: str, found: list[ExampleConfig]) -> AgentSpec:
    """The spec with a world and those of the tasks that run in it; says which do not."""
    from raytune_agents import agents
    from raytune_agents.agents.init import to_yaml
    from raytune_agents.generate.validate_rows import task_fault

    path.write_text(to_yaml(spec.model_copy(update={"world": world, "examples": found})))
    spec, kept = agents.load_spec(path), []
    for example in found:
        fault = "" if example.task is None else task_fault(spec, example)
        if fault:
            typer.echo(f"left out: {example.request!r}: {fault}")
        else:
            kept.append(example)
    number = sum(e.task is not None for e in kept)
    place, _, name = world.partition(":")
    typer.echo(f"{path.with_name(place)}: {name} with {number} tasks; edit reset and goal")
    return spec.model_copy(update={"examples": kept})
