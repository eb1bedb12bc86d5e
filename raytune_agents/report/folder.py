"""A run folder -> plain values. Every file but the manifests may be absent; absent ones are named.

Reads only: config.json, STEP/manifest.json, rows of label (or of read and generate),
train/ARM/{metrics.jsonl,rounds.json}, the files of evaluate (`evaluate.result_files`),
tune/{trials,guide}.json, tune/guide.md; of a search under way tune/stages/*.json and
tune/metrics.jsonl.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from raytune_agents.config import ConfigError
from raytune_agents.evaluate.costs import Costs
from raytune_agents.evaluate.estimates import Estimate
from raytune_agents.evaluate.gate import GateResult
from raytune_agents.evaluate.measured import AnswerRow
from raytune_agents.evaluate.metrics import METRICS, METRICS_FILE, Metric
from raytune_agents.evaluate.paired import Difference
from raytune_agents.evaluate.scoreboard import Board, Drop, Overall
from raytune_agents.evaluate.verdict import HEADLINE, Conclusion
from raytune_agents.records import JsonObject, Trajectory, from_row
from raytune_agents.report.safe_text import finite
from raytune_agents.runs import STEPS
from raytune_agents.storage import adapter_of, damage_named, read_table, whole_lines

MEASURED = STEPS[:-1]  # what the report is of
LABELS = ("pool", "split", "fault", "reject_reason", "step")
ANSWER_CHARS = 20_000  # what is kept in memory of one answer; the length is kept beside it


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
class ShownRollout:
    """A whole trajectory that was rolled out to its end: a line of rollouts.parquet."""

    arm: str
    agent: str
    goal: str
    task: str
    trial: int  # from 0
    end: str
    task_completion: float
    row: str  # JSON of a stored row

    @property
    def done(self) -> bool:
        return self.task_completion >= 1

    @property
    def conversation(self) -> Trajectory:
        return from_row(json.loads(self.row))


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
    costs: dict[str, Costs]
    conclusion: Conclusion
    answers: list[ShownAnswer]
    rollouts: list[ShownRollout]
    trials: list[JsonObject]
    guide: str
    guidance: JsonObject
    rounds: dict[str, JsonObject] = field(default_factory=dict)  # {arm: its rounds.json}
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

    @contextmanager
    def part(self, path: Path) -> Iterator[None]:
        """For a block that reads one file: where that is broken the block ends, and the page names
        it."""
        try:
            with damage_named(path):
                yield
        except (ConfigError, OSError) as error:
            why = error if isinstance(error, ConfigError) else f"{path}: {error.strerror}"
            self.problems.append(str(why).removeprefix(f"{self.root}/"))

    def json(self, name: str, empty: Any, wanted: bool = True) -> Any:
        """A JSON file, or `empty` where it is absent, broken or of another kind."""
        path = self.root / name
        if not path.is_file():
            self.missing += [name] if wanted else []
            return empty
        value = empty
        with self.part(path):
            value = json.loads(
                path.read_text(encoding="utf-8"),
                # A number that cannot be drawn is none.
                parse_constant=lambda _: None,
                parse_float=lambda text: finite(float(text)),
            )
        if type(value) is not type(empty):
            self.problems.append(
                f"{name} holds a {type(value).__name__}, not a {type(empty).__name__}"
            )
            return empty
        return value

    def typed(self, name: str, kind: Any, depth: int, wanted: bool = False) -> Any:
        """A JSON object as `kind`; what has another shape is left out, from the key at `depth` on,
        and named."""
        value = self.json(name, {}, wanted)
        try:
            return adapter_of(kind).validate_python(value)
        except ValidationError as error:
            for fault in error.errors():
                place = [str(key) for key in fault["loc"]]
                self.problems.append(f"{name}: {' '.join(place)}: {fault['msg']}")
                part, (*above, key) = value, place[:depth]
                for step in above:
                    part = part[step]
                part.pop(key, None)
        return adapter_of(kind).validate_python(value)

    def lines(self, path: Path) -> list[JsonObject]:
        """JSON lines in order of `step`; of a step written twice (after a resume) the last counts.

        A last line cut by a crash is left out; other broken lines are counted as a problem.
        """
        by_step: dict[Any, JsonObject] = {}
        found, broken = [], 0
        with self.part(path):
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


def read_run(path: Path) -> RunContents:
    """Read a run folder. Raises ReportError where it holds no step's manifest."""
    files = _Reader(path)
    manifests = files.manifests()
    if not manifests:
        raise ReportError(
            f"{str(path)!r} holds no STEP/manifest.json; write a run's folder, such as runs/demo"
        )
    config = files.json("config.json", {})
    curves = {
        p.parent.name: files.lines(p) for p in sorted((path / "train").glob("*/metrics.jsonl"))
    }
    files.missing += [] if curves else ["train/ARM/metrics.jsonl"]
    tuned = "tune" in manifests
    gates = files.typed("evaluate/gate.json", dict[str, GateResult], 1)
    return RunContents(
        path=path,
        config=config,
        manifests=manifests,
        groups=_groups(files),
        curves={arm: lines for arm, lines in curves.items() if lines},
        metrics=METRICS | files.typed(f"evaluate/{METRICS_FILE}", dict[str, Metric], 1),
        scores=files.typed("evaluate/scores.json", Board[Estimate], 3, wanted=True),
        differences=files.typed("evaluate/differences.json", Board[Difference], 3, wanted=True),
        robustness=files.typed("evaluate/robustness.json", Board[Drop], 3),
        latency=files.typed("evaluate/latency.json", Board[Estimate], 3),
        quantized=files.typed("evaluate/quantized.json", Board[Estimate], 3),
        overall=files.typed("evaluate/overall.json", dict[str, Overall], 1),
        gates={arm: replace(gate, arm=arm) for arm, gate in gates.items()},
        costs=files.typed("evaluate/costs.json", dict[str, Costs], 1),
        conclusion=files.typed("evaluate/verdict.json", Conclusion, 1),
        answers=_answers(files),
        rollouts=_rollouts(files),
        trials=_trials(files, tuned),
        guide=_text(files, path / "tune/guide.md"),
        guidance=files.json("tune/guide.json", {}, wanted=False),
        rounds={
            p.parent.name: files.json(p.relative_to(path).as_posix(), {})
            for p in sorted((path / "train").glob("*/rounds.json"))
        },
        missing=files.missing,
        problems=files.problems,
    )


def _trials(files: _Reader, tuned: bool) -> list[JsonObject]:
    """The trials of a search. While it is under way: those of the stages that have ended, and of
    the others what they last reported, without their options, which come with the stage's end."""
    folder = files.root / "tune"
    if tuned or (folder / "trials.json").is_file():
        found = files.json("tune/trials.json", [], tuned)
        return [t for t in found if isinstance(t, dict)]
    stages = [f for f in sorted((folder / "stages").glob("*.json")) if ".starts." not in f.name]
    names = [path.relative_to(files.root).as_posix() for path in stages]
    ended = [t for name in names for t in files.json(name, []) if isinstance(t, dict)]
    known, going = {t.get("trial_id") for t in ended}, {}
    for line in whole_lines(folder / "metrics.jsonl")[0]:
        name = line.get("trial_id")
        if name not in known:
            reports = [*going.get(name, {}).get("reports", ()), line]
            trial = {"trial_id": name, "stage": line.get("stage"), "status": "reported"}
            trial |= {"score": line.get("exact_match"), "tokens": line.get("tokens")}
            going[name] = trial | {"reports": reports}
    return [*ended, *going.values()]


def _text(files: _Reader, path: Path) -> str:
    with files.part(path):
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return ""


def _groups(files: _Reader) -> list[RowGroup]:
    """The groups of all rows, by LABELS.

    Ids are hashes: the first and the last are an even and repeatable choice of examples.
    """
    import pandas as pd
    import pyarrow.parquet as pq

    names, parts = [*LABELS, "id"], []
    for path in files.row_files():
        with files.part(path), pq.ParquetFile(path) as file:
            there = [n for n in names if n in file.schema_arrow.names]
            part = file.read(columns=there).to_pandas().reindex(columns=names)
            parts.append(part.fillna("").astype(str))
    if not parts:
        return []
    rows = pd.concat(parts)
    # "duplicate_of:ID" counts as duplicate_of
    rows["reject_reason"] = rows["reject_reason"].str.partition(":")[0]
    found = rows.groupby(list(LABELS))["id"].agg(n="size", first="min", last="max")
    return [RowGroup(**row) for row in found.reset_index().to_dict("records")]


def _rollouts(files: _Reader) -> list[ShownRollout]:
    """Whole trajectories that were rolled out to their end; [] where the run asked for none."""
    path = files.root / "evaluate/rollouts.parquet"
    with files.part(path):
        lines = read_table(path).to_pylist() if path.is_file() else []
        ended = [p for p in lines if p.get("task_completion") is not None]
        return adapter_of(list[ShownRollout]).validate_python(ended)
    return []


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
    with files.part(path), pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=256):
            for record in batch.to_pylist():
                if record.get("failed") or record.get("exact_match") is None:
                    continue
                row = ShownAnswer.read(record)
                rows.append(replace(row, answer=row.answer[:ANSWER_CHARS], chars=len(row.answer)))
        return rows
    return []  # half of the answers would be other shares
