"""Answers that outlive the evaluate step: asked again only where something that decides them
changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa

from raytune_agents.config import Config
from raytune_agents.evaluate.baselines import Arm
from raytune_agents.pipeline.answering import identity
from raytune_agents.pipeline.shards import kept_shards
from raytune_agents.records import Message, Trajectory

ROWS = [Trajectory((Message("user", "Open it."),)), Trajectory((Message("user", "Close it."),))]


def context_in(folder: Path, **changes: object) -> SimpleNamespace:
    config = Config().model_copy(update=changes)
    return SimpleNamespace(config=config, run=SimpleNamespace(folder=folder))


def test_the_same_question_finds_the_same_answers(tmp_path: Path) -> None:
    first = kept_shards(context_in(tmp_path), "ask nat", [ROWS], *identity(Arm("nat")))
    first.commit(0, pa.table({"line": ["{}"]}))
    again = kept_shards(context_in(tmp_path), "ask nat", [list(ROWS)], *identity(Arm("nat")))
    assert again.folder == first.folder
    assert again.missing(1) == []


def test_whatever_decides_an_answer_asks_again_and_clears_the_old(tmp_path: Path) -> None:
    context = context_in(tmp_path)
    model = context.config.model.model_copy(update={"revision": "other"})
    other = kept_shards(context, "ask nat-s1", [ROWS])  # an arm whose name begins the same
    other.commit(0, pa.table({"line": ["{}"]}))
    changed = [
        (context, [[replace(ROWS[0], split="val"), ROWS[1]]], ()),
        (context, [ROWS], identity(Arm("nat", marker="well done"))),
        (context, [ROWS], identity(Arm("nat", shots=(ROWS[0],)))),
        (context_in(tmp_path, seed=3), [ROWS], ()),
        (context_in(tmp_path, model=model), [ROWS], ()),
    ]
    seen = set()
    for ctx, parts, decided_by in [(context, [ROWS], ()), *changed]:
        shards = kept_shards(ctx, "ask nat", parts, *decided_by)
        shards.commit(0, pa.table({"line": ["{}"]}))
        seen.add(shards.folder)
    assert len(seen) == 6
    assert sorted(f.name for f in (tmp_path / "answers").iterdir()) == sorted(
        [other.folder.name, shards.folder.name]
    )
