"""Rewards of ToolRL and Tool-N1, worked by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from method_rows import GOOD, section_of, small_chat

from raytune_agents.calls import render_calls
from raytune_agents.chat import Chat
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish
from raytune_agents.train import rewards
from raytune_agents.train.methods import METHODS

SCHEMA = '{"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "string"}}}'
ADD = ToolSpec("add", "", SCHEMA)


@pytest.fixture(scope="module")
def chat() -> Chat:
    return small_chat()


def row_of(*calls: ToolCall, gold: str = "") -> Trajectory:
    target = Message("assistant", tool_calls=calls) if calls else Message("assistant", "Hi")
    tools = (ADD, replace(ADD, name="sub"))
    return finish(Trajectory((Message("user", "q"), target), tools, gold=gold))


ONE = row_of(ToolCall.of("add", x=1, y="a"))
CHAT = row_of(gold="[]")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (render_calls([ToolCall.of("add", x=1, y="a")]), 3.0),
        (render_calls([ToolCall.of("add", p=1, q="a")]), -1.5),  # name only: S = 1 of 4
        (render_calls([ToolCall.of("add", x=2, y="a")]), 1.5),  # one of two values: S = 3 of 4
        (render_calls([ToolCall.of("sub", x=1, y="a")]), -3.0),
        ("It is 1.", -3.0),
        ("<tool_call>{broken", -3.0),
    ],
)
def test_toolrl_by_hand(text: str, value: float) -> None:
    assert rewards.toolrl(text, ONE) == pytest.approx(value)


def test_toolrl_leaves_abstaining_to_the_format() -> None:
    call = render_calls([ToolCall.of("add", x=1)])
    assert [rewards.toolrl(t, CHAT) for t in ("Hi", call)] == [0.0, 0.0]
    assert [rewards.format_reward(t, CHAT) for t in ("Hi", call, "")] == [1.0, 0.0, 0.0]
    assert [rewards.format_reward(t, ONE) for t in ("Hi", call, "<tool_call>{")] == [0.0, 1.0, 0.0]


def test_format_with_thoughts() -> None:
    call = render_calls([ToolCall.of("add", x=1)])
    thought = f"<think>why</think>\n{call}"
    assert rewards.format_reward(call, ONE, think=True) == 0.0
    assert rewards.format_reward(thought, ONE, think=True) == 1.0
    assert rewards.format_reward(thought, ONE) == 1.0
    assert rewards.format_reward(f"<think>a</think><think>b</think>{call}", ONE, think=True) == 0.0


def test_tooln1_by_hand() -> None:
    two = row_of(ToolCall.of("add", x=1, y="a"), ToolCall.of("sub", x=2))
    for text, value in (
        ([ToolCall.of("sub", x=2), ToolCall("add", '{"y": "a", "x": 1}')], 1.0),  # any order
        ([ToolCall.of("add", x=1, y="a")], 0.0),
        ([ToolCall.of("add", x=1, y="a"), ToolCall.of("sub", x=3)], 0.0),
        ([ToolCall.of("add", x=1, y="a"), ToolCall.of("sub", x=2), ToolCall.of("sub", x=2)], 0.0),
    ):
        assert rewards.tooln1(render_calls(text), two) == value
    gold = row_of(gold='[{"add": {"x": [1], "y": ["", "a"]}}]')
    assert rewards.tooln1(render_calls([ToolCall.of("add", x=1)]), gold) == 1.0
    assert rewards.tooln1(render_calls([ToolCall.of("add", x=1.0)]), gold) == 0.0  # 1 is not 1.0
    assert rewards.tooln1("Hi", CHAT) == 1.0
    right = render_calls([ToolCall.of("add", x=1)])
    assert rewards.tooln1(right, gold, think=True) == 0.0
    assert rewards.tooln1(f"<think>x</think>{right}", gold, think=True) == 1.0


def test_irrelevance_is_known_only_where_no_call_is_right() -> None:
    call = render_calls([ToolCall.of("add", x=1)])
    assert rewards.irrelevance(call, ONE) is None
    assert [rewards.irrelevance(t, CHAT) for t in ("Hi", call)] == [1.0, 0.0]


def test_progress_is_the_share_of_gold_calls_that_are_right() -> None:
    add, sub = ToolCall.of("add", x=1, y="a"), ToolCall.of("sub", x=2)
    two = row_of(add, sub)
    for calls, value in (
        ([sub, add], 1.0),
        ([add], 0.5),
        ([add, ToolCall.of("sub", x=3)], 0.5),
        ([add, sub, sub, sub], 0.5),  # calls beyond gold's count against it
        ([ToolCall.of("sub", x=3)], 0.0),
    ):
        assert rewards.calls_right(render_calls(calls), two) == value
    assert rewards.calls_right("It is 1.", two) == 0.0
    assert rewards.calls_right("Hi", CHAT) is None


def test_progress_of_a_roll_out_is_how_far_it_came_along_the_known_run() -> None:
    add, sub = ToolCall.of("add", x=1, y="a"), ToolCall.of("sub", x=2)
    mistake = Message("assistant", tool_calls=(ToolCall.of("sub", x=9),), loss=False)

    def run(*turns: Message | ToolCall) -> Trajectory:
        said = (
            t if isinstance(t, Message) else Message("assistant", tool_calls=(t,)) for t in turns
        )
        return Trajectory((Message("user", "q"), *said), two.tools)

    two = row_of(add, sub)
    known = run(mistake, add, sub, add)
    for made, value in (
        (run(add, sub, add), 1.0),  # a mistake that the known run repairs is not asked for
        (run(add, mistake, sub), 2 / 3),
        (run(sub, add), 1 / 3),  # in order: `sub` after `add` is missing
        (run(sub), 0.0),
    ):
        assert rewards.calls_in_order(made, known) == pytest.approx(value)
    assert rewards.calls_in_order(run(add), run()) is None


def test_reward_functions_take_what_the_columns_hold(chat: Chat) -> None:
    (column,) = METHODS["grpo"].columns(GOOD[0], chat, section_of(), None)
    made = rewards.functions(["toolrl", "irrelevance"], False)
    assert [f.__name__ for f in made] == ["toolrl", "irrelevance"]
    right = render_calls(GOOD[0].target.tool_calls)
    given = {"completions": [right, "no"], "row": [column["row"]] * 2, "prompts": ["", ""]}
    assert [f(**given) for f in made] == [[3.0, -3.0], [None, None]]
    assert column["prompt"] == chat.prompt_text(GOOD[0])
    assert json.loads(column["row"])["id"] == GOOD[0].id
