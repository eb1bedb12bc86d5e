"""Answers that outlive the evaluate step: asked again only where something that decides them
changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from finished import finish_step

from raytune_agents.config import Config
from raytune_agents.evaluate.baselines import Arm
from raytune_agents.infra.provenance import marks, package_records
from raytune_agents.pipeline.answering import asked_of_arm, identity
from raytune_agents.pipeline.evaluate import arms_at_once
from raytune_agents.pipeline.shards import in_shards, kept_shards
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


def test_other_weights_in_the_models_folder_ask_again(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"1")
    model = Config().model.model_copy(update={"name": str(tmp_path)})
    context = context_in(tmp_path, model=model)
    before = kept_shards(context, "ask base", [ROWS]).folder
    assert kept_shards(context, "ask base", [ROWS]).folder == before
    (tmp_path / "model.safetensors").write_bytes(b"2")
    assert kept_shards(context, "ask base", [ROWS]).folder != before


class Asked(Exception):
    """The engine was started: something is asked."""


def trained_arm(folder: Path, weights: bytes) -> Arm:
    """An arm whose training ended with these weights."""
    (folder / "adapter").mkdir(parents=True, exist_ok=True)
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(weights)
    finish_step(folder)
    return Arm("nat", str(folder / "adapter"))


BFCL = [mark.content for mark in marks(package_records("bfcl_eval")).values()]
# what is asked, and the options that decide its answers besides the arm
ASKS = {
    "ask": lambda o: [64, 1024 - 64],
    "roll out": lambda o: [o.trajectories, 64],
    "converse": lambda o: [o.multi_turn.max_steps, 64, *BFCL],
    "measure": lambda o: [],
}


@pytest.mark.parametrize("name", ASKS)
def test_an_arm_that_was_trained_again_is_asked_again(tmp_path: Path, name: str) -> None:
    def start_engine() -> None:
        raise Asked

    context = context_in(tmp_path)
    context.start_engine, context.chat = start_engine, None
    options = context.config.evaluate.model_copy(update={"max_tokens": 64})
    deciding = ASKS[name]

    def ask(arm: Arm, **changes: object) -> object:
        asked = asked_of_arm(
            context, name, ROWS, arm, options.model_copy(update=changes)
        )
        return in_shards(context, None, [asked])[0]

    arm = trained_arm(tmp_path / "train" / "nat", b"first")
    with pytest.raises(Asked):
        ask(arm)
    shards = kept_shards(context, f"{name} nat", [ROWS], *identity(arm), *deciding(options))
    shards.commit(0, pa.table({"line": pa.array([], pa.string())}))
    assert ask(arm) == []
    assert ask(arm, confidence=0.9, perturbations=["x"], metrics=["a:b"], few_shot=0) == []
    with pytest.raises(Asked):
        ask(trained_arm(tmp_path / "train" / "nat", b"second"))


def test_arms_whose_adapters_go_on_top_are_asked_together_on_a_gpu(tmp_path: Path) -> None:
    def arm(name: str, config: str) -> Arm:
        (tmp_path / name).mkdir()
        if config:
            (tmp_path / name / "adapter_config.json").write_text(config)
        return Arm(name, str(tmp_path / name))

    arms = [Arm("base"), arm("sft", "{}"), arm("full", ""), arm("nat", "{}"),
            arm("dora", '{"use_dora": true}')]  # fmt: skip
    names = [[arm.name for arm in group] for group in arms_at_once(arms, gpu=True)]
    assert names == [["base", "sft", "nat"], ["full"], ["dora"]]
    assert arms_at_once(arms, gpu=False) == [[arm] for arm in arms]  # each is merged in in turn
