"""A run folder -> plain values. Every file but the manifests may be absent; absent ones are named.

Reads only: config.json, STEP/manifest.json, rows of label (or of read and generate),
train/ARM/{metrics.jsonl,rounds.json}, the files of evaluate (`evaluate.result_files`),
tune/{trials,guide}.json, tune/guide.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from raytune_agents.config import ConfigError
from raytune_agents.evaluate.estimates import Estimate
from raytune_agents.evaluate.gate import GateResult, read_gate
from raytune_agents.evaluate.measured import AnswerRow
from raytune_agents.evaluate.metrics import METRICS, METRICS_FILE, Metric, read_metrics
from raytune_agents.evaluate.paired import Difference
from raytune_agents.evaluate.scoreboard import Board, Drop, Overall
from raytune_agents.evaluate.verdict import HEADLINE, NO_VERDICT, Conclusion, read_conclusion
from raytune_agents.records import FlatRow, JsonObject
from raytune_agents.report.safe_text import finite
from raytune_agents.runs import STEPS
from raytune_agents.storage import whole_lines

MEASURED = STEPS[:-1]  # what the report is of
LABELS = ("pool", "split", "fault", "reject_reason", "step")
ANSWER_CHARS = 20_000  # what is kept in memory of one answer; the length is kept beside it
Cell = TypeVar("Cell")


class ReportError(ConfigError):
    """A folder that is not a run. The message says what to do."""


@dataclass(frozen=True, slots=True)
class ShownAnswer(AnswerRow):
    """A stored answer, cut to ANSWER_CHARS; `chars` is its own length."""

    chars: int = 0

    @property
    def right(self) -> bool:
        return (self.values.get("exact_match") or 0.0) >= 1


@dataclass(frozen=True, slots=True)
class RowGroup:
    """The `n` rows that share their labels, and the `first` and `last` id of them."""

    pool: str
    split: str
    fault: str
    reject_reason: str
    step: str
    n: int
    first: str
    last: str


@dataclass(frozen=True)
class RunContents:
    """What a run folder holds. Empty values stand for absent files, which `missing` names."""

    path: Path
    config: JsonObject
    manifests: dict[str, JsonObject]
    groups: list[RowGroup]
    curves: dict[str, list[JsonObject]]  # {arm: lines of metrics.jsonl}
    metrics: dict[str, Metric]
    scores: Board[Estimate]
    differences: Board[Difference]
    robustness: Board[Drop]  # {arm: {perturbation: ...}}
    latency: Board[Estimate]  # {arm: {load: ...}}
    quantized: Board[Estimate]  # {arm: {kind of weights: ...}}
    overall: dict[str, Overall]
    gates: dict[str, GateResult]
    costs: dict[str, dict[str, float | None]]
    conclusion: Conclusion
    answers: list[ShownAnswer]
    rollouts: list[FlatRow]  # {arm, agent, goal, end, task_completion, row: JSON text, ...}
    trials: list[JsonObject]
    guide: str
    guidance: JsonObject
    rounds: dict[str, JsonObject] = field(default_factory=dict)  # {arm: its rounds.json}
    row_files: list[Path] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.config.get("name") or self.path.name)

    @property
    def confidence(self) -> float:
        return finite((self.config.get("evaluate") or {}).get("confidence")) or 0.95

    @property
    def headline(self) -> Difference | None:
        """The headline arm's difference to base in exact match on the split of the verdict."""
        by = self.differences.get(self.conclusion.arm, {})
        return by.get(self.conclusion.split, {}).get(HEADLINE)

    @property
    def mix(self) -> dict[str, JsonObject]:
        """{arm: {tokens: {pool: n}, epochs: {pool: x}}} of the mix manifest."""
        return self.manifests.get("mix", {}).get("arms") or {}


class _Reader:
    """Reads files of one folder and keeps the list of what was absent or broken."""

    def __init__(self, root: Path) -> None:
        self.root, self.missing, self.problems = root, [], []

    def json(self, name: str, empty: Any, wanted: bool = True) -> Any:
        """A JSON file, or `empty` where it is absent, broken or of another kind."""
        path = self.root / name
        if not path.is_file():
            self.missing += [name] if wanted else []
            return empty
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            self.problems.append(f"{name} is not JSON ({error})")
            return empty
        if type(value) is not type(empty):
            self.problems.append(
                f"{name} holds a {type(value).__name__}, not a {type(empty).__name__}"
            )
            return empty
        return value

    def board(
        self, name: str, read: Callable[[JsonObject], Cell], wanted: bool = True
    ) -> Board[Cell]:
        """{arm: {split: {metric: cell}}}; what has another shape is left out and named."""
        found: Board[Cell] = {}
        for arm, by in self.json(name, {}, wanted).items():
            for split, metrics in by.items() if isinstance(by, dict) else [("", None)]:
                for metric, cell in metrics.items() if isinstance(metrics, dict) else [("", {})]:
                    try:
                        made = read({k: finite_or_text(v) for k, v in cell.items()})
                        found.setdefault(arm, {}).setdefault(split, {})[metric] = made
                    except (AttributeError, KeyError, TypeError):
                        self.problems.append(
                            f"{name}: {arm} {split} {metric} is not {{value, ...}}"
                        )
        return found

    def by_arm(self, name: str, read: Callable[[str, JsonObject], Cell]) -> dict[str, Cell]:
        """{arm: what `read` makes of its record}; what has another shape is left out and named."""
        found: dict[str, Cell] = {}
        for arm, record in self.json(name, {}, wanted=False).items():
            try:
                found[arm] = read(arm, record)
            except (AttributeError, KeyError, TypeError):
                self.problems.append(f"{name}: {arm} has another shape")
        return found

    def lines(self, path: Path) -> list[JsonObject]:
        """JSON lines in order of `step`; of a step written twice (after a resume) the last counts.

        A last line cut by a crash is left out; other broken lines are counted as a problem.
        """
        by_step: dict[Any, JsonObject] = {}
        found, broken = whole_lines(path)
        for line in found:
            step = finite(line.get("step"))
            if step is not None:
                by_step[step] = by_step.get(step, {}) | line
            else:
                broken += 1
        if broken:
            self.problems.append(
                f"{path.relative_to(self.root)}: {broken} lines are not JSON objects with a step"
            )
        return [by_step[s] for s in sorted(by_step)]

    def manifests(self) -> dict[str, JsonObject]:
        """STEP -> manifest, in the order of the steps; "train/nat" for one below a step."""
        found = {}
        for path in [*self.root.glob("*/manifest.json"), *self.root.glob("*/*/manifest.json")]:
            name = path.parent.relative_to(self.root).as_posix()
            if name.split("/")[0] != "report":
                found[name] = self.json(f"{name}/manifest.json", {})
        self.missing += [
            f"{s}/manifest.json" for s in MEASURED if not any(n.split("/")[0] == s for n in found)
        ]
        rank = {s: i for i, s in enumerate(MEASURED)}
        return {
            n: found[n] for n in sorted(found, key=lambda n: (rank.get(n.split("/")[0], 99), n))
        }

    def row_files(self) -> list[Path]:
        """The most finished files of rows: label's, else those of read and generate."""
        for steps in (("label",), ("read", "generate")):
            files = [p for s in steps for p in sorted((self.root / s).glob("rows*.parquet"))]
            if files:
                return files
        self.missing.append("label/rows-*.parquet")
        return []


def finite_or_text(value: Any) -> Any:
    """The value, but None for a number that cannot be drawn."""
    return finite(value) if isinstance(value, float) else value


def read_run(path: Path) -> RunContents:
    """Read a run folder. Raises ReportError where it holds no step's manifest."""
    files = _Reader(path)
    manifests = files.manifests()
    if not manifests:
        raise ReportError(
            f"{str(path)!r} holds no STEP/manifest.json, so there is nothing to report; write "
            "the folder of a run, for example runs/demo, or start one with raytune-agents run"
        )
    config = files.json("config.json", {})
    rows = files.row_files()
    curves = {
        p.parent.name: files.lines(p) for p in sorted((path / "train").glob("*/metrics.jsonl"))
    }
    files.missing += [] if curves else ["train/ARM/metrics.jsonl"]
    tuned = "tune" in manifests
    return RunContents(
        path=path,
        config=config,
        manifests=manifests,
        row_files=rows,
        groups=_groups(rows),
        curves={arm: lines for arm, lines in curves.items() if lines},
        metrics=METRICS | read_metrics(files.json(f"evaluate/{METRICS_FILE}", {}, wanted=False)),
        scores=files.board("evaluate/scores.json", Estimate.read),
        differences=files.board("evaluate/differences.json", Difference.read),
        robustness=files.board("evaluate/robustness.json", Drop.read, wanted=False),
        latency=files.board("evaluate/latency.json", Estimate.read, wanted=False),
        quantized=files.board("evaluate/quantized.json", Estimate.read, wanted=False),
        overall=files.by_arm("evaluate/overall.json", lambda _, record: Overall.read(record)),
        gates=files.by_arm("evaluate/gate.json", read_gate),
        costs=files.by_arm("evaluate/costs.json", lambda _, record: dict(record)),
        conclusion=_conclusion(files),
        answers=_answers(files),
        rollouts=_rollouts(path / "evaluate/rollouts.parquet"),
        trials=[t for t in files.json("tune/trials.json", [], tuned) if isinstance(t, dict)],
        guide=_text(path / "tune/guide.md"),
        guidance=files.json("tune/guide.json", {}, wanted=False),
        rounds={
            p.parent.name: files.json(p.relative_to(path).as_posix(), {})
            for p in sorted((path / "train").glob("*/rounds.json"))
        },
        missing=files.missing,
        problems=files.problems,
    )


def _conclusion(files: _Reader) -> Conclusion:
    """The evaluation's own."""
    if record := files.json("evaluate/verdict.json", {}, wanted=False):
        try:
            return read_conclusion(record)
        except (TypeError, KeyError):
            files.problems.append("evaluate/verdict.json has another shape")
    return NO_VERDICT


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _groups(files: Sequence[Path]) -> list[RowGroup]:
    """The groups of all rows, by LABELS.

    Ids are hashes: the first and the last are an even and repeatable choice of examples.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    parts = []
    for file in files:
        there = set(pq.read_schema(file).names)
        table = pq.read_table(file, columns=[n for n in (*LABELS, "id") if n in there])
        columns = [
            table[n].cast(pa.string()).fill_null("") if n in there else pa.array([""] * len(table))
            for n in (*LABELS, "id")
        ]
        reason = LABELS.index("reject_reason")  # "duplicate_of:ID" counts as duplicate_of
        columns[reason] = pc.replace_substring_regex(columns[reason], ":.*", "")
        parts.append(pa.table(columns, names=[*LABELS, "id"]))
    if not parts:
        return []
    wanted = [([], "count_all"), ("id", "min"), ("id", "max")]
    found = pa.concat_tables(parts).group_by(list(LABELS), use_threads=False).aggregate(wanted)
    rows = found.rename_columns([*LABELS, "n", "first", "last"]).to_pylist()
    return sorted((RowGroup(**row) for row in rows), key=astuple)


def _rollouts(path: Path) -> list[FlatRow]:
    """Whole trajectories that were rolled out to their end; [] where the run asked for none."""
    if not path.is_file():
        return []
    import pyarrow.parquet as pq

    return [p for p in pq.read_table(path).to_pylist() if p.get("task_completion") is not None]


def _answers(files: _Reader) -> list[ShownAnswer]:
    """Rows of evaluate/answers.parquet that were answered, cut to ANSWER_CHARS.

    A row whose engine stayed down (`failed`) is no wrong answer: it is left out, and counted in the
    manifest.
    """
    path = files.root / "evaluate/answers.parquet"
    if not path.is_file():
        files.missing.append("evaluate/answers.parquet")
        return []
    import pyarrow.parquet as pq

    rows = []
    for batch in pq.ParquetFile(path).iter_batches(batch_size=256):
        for record in batch.to_pylist():
            if record.get("failed") or record.get("exact_match") is None:
                continue
            row = ShownAnswer.read(record)
            rows.append(replace(row, answer=row.answer[:ANSWER_CHARS], chars=len(row.answer)))
    return rows
