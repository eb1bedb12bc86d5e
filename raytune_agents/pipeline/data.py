"""The mix step. Thin: the rules live in the modules it calls."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from raytune_agents import mix
from raytune_agents.dedup import space
from raytune_agents.records import RecordError, Trajectory
from raytune_agents.runs import Counts, Step, read_rows, write_table

if TYPE_CHECKING:
    from raytune_agents.pipeline import Context


def training_rows(folder: Path) -> dict[str, Trajectory]:
    """Accepted rows of the train split, by id."""
    return {
        r.id: r for r in read_rows(folder / "label") if r.split == "train" and not r.reject_reason
    }


def token_counts(context: Context, rows: list[Trajectory]) -> tuple[dict[str, int], Counter]:
    """Trained (answer) tokens of every row, and the reasons of rows that cannot be trained on."""
    counts, refused = {}, Counter()
    with context.display.step("tokens", len(rows)) as bar:
        for row in rows:
            try:
                counts[row.id] = sum(e.trained_tokens for e in context.chat.encode(row))
            except RecordError as error:
                refused[str(error)] += 1
            bar.update(1)
    return counts, refused


def mix_arms(context: Context, step: Step) -> tuple[Counts, dict[str, Any]]:
    """The training rows of every arm: mix/ARM.parquet with columns id and pool, in training
    order."""
    from raytune_agents.train import methods

    config = context.config
    rows = training_rows(context.run.folder)
    cost, refused = token_counts(context, list(rows.values()))
    arms: dict[str, Any] = {}

    def diverse(ids: list[str], count: int) -> list[str]:
        order = space.arranged([rows[i] for i in ids], config.mix.select, count, config.seed)
        return [ids[k] for k in order]

    arrange = None if config.mix.select == "random" else diverse
    for name, arm in config.train.arms.items():
        arm_cost = methods.costs(arm.method, rows, cost, context.chat, config.train.of(arm))
        pool = [(i, rows[i].pool, n) for i, n in arm_cost.items()]
        weights = mix.taken(arm.weights or config.mix.weights, pool)
        budget = max(1, round(arm.share * (arm.tokens or config.mix.tokens)))
        chosen = mix.choose(pool, weights, budget, config.mix.max_epochs, config.seed, arrange)
        table = pa.table({"id": chosen.ids, "pool": [rows[i].pool for i in chosen.ids]})
        write_table(step.folder / f"{name}.parquet", table)
        arms[name] = {
            "rows": len(chosen.ids),
            "tokens": chosen.tokens,
            "epochs": chosen.epochs,
            "short": {k: v for k, v in chosen.short.items() if v},
        }
        step.log(arm=name, **arms[name])
    counts = Counts(rows_in=len(rows), rows_out=len(cost), rejected=refused)
    return counts, {"arms": arms}
