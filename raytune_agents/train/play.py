"""GRPO on whole plays: the policy answers in a task's world, its calls are run, and it goes on from
what they said, up to train.grpo.turns answers.

The sequence is the tokens that the policy drew and, between them, those of the observations as the
template writes them; only the policy's are trained (`env_mask`). A perfect play is thus token by
token the training row of the task. A play also ends where it has no room for one more answer, or
where an answer was cut off.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from trl import GRPOTrainer

from raytune_agents.agents.play import Play, playable
from raytune_agents.chat import Chat
from raytune_agents.records import Message, Trajectory, from_row, to_row


@dataclass
class Track:
    """One answer or play as tokens. `ids` follow `prompt`; `mask` is 1 on the policy's, `logprobs`
    are those that it drew them with where the sampler tells them, all [completion]."""

    prompt: list[int]
    play: Play | None  # None: one answer
    ids: list[int] = field(default_factory=list)
    mask: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    over: bool = False

    def add(self, ids: list[int], mask: int, logprobs: list[float] | None) -> None:
        self.ids += ids
        self.mask += [mask] * len(ids)
        self.logprobs += logprobs or [0.0] * len(ids)

    def take(self, ids: list[int], logprobs: list[float] | None, chat: Chat, room: int) -> None:
        """The policy's next answer; in a play its calls are run, and what they said is added where
        one more answer fits into `room` tokens."""
        self.add(ids, 1, logprobs)
        play = self.play
        self.over = play is None
        if play is None:
            return
        text = chat.tokenizer.decode(ids, skip_special_tokens=True)
        if ids[-1] != chat.tokenizer.eos_token_id:
            play.messages.append(Message("assistant", text))
            self.over = True
            return
        play.take(text)
        told = [] if play.end else observed(play.row, chat)
        self.over = bool(play.end) or len(self.prompt) + len(self.ids) + len(told) > room
        if not self.over:
            self.add(told, 0, None)


def observed(row: Trajectory, chat: Chat) -> list[int]:
    """Token ids of all that the template writes after the last answer, up to the next one."""
    last = max(i for i, m in enumerate(row.messages) if m.role == "assistant")
    before = chat.answer_part(chat.render(row.messages[: last + 1], row.tools, generation=False))
    return chat.ids(chat.render(row.messages, row.tools, generation=True)[len(before) :])


def rollout(prompts: list[str], trainer: PlayTrainer) -> dict[str, Any]:
    """TRL's `rollout_func`: one answer or play for each prompt, whose rows are `trainer.rows`. Also
    `played`: JSON of what came of a play, "" of an answer."""
    chat, rows = trainer.chat, trainer.rows
    arguments: Any = trainer.args
    room = chat.max_length - arguments.max_completion_length
    tracks = [
        Track(chat.ids(prompt), Play.of(row, k) if playable(row) else None)
        for k, (prompt, row) in enumerate(zip(prompts, rows, strict=True))
    ]
    known = False
    for left in reversed(range(trainer.turns)):
        going = [t for t in tracks if not t.over]
        if not going:
            break
        asked = [t.prompt + t.ids for t in going]
        answers, logprobs = trainer._generate_single_turn(asked, None, {}, num_generations=1)
        known = logprobs is not None
        for k, (track, ids) in enumerate(zip(going, answers, strict=True)):
            track.take(ids, logprobs[k] if known else None, chat, room if left else 0)
    return {
        "prompt_ids": [t.prompt for t in tracks],
        "completion_ids": [t.ids for t in tracks],
        "logprobs": [t.logprobs for t in tracks] if known else None,
        "env_mask": [t.mask for t in tracks],
        "played": [json.dumps(to_row(t.play.row)) if t.play else "" for t in tracks],
    }


class PlayTrainer(GRPOTrainer):
    """TRL's GRPOTrainer, whose rollouts see the rows of their prompts. `worker.build` sets `chat`
    and `turns`."""

    chat: Chat
    turns: int
    rows: list[Trajectory]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self.rows = [from_row(json.loads(x["row"])) for x in inputs]
        return super()._generate_and_score_completions(inputs)
