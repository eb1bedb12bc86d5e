"""The figures of a run that a script reads: `raytune-agents report RUN --json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from raytune_agents.agents.wording import asks_how
from raytune_agents.evaluate.measured import AnswerRow
from raytune_agents.evaluate.scoreboard import VAL
from raytune_agents.evaluate.verdict import HEADLINE
from raytune_agents.records import JsonObject, Trajectory
from raytune_agents.report.folder import RowGroup, RunContents
from raytune_agents.report.lineage import stored_rows
from raytune_agents.report.safe_text import finite


def run_digest(run: RunContents) -> JsonObject:
    """The headline verdict and the shares that say whether rows were lost, meant something else, or
    were cut; a figure that the run cannot give is None, an empty object where it is by arm."""
    found, cell = run.conclusion, run.headline
    gate = run.gates.get(found.arm)
    realism = run.manifests.get("generate", {}).get("realism") or {}
    return {
        "run": run.name,
        "verdict": found.record(),
        "difference": cell.record() if cell else None,
        "gate": gate.record() if gate else None,
        "overall": {arm: one.record() for arm, one in run.overall.items()},
        "kept_share": kept_share(run.manifests),
        "question_to_call_share": question_to_call_share(stored_rows(run.path, "synthetic")),
        "negatives_by_fault": negatives_by_fault(run.groups),
        "cut_share": mean_by_arm(run.answers, "cut_rate"),
        "server_parsable": mean_by_arm(run.answers, "server_parsable"),
        "exact_match": mean_by_arm(run.answers, HEADLINE),
        "realism": {k: v for k, v in realism.items() if k != "samples"},
    }


def kept_share(manifests: Mapping[str, Mapping[str, Any]]) -> float | None:
    """Share of the accepted train rows that fit the model and so can be trained on, in [0, 1]."""
    rows = manifests.get("mix", {}).get("rows") or {}
    came, left = finite(rows.get("in")), finite(rows.get("out"))
    return left / came if came and left is not None else None


def question_to_call_share(rows: Iterable[Trajectory]) -> float | None:
    """Share of the generated rows with calls whose request asks how something is done; None without
    such rows."""
    how_questions = [asks_how(row.query) for row in rows if row.calls and not row.failed]
    return sum(how_questions) / len(how_questions) if how_questions else None


def negatives_by_fault(groups: Iterable[RowGroup]) -> dict[str, float]:
    """Share of each fault among the run's accepted failures, the largest first."""
    counts: Counter[str] = Counter()
    for group in groups:
        if group.fault and not group.reject_reason:
            counts[group.fault] += group.n
    return {name: n / counts.total() for name, n in counts.most_common()}


def mean_by_arm(answers: Iterable[AnswerRow], metric: str) -> dict[str, float]:
    """{arm: mean over all test rows that have the value}."""
    found: dict[str, list[float]] = {}
    for answer in answers:
        value = answer.values.get(metric)
        if answer.split != VAL and value is not None:
            found.setdefault(answer.arm, []).append(value)
    return {arm: sum(values) / len(values) for arm, values in found.items()}
