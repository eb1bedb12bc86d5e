"""Two adapters against each other, from the answers that their runs stored.

A side is one run, or several that differ in their seed, or that are the folds of a cross-fitting:
what folds asked is put together, and a row that several of them asked has the mean. Rows are paired
by id; a row that only one side answered is counted and left out. Sides on different base models are
refused: their difference is not the adapters'. Pure but for `load_side`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from statistics import fmean

import pyarrow.parquet as pq

from raytune_agents.config import ConfigError
from raytune_agents.evaluate.estimates import DEFAULT, Resampling
from raytune_agents.evaluate.gate import GUARDED, GateResult, no_regression, reference_arm
from raytune_agents.evaluate.measured import BASE, AnswerRow, values_by_row
from raytune_agents.evaluate.metrics import Metric, metrics_of_run
from raytune_agents.evaluate.paired import (
    Difference,
    by_group,
    holm_corrected,
    paired,
    paired_seeds,
)
from raytune_agents.evaluate.scoreboard import pooled_values
from raytune_agents.records import JsonObject
from raytune_agents.storage import damage_named, read_json

MODEL = ("name", "revision", "dtype", "template", "tools")
LONG = ("query", "tools", "gold", "answer")  # columns that no comparison needs
SeedValues = dict[int, dict[str, float]]  # {seed: {row id: value}}


@dataclass(frozen=True)
class Side:
    """The answers of one side by seed and fold, its base model, and the metrics its runs know."""

    name: str
    model: JsonObject
    seeds: dict[int, dict[int, list[AnswerRow]]]
    metrics: dict[str, Metric]

    @property
    def runs(self) -> list[list[AnswerRow]]:
        return [rows for folds in self.seeds.values() for rows in folds.values()]

    @property
    def answers(self) -> list[AnswerRow]:
        return list(chain.from_iterable(self.runs))

    @property
    def arms(self) -> list[str]:
        """Arms that every run has, in order."""
        runs = [dict.fromkeys(a.arm for a in rows) for rows in self.runs]
        return [arm for arm in runs[0] if all(arm in run for run in runs)]

    def values(self, arm: str, metric: str, split: str = "") -> SeedValues:
        """The values on a split, or of all test suites together."""
        out: SeedValues = {}
        for seed, folds in self.seeds.items():
            found: dict[str, list[float]] = defaultdict(list)
            for rows in folds.values():
                own = [a for a in rows if a.arm == arm and split in ("", a.split)]
                values = values_by_row(own, metric) if split else pooled_values(own, metric)
                for row, value in values.items():
                    found[row].append(value)
            out[seed] = {row: fmean(values) for row, values in found.items()}
        return out

    def failures(self) -> Counter[str]:
        """Answers that failed, by reason."""
        return Counter(a.failed for a in self.answers if a.failed)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Arm of B minus arm of A on one split: the paired difference, both means, rows that only one
    side answered, and the difference by source, regressions first."""

    arms: tuple[str, str]
    difference: Difference
    a: float
    b: float
    one_side_only: int
    categories: dict[str, Difference]

    @property
    def name(self) -> str:
        return "/".join(dict.fromkeys(self.arms))


def load_side(text: str) -> Side:
    """A run folder, or several with commas between: seeds or folds of one. Raises ConfigError."""
    seeds: dict[int, dict[int, list[AnswerRow]]] = defaultdict(dict)
    models, metrics = {}, {}
    for name in text.split(","):
        run = Path(name).expanduser()
        path = run / "evaluate" / "answers.parquet"
        if not path.is_file():
            raise ConfigError(
                f"{name!r} holds no evaluate/answers.parquet; write the folder of an evaluated run"
            )
        config = read_json(run / "config.json")
        with damage_named(run / "config.json"):
            seed, fold = int(config["seed"]), int(config["read"]["split"].get("fold", 0))
            models[name] = {k: config["model"].get(k) for k in MODEL}
        if fold in seeds[seed]:
            raise ConfigError(
                f"{name!r} has seed {seed} and fold {fold} like another run of {text!r}; write "
                "runs of different seeds or folds, or one run"
            )
        # Values only: the texts of 100,000 answers would fill the memory for nothing.
        with damage_named(path), pq.ParquetFile(path) as file:
            wanted = [c for c in file.schema_arrow.names if c not in LONG]
            lines = file.read(columns=wanted).to_pylist()
            seeds[seed][fold] = [AnswerRow.read(line) for line in lines]
        metrics |= metrics_of_run(path.parent)
    first = next(iter(models.values()))
    if odd := [name for name, model in models.items() if model != first]:
        raise ConfigError(f"{odd[0]!r} has another base model than the runs beside it in {text!r}")
    return Side(text, first, dict(seeds), metrics)


def arm_pairs(a: Side, b: Side, arm_a: str | None, arm_b: str | None) -> list[tuple[str, str]]:
    """The arms to compare: the two named, else every arm that both sides have, with itself; of one
    side, every arm with its base. Raises ConfigError."""
    if a is b and not arm_b:
        first = arm_a or BASE
        others = [arm for arm in a.arms if arm not in (first, BASE)]
        if first not in a.arms or not others:
            raise ConfigError(
                f"{a.name} has the arms {', '.join(a.arms)}; write two of them: --arm-a and --arm-b"
            )
        return [(first, arm) for arm in others]
    if a is b:
        arm_a = arm_a or BASE
    if arm_a or arm_b:
        pair = arm_a or arm_b or "", arm_b or arm_a or ""
        for side, arm in zip((a, b), pair):
            if arm not in side.arms:
                raise ConfigError(f"{side.name} has no arm {arm!r}; it has {', '.join(side.arms)}")
        return [pair]
    common = [arm for arm in a.arms if arm in b.arms and arm != BASE]
    if not common:
        raise ConfigError(
            f"the runs share no arm ({', '.join(a.arms)} against {', '.join(b.arms)}); write "
            "--arm-a and --arm-b"
        )
    return [(arm, arm) for arm in common]


def base_difference(a: Side, b: Side) -> str:
    """How the base models differ; "" where they are the same."""
    return ", ".join(
        f"model.{k} {a.model[k]!r} against {b.model[k]!r}"
        for k in MODEL
        if a.model[k] != b.model[k]
    )


def on_common_rows(one: SeedValues, two: SeedValues) -> tuple[SeedValues, SeedValues, int]:
    """Both sides over the rows that all runs share, in one order, and how many others there are."""
    every = [set(values) for side in (one, two) for values in side.values()]
    ids = sorted(set.intersection(*every))
    one, two = (
        {seed: {i: values[i] for i in ids} for seed, values in side.items()} for side in (one, two)
    )
    return one, two, len(set.union(*every)) - len(ids)


def seeds_difference(one: SeedValues, two: SeedValues, how: Resampling) -> Difference:
    """B minus A over the rows that all runs share: `paired`, or `paired_seeds` with several seeds
    on a side."""
    one, two, _ = on_common_rows(one, two)
    if len(one) == len(two) == 1:
        return paired(next(iter(one.values())), next(iter(two.values())), how)
    return paired_seeds(one, two, how)


def compare_sides(
    a: Side,
    b: Side,
    arms: Sequence[tuple[str, str]],
    metric: str,
    split: str,
    how: Resampling = DEFAULT,
) -> list[Comparison]:
    """B minus A for each pair of arms, with p_holm over the pairs. Pairs without a common row are
    left out. Categories are of the first seed of each side."""
    found: list[Comparison] = []
    sources = {x.id: x.source for side in (a, b) for x in side.answers}
    for pair in arms:
        sides = (side.values(arm, metric, split) for side, arm in zip((a, b), pair))
        one, two, alone = on_common_rows(*sides)
        first, second = (next(iter(side.values())) for side in (one, two))
        if not first:
            continue
        mean_a, mean_b = (
            fmean(v for r in side.values() for v in r.values()) for side in (one, two)
        )
        difference = seeds_difference(one, two, how)
        categories = by_group(first, second, sources, how)
        found.append(Comparison(pair, difference, mean_a, mean_b, alone, categories))
    # By number, as two pairs of arms may have one name.
    fixed = holm_corrected({str(k): c.difference for k, c in enumerate(found)})
    return [replace(c, difference=fixed[str(k)]) for k, c in enumerate(found)]


def gate_of_sides(
    a: Side, b: Side, arm_a: str, arm_b: str, how: Resampling = DEFAULT
) -> GateResult:
    """The no-regression gate of B's arm against A's, over the test suites of both. A whose arm
    seldom calls is no reference, as in `gate`."""
    relevance = [v for values in a.values(arm_a, "relevance").values() for v in values.values()]
    level = sum(relevance) / len(relevance) if relevance else None
    reference = f"{arm_a} of A" if reference_arm(level, "") else ""
    found = {m: seeds_difference(a.values(arm_a, m), b.values(arm_b, m), how) for m in GUARDED}
    return no_regression(f"{arm_b} of B", reference, found)


def common_splits(a: Side, b: Side) -> list[str]:
    """Splits that both sides answered, in the order of A."""
    one, two = (dict.fromkeys(x.split for x in side.answers) for side in (a, b))
    return [split for split in one if split in two]
