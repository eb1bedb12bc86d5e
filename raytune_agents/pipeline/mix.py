"""The mix step. Thin: the rules live in the modules it calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from raytune_agents import mix
from raytune_agents.dedup import space
from raytune_agents.pipeline.rows import token_counts, training_rows
from raytune_agents.runs import Counts, Step, write_table

if TYPE_CHECKING:
    from raytune_agents.pipeline.context import Context


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
        asked, no_call = arm.weights or config.mix.weights, config.mix.no_call
        pool = [(i, mix.mix_pool(rows[i], asked, no_call), n) for i, n in arm_cost.items()]
        weights = mix.taken(asked, pool, no_call)
        tokens = arm.tokens or config.mix.tokens or mix.auto_tokens(pool, weights)
        budget = max(1, round(arm.share * tokens))
        seed = config.seed if arm.seed is None else arm.seed
        chosen = mix.choose_rows(pool, weights, budget, config.mix.max_epochs, seed, arrange)
        table = pa.table({"id": chosen.ids, "pool": [rows[i].pool for i in chosen.ids]})
        write_table(step.folder / f"{name}.parquet", table)
        arms[name] = {
            "rows": len(chosen.ids),
            "tokens": chosen.tokens,
            "epochs": chosen.epochs,
            "short": {k: v for k, v in chosen.short.items() if v},
            "left_out": sorted(set(asked) - set(weights)),
        }
        step.log(arm=name, **arms[name])
    counts = Counts(rows_in=len(rows), rows_out=len(cost), rejected=refused)
    return counts, {"arms": arms}
