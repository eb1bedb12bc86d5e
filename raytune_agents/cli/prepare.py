"""Commands before a run: capture (a proxy whose file `read` takes), read (how a source is read,
what good rows look like), doctor, plan."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from raytune_agents.cli.shared_options import (
    CONFIG,
    OVERRIDES,
    WRONG,
    console,
    errors,
    load_tree,
    printed_errors,
    refuse,
    say,
    table_of,
)

if TYPE_CHECKING:
    from raytune_agents.agents.analyse import Argument, Profile
    from raytune_agents.config import Config, SourceConfig
    from raytune_agents.records import Trajectory

SHOWN_TOOLS = 20  # tools of a profile's table


# --- read ---


def read_command(
    config: CONFIG = None,
    overrides: OVERRIDES = None,
    explain: Annotated[
        str | None, typer.Option(help="how a source is read: format, mapping, bad rows")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="what its good rows look like: tools, calls, phrasing")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="the profile as JSON")] = False,
) -> None:
    """The read step of a config; or a look at a source (file, folder, glob, URL, hub id, bfcl)."""
    with printed_errors():
        if looks := [text for text in (explain, profile) if text is not None]:
            if len(looks) > 1:
                refuse("read: --explain and --profile are two looks; write one of them")
            words = [*([config] if config else []), *(overrides or [])]
            if words:
                refuse(
                    f"read: {words[0]!r} is not used beside a look at {looks[0]!r}; leave it out"
                )
        if as_json and profile is None:
            refuse("read: --json is of --profile ROWS; write that, or leave it out")
        if explain is not None:
            from raytune_agents.readers.mapping import source_report

            console.print(source_report(named_source(explain)))
        elif profile is not None:
            show_patterns(profile, as_json)
        else:
            from raytune_agents.pipeline.run import run_steps
            from raytune_agents.progress import Display

            run_steps(load_tree(config, overrides), ("read",), Display(console))


def named_source(path: str) -> SourceConfig:
    """The source that a command line names. Raises ConfigError."""
    from raytune_agents.config.loading import build_config

    return build_config({"read": {"sources": [{"path": path}]}}).read.sources[0]


def show_patterns(source: str, as_json: bool) -> None:
    """Task patterns of good rows, which generation can follow. Raises ConfigError."""
    from raytune_agents.agents.analyse import analyse

    rows, bad = good_rows(source)
    good = [row for row in rows if not row.failed]
    if not good:
        refuse(f"{source}: no good row ({len(rows)} failures, {bad.total()} bad)")
    found = analyse(good)
    if as_json:
        typer.echo(json.dumps(found.model_dump()))
        return
    show_profile(found)
    if len(good) < len(rows) or bad:
        say(f"left out: {len(rows) - len(good)} failures, {bad.total()} bad rows")


def good_rows(source: str) -> tuple[list[Trajectory], Counter[str]]:
    """All rows of a source in any known format, and why others could not be read. Raises
    SourceError."""
    from raytune_agents import readers

    found = list(readers.read_source(named_source(source)))
    bad = Counter(row.error for row in found if row.error)
    return [made for row in found for made in row.rows], bad


def show_profile(profile: Profile) -> None:
    """Print a profile: one line per pattern, and a table of the tools' arguments."""
    lines = {
        "rows": str(profile.rows),
        "calls per turn": percentages(profile.calls),
        "dialogue": percentages(profile.kinds),
        "messages": range_text(profile.turns),
        "words of a request": range_text(profile.words),
        "requests": ", ".join(f"{frame} ({n})" for frame, n in list(profile.frames.items())[:8]),
    }
    for name, text in lines.items():
        say(f"{name:<19}{text}")
    rows = []
    for tool, share in list(profile.tools.items())[:SHOWN_TOOLS]:
        first = (tool, f"{share:.0%}")
        arguments: Mapping[str, Argument | None] = profile.arguments.get(tool) or {"-": None}
        for name, known in arguments.items():
            cells = (f"{known.given:.0%}", value_texts(known)) if known else ("", "")
            rows.append((*first, name, *cells))
            first = ("", "")
    heads = ("tool", "calls", "argument", "given", "values")
    console.print(table_of("", heads, rows, left=len(heads)))
    if len(profile.tools) > SHOWN_TOOLS:
        say(f"{len(profile.tools) - SHOWN_TOOLS} more tools with fewer calls: add --json")


def percentages(shares: Mapping[str, float], most: int = 8) -> str:
    """`scanner 75%, firewall 25%`."""
    return ", ".join(f"{name} {share:.0%}" for name, share in list(shares.items())[:most])


def range_text(numbers: list[float]) -> str:
    """`2 to 9, median 4`."""
    low, median, high = (f"{n:g}" for n in numbers)
    return low if low == high else f"{low} to {high}, median {median}"


def value_texts(known: Argument) -> str:
    """The values of an argument: a range, or the most frequent texts."""
    if known.numbers:
        return range_text(known.numbers)
    return ", ".join(f"{text} ({n})" for text, n in known.texts.items())


# --- doctor ---


def doctor(
    config: CONFIG = None,
    overrides: OVERRIDES = None,
    only: Annotated[str | None, typer.Option(help="only these checks: model, data, ...")] = None,
) -> None:
    """Would it run? Config, data, model, cluster, disk, memory, prompts, one row, one step."""
    with printed_errors():
        tree = load_tree(config, overrides)
        from raytune_agents.pipeline import doctor as checks

        failed = False
        for found in checks.examine(tree, console, only.split(",") if only else ()):
            line = f"{found.level:<5} {found.name}: {found.text}"
            if found.level == checks.FAIL:
                failed = True
                errors.print(line, style="red", highlight=False, markup=False)
            else:
                say(line, style="yellow" if found.level == checks.WARN else None)
    if failed:
        raise typer.Exit(WRONG - 1)


# --- plan ---


def plan_command(
    config: CONFIG = None,
    overrides: OVERRIDES = None,
    provider: Annotated[
        str | None, typer.Option(help="openai or gemini: a hosted job on the run's rows")
    ] = None,
    preview: Annotated[int, typer.Option(min=0, help="show this many rows of every pool")] = 0,
) -> None:
    """What a run will take: placement, tokens, memory, hours, disk, money; nothing is started."""
    with printed_errors():
        if preview and provider is not None:
            refuse("plan: --provider and --preview are two looks; write one of them")
        tree = load_tree(config, overrides)
        if preview:
            from raytune_agents.cli.preview import preview as show

            show(tree, preview, console)
            return
        for line in hosted_lines(tree, provider) if provider else planned_lines(tree):
            say(line)


def planned_lines(tree: Config) -> list[str]:
    """The plan on the cluster that the config names, or on this machine; Ray is asked and left."""
    from raytune_agents.infra import cluster
    from raytune_agents.pipeline import plan as planner
    from raytune_agents.pipeline.run import preflight

    preflight(tree)
    have = cluster.look(tree.resources)
    return planner.plan(tree, have).lines()


def hosted_lines(tree: Config, provider: str) -> list[str]:
    """Tokens, price by export.prices, and time of tuning a hosted model on the run's rows."""
    from raytune_agents.cli.take_away import labelled_rows
    from raytune_agents.exports import pricing as hosted
    from raytune_agents.exports import splits

    rows = labelled_rows(tree)
    parts = splits.plain(map(splits.slim, rows), tree.export.val_share, tree.seed)
    train = {"train": parts.files["train"]}
    found = hosted.export_plan((r for *_, r in splits.chosen(rows, train)), provider, tree.export)
    found.left_out.update(parts.left_out | {"val row": len(parts.files["val"])})
    return found.lines()


# --- capture ---


def _is_address(url: str) -> bool:
    try:
        return bool(re.match("https?://[^/]", url)) and urlsplit(url).port != 0
    except ValueError:  # the port is no number
        return False


def capture_command(
    upstream: Annotated[str, typer.Option(help="the endpoint, for example http://127.0.0.1:8000")],
    out: Annotated[Path, typer.Option(help="JSON lines; a file that is there goes on")] = Path(
        "captured.jsonl"
    ),
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535)] = 8123,
    timeout_s: Annotated[float, typer.Option(min=0.1, help="longest wait for the endpoint")] = 600,
    allow_host: Annotated[list[str] | None, typer.Option(help="a name it is called by")] = None,
) -> None:
    """Stand before an OpenAI-compatible endpoint and write what passes, as rows for `read`."""
    with printed_errors():
        if not _is_address(upstream):
            refuse(f"--upstream {upstream!r} is no URL; write http://HOST:PORT")
        try:
            import uvicorn  # noqa: F401

            from raytune_agents.capture import serve_capture
        except ImportError as error:
            refuse(f"capture needs package {error.name}: pip install '.[serve]' in the clone")
        say(f"recording to {out}; point the agent to it: OPENAI_BASE_URL=http://{host}:{port}/v1")
        say(f"how a session ended: POST http://{host}:{port}/capture/outcome", style="dim")
        try:
            serve_capture(upstream, out, host, port, timeout_s, allow_host or ())
        except OSError as error:
            refuse(f"--out {out}: {error}; write a file in a folder of yours")
