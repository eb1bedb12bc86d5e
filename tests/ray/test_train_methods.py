"""Every method trains the real model in this process; losses of a known batch, worked by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from raytune_agents import agents, models
from raytune_agents.chat import IGNORE, Chat
from raytune_agents.config import ResourcesConfig, load_config
from raytune_agents.generate.tasks import tasks
from raytune_agents.generate.world_runs import react
from raytune_agents.infra import cluster
from raytune_agents.negatives import edit
from raytune_agents.records import Trajectory, from_row
from raytune_agents.runs import BadLoss
from raytune_agents.storage import read_jsonl
from raytune_agents.train import (
    column_files,
    kto,
    methods,
    padding_free,
    trainers,
    validate_data,
    worker,
)
from raytune_agents.train.base_model import save
from raytune_agents.train.job import Job
from raytune_agents.train.methods import Recipe

GOOD = [  # short rows of two lengths: with the one tool they call, the second with one more
    replace(r, tools=tuple(t for t in r.tools if t.name in (r.calls[0].name, *more)))
    for r, more in zip(tasks(agents.load_spec("security"), 2, 1), ((), ("scanner",)), strict=True)
]
BAD = [edit(row, "wrong_value", 1)[0] for row in GOOD]
ROWS = {r.id: r for r in (*GOOD, *BAD) if r}
OPTIONS = ["model.dtype=float32", "model.max_length=400", "train.global_batch_size=2",
           "train.max_tokens_per_forward=4096", "train.max_steps=2", "train.warmup_ratio=0",
           "train.grpo={num_generations: 2, max_tokens: 8}"]  # fmt: skip


def job_of(
    method: str, out: Path, *overrides: str, rows: dict[str, Trajectory] = ROWS
) -> tuple[Job, list[dict]]:
    """The job of a method on those of a few rows that it takes, checked as the train step does."""
    config = load_config(None, [*OPTIONS, *overrides])
    path, options = models.resolve(config.model), config.train
    chat = Chat.of(path, config.model)
    how = methods.METHODS[method]
    pairs = how.pairs(rows, options) if how.pairs else None
    mine = [row for i, row in rows.items() if how.takes(row) and (pairs is None or i in pairs)]
    taken = [row for row in mine if not (method == "sft" and row.failed)]
    columns, _ = methods.build_columns(method, taken, chat, options, pairs)
    validate_data.validate_columns(columns, chat.max_length)
    shared = {i: pair.shared for i, pair in (pairs or {}).items()}
    validate_data.parity(Recipe(method, options, chat), rows, columns, shared)
    arguments = {"path": chat.path, "template": chat.template, "tools": chat.tools,
                 "max_length": chat.max_length}  # fmt: skip
    folder = out / "columns"
    column_files.write_columns(folder / "rows-00000.arrow", columns)
    job = Job(str(path), "float32", str(folder), method, options, arguments, str(out),
                     seed=1, threads=2)  # fmt: skip
    return job, columns


# sft's steps are those of test_model, nat's those of the tiny run.
@pytest.mark.parametrize(
    "method", ["dpo", "kto", "grpo", *(pytest.param(m, marks=pytest.mark.slow)
                                       for m in ("sft", "nat", "rloo"))])  # fmt: skip
def test_two_steps(method: str, tmp_path: Path) -> None:
    job, _ = job_of(method, tmp_path)
    trainer = worker.fit(job)
    lines = [json.loads(x) for x in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [x["step"] for x in lines] == [1, 2]
    assert all(math.isfinite(x["loss"]) for x in lines)
    if method in ("grpo", "rloo"):
        assert -3 <= lines[0]["rewards/toolrl/mean"] <= 3
        assert {"rewards/format/mean", "reward", "entropy"} <= set(lines[0])
    else:
        changed = [p for n, p in trainer.model.named_parameters() if "lora_B" in n and p.any()]
        assert changed  # B starts at 0
    if method in ("dpo", "kto"):
        seen = {key for line in lines for key in line}
        assert {"rewards/chosen", "rewards/rejected", "logps/chosen"} <= seen
    if method == "dpo":  # the policy is the reference: every fault's pairs cost log 2
        assert lines[0]["pool_loss"].keys() <= {r.pool for r in BAD if r}
        assert list(lines[0]["pool_loss"].values()) == [pytest.approx(math.log(2), abs=1e-3)]
    assert "ref" not in trainer.model.peft_config  # the reference is the adapter switched off


def moved(job: Job):
    """A trainer whose adapter is not the reference any more, and its first batch."""
    trainer = worker.build_trainer(job)
    torch.manual_seed(0)
    for name, weight in trainer.model.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(0, 0.02)
    trainer.model.eval()
    return trainer, batch_of(trainer)


def batch_of(trainer) -> dict:
    """All rows as one batch of the trainer's collator."""
    if not isinstance(trainer.train_dataset, trainers.StepDataset):
        return trainer.data_collator(list(trainer.train_dataset))
    rows = trainer.train_dataset.rows.remove_columns("pool")
    return trainer.data_collator.collator(list(rows))


@torch.no_grad()
def logps(model, ids: torch.Tensor, attention: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Log-probs of the tokens under `mask`, 0 elsewhere, [rows, seq - 1], out of the whole
    logits."""
    logits = model(input_ids=ids, attention_mask=attention, use_cache=False).logits.float()
    picked = logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)
    return picked * mask[:, 1:]


def test_loss_of_answers_and_of_weighed_answers(tmp_path: Path) -> None:
    job, _ = job_of("nat", tmp_path, "train.sft={understanding: 3, instruction: 0.5}")
    trainer, batch = moved(job)
    kept = batch["labels"] != IGNORE
    each = -logps(trainer.model, batch["input_ids"], batch["attention_mask"], kept)
    count = int(kept[:, 1:].sum())
    by_hand = (each * batch["weights"][:, 1:]).sum() / count
    with torch.no_grad():
        weighed = trainer.compute_loss(trainer.model, batch)
        even = {k: v for k, v in batch.items() if k != "weights"}
        plain = trainer.compute_loss(trainer.model, even)
    assert weighed.item() == pytest.approx(by_hand.item(), rel=1e-4)
    assert plain.item() == pytest.approx((each.sum() / count).item(), rel=1e-4)
    assert abs(weighed.item() - plain.item()) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_two_workers_take_the_steps_of_one(method: str, tmp_path: Path) -> None:
    """For dpo the first process writes the reference's log-probabilities; the other reads them."""
    options = ("train.global_batch_size=4", "train.dpo.precompute_ref_log_probs=true")
    # Its sft term is a mean over the tokens of a pass, and a worker's pass holds one pair.
    apart = ["train.max_tokens_per_forward=1"] if method == "dpo" else []
    alone, columns = job_of(method, tmp_path / "alone", *options, *apart)
    worker.fit(alone)
    column_files.write_columns(tmp_path / "columns" / "rows-00000.arrow", columns)
    both = job_of(method, tmp_path / "both", *options, "train.num_workers=2", "train.sharding=ddp")[
        0
    ]
    cluster.connect(ResourcesConfig(cpus=2))
    try:
        made = replace(both, columns=str(tmp_path / "columns"), threads=1)
        worker.run_training(made, method, tmp_path / "ray", use_gpu=False)
    finally:
        cluster.disconnect()
    one, two = (read_jsonl(tmp_path / n / "metrics.jsonl") for n in ("alone", "both"))
    assert [x["step"] for x in one] == [x["step"] for x in two] == [1, 2]
    if method == "dpo":  # KTO's KL is of the rows that one worker has
        assert [x["loss"] for x in two] == pytest.approx([x["loss"] for x in one], abs=2e-3)


@pytest.mark.slow
def test_a_model_that_reads_padding_otherwise_is_refused(tmp_path: Path, monkeypatch) -> None:
    """Before the first step two rows in one batch are compared with the same rows by hand."""
    job, _ = job_of("nat", tmp_path, "train.sft.understanding=3")
    trainer, _ = moved(job)
    trainer.check_loss()
    assert not trainer._metrics["eval"]
    worker.fit(replace(job, dtype="bfloat16"))  # near enough in bfloat16 too
    apart = padding_free.row_by_row

    def one_row(query, key, value, lengths: list[int], *args, **options):
        return apart(query, key, value, [sum(lengths)], *args, **options)

    monkeypatch.setattr(padding_free, "row_by_row", one_row)
    with pytest.raises(BadLoss, match=r"in a batch and .* write train.padding_free=false"):
        worker.fit(job)


def test_losses_of_pairs(tmp_path: Path) -> None:
    job, columns = job_of("dpo", tmp_path, "train.dpo.label_smoothing=0.1", "train.dpo.beta=0.3")
    trainer, batch = moved(job)
    inputs = (batch["input_ids"], batch["attention_mask"], batch["completion_mask"])
    policy = logps(trainer.model, *inputs)
    with trainer.model.disable_adapter():
        reference = logps(trainer.model, *inputs)
    ratio = (policy - reference).sum(1)
    given = torch.cat([batch["ref_chosen_logps"], batch["ref_rejected_logps"]])
    assert torch.allclose(given, reference.sum(1), rtol=1e-3)  # made before training
    lengths = batch["completion_mask"].sum(1)
    (good, bad), n = ratio.chunk(2), len(columns)
    per_token = (ratio / lengths).chunk(2)
    h, norm = 0.3 * (good - bad), per_token[0] - per_token[1]
    anchor = -policy[:n].sum() / lengths[:n].sum()
    by_hand = {
        "sigmoid": -F.logsigmoid(h).mean(),
        "sigmoid_norm": -F.logsigmoid(0.3 * norm).mean(),
        "ipo": ((norm - 1 / (2 * 0.3)) ** 2).mean(),
        "robust": ((-0.9 * F.logsigmoid(h) + 0.1 * F.logsigmoid(-h)) / 0.8).mean(),
        "sft": anchor,
    }
    for name, value in by_hand.items():
        trainer.loss_types, trainer.loss_weights = [name], [1.0]
        with torch.no_grad():
            loss = trainer.compute_loss(trainer.model, batch)
        assert loss.item() == pytest.approx(value.item(), rel=2e-3), name


def test_loss_of_unpaired_rows(tmp_path: Path) -> None:
    job, _ = job_of("kto", tmp_path)
    trainer, batch = moved(job)
    ratios = {}
    for prefix in ("", "KL_"):
        inputs = [batch[prefix + k] for k in ("input_ids", "attention_mask", "completion_mask")]
        policy = logps(trainer.model, *inputs)
        with trainer.model.disable_adapter():
            ratios[prefix] = (policy - logps(trainer.model, *inputs)).sum(1)
    baseline = ratios["KL_"].mean().clamp(min=0)
    good = torch.tensor(list(trainer.train_dataset["label"]))  # in training order
    sign = torch.where(good, 1.0, -1.0)
    by_hand = (1 - torch.sigmoid(0.1 * sign * (ratios[""] - baseline))).mean()
    with torch.no_grad():
        loss = trainer.compute_loss(trainer.model, batch)
    assert kto.weights(int(good.sum()), int((~good).sum()), load_config().train.kto) == (1.0, 1.0)
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-3)


def test_going_on_from_an_adapter_the_reference_is_that_adapter(tmp_path: Path) -> None:
    """A round of ETO: the policy at its start, not the base, is what DPO compares with."""
    job, _ = job_of("dpo", tmp_path)
    first, batch = moved(job)
    inputs = [batch[k] for k in ("input_ids", "attention_mask", "completion_mask")]
    at_start = logps(first.model, *inputs).sum(1)
    save(first, Chat(**job.chat), tmp_path / "start")
    job, _ = job_of("dpo", tmp_path / "on", f"train.lora.start={tmp_path / 'start'}")
    trainer = worker.build_trainer(job)
    assert "ref" in trainer.model.peft_config
    frozen = batch_of(trainer)
    given = torch.cat([frozen["ref_chosen_logps"], frozen["ref_rejected_logps"]])
    assert torch.allclose(given, at_start, rtol=1e-3)
    trainer.train()
    save(trainer, Chat(**job.chat), tmp_path / "next")
    start, after = (
        load_file(tmp_path / n / "adapter_model.safetensors") for n in ("start", "next")
    )
    assert start.keys() == after.keys()  # one adapter: the reference is not in the file
    assert any(not torch.equal(start[k], after[k]) for k in start)


@pytest.mark.parametrize("method", ["grpo", "rloo"])
def test_the_clipped_objective_of_a_known_batch(method: str, tmp_path: Path) -> None:
    """Two answers whose tokens were drawn by another policy: ratios beyond 1 +- 0.2 are clipped."""
    job, _ = job_of(method, tmp_path)
    trainer, rows = moved(job)
    ids = [trainer.processing_class(r["prompt"])["input_ids"] for r in rows]
    answers = [[11, 12, 13, 14, 15], [21, 22, 23]]
    width, pad = max(map(len, ids)), trainer.processing_class.pad_token_id
    prompts = torch.tensor([[pad] * (width - len(x)) + x for x in ids])
    seen = torch.tensor([[0] * (width - len(x)) + [1] * len(x) for x in ids])
    drawn = torch.tensor([answers[0], answers[1] + [pad] * 2])
    mask = torch.tensor([[1] * 5, [1] * 3 + [0] * 2])
    told = torch.tensor([[1, 1, 0, 1, 1], [1] * 5])  # 0: what a tool said
    whole, attention = torch.cat([prompts, drawn], 1), torch.cat([seen, mask], 1)
    policy = logps(trainer.model, whole, attention, torch.ones_like(whole))[:, width - 1 :]
    shift = torch.tensor([[0.5, -0.5, 0.5, 0.1, -0.1], [0.5, -0.5, 0.0, 0.0, 0.0]])
    gains = torch.tensor([1.0, -0.5])
    batch = {"prompt_ids": prompts, "prompt_mask": seen, "completion_ids": drawn,
             "completion_mask": mask, "advantages": gains}  # fmt: skip

    def clipped(log_ratio: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        ratio = log_ratio.exp()
        return -torch.minimum(ratio * gain, ratio.clamp(0.8, 1.2) * gain)

    if method == "grpo":
        batch |= {"old_per_token_logps": policy - shift, "tool_mask": told,
                  "num_items_in_batch": torch.tensor(7.0)}  # fmt: skip
        by_hand = (clipped(shift, gains[:, None]) * mask * told).sum() / 7
        # good: min(e^.5, 1.2) + e^-.5 + e^.1 + e^-.1; bad, halved: e^.5 + max(e^-.5, 0.8) + 1
        value = (-(1.2 + 0.60653 + 1.10517 + 0.90484) + 0.5 * (1.64872 + 0.8 + 1)) / 7
        assert by_hand.item() == pytest.approx(value, abs=1e-4)
    else:
        batch |= {"old_logps": ((policy - shift) * mask).sum(1)}
        by_hand = clipped((shift * mask).sum(1), gains).mean()
        # the shifts of the tokens add up to 0.5 and 0
        assert by_hand.item() == pytest.approx((-1.2 + 0.5) / 2, abs=1e-4)
    with torch.no_grad():
        loss = trainer.compute_loss(trainer.model, batch)
    assert loss.item() == pytest.approx(by_hand.item(), abs=2e-3)


@pytest.mark.slow
def test_rollouts_of_executable_tools(tmp_path: Path) -> None:
    """The policy learns the agent's scripts by sft, then rolls them out under GRPO: calls are run,
    observations are masked, rewards come from the world, weights change."""
    runs = {r.id: r for r in react(agents.load_spec("security"), 4, 3)}
    base = [
        "model.max_length=900",
        "train.global_batch_size=4",
        "train.max_tokens_per_forward=4096",
    ]
    first, _ = job_of("sft", tmp_path / "sft", *base, "train.max_steps=14", rows=runs)
    save(worker.fit(first), Chat(**first.chat), tmp_path / "start")
    options = ("train.grpo={num_generations: 4, turns: 4, max_tokens: 64, temperature: 1.5, "
               "rewards: [goal, executed], reward_weights: [1, 1]}", "train.max_steps=3",
               "train.learning_rate=1e-4", f"train.lora.start={tmp_path / 'start'}")  # fmt: skip
    job, _ = job_of("grpo", tmp_path / "grpo", *base, *options, rows=runs)
    trainer, drawn = worker.build_trainer(job), []
    rollout = trainer.rollout_func
    trainer.rollout_func = lambda *given: drawn.append(rollout(*given)) or drawn[-1]
    trainer.train()
    lines = [json.loads(x) for x in (tmp_path / "grpo" / "metrics.jsonl").read_text().splitlines()]
    assert [x["step"] for x in lines] == [1, 2, 3]
    assert all(0 <= x[f"rewards/{r}/mean"] <= 1 for x in lines for r in ("goal", "executed"))
    masks = [mask for out in drawn for mask in out["env_mask"]]
    assert any(0 in mask for mask in masks)  # a tool was run, and its words are not trained
    for out in drawn:
        for ids, mask, row in zip(out["completion_ids"], out["env_mask"], out["rollout"]):
            said = trainer.processing_class.decode([i for i, m in zip(ids, mask) if not m])
            tools = [m for m in from_row(json.loads(row)).messages if m.role == "tool"]
            assert sum(m.content in said for m in tools) >= len(tools) - 1  # the last may end it
    assert max(x["rewards/executed/mean"] for x in lines) > 0
    save(trainer, Chat(**job.chat), tmp_path / "end")
    start, end = (load_file(tmp_path / n / "adapter_model.safetensors") for n in ("start", "end"))
    assert min(x["frac_reward_zero_std"] for x in lines) < 1  # those of one task differ in worth
    assert max((end[k] - start[k]).abs().max() for k in end) > 0
