"""Two adapters against each other, from the answers that their runs stored.

A side is one run, or several that differ in their seed. Rows are paired by id; a row that only one
side answered is counted and left out. Sides on different base models are refused: their difference
is not the adapters'. Pure but for `load`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from raytune_agents.config import ConfigError
from raytune_agents.evaluate.harness import BASE, SHOWN, values_of
from raytune_agents.evaluate.paired import by_group, holm, paired, paired_seeds
from raytune_agents.runs import read_json

MODEL = ("name", "revision", "dtype", "template", "tools")
COLUMNS = ("arm", "split", "id", "source", "failed", *SHOWN)


@dataclass(frozen=True)
class Side:
    """The answers of one side: {seed: lines of answers.parquet}."""

    name: str
    model: dict[str, Any]
    seeds: dict[int, list[dict[str, Any]]]

    @property
    def arms(self) -> list[str]:
        """Arms that every seed has, in order."""
        runs = [dict.fromkeys(a["arm"] for a in lines) for lines in self.seeds.values()]
        return [arm for arm in runs[0] if all(arm in run for run in runs)]

    def values(self, arm: str, split: str, metric: str) -> dict[int, dict[str, float]]:
        """{seed: {row id: value}}."""
        return {
            seed: values_of((a for a in lines if (a["arm"], a["split"]) == (arm, split)), metric)
            for seed, lines in self.seeds.items()
        }


def load(text: str) -> Side:
    """A run folder, or several with commas between: seeds of the same. Raises ConfigError."""
    seeds, models = {}, {}
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
        there = set(pq.read_schema(path).names)
        table = pq.read_table(path, columns=[c for c in COLUMNS if c in there])
        seeds[config["seed"]] = table.to_pylist()
        models[name] = {k: config["model"].get(k) for k in MODEL}
    first = next(iter(models.values()))
    if odd := [name for name, model in models.items() if model != first]:
        raise ConfigError(f"{odd[0]!r} has another base model than the runs beside it in {text!r}")
    return Side(text, first, seeds)


def pairs(a: Side, b: Side, arm_a: str | None, arm_b: str | None) -> list[tuple[str, str]]:
    """The arms to compare: the two named, else every arm that both sides have, with itself.
    Raises ConfigError."""
    for side, arm in ((a, arm_a), (b, arm_b)):
        if arm is not None and arm not in side.arms:
            raise ConfigError(f"{side.name} has no arm {arm!r}; it has {', '.join(side.arms)}")
    if arm_a or arm_b:
        one, other = arm_a or arm_b or "", arm_b or arm_a or ""
        for side, arm in ((a, one), (b, other)):
            if arm not in side.arms:
                raise ConfigError(f"{side.name} has no arm {arm!r}; write --arm-a and --arm-b")
        return [(one, other)]
    common = [arm for arm in a.arms if arm in b.arms and arm != BASE]
    if not common:
        raise ConfigError(
            f"the runs share no arm ({', '.join(a.arms)} against {', '.join(b.arms)}); write "
            "--arm-a and --arm-b"
        )
    return [(arm, arm) for arm in common]


def same_base(a: Side, b: Side) -> str:
    """How the base models differ; "" where they are the same."""
    return ", ".join(
        f"model.{k} {a.model[k]!r} against {b.model[k]!r}"
        for k in MODEL
        if a.model[k] != b.model[k]
    )


def against(
    a: Side, b: Side, arms: Sequence[tuple[str, str]], metric: str, split: str, **options: Any
) -> list[dict[str, Any]]:
    """B minus A for each pair of arms, with p_holm over the pairs: value, low, high, n, p, ...

    `one_side_only` counts rows that only one side answered; `categories` has `by_group` of
    the rows' sources, regressions first. With several seeds a side: `paired_seeds`, over
    rows that all runs share. Pairs without a common row are left out.
    """
    out = []
    sources = {x["id"]: x["source"] for s in (a, b) for rows in s.seeds.values() for x in rows}
    for arm_a, arm_b in arms:
        sides = a.values(arm_a, split, metric), b.values(arm_b, split, metric)
        every = [set(values) for side in sides for values in side.values()]
        ids = sorted(set.intersection(*every))
        if not ids:
            continue
        one, two = (
            {seed: {i: values[i] for i in ids} for seed, values in side.items()} for side in sides
        )
        first, second = next(iter(one.values())), next(iter(two.values()))
        if len(one) == len(two) == 1:
            cell = paired(first, second, **options)
        else:
            cell = paired_seeds(one, two, **options)
        out.append(
            cell.record()
            | {
                "arms": (arm_a, arm_b),
                "a": sum(sum(v.values()) for v in one.values()) / len(ids) / len(one),
                "b": sum(sum(v.values()) for v in two.values()) / len(ids) / len(two),
                "one_side_only": len(set.union(*every)) - len(ids),
                "categories": {
                    source: part.record()
                    for source, part in by_group(first, second, sources, **options).items()
                },
            }
        )
    adjusted = holm({str(i): cell["p"] for i, cell in enumerate(out)})
    return [cell | {"p_holm": adjusted[str(i)]} for i, cell in enumerate(out)]


def splits(a: Side, b: Side) -> list[str]:
    """Splits that both sides answered, in the order of A."""
    return [
        split
        for split in dict.fromkeys(x["split"] for rows in a.seeds.values() for x in rows)
        if any(x["split"] == split for rows in b.seeds.values() for x in rows)
    ]


def lost(side: Side) -> Counter[str]:
    """Answers of a side that failed, by reason."""
    return Counter(x["failed"] for rows in side.seeds.values() for x in rows if x["failed"])
