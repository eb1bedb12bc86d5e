"""`raytune-agents analyse SOURCE`: the task patterns of good rows, which generation can follow."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from raytune_agents.agents.analyse import Argument, Profile
from raytune_agents.cli.arguments import console, said_errors
from raytune_agents.records import RecordError, Trajectory

SHOWN = 20  # tools of the table


def good_rows(source: str) -> tuple[list[Trajectory], Counter]:
    """All rows of a source in any known format, and why others could not be read. Raises
    SourceError."""
    from raytune_agents import readers
    from raytune_agents.config import SourceConfig

    rows, bad = [], Counter()
    for where, raw in readers.list_raw(SourceConfig(path=source)):
        try:
            if isinstance(raw, RecordError):
                raise raw
            rows += readers.read_row(raw, where)
        except RecordError as error:
            bad[str(error) or "bad row"] += 1
    return rows, bad


def percent(shares: dict[str, float], most: int = 8) -> str:
    """`scanner 75%, firewall 25%`."""
    return ", ".join(f"{name} {share:.0%}" for name, share in list(shares.items())[:most])


def span(numbers: list[float]) -> str:
    """`2 to 9, median 4`."""
    low, median, high = (f"{n:g}" for n in numbers)
    return low if low == high else f"{low} to {high}, median {median}"


def values(known: Argument) -> str:
    """The values of an argument: a range, or the most frequent texts."""
    if known.numbers:
        return span(known.numbers)
    return ", ".join(f"{text} ({n})" for text, n in known.texts.items())


def show(profile: Profile) -> None:
    """Print a profile: a line a pattern, a table of the tools' arguments."""
    lines = {
        "rows": str(profile.rows),
        "calls a turn": percent(profile.calls),
        "dialogue": percent(profile.kinds),
        "messages": span(profile.turns),
        "words of a request": span(profile.words),
        "phrasing": percent(profile.styles),
        "first words": ", ".join(f"{word} ({n})" for word, n in profile.openings.items()),
    }
    for name, text in lines.items():
        console.print(Text(f"{name:<19}{text}"))
    table = Table("tool", "calls", "argument", "given", "values")
    for tool, share in list(profile.tools.items())[:SHOWN]:
        first = (tool, f"{share:.0%}")
        given: Mapping[str, Argument | None] = profile.arguments.get(tool) or {"-": None}
        for name, known in given.items():
            told = (f"{known.given:.0%}", values(known)) if known else ("", "")
            table.add_row(*(Text(cell) for cell in (*first, name, *told)))
            first = ("", "")
    console.print(table)
    if len(profile.tools) > SHOWN:
        console.print(f"{len(profile.tools) - SHOWN} more tools with fewer calls: analyse --json")


def analyse(
    source: Annotated[str, typer.Argument(help="bfcl, a file, folder, glob, URL or hub id")],
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """Task patterns of good rows: tools, calls, arguments, dialogue length, phrasing."""
    from raytune_agents.agents import analyse as patterns
    from raytune_agents.config import ConfigError

    with said_errors():
        rows, bad = good_rows(source)
        good = [row for row in rows if not row.failed]
        if not good:
            raise ConfigError(f"{source}: no good row ({len(rows)} failures, {bad.total()} bad)")
    profile = patterns(good)
    if as_json:
        typer.echo(json.dumps(profile.model_dump()))
        return
    show(profile)
    if len(good) < len(rows) or bad:
        console.print(f"left out: {len(rows) - len(good)} failures, {bad.total()} bad rows")
