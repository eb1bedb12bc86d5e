"""Every rule accepts what is right and names what is wrong; rows are labelled, never dropped."""

import json
from dataclasses import replace

import pytest

from raytune_agents.config import ConfigError, LabelSection
from raytune_agents.filters import (
    ON_NEGATIVES,
    OPTIONS,
    RULES,
    active_rules,
    label,
    label_batch,
)
from raytune_agents.records import (
    Message,
    ToolCall,
    ToolSpec,
    Trajectory,
    finish,
    from_row,
    to_table,
)

ADD = ToolSpec(
    "add",
    "Add two numbers",
    json.dumps(
        {
            "type": "object",
            "required": ["a", "b"],
            "additionalProperties": False,
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        }
    ),
)
SECTION = LabelSection()


def make(*calls: ToolCall, text: str = "", query: str = "Add 2 and 3", **changes) -> Trajectory:
    turns = (Message("user", query), Message("assistant", text, tool_calls=calls))
    return finish(replace(Trajectory(messages=turns, tools=(ADD,)), **changes))


GOOD = make(ToolCall.of("add", a=2, b=3))


def test_a_right_row_passes_every_rule():
    assert {name: rule(GOOD) for name, rule in RULES.items()} == dict.fromkeys(RULES)
    assert label(GOOD, SECTION) == GOOD


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (make(ToolCall("add", '{"a": 2, "b"')), "parses:arguments of add"),
        (make(ToolCall("add", "[2, 3]")), "parses:arguments of add"),
        (
            make(text='<tool_call>{"name": "add", "arguments": {"a": 2,</tool_call>'),
            "parses:decoder_failed",
        ),
        (make(ToolCall.of("sum", a=2, b=3)), "tool_exists:sum"),
        (make(ToolCall.of("add", a=2)), "arguments_valid:missing_required:b"),
        (make(ToolCall.of("add", a=2, b="3")), "arguments_valid:type:b"),
        (make(ToolCall.of("add", a=2, b=3, c=3)), "arguments_valid:unexpected:c"),
        (make(text="  "), "empty_target"),
        (finish(Trajectory(messages=(Message("user", "hi"),))), "empty_target:no final answer"),
        (make(ToolCall.of("add", a=2, b=3), query="x" * 30_000), "too_long:"),
        (make(ToolCall.of("add", a=2, b=3), outcome=0.25), "outcome:0.25"),
    ],
)
def test_a_wrong_row_is_labelled_with_the_first_reason(row, reason):
    got = label(row, SECTION)
    assert got.reject_reason.startswith(reason)
    assert replace(got, reject_reason="") == row


def test_thresholds_come_from_the_section():
    row = make(ToolCall.of("add", a=2, b=3), outcome=0.25)
    size = (
        len("Add 2 and 3")
        + len("add")
        + len('{"a": 2, "b": 3}')
        + sum(len(x) for x in (ADD.name, ADD.description, ADD.parameters))
    )
    assert label(row, LabelSection(min_outcome=0.25)).reject_reason == ""
    assert label(GOOD, LabelSection(max_chars=size)).reject_reason == ""
    assert label(GOOD, LabelSection(max_chars=size - 1)).reject_reason == f"too_long:{size}"
    assert set(OPTIONS) <= set(RULES)


def test_a_negative_may_be_wrong_but_not_long_or_empty():
    wrong = make(ToolCall.of("sum", a=2), pool="negative.wrong_function", outcome=0.0)
    assert label(wrong, SECTION).reject_reason == ""
    assert label(replace(wrong, pool="synthetic.tflan"), SECTION).reject_reason == "tool_exists:sum"
    assert label(replace(wrong, messages=wrong.prompt), SECTION).reject_reason.startswith(
        "empty_target"
    )
    assert label(wrong, LabelSection(max_chars=10)).reject_reason.startswith("too_long")
    assert set(RULES) > ON_NEGATIVES


def test_an_earlier_reason_is_kept():
    row = replace(make(ToolCall.of("sum")), reject_reason="duplicate_of:abc")
    assert label(row, SECTION) == row


def test_rules_are_chosen_by_name_and_a_users_own_is_called():
    only = LabelSection(rules=["outcome", "builtins:repr"])
    assert list(active_rules(only)) == ["outcome", "builtins:repr"]
    assert label(make(ToolCall.of("sum")), LabelSection(rules=["outcome"])).reject_reason == ""
    assert label(GOOD, only).reject_reason == repr(GOOD)
    with pytest.raises(ConfigError, match=r"label\.rules: 'tool_exist' is no rule.*tool_exists"):
        active_rules(LabelSection(rules=["tool_exist"]))


def test_a_batch_is_labelled_like_its_rows_and_nothing_else_changes():
    rows = [GOOD, make(ToolCall.of("sum", a=1)), make(text="")]
    table = to_table(rows)
    out = label_batch(table, SECTION)
    assert [from_row(r) for r in out.to_pylist()] == [label(r, SECTION) for r in rows]
    assert out.schema == table.schema
    assert out.drop_columns(["reject_reason"]) == table.drop_columns(["reject_reason"])
