"""GRPO that does not collapse: groups of equal reward are dropped, signs of reward hacking stop it,
each by hand."""

from __future__ import annotations

import json
import re
from math import nan
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from method_rows import GOOD, RUNS, section_of, small_chat
from tiny_model import save_tiny, with_columns
from trl import import_utils

from raytune_agents.calls import render_calls
from raytune_agents.config.method_options import RewardHackingConfig
from raytune_agents.records import Trajectory, to_row
from raytune_agents.runs import BadLoss
from raytune_agents.train import rewards, rollout_func, worker
from raytune_agents.train.callbacks import HackingWatch
from raytune_agents.train.job import Job
from raytune_agents.train.methods import build_columns
from raytune_agents.train.reward_hacking import PolicyStep, hacking_sign

LIMITS = RewardHackingConfig(window=2)
STEP = {"completions/mean_length": 20.0, "entropy": 0.4, "reward": 1.0, "no_call": 0.1,
        "frac_reward_zero_std": 0.5}  # fmt: skip


def steps(**last: float) -> list[PolicyStep]:
    """Two steps as at the start, and two that differ in the named values."""
    return [STEP, STEP, *[STEP | {k.replace("__", "/"): v for k, v in last.items()}] * 2]


@pytest.mark.parametrize(
    ("last", "sign"),
    [
        ({}, ""),
        ({"completions__mean_length": 59.0}, ""),
        ({"completions__mean_length": 60.0}, "answers are 60 tokens long, 20 at the start"),
        ({"no_call": 0.39}, ""),
        ({"no_call": 0.41}, "41% of answers have no call where one is due, 10% at the start"),
        ({"entropy": 0.021}, ""),
        ({"entropy": 0.019}, "entropy is 0.0190, 0.4000 at the start, and the reward is no higher"),
        ({"entropy": 0.019, "reward": 1.1}, ""),  # it has learnt its tasks
        ({"entropy": 0.0, "frac_reward_zero_std": 1.0}, ""),  # no token was left to look at
    ],
)
def test_signs_by_hand(last: dict[str, float], sign: str) -> None:
    found = hacking_sign(steps(**last), LIMITS)
    assert found.partition(" (train.grpo.stop.")[0] == sign
    off = RewardHackingConfig(window=2, length=0, no_call=0, entropy=0)
    assert hacking_sign(steps(**last), off) == ""


def test_means_of_a_window_and_too_few_steps() -> None:
    lengths = [10, 30, 500, 500, 40, 80]  # 20 at the start, 60 now: what lies between is no window
    found = [STEP | {"completions/mean_length": n} for n in lengths]
    assert "60 tokens long, 20 at the start" in hacking_sign(found, LIMITS)
    assert hacking_sign(found[:3], LIMITS) == ""
    silent = [{"reward": 1.0}] * 4  # rows on which no call is due, for example
    assert hacking_sign(silent, LIMITS) == ""


def test_the_watch_stops_with_step_sign_and_option_also_after_a_resume(tmp_path: Path) -> None:
    path, config = tmp_path / "metrics.jsonl", section_of("grpo={stop: {window: 2}}")
    lines = [STEP | {"step": k, "loss": 0.1} for k in (1, 2, 3)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    watch = HackingWatch(path, config)
    state = SimpleNamespace(is_world_process_zero=True, global_step=2)
    watch.on_train_begin(None, state, None)  # the checkpoint is that of step 2
    logs = STEP | {"loss": 0.1, "no_call": 0.7, "rewards/irrelevance/mean": None}
    state.global_step = 3
    watch.on_log(None, state, None, logs)  # 0.4 of both windows' steps: (0.1 + 0.7) / 2 - 0.1
    state.global_step = 4
    with pytest.raises(BadLoss, match=r"at step 4: 70% .*train\.grpo\.stop\.no_call=0\.3"):
        watch.on_log(None, state, None, logs)


def test_groups_of_equal_reward() -> None:
    assert rewards.equal_groups([1.0, 1.0, 0.0, 3.0, nan, nan, 2.0, nan], 2) == [
        True, False, True, True]  # fmt: skip
    assert rewards.equal_groups([0.1 + 0.2, 0.3, 0.3], 3) == [True]


@pytest.mark.parametrize("turns", [1, 4])
def test_dropped_groups_count_nowhere_in_the_loss(tmp_path: Path, turns: int) -> None:
    """Two groups of two answers; the first is of equal reward. The loss is that of the second
    alone, whose two advantages are 1 and -1, over its 2 + 3 tokens (1 less where a tool spoke)."""
    chat, path = small_chat(), save_tiny(tmp_path / "model")
    tasks = RUNS[:2] if turns > 1 else GOOD[:2]
    more = ", turns: 4, rewards: [goal], reward_weights: [1]" if turns > 1 else ""
    config = section_of(f"grpo={{num_generations: 2, max_tokens: 8{more}}}", "lora.r=2",
                         "report_to=[]", "global_batch_size=4")  # fmt: skip
    columns, refused = build_columns("grpo", tasks, chat, config, None)
    assert not refused
    job = Job(path, "float32", "", "grpo", config, chat.arguments, str(tmp_path),
              1, 1)  # fmt: skip
    trainer = worker.build_trainer(with_columns(job, columns))
    ids = torch.tensor([[11, 12, 13], [14, 15, 16], [21, 22, 0], [23, 24, 25]])
    mask = torch.tensor([[1, 1, 1], [1, 1, 1], [1, 1, 0], [1, 1, 1]])
    told = torch.tensor([[1, 1, 1], [1, 0, 1], [1, 1, 1], [1, 0, 1]])
    batch = {"prompt_ids": torch.tensor([[5, 6]] * 4), "prompt_mask": torch.ones(4, 2).long(),
             "completion_ids": ids, "completion_mask": mask,
             "advantages": torch.tensor([0.0, 0.0, 1.0, -1.0]),
             "num_items_in_batch": mask.sum()}  # fmt: skip
    batch |= {"tool_mask": told} if turns > 1 else {}
    last = {k: v[2:] if v.dim() else v for k, v in batch.items()}
    trainer.rewards = torch.full((4, len(trainer.reward_funcs)), nan)
    trainer.rewards[:, 0] = torch.tensor([3.0, 3.0, 3.0, -3.0])
    found = trainer.without_equal_groups(dict(batch))
    count = 4 if turns > 1 else 5
    assert found["num_items_in_batch"].item() == count
    assert found["tool_mask"][:2].sum() == 0
    last["num_items_in_batch"] = torch.tensor(count)
    trainer.current_gradient_accumulation_steps = trainer.args.steps_per_generation
    with torch.no_grad():
        losses = [trainer.compute_loss(trainer.model, part).item() for part in (found, last)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert losses[1] == pytest.approx((3 - 2) / 5 if turns == 1 else (2 - 2) / 4, abs=1e-6)
    trainer.rewards[:, 0] = 1.0  # all groups: nothing is learnt, and nothing is divided by 0
    nothing = trainer.without_equal_groups(dict(batch))
    with torch.no_grad():
        assert trainer.compute_loss(trainer.model, nothing).item() == 0.0


@pytest.mark.parametrize("method", ["grpo", "rloo"])
def test_a_training_logs_what_the_signs_are_read_from(tmp_path: Path, method: str) -> None:
    chat, path = small_chat(), save_tiny(tmp_path / "model")
    section = section_of("grpo={num_generations: 2, max_tokens: 6, stop: {window: 1}}", "lora.r=2",
                         "report_to=[]", "global_batch_size=4", "max_steps=2")  # fmt: skip
    columns, _ = build_columns(method, GOOD[:4], chat, section, None)
    job = Job(path, "float32", "", method, section, chat.arguments, str(tmp_path),
              1, 1)  # fmt: skip
    worker.fit(with_columns(job, columns))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    for line in lines:  # a random model calls nothing, so all its answers are worth the same
        assert (line["no_call"], line["frac_reward_zero_std"]) == (1.0, 1.0)
        assert line["completions/mean_length"] > 0
        assert line["loss"] == 0.0


@pytest.mark.parametrize("method", ["grpo", "rloo"])
def test_an_answer_ends_at_any_end_and_a_cut_one_is_not_trained_on(tmp_path: Path, method) -> None:
    chat, path = small_chat(), save_tiny(tmp_path / "model")
    (tmp_path / "model" / "generation_config.json").write_text('{"eos_token_id": 7}')
    section = section_of("grpo={num_generations: 2, max_tokens: 6}", "report_to=[]",
                         "global_batch_size=2")  # fmt: skip
    columns, _ = build_columns(method, GOOD[:1], chat, section, None)
    job = Job(path, "float32", "", method, section, chat.arguments, str(tmp_path),
              1, 1)  # fmt: skip
    trainer = worker.build_trainer(with_columns(job, columns))
    assert trainer.eos_token_ids == [*chat.end_ids, 7]
    assert trainer.mask_truncated_completions
    assert trainer.use_vllm is (torch.cuda.is_available() and not rollout_func.vllm_objection())


@pytest.mark.parametrize(
    ("installed", "says"),
    [
        ((True, "0.31.0+cu129"), ""), ((True, "0.32.0"), r".*from 0\.22\.0 to 0\.31\.0.*0\.32\.0"),
        ((False, "N/A"), "vLLM is not installed"),
    ],
)  # fmt: skip
def test_vllm_samples_where_trl_supports_its_version(monkeypatch, installed, says: str) -> None:
    monkeypatch.setattr(import_utils, "_is_package_available", lambda *_, **__: installed)
    assert re.fullmatch(f"{says}.*" if says else "", rollout_func.vllm_objection())
    assert not rollout_func.samples_by_vllm(section_of("grpo={use_vllm: false}"))
    assert rollout_func.samples_by_vllm(section_of("grpo={use_vllm: true}"))


def as_json(row: Trajectory) -> str:
    return json.dumps(to_row(row))


def test_the_share_of_answers_without_a_call_is_logged() -> None:
    right, logged = render_calls(GOOD[0].target.tool_calls), []
    texts = [right, "It is sunny.", "", right]
    given = {"completions": texts, "row": [as_json(GOOD[0])] * 4,
             "log_metric": lambda name, value: logged.append((name, value))}  # fmt: skip
    for reward in rewards.functions(["toolrl", "format"], False):
        reward(**given)
    assert logged == [("no_call", 0.5)]  # by the first alone
    whole, silent = RUNS[0], RUNS[0].messages[:1]
    played = [as_json(whole), as_json(Trajectory(silent, whole.tools))]
    assert rewards.no_call_share(["", ""], [as_json(whole)] * 2, played) == 0.5
    assert rewards.no_call_share([], [], []) is None
