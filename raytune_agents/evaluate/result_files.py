"""Everything that was asked -> the result files of the evaluate step, from stored rows alone, so
that they can be made again without the engine.

    answers.parquet    one row per arm and row     perturbed.parquet  the same of perturbed rows
    rollouts.parquet   one row per arm, task and trial
    multi_turn.parquet one row per arm and BFCL conversation
    likelihood.parquet one row per arm and val row
    judged.parquet     one row per arm (but base) and row that a judge compared
    general.parquet    one row per arm and lm-eval question
    latency.parquet    one row per request of base and headline arm, by load
    quantized.parquet  one row per kind of weights of the headline arm and test row
    metrics.json       {metric: {label, unit, better, headline, formula}}
    scores.json, differences.json   {arm: {split: {metric: cell}}}
    robustness.json    {arm: {perturbation: {metric: cell}}}
    latency.json       {arm: {load: {metric: cell}}}
    quantized.json     {arm: {kind of weights: {metric: cell}}}, where it was asked for
    overall.json       {arm: {score, change, suites}}
    gate.json          {arm: {reference, outcome, metrics}}
    verdict.json       `verdict.Conclusion`
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raytune_agents.evaluate import general, judge, likelihood, multi_turn, rollouts, scoreboard
from raytune_agents.evaluate.costs import Costs, gain_per_100_rows
from raytune_agents.evaluate.estimates import Resampling
from raytune_agents.evaluate.gate import GUARDED, GateResult, no_regression, reference_arm
from raytune_agents.evaluate.latency import LatencyRow, latency_scores
from raytune_agents.evaluate.measured import BASE, AnswerRow, Lines, Measured
from raytune_agents.evaluate.metrics import METRICS, METRICS_FILE, Metric
from raytune_agents.evaluate.own_metrics import with_own
from raytune_agents.evaluate.quantized import QuantizedAnswer, quantized_scores
from raytune_agents.evaluate.scoreboard import Differences, Scores
from raytune_agents.evaluate.verdict import choose_headline, conclusion_of
from raytune_agents.records import Trajectory
from raytune_agents.runs import Counts
from raytune_agents.storage import read_json, write_json, write_table


@dataclass(frozen=True)
class LineKind:
    """How the lines of one Parquet file become scores and differences to the base: the rows that
    they measure, the `compared` values (none named = all), and scores that are no mean of rows."""

    measured: Callable[[Lines], list[Measured]]
    compared: Sequence[str] = ()
    more: Callable[[Lines, Resampling], Scores] | None = None

    def scores(self, lines: Lines, how: Resampling) -> Scores:
        found = scoreboard.means(self.measured(lines), how)
        return scoreboard.merged_boards(found, self.more(lines, how) if self.more else {})

    def differences(self, lines: Lines, how: Resampling) -> Differences:
        rows = self.measured(lines)
        names = self.compared or list(dict.fromkeys(name for r in rows for name in r.values))
        return scoreboard.differences(rows, names, how)


class JudgedKind(LineKind):
    """Arm by arm: the base's mean over several arms would not be of the same comparisons."""

    def differences(self, lines: Lines, how: Resampling) -> Differences:
        arms = dict.fromkeys(x["arm"] for x in lines)
        parts = ([x for x in lines if x["arm"] == arm] for arm in arms)
        return scoreboard.merged_boards(
            *(super(JudgedKind, self).differences(p, how) for p in parts)
        )


KINDS: dict[str, LineKind] = {
    "rollouts": LineKind(rollouts.rollout_rows, rollouts.COMPARED, rollouts.end_shares),
    "multi_turn": LineKind(multi_turn.conversation_rows, multi_turn.COMPARED),
    "likelihood": LineKind(likelihood.likelihood_rows, ("nll",), likelihood.perplexities),
    "judged": JudgedKind(judge.both_sides, ("judge_score",)),
    "general": LineKind(general.ability_rows),
}


@dataclass
class Found:
    """What came back: answers (clean and perturbed), lines of the other kinds, timed requests,
    answers of the headline arm by its weights."""

    answers: list[AnswerRow] = field(default_factory=list)
    lines: dict[str, Lines] = field(default_factory=lambda: {name: [] for name in KINDS})
    latency: list[LatencyRow] = field(default_factory=list)
    quantized: list[QuantizedAnswer] = field(default_factory=list)

    def counts(self) -> Counts:
        """What was asked for in all kinds, and what failed, by reason."""
        why = [a.failed for a in self.answers]
        why += [failure(line) for lines in self.lines.values() for line in lines]
        counts = Counts(rows_in=len(why))
        counts.failed.update(reason for reason in why if reason)
        counts.rows_out = counts.rows_in - counts.failed.total()
        return counts


@dataclass(frozen=True)
class ArmFacts:
    """Which arms are trained, and so may be the headline; the one that saw positive rows only."""

    trained: tuple[str, ...]
    positives_only: str = ""


def failure(line: Mapping[str, Any]) -> str:
    """Why a line has no value; a roll-out has no column of its own for it."""
    if "failed" in line:
        return line["failed"]
    return line["end"] if line["task_completion"] is None else ""


def lines_of(path: Path) -> Lines:
    """The rows of a Parquet file; [] where it is absent."""
    return pq.read_table(path).to_pylist() if path.is_file() else []


def write_results(
    folder: Path,
    found: Found,
    rows: Mapping[tuple[str, str], Trajectory],
    how: Resampling,
    arms: ArmFacts,
    own: Mapping[str, Metric],
) -> Counter[str]:
    """Write all files but costs.json, which is read; returns how often a user's metric raised."""
    answers, errors = with_own(found.answers, rows, own)
    clean = [a for a in answers if not a.perturbation]
    noisy = [a for a in answers if a.perturbation]
    tables = dict(found.lines) | {
        "answers": [a.record() for a in clean],
        "perturbed": [a.record() for a in noisy],
        "latency": [r.record() for r in found.latency],
        "quantized": [a.record() for a in found.quantized],
    }
    for name, lines in tables.items():
        # A Parquet file of no rows has no schema; its absence says the same.
        if lines:
            write_table(folder / f"{name}.parquet", pa.Table.from_pylist(lines))
    compared = (*scoreboard.COMPARED, *(m.name for m in own.values() if m.headline))
    # Baselines are no claim of ours, so they must not cost the arms significance.
    untrained = {a.arm for a in clean} - {BASE, *arms.trained}
    gains = scoreboard.differences(clean, compared, how, uncorrected=untrained)
    scores = scoreboard.answer_scores(clean, how)
    for name, kind in KINDS.items():
        if found.lines[name]:
            gains = scoreboard.merged_boards(gains, kind.differences(found.lines[name], how))
            scores = scoreboard.merged_boards(scores, kind.scores(found.lines[name], how))
    # Measured while the arms were asked; nothing stored could give them again.
    costs: dict[str, Costs] = read_json(folder / "costs.json")
    gains = scoreboard.merged_boards(gains, gain_per_100_rows(gains, costs))
    boards: dict[str, Any] = {
        "scores": scores,
        "differences": gains,
        "latency": latency_scores(found.latency, how),
        "quantized": quantized_scores(found.quantized, how),
        "robustness": scoreboard.perturbation_drops(clean, noisy, how),
    }
    for name, board in boards.items():
        if board or name not in ("quantized", "robustness"):  # where they were asked for
            write_json(folder / f"{name}.json", scoreboard.records(board))
    table = {**METRICS, **own}
    write_json(folder / METRICS_FILE, {name: m.record() for name, m in table.items()})
    # The kinds that have a main metric.
    kinds = [KINDS[name].measured(found.lines[name]) for name in ("rollouts", "multi_turn")]
    overall = scoreboard.overall_scores([*clean, *kinds[0], *kinds[1]], how)
    write_json(folder / "overall.json", {arm: o.record() for arm, o in overall.items()})
    gates = gate_of_arms(clean, arms, how)
    write_json(folder / "gate.json", {arm: gate.record() for arm, gate in gates.items()})
    headline = choose_headline(clean, arms.trained)
    conclusion = conclusion_of(
        scores, gains, headline, gates.get(headline[0]), how.confidence, own=table
    )
    write_json(folder / "verdict.json", conclusion.record())
    return errors


def gate_of_arms(
    answers: Sequence[AnswerRow], arms: ArmFacts, how: Resampling
) -> dict[str, GateResult]:
    """The no-regression gate of every trained arm, over all test suites together."""

    def pooled(arm: str, metric: str) -> dict[str, float]:
        return scoreboard.pooled_values((a for a in answers if a.arm == arm), metric)

    relevance = list(pooled(BASE, "relevance").values())
    level = sum(relevance) / len(relevance) if relevance else None
    reference = reference_arm(level, arms.positives_only)
    out: dict[str, GateResult] = {}
    for arm in arms.trained:
        found = {
            metric: scoreboard.over_common_rows(pooled(reference, metric), pooled(arm, metric), how)
            for metric in (GUARDED if reference else ())
        }
        out[arm] = no_regression(arm, reference, found)
    return out
