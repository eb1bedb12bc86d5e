"""Two adapters against each other, from the answers that their runs stored.

A side is one run, or several that differ in their seed. Rows are paired by id; a row that only one
side answered is counted and left out. Sides on different base models are refused: their difference
is not the adapters'. Pure but for `load_side`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from raytune_agents.storage import read_json

MODEL = ("name", "revision", "dtype", "template", "tools")
LONG = ("query", "tools", "gold", "answer")  # columns that no comparison needs
SeedValues = dict[int, dict[str, float]]  # {seed: {row id: value}}


@dataclass(frozen=True)
class Side:
    """The answers of one side by seed, its base model, and the metrics that its runs know."""

    name: str
    model: JsonObject
    seeds: dict[int, list[AnswerRow]]
    metrics: dict[str, Metric]

    @property
    def arms(self) -> list[str]:
        """Arms that every seed has, in order."""
        runs = [dict.fromkeys(a.arm for a in rows) for rows in self.seeds.values()]
        return [arm for arm in runs[0] if all(arm in run for run in runs)]

    def values(self, arm: str, metric: str, split: str = "") -> SeedValues:
        """The values on a split, or of all test suites together."""
        found = {}
        for seed, rows in self.seeds.items():
            own = [a for a in rows if a.arm == arm and split in ("", a.split)]
            found[seed] = values_by_row(own, metric) if split else pooled_values(own, metric)
        return found

    def failures(self) -> Counter[str]:
        """Answers that failed, by reason."""
        return Counter(a.failed for rows in self.seeds.values() for a in rows if a.failed)


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
    """A run folder, or several with commas between: seeds of the same. Raises ConfigError."""
    seeds, models, metrics = {}, {}, {}
    for name in text.split(","):
        run = Path(name).expanduser()
        path = run / "evaluate" / "answers.parquet"
        if not path.is_file():
            raise ConfigError(
                f"{name!r} holds no evaluate/answers.parquet; write the folder of a run that was "
                "evaluated, for example runs/demo"
            )
        config = read_json(run / "config.json")
        if config["seed"] in seeds:
            raise ConfigError(
                f"{name!r} has seed {config['seed']} like another run of {text!r}; write runs of "
                "different seeds, or one run"
            )
        # Values only: the texts of 100,000 answers would fill the memory for nothing.
        wanted = [c for c in pq.read_schema(path).names if c not in LONG]
        seeds[config["seed"]] = [
            AnswerRow.read(line) for line in pq.read_table(path, columns=wanted).to_pylist()
        ]
        models[name] = {k: config["model"].get(k) for k in MODEL}
        metrics |= metrics_of_run(path.parent)
    first = next(iter(models.values()))
    if odd := [name for name, model in models.items() if model != first]:
        raise ConfigError(f"{odd[0]!r} has another base model than the runs beside it in {text!r}")
    return Side(text, first, seeds, metrics)


def arm_pairs(a: Side, b: Side, arm_a: str | None, arm_b: str | None) -> list[tuple[str, str]]:
    """The arms to compare: the two named, else every arm that both sides have, with itself.
    Raises ConfigError."""
    if arm_a or arm_b:
        pair = arm_a or arm_b or "", arm_b or arm_a or ""
        for side, arm in zip((a, b), pair):
            if arm not in side.arms:
                raise ConfigError(
                    f"{side.name} has no arm {arm!r}; it has {', '.join(side.arms)}; write --arm-a "
                    "and --arm-b"
                )
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


def seeds_difference(one: SeedValues, two: SeedValues, how: Resampling) -> Difference:
    """B minus A over the rows that all runs share: `paired`, or `paired_seeds` with several seeds
    on a side."""
    every = [set(values) for side in (one, two) for values in side.values()]
    # One order for both sides: pairs are made by place in the arrays.
    ids = sorted(set.intersection(*every))
    one, two = (
        {seed: {i: values[i] for i in ids} for seed, values in side.items()} for side in (one, two)
    )
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
    sources = {x.id: x.source for s in (a, b) for rows in s.seeds.values() for x in rows}
    for pair in arms:
        one, two = (side.values(arm, metric, split) for side, arm in zip((a, b), pair))
        every = [set(values) for side in (one, two) for values in side.values()]
        ids = sorted(set.intersection(*every))
        if not ids:
            continue
        mean_a, mean_b = (fmean(vs[i] for vs in side.values() for i in ids) for side in (one, two))
        first, second = ({i: next(iter(side.values()))[i] for i in ids} for side in (one, two))
        difference, alone = seeds_difference(one, two, how), len(set.union(*every)) - len(ids)
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
    one, two = (
        dict.fromkeys(x.split for rows in side.seeds.values() for x in rows) for side in (a, b)
    )
    return [split for split in one if split in two]
