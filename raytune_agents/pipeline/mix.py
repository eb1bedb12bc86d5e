"""The mix step. Thin: the rules live in the modules it calls."""

from __future__ import annotations

import shutil
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raytune_agents import mix
from raytune_agents.dedup import space
from raytune_agents.pipeline.context import Context
from raytune_agents.pipeline.rows import stored_training_rows
from raytune_agents.pipeline.tokenize import tokenize
from raytune_agents.runs import COLUMNS, Counts, Step
from raytune_agents.storage import write_table
from raytune_agents.train.tokenized import Tokenized


def mix_arms(context: Context, step: Step) -> tuple[Counts, dict[str, Any]]:
    """The training rows of every arm: mix/ARM.parquet with columns id and pool, in training order.
    Rows are chosen by id, kind and number of loss tokens; their text stays on the disk."""
    config = context.config
    arms: dict[str, Any] = {}
    tokenized: dict[Path, Tokenized] = {}
    for name, arm in config.train.arms.items():
        rows = tokenize(context, step, arm.method, config.train.of(arm))
        # By folder: arms that share their columns count once.
        tokenized[rows.folder] = rows
        own = config.mix.of(arm)
        pool, weights = mix.with_no_call(rows.counted, own.weights, own.no_call)
        budget = max(1, round(arm.share * (own.tokens or mix.auto_tokens(pool, weights))))
        seed = config.seed if arm.seed is None else arm.seed
        arrange = None if own.select == "random" else partial(diverse, context)
        chosen = mix.choose_rows(pool, weights, budget, own.max_epochs, seed, arrange)
        chosen_pools = rows.facts["pool"].take(pa.array(rows.positions(chosen.ids)))
        table = pa.table({"id": pa.array(chosen.ids, pa.string()), "pool": chosen_pools})
        write_table(step.folder / f"{name}.parquet", table)
        arms[name] = {
            "rows": len(chosen.ids),
            "tokens": chosen.tokens,
            "epochs": chosen.epochs,
            "short": {k: v for k, v in chosen.short.items() if v},
            "left_out": sorted(set(own.weights) - set(weights)),
        }
        step.log(arm=name, **arms[name])
    # After the last arm: all columns that this config needs are known only now.
    for old in (context.run.folder / COLUMNS).glob("*"):
        if old not in tokenized:
            shutil.rmtree(old)
    return row_counts([rows.facts for rows in tokenized.values()]), {"arms": arms}


def diverse(context: Context, ids: list[str], count: int) -> list[str]:
    """`count` rows that cover the space, best first."""
    config, stored = context.config, stored_training_rows(context.run.folder, ids)
    places = {row.id: space.RowPlace.of(row) for row in stored}
    order = space.arranged([places[i] for i in ids], config.mix.select, count, config.seed)
    return [ids[k] for k in order]


def row_counts(methods: list[pa.Table]) -> Counts:
    """Of the same rows under several methods: refused is what none trains on and one refuses."""
    refused: Counter[str] = Counter()
    # Cost 0 under every method: no arm can use the row.
    left = np.logical_and.reduce([facts["tokens"].to_numpy() == 0 for facts in methods])
    rows = len(left)
    for facts in methods:
        why = left & pc.not_equal(facts["refused"], "").to_numpy()
        refused.update(facts["refused"].filter(pa.array(why)).to_pylist())
        # Counted once, under the first method that says why.
        left &= ~why
    return Counts(rows_in=rows, rows_out=rows - refused.total(), rejected=refused)
