"""GRPO with executable tools: what a roll-out is made of, what it is worth, what ends it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
from method_rows import GOOD, RUNS, section_of, small_chat

from raytune_agents.calls import render_calls
from raytune_agents.chat import IGNORE, Chat
from raytune_agents.config import ConfigError
from raytune_agents.mix import RowKind
from raytune_agents.records import ToolCall, Trajectory, to_row
from raytune_agents.train import grpo, methods, rewards, validate_data
from raytune_agents.train.methods import METHODS, Recipe

ROLLOUTS = ["grpo={turns: 8, max_tokens: 40, rewards: [goal, executed], reward_weights: [1, 1]}"]


@pytest.fixture(scope="module")
def chat() -> Chat:
    return small_chat()


class Policy:
    """Stands for TRL's trainer and its model: draws given answers, a list for each prompt."""

    def __init__(self, chat: Chat, rows: list, answers: list[list[list[int]]]):
        self.chat, self.rows, self.answers, self.turns = chat, rows, answers, 8
        self.args = SimpleNamespace(max_completion_length=40)
        self.asked: list[list[list[int]]] = []

    def _generate_single_turn(self, prompts, images, fields, num_generations):
        """The next answer of each prompt, known by its first tokens."""
        self.asked.append(prompts)
        drawn = []
        for ids in prompts:
            own = (i for i, r in enumerate(self.rows) if ids[: len(first(self.chat, r))]
                   == first(self.chat, r) and self.answers[i])  # fmt: skip
            drawn.append(self.answers[next(own)].pop(0))
        return drawn, None


def first(chat: Chat, row: Trajectory) -> list[int]:
    """The tokens that a roll-out of the row begins with."""
    return chat.ids(chat.prompt_text(grpo.policy_prompt(row, chat, section_of(*ROLLOUTS))))


def test_a_perfect_rollout_is_the_training_row_of_its_task(chat: Chat) -> None:
    from raytune_agents.train.rollout_func import sample_rollouts

    rows = [RUNS[0], GOOD[0], RUNS[5]]
    known = [chat.parts(r)[0] for r in rows]
    drawn = [[chat.ids(text) for text, turn in parts if turn is not None] for parts in known]
    policy = Policy(chat, rows, drawn)
    out = sample_rollouts([chat.tokenizer.decode(first(chat, r)) for r in rows], policy)
    for i, row in enumerate(rows):
        (example,) = chat.encode(row)
        assert out["prompt_ids"][i] + out["completion_ids"][i] == example.input_ids
        labels = example.labels[len(out["prompt_ids"][i]) :]
        assert out["env_mask"][i] == [int(label != IGNORE) for label in labels]
    assert out["logprobs"] is None
    assert [len(x) for x in policy.asked][:2] == [3, 2]  # a plain row is answered once
    made = rewards.functions(["goal", "executed", "toolrl"], False)
    given = {"completions": ["", render_calls(GOOD[0].target.tool_calls), ""],
             "row": [json.dumps(to_row(r)) for r in rows], "rollout": out["rollout"]}  # fmt: skip
    assert [f(**given) for f in made] == [[1.0, None, 1.0], [1.0, None, 1.0], [None, 3.0, None]]


def test_what_a_rollout_is_worth_and_what_ends_it(chat: Chat) -> None:
    from raytune_agents.train.rollout_func import sample_rollouts

    row, end = RUNS[0], "<|im_end|>"
    wrong = f"{render_calls([ToolCall.of('no_such_tool', a=1)])}{end}"
    right = f"{render_calls(row.calls[:1])}{end}"
    cases = {  # answers -> goal, executed, answers drawn
        (wrong, right, f"Done.{end}", "never"): (0.0, 0.5, 3),
        (f"I cannot.{end}", "never"): (0.0, 0.0, 1),
        (right.removesuffix(end), "never"): (0.0, 0.0, 1),  # cut off: its call is not run
        (wrong, wrong, wrong, "never"): (0.0, 0.0, 3),  # a loop
    }
    for texts, (goal, executed, count) in cases.items():
        policy = Policy(chat, [row], [[chat.ids(t) for t in texts]])
        out = sample_rollouts([chat.tokenizer.decode(first(chat, row))], policy)
        made = rewards.functions(["goal", "executed"], False)
        given = {"completions": [""], "row": [json.dumps(to_row(row))], "rollout": out["rollout"]}
        assert [f(**given) for f in made] == [[goal], [executed]]
        assert len(policy.asked) == count
        trained = [t for t, m in zip(out["completion_ids"][0], out["env_mask"][0]) if m]
        assert trained == [t for text in texts[:count] for t in chat.ids(text)]


def test_a_rollout_without_room_for_one_more_answer_ends(chat: Chat) -> None:
    from raytune_agents.train.rollout_func import sample_rollouts

    row = RUNS[0]
    drawn = [chat.ids(text) for text, turn in chat.parts(row)[0] if turn is not None]
    small = Chat(chat.path, max_length=len(first(chat, row)) + len(drawn[0]) + 40)
    policy = Policy(small, [row], [drawn])
    out = sample_rollouts([chat.tokenizer.decode(first(chat, row))], policy)
    assert (out["completion_ids"][0], set(out["env_mask"][0])) == (
        chat.ids(chat.parts(row)[0][1][0]), {1})  # fmt: skip


def kinds_of(rows: Sequence[Trajectory]) -> list[RowKind]:
    return [RowKind.of(row) for row in rows]


def test_rollouts_need_tasks_rewards_and_workers_that_may_differ(chat: Chat) -> None:
    config = section_of(*ROLLOUTS)
    made, refused = methods.build_columns("grpo", [*RUNS, *GOOD], chat, config, None)
    shown = {c["row_id"]: c["shown"] for c in made}
    assert shown[RUNS[0].id] == 1 < len(RUNS[0].prompt)
    assert shown[GOOD[0].id] == len(GOOD[0].prompt)
    assert refused == []
    METHODS["grpo"].validate_data(kinds_of([*RUNS, *GOOD]), config)
    validate_data.validate_columns(made, chat.max_length)
    recipe = Recipe("grpo", config, chat)
    validate_data.parity(recipe, {r.id: r for r in (*RUNS, *GOOD)}, made, {})
    for method, rows, options, words in (
        ("grpo", GOOD, ROLLOUTS, "none of 8 rows is a task of an agent with a world.*react"),
        ("rloo", RUNS, ROLLOUTS, "rloo answers once; write method: grpo"),
        ("grpo", RUNS, [*ROLLOUTS, "sharding=fsdp"], "turns.*write sharding: ddp or zero2"),
    ):
        with pytest.raises(ConfigError, match=words):
            METHODS[method].validate_data(kinds_of(rows), section_of(*options))
    for grpo_options in ("{turns: 2}", "{rewards: [goal], reward_weights: [1]}"):
        with pytest.raises(ConfigError, match="what a roll-out is worth"):
            section_of(f"grpo={grpo_options}")


def test_grpo_needs_whole_groups() -> None:
    with pytest.raises(ConfigError, match=r"multiple of train.grpo.num_generations=4; write .* 8"):
        METHODS["grpo"].validate_data(kinds_of(GOOD), section_of("global_batch_size=10"))
