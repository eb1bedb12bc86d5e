"""What is trained and how it is saved: every kind of adapter, quantised bases, full weights, all
with the real model, a few steps each."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_train_sharding import columns, job, losses  # noqa: F401  a fixture and its job

from raytune_agents import models
from raytune_agents.chat import Chat
from raytune_agents.config import ConfigError
from raytune_agents.models import embedded
from raytune_agents.runs import BadLoss
from raytune_agents.storage import read_jsonl
from raytune_agents.train import worker
from raytune_agents.train.base_model import load_model, save
from raytune_agents.train.job import BEST, JOB

ROWS = {"global_batch_size": 2, "max_steps": 2}


def train(columns: Path, out: Path, **options) -> tuple[list[float], Path]:  # noqa: F811
    """Losses, and the folder of the saved adapter."""
    made = job(columns, out, **ROWS | options)
    trainer = worker.fit(made)
    save(trainer, Chat(**made.chat), out / "adapter")
    return losses(read_jsonl(out / "metrics.jsonl")), out / "adapter"


def loaded(adapter: Path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(embedded(), dtype=torch.float32)
    return PeftModel.from_pretrained(base, adapter)


def unchanged(adapter: Path) -> None:
    """PEFT holds the very numbers of the file, and none is missing."""
    saved = load_file(adapter / "adapter_model.safetensors")
    model = loaded(adapter)
    held = {
        n.replace(".default", "").replace("_vector.weight", "_vector"): p
        for n, p in model.named_parameters()
        if "lora" in n
    }
    assert set(held) == set(saved)
    assert all(torch.equal(held[n], saved[n].float()) for n in saved)
    assert not list(adapter.rglob("*.bin"))


@pytest.mark.parametrize(
    "options",
    [
        {"lora": {"use_rslora": True, "target_modules": ["q_proj", "v_proj"]}},
        pytest.param(
            {"lora": {"use_dora": True, "target_modules": ["o_proj"]}}, marks=pytest.mark.slow
        ),
        {"quantization": "nf4"},
        pytest.param({"quantization": "int8"}, marks=pytest.mark.slow),
    ],
    ids=["use_rslora", "use_dora", "nf4", "int8"],
)
def test_an_adapter_of_any_kind_trains_and_loads_unchanged(columns, tmp_path, options) -> None:  # noqa: F811
    if "quantization" in options:
        pytest.importorskip("bitsandbytes")
    found, adapter = train(columns, tmp_path, **options)
    assert all(0 < x < 12 for x in found)  # a uniform guess costs 10.8 nats
    unchanged(adapter)
    if "use_rslora" in str(options):
        layer = next(m for n, m in loaded(adapter).named_modules() if n.endswith("q_proj"))
        assert layer.scaling["default"] == 32 / 16**0.5


@pytest.fixture(scope="module")
def trained(columns, tmp_path_factory) -> tuple[list[float], Path]:  # noqa: F811
    return train(columns, tmp_path_factory.mktemp("trained"), max_steps=4)


def test_training_goes_on_from_an_adapter(columns, trained, tmp_path) -> None:  # noqa: F811
    first, adapter = trained
    again, _ = train(columns, tmp_path, lora={"start": str(adapter)})
    assert again[0] < first[0] - 0.05


def test_full_weights_are_trained_saved_and_merged_as_they_are(columns, tmp_path) -> None:  # noqa: F811
    _, folder = train(columns, tmp_path, parameters="full", learning_rate=1e-4)
    assert (folder / "model.safetensors").is_file()
    name = "model.layers.0.mlp.down_proj.weight"
    weights = dict(models.merged_weights(str(embedded()), str(folder), "float32"))
    base = dict(models.merged_weights(str(embedded()), "", "float32"))
    assert not torch.equal(weights[name], base[name])
    assert models.must_merge(folder)


def test_merging_changes_no_answer(trained, tmp_path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    _, adapter = trained
    models.save_merged(embedded(), adapter, "float32", tmp_path / "merged")
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    ids = AutoTokenizer.from_pretrained(tmp_path / "merged")("Add 1 and 2.", return_tensors="pt")
    with torch.no_grad():
        one, two = (m(**ids).logits for m in (whole.eval(), loaded(adapter).eval()))
    assert (one - two).abs().max() < 1e-3
    assert not models.must_merge(adapter)
    assert not list((tmp_path / "merged").rglob("*.bin"))


def test_a_lora_target_that_matches_nothing_is_refused() -> None:
    config = worker.TrainConfig(lora={"target_modules": ["q_proj", "query"]})
    with pytest.raises(ConfigError, match=r"\['query'\] matches no module .* 'q_proj'"):
        load_model(str(embedded()), "float32", config, 0)


def test_an_exploding_loss_stops_with_its_rows(columns, tmp_path) -> None:  # noqa: F811
    with pytest.raises(BadLoss, match=r"at step 2 .* row-\d+, row-\d+$"):
        train(columns, tmp_path, learning_rate=100, lr_scheduler_type="constant", max_steps=4)


def test_going_on_from_a_checkpoint_changes_nothing(columns, tmp_path) -> None:  # noqa: F811
    """Same rows in the same order, same optimiser: the losses after it are those of one go."""
    from transformers import TrainerCallback

    class Copy(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            name = f"checkpoint-{state.global_step}"
            shutil.copytree(Path(args.output_dir) / name, tmp_path / name)

    options = {
        "global_batch_size": 2,
        "max_steps": 5,
        "save_steps": 2,
        "lora": {"lora_dropout": 0.1},
    }
    whole = job(columns, tmp_path / "whole", **options)
    worker.fit(whole, [Copy()])
    again = job(columns, tmp_path / "again", **options)
    worker.fit(again, resume=str(tmp_path / "checkpoint-2"))
    one, two = (read_jsonl(Path(j.out) / "metrics.jsonl") for j in (whole, again))
    assert [x["step"] for x in two] == [3, 4, 5]
    assert losses(two) == pytest.approx(losses(one)[2:], abs=1e-6)
    done = worker.fit(again, resume=str(tmp_path / "checkpoint-5"))
    assert done.state.global_step == 0  # a finished run trains no further step
    assert len(read_jsonl(Path(again.out) / "metrics.jsonl")) == 3
    (tmp_path / "checkpoint-5" / JOB).write_text('{"seed": 1}')
    with pytest.raises(ConfigError, match=r"seed=1 there, 17 here"):
        worker.fit(again, resume=str(tmp_path / "checkpoint-5"))


def test_the_best_adapter_is_kept_and_a_standstill_stops(columns, tmp_path) -> None:  # noqa: F811
    from dataclasses import replace

    from raytune_agents.train.column_files import TrainingRows

    options = {
        "eval_steps": 1,
        "early_stopping_patience": 1,
        "learning_rate": 1e-30,  # no loss moves, not even in its last bits
        "max_steps": 5,
    }
    val = str(tmp_path / "val.parquet")
    TrainingRows.mapped(columns).data.to_parquet(val)
    made = replace(job(columns, tmp_path, **ROWS | options), val=val)
    trainer = worker.fit(made)
    assert [x["val_loss"] > 0 for x in read_jsonl(tmp_path / "metrics.jsonl")] == [True, True]
    worker.save_result(trainer, made, first=True)
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()
    assert not (tmp_path / BEST).exists()


@pytest.mark.slow
def test_val_rows_are_answered_on_the_way(tmp_path) -> None:
    """The one right call is learned by heart: teacher forcing and generation both see it."""
    import json
    from dataclasses import replace

    import pyarrow as pa
    import pyarrow.parquet as pq

    from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish, to_row
    from raytune_agents.train import column_files, sft

    tool = ToolSpec(
        "pay", "Pay.", '{"type": "object", "properties": {"amount": {"type": "integer"}}}'
    )
    said = (
        Message("user", "Pay five."),
        Message("assistant", tool_calls=(ToolCall.of("pay", amount=5),)),
    )
    row = finish(Trajectory(said, (tool,), source="t", split="val"))
    options = {"eval_steps": 4, "generate_steps": 8, "max_steps": 16, "global_batch_size": 1}
    made = job(
        tmp_path / "columns", tmp_path, learning_rate=5e-3, num_train_epochs=16.0, **options
    )
    made = replace(made, chat=made.chat | {"max_length": 512}, val=str(tmp_path / "val.parquet"))
    found = sft.columns(row, Chat(**made.chat), made.config, None)
    column_files.write_columns(tmp_path / "columns" / "rows-00000.arrow", found)
    val = [c | {"row": json.dumps(to_row(row))} for c in found]
    pq.write_table(pa.Table.from_pylist(val), made.val)
    worker.fit(made)
    told = {x["step"]: x for x in read_jsonl(tmp_path / "metrics.jsonl")}
    assert [k for k, x in told.items() if "val_exact_match" in x] == [4, 8, 12, 16]
    assert [k for k, x in told.items() if "val_answered" in x] == [8, 16]
    assert told[16]["val_exact_match"] == told[16]["val_answered"] == 1.0
