"""GRPO on whole roll-outs: the policy answers in a task's world, its calls are run, and it goes on
from their observations, up to train.grpo.turns answers.

The sequence is the tokens that the policy sampled and, between them, those of the observations as
the template writes them; only the policy's are trained (`env_mask`). A perfect roll-out is thus
token by token the training row of the task. A roll-out also ends where it has no room for one more
answer, or where an answer was cut off.
"""

from __future__ import annotations

import json
import logging
import warnings
from dataclasses import dataclass, field
from typing import Any

import torch
from trl import GRPOTrainer, import_utils

from raytune_agents.agents.rollout import Rollout, can_roll_out, roll_out
from raytune_agents.calls.thoughts import NEAR
from raytune_agents.chat import Chat
from raytune_agents.config import TrainConfig
from raytune_agents.records import Message, RecordError, Trajectory, from_row, to_row
from raytune_agents.train.rewards import equal_groups

log = logging.getLogger(__name__)


@dataclass
class TokenRollout:
    """One answer or roll-out as tokens. `ids` follow `prompt`; `mask` is 1 on the policy's,
    `logprobs` are those that it sampled them with where the sampler tells them, all [completion].
    """

    prompt: list[int]
    rollout: Rollout | None  # None: one answer
    ids: list[int] = field(default_factory=list)
    mask: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    end: str = ""

    def add(self, ids: list[int], mask: int, logprobs: list[float] | None = None) -> None:
        self.ids += ids
        self.mask += [mask] * len(ids)
        # Observations were not sampled; the mask hides their zeros from the loss.
        self.logprobs += logprobs or [0.0] * len(ids)

    def observe(self, chat: Chat, room: int) -> None:
        """Before the next answer: the tokens of what the calls gave, or the end where one more
        answer would not fit into `room` tokens or the template refuses it."""
        if self.rollout is None or not self.ids:
            return
        try:
            seen = observed(self.rollout.row, chat)
        except RecordError:  # what the policy did cannot be written, for example two calls at once
            self.end = "template_refused"
            return
        if len(self.prompt) + len(self.ids) + len(seen) > room:
            self.end = "too_long"
        else:
            self.add(seen, 0)

    def answer(self, ids: list[int], logprobs: list[float] | None, chat: Chat) -> str | None:
        """Add the policy's answer; its text, None where it was cut off, so that its calls are not
        run."""
        text = chat.answer_text(ids, self.prompt + self.ids)
        self.add(ids, 1, logprobs)
        if self.rollout is None or ids[-1] in chat.end_ids:
            return text
        self.rollout.messages.append(Message("assistant", text))
        self.end = "cut_off"
        return None

    def take(self, text: str) -> None:
        if self.rollout is not None:
            self.rollout.take(text)
        self.end = "answered" if self.rollout is None else self.rollout.end


def observed(row: Trajectory, chat: Chat) -> list[int]:
    """Token ids of all that the template writes after the last answer, up to the next one. Raises
    RecordError where it writes what was before otherwise as soon as more follows."""
    last = max(i for i, m in enumerate(row.messages) if m.role == "assistant")
    prompt, answer = chat.turn(row.messages[:last], row.messages[last], row.tools)
    whole = chat.render(row.messages, row.tools, generation=True)
    if whole.startswith(prompt + answer):
        return chat.ids(whole[len(prompt + answer) :])
    # Qwen3, for one, writes an empty thought in the last turn alone: the answer ends at its token
    differ = (i for i, (a, b) in enumerate(zip(whole, prompt)) if a != b)
    shared = next(differ, min(len(whole), len(prompt)))
    end = chat.habits.end_of(row.messages[last]) or chat.tokenizer.eos_token
    at = whole.find(end, shared)
    if at < 0 or shared < len(prompt) - NEAR:
        raise RecordError("template: it writes the chat otherwise as soon as more follows")
    return chat.ids(whole[at + len(end) :])


def samples_by_vllm(config: TrainConfig) -> bool:
    """Whether vLLM samples the answers (train.grpo.use_vllm)."""
    if config.grpo.use_vllm != "auto":
        return config.grpo.use_vllm
    # TRL merges the adapter into the weights that it sends: packed ones have no room for it.
    if not torch.cuda.is_available() or config.quantization != "none":
        return False
    if why := vllm_objection():
        log.warning("grpo: answers by transformers, which is slower: %s", why)
    return not why


def vllm_objection() -> str:
    """Why TRL cannot sample by the installed vLLM, in its own words; "" where it can."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        there = import_utils.is_vllm_available()
    return str(said[0].message) if said else "" if there else "vLLM is not installed"


def sample_rollouts(prompts: list[str], trainer: RolloutTrainer) -> dict[str, Any]:
    """TRL's `rollout_func`: one answer or roll-out for each prompt, whose rows are `trainer.rows`.
    Also `rollout`: JSON of what came of one, "" of a single answer."""
    chat, rows = trainer.chat, trainer.rows
    arguments: Any = trainer.args
    # TRL gives every answer max_completion_length tokens, so that much must be left over.
    room, known = chat.max_length - arguments.max_completion_length, False
    tracks = [
        TokenRollout(chat.ids(prompt), Rollout.of(row, k) if can_roll_out(row) else None)
        for k, (prompt, row) in enumerate(zip(prompts, rows, strict=True))
    ]

    def sample(live: list[TokenRollout]) -> list[str | None]:
        nonlocal known
        for track in live:
            track.observe(chat, room)
        going = [track for track in live if not track.end]
        # Nothing to generate, but `roll_out` asks for one text per track.
        if not going:
            return [None] * len(live)
        sequences = [track.prompt + track.ids for track in going]
        answers, logprobs = trainer._generate_single_turn(sequences, None, {}, num_generations=1)
        known = logprobs is not None
        texts = {
            id(track): track.answer(ids, logprobs[k] if known else None, chat)
            for k, (track, ids) in enumerate(zip(going, answers, strict=True))
        }
        return [texts.get(id(track)) for track in live]

    roll_out(tracks, sample, trainer.turns)
    return {
        "prompt_ids": [t.prompt for t in tracks],
        "completion_ids": [t.ids for t in tracks],
        "logprobs": [t.logprobs for t in tracks] if known else None,
        "env_mask": [t.mask for t in tracks],
        "rollout": [json.dumps(to_row(t.rollout.row)) if t.rollout else "" for t in tracks],
    }


class RolloutTrainer(GRPOTrainer):
    """TRL's GRPOTrainer, whose rollouts see the rows of their prompts, and which drops groups of
    equal reward. `worker.build_trainer` sets `chat` and `turns`."""

    chat: Chat
    turns: int
    rows: list[Trajectory]
    rewards: torch.Tensor  # of the last batch, all workers', [answers, reward functions]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        # TRL hands `rollout_func` the prompts only; here are their rows.
        self.rows = [from_row(json.loads(x["row"])) for x in inputs]
        return self.without_equal_groups(super()._generate_and_score_completions(inputs))

    def _calculate_rewards(self, *batch: Any) -> torch.Tensor:
        self.rewards = super()._calculate_rewards(*batch)
        return self.rewards

    def without_equal_groups(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch without loss on answers whose group `rewards` calls equal: they have no
        advantage, and neither the mean of the token losses nor the KL counts them any more. DAPO
        (arXiv 2503.14476, section 3.2) samples others instead. `frac_reward_zero_std` of
        metrics.jsonl is their share."""
        mask = batch["completion_mask"]
        unscored = self.rewards.isnan().all(dim=1)
        worth = (self.rewards * self.reward_weights.to(self.rewards.device)).nansum(dim=1)
        worth[unscored] = torch.nan
        size = self.num_generations
        assert size  # TRL's arguments refuse none
        equal = equal_groups(worth.tolist(), size)
        first = self.accelerator.process_index * len(mask)  # groups may lie across workers
        kept = [not equal[(first + k) // size] for k in range(len(mask))]
        batch["tool_mask"] = batch.get("tool_mask", torch.ones_like(mask)) * torch.tensor(
            kept, dtype=mask.dtype, device=mask.device
        ).unsqueeze(1)
        trained = (mask * batch["tool_mask"]).sum()
        batch["num_items_in_batch"] = self.accelerator.gather(trained).sum()
        return batch
