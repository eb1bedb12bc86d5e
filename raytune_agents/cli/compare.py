"""`raytune-agents compare RUN_A RUN_B`: is B better than A, how surely, where, what is lost.

`compare RUN FILE`, where `capture` wrote the file in front of the router: do the arms answer in use
as they did in the run's evaluation, and which rows to train on next.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from raytune_agents.cli.shared_options import (
    console,
    printed_errors,
    refuse,
    refuse_unused,
    run_folder,
    say,
    table_of,
)

if TYPE_CHECKING:
    from raytune_agents.evaluate.ab import Comparison, Side
    from raytune_agents.evaluate.metrics import Metric

METRIC = "exact_match"
FEW_ROWS = 30  # a category with fewer rows is shown, but never called a regression
OTHER_BASE = (
    "the runs have different base models ({}), so a difference is not the adapters' alone; write "
    "--any-base to compare them all the same"
)
NAMED = 10  # rows of a reason that a terminal shows


def compare_command(
    run_a: Annotated[
        str,
        typer.Argument(help="run folder or its name; seeds or folds of one with commas between"),
    ],
    run_b: Annotated[
        str, typer.Argument(help="the same, or a file that `capture` wrote; none = A's own base")
    ] = "",
    arm_a: Annotated[str | None, typer.Option(help="arm of A; none = every arm both have")] = None,
    arm_b: Annotated[str | None, typer.Option(help="arm of B")] = None,
    metric: Annotated[str, typer.Option(help="metric of the rows")] = METRIC,
    any_base: Annotated[bool, typer.Option(help="compare over different base models")] = False,
    resamples: Annotated[int, typer.Option(min=100, max=10**6, help="of the bootstrap")] = 2000,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999)] = 0.95,
) -> None:
    """B against A on the rows both answered: differences, intervals, p (Holm), what was lost."""
    from raytune_agents.evaluate import ab
    from raytune_agents.evaluate.estimates import Resampling
    from raytune_agents.evaluate.verdict import change_of

    how = Resampling(resamples, confidence)
    with printed_errors():
        if Path(run_b).is_file():
            other = metric if metric != METRIC else None
            own = {"--arm-a": arm_a, "--any-base": any_base, "--metric": other}
            refuse_unused(own, f"is of two runs, and {run_b} is a recording; leave it out")
            show_drift(ab.load_side(run_folders(run_a)), run_b, arm_b)
            return
        a = ab.load_side(run_folders(run_a))
        b = ab.load_side(run_folders(run_b)) if run_b else a
        known = {name: m for name, m in (a.metrics | b.metrics).items() if m.headline}
        if metric not in known:
            refuse(f"--metric {metric!r} is not compared; write {', '.join(known)}")
        if (odd := ab.base_difference(a, b)) and not any_base:
            refuse(OTHER_BASE.format(odd))
        chosen = ab.arm_pairs(a, b, arm_a, arm_b)
        found = {s: ab.compare_sides(a, b, chosen, metric, s, how) for s in ab.common_splits(a, b)}
        if not any(found.values()):
            refuse("the runs share no answered row; they were split differently")
    say(f"A = {run_a}, B = {run_b or run_a}; {known[metric].label}, B - A on rows both answered")
    for side in (a, b) if run_b else (a,):
        for reason, n in side.failures().items():
            say(f"{side.name}: {n} answers failed ({reason}) and are left out")
    for split, cells in found.items():
        show_split(split, cells, known[metric], confidence)
    better = {
        cell.arms
        for cells in found.values()
        for cell in cells
        if change_of(known[metric], cell.difference) == "better"
    }
    said: dict[tuple[str, str], list[str]] = {}
    for pair in chosen:
        gate = ab.gate_of_sides(a, b, *pair, how)
        said.setdefault((gate.outcome, gate.sentence(pair in better)), []).append(gate.arm)
    for (outcome, sentence), arms in said.items():
        style = {"kept": "green", "lost": "red"}.get(outcome, "yellow")
        say(f"{', '.join(arms)}: {sentence}", style=style)


def run_folders(text: str) -> str:
    """Runs by path or name, with commas between, as paths."""
    return ",".join(str(run_folder(name)) for name in text.split(","))


def show_drift(side: Side, file: str, arm: str | None) -> None:
    """The shares of every arm in the evaluation and in use, warnings, and rows by reason. Raises
    ConfigError where no arm has answers on both sides."""
    from raytune_agents import readers
    from raytune_agents.config import SourceConfig
    from raytune_agents.evaluate.drift import arm_in_use, rows_to_train_on, share_drifts

    found = list(readers.read_source(SourceConfig(path=file)))
    rows = [row for part in found for row in part.rows]
    answers = side.runs[0]
    drifts = share_drifts(answers, rows, arm)
    if not drifts:
        refuse(
            f"no answer in {file} is of an arm that {side.name} evaluated "
            f"({', '.join(side.arms)}); record in front of the router, or write --arm-b ARM"
        )
    for why, count in Counter(part.error for part in found if part.error).items():
        say(f"{count} rows could not be read ({why})", style="yellow")
    unanswered = Counter(
        (arm_in_use(row, arm) or "an unnamed arm", error)
        for row in rows
        for error in row.meta.get("errors", [])
    )
    for (asked, error), count in unanswered.most_common(NAMED):
        say(f"{asked}: {count} requests have no answer that can be read: {error}", style="yellow")
    lines = [
        (d.arm, d.sign, "{}/{}".format(*d.evaluated), "{}/{}".format(*d.used), f"{d.p_holm:.3g}")
        for d in drifts
    ]
    console.print(table_of("", ("arm", "answers with", "evaluated", "in use", "p (Holm)"), lines))
    for d in drifts:
        if d.drifted:
            say(f"DRIFT: {d.arm} answers with {d.sign} at another rate in use", style="red")
    chosen = rows_to_train_on(rows, drifts, arm)
    for why, count in Counter(why for why, _ in chosen).items():
        names = [row.source_id or row.id for reason, row in chosen if reason == why][:NAMED]
        say(f"train on next, {why}: {count} rows, {', '.join(names)}")


def show_split(split: str, cells: list[Comparison], metric: Metric, confidence: float) -> None:
    """The table of a split, its notes, and the difference by source."""
    if not cells:
        say(f"{split}: the runs share no row", style="yellow")
        return
    console.print(comparison_table(split, cells, confidence))
    said: dict[str, list[str]] = {}
    for cell in cells:
        for note in comparison_notes(cell):
            said.setdefault(note, []).append(cell.name)
    for note, names in said.items():
        say(f"{', '.join(names)}: {note}", style="yellow")
    for cell in cells:
        for line in category_lines(cell, metric):
            say(line)


def comparison_table(split: str, cells: list[Comparison], confidence: float) -> Table:
    """A line per pair of arms; `can show`: the smallest difference that so many rows show."""
    from raytune_agents.evaluate.gate import as_points, ends_in_points

    interval = f"{confidence:.0%} interval"
    heads = ("arms", "rows", "A", "B", "B - A", interval, "won/lost", "p (Holm)", "can show")
    rows = []
    for cell in cells:
        a, b = cell.arms
        d, least = cell.difference, cell.difference.detectable
        rows.append(
            (
                a if a == b else f"{a} / {b}",
                str(d.n),
                *(f"{level * 100:.1f}" for level in (cell.a, cell.b)),
                as_points(d.value),
                ends_in_points(d),
                f"{d.wins}/{d.losses}" if least is not None else "-",
                f"{d.p_holm:.3g}" if d.p_holm is not None else "-",
                f"{least * 100:.1f}" if least is not None and least < 1 else "-",
            )
        )
    return table_of(f"{split}, percent and points", heads, rows)


def comparison_notes(cell: Comparison) -> list[str]:
    """What a reader of the line must know."""
    from raytune_agents.evaluate.gate import least_shown

    d, out = cell.difference, []
    if cell.one_side_only:
        out.append(f"{cell.one_side_only} rows that one side only answered are left out")
    if d.detectable is not None and not d.sign:
        out.append(f"not told apart, nor shown to be equal: {least_shown(d)} (80 % power)")
    if d.few_seeds:
        out.append("fewer than three seeds a side; the interval is too narrow")
    return out


def category_lines(cell: Comparison, metric: Metric) -> list[str]:
    """Difference by source, regressions first; of one source the table has it."""
    from raytune_agents.evaluate.gate import as_points, ends_in_points
    from raytune_agents.evaluate.verdict import change_of

    name, out = cell.name, []
    for source, part in cell.categories.items() if len(cell.categories) > 1 else ():
        change = {"worse": "REGRESSION", "better": "better"}.get(change_of(metric, part), "")
        word = "few rows" if part.n < FEW_ROWS else change
        out.append(
            f"  {name} {source}: {as_points(part.value)} ({ends_in_points(part)}), n {part.n}, "
            f"{part.wins} won, {part.losses} lost" + (f"  {word}" if word else "")
        )
    return out
