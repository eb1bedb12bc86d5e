"""`raytune-agents compare RUN_A RUN_B`: is B better than A, by how much, how surely, and where."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from rich.table import Table

METRIC = "exact_match"
FEW_ROWS = 30  # a category with fewer rows is shown, but never called a regression


def compare(
    run_a: Annotated[str, typer.Argument(help="run folder, or seeds of one with commas between")],
    run_b: Annotated[str, typer.Argument(help="run folder, or seeds of one with commas between")],
    arm_a: Annotated[str | None, typer.Option(help="arm of A; none = every arm both have")] = None,
    arm_b: Annotated[str | None, typer.Option(help="arm of B")] = None,
    metric: Annotated[str, typer.Option(help="metric of the rows")] = METRIC,
    any_base: Annotated[bool, typer.Option(help="compare over different base models")] = False,
    resamples: Annotated[int, typer.Option(min=100, help="bootstrap resamples")] = 2000,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999)] = 0.95,
) -> None:
    """B against A on the rows both answered: difference, interval, p (Holm), regressions first."""
    from raytune_agents.config import ConfigError
    from raytune_agents.evaluate import ab
    from raytune_agents.evaluate.harness import SHOWN

    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)
    try:
        if metric not in SHOWN:
            raise ConfigError(f"--metric {metric!r} is not compared; write {', '.join(SHOWN)}")
        a, b = ab.load(run_a), ab.load(run_b)
        if (odd := ab.same_base(a, b)) and not any_base:
            raise ConfigError(
                f"the runs have different base models ({odd}), so a difference is not the "
                "adapters' alone; write --any-base to compare them all the same"
            )
        chosen = ab.pairs(a, b, arm_a, arm_b)
    except ConfigError as error:
        typer.secho(str(error), fg="red", err=True)
        raise typer.Exit(2) from None
    console.print(f"A = {run_a}, B = {run_b}; {metric}, B - A on the rows that both answered")
    options = {"resamples": resamples, "confidence": confidence}
    for side in (a, b):
        for reason, n in ab.lost(side).items():
            console.print(f"{side.name}: {n} answers failed ({reason}) and are left out")
    found = {split: ab.against(a, b, chosen, metric, split, **options) for split in ab.splits(a, b)}
    if not any(found.values()):
        typer.secho(
            "the runs share no answered row; they were split differently", fg="red", err=True
        )
        raise typer.Exit(2)
    for split, cells in found.items():
        if cells:
            console.print(table(split, cells, confidence))
        for note in (note for cell in cells for note in notes(cell)):
            console.print(note, style="yellow")
        for cell in cells:
            for line in categories(cell):
                console.print(line)
        if not cells:
            console.print(f"{split}: the runs share no row", style="yellow")


def points(value: float) -> str:
    return f"{value * 100:+.1f}"


def table(split: str, cells: list[dict[str, Any]], confidence: float) -> Table:
    """A line a pair of arms; `least` is the smallest difference that so many rows would show."""
    from rich.table import Table

    out = Table(title=f"{split}, percent and points", title_justify="left")
    heads = ("arms", "rows", "A", "B", "B - A", f"{confidence:.0%} interval", "won/lost")
    for head in (*heads, "p (Holm)", "least"):
        out.add_column(head, justify="left" if head == "arms" else "right", no_wrap=True)
    for cell in cells:
        a, b = cell["arms"]
        least = cell.get("detectable")
        out.add_row(
            a if a == b else f"{a} / {b}",
            str(cell["n"]),
            *(f"{cell[k] * 100:.1f}" for k in ("a", "b")),
            points(cell["value"]),
            f"{points(cell['low'])} to {points(cell['high'])}",
            f"{cell['wins']}/{cell['losses']}" if least is not None else "-",
            f"{cell['p_holm']:.3g}",
            f"{least * 100:.1f}" if least is not None else "-",
        )
    return out


def notes(cell: dict[str, Any]) -> list[str]:
    """What a reader of the line must know."""
    name, least = "/".join(dict.fromkeys(cell["arms"])), cell.get("detectable")
    out = []
    if cell["one_side_only"]:
        out.append(f"{name}: {cell['one_side_only']} rows that one side only answered are left out")
    if least is not None and cell["low"] <= 0 <= cell["high"]:
        out.append(
            f"{name}: the interval includes zero, and {cell['n']} rows show only differences of "
            f"{least * 100:.1f} points or more (80 % power): this set is too small for the claim "
            "that they are equal, or that one is better"
        )
    if cell.get("few_seeds"):
        out.append(f"{name}: fewer than three seeds a side; the interval is too narrow")
    return out


def categories(cell: dict[str, Any]) -> list[str]:
    """Difference by source, regressions first."""
    name = "/".join(dict.fromkeys(cell["arms"]))
    out = []
    for source, part in cell["categories"].items():
        word = "few rows" if part["n"] < FEW_ROWS else ""
        if not word and part["high"] < 0:
            word = "REGRESSION"
        elif not word and part["low"] > 0:
            word = "better"
        out.append(
            f"  {name} {source}: {points(part['value'])} ({points(part['low'])} to "
            f"{points(part['high'])}), n {part['n']}, {part['wins']} won, {part['losses']} lost"
            + (f"  {word}" if word else "")
        )
    return out
