"""The record: content ids, lineage, and text that survives byte for byte."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raytune_agents.records import (
    Message,
    RecordError,
    ToolCall,
    ToolSpec,
    Trajectory,
    arrow_schema,
    derive,
    finish,
    from_row,
    to_row,
    to_table,
)  # fmt: skip

ROW = finish(
    Trajectory(
        (
            Message("user", "add"),
            Message("assistant", thought="hm", tool_calls=(ToolCall("f", '{"a":  1.50}', "c1"),)),
            Message("tool", "1", name="f", tool_call_id="c1", loss=False),
            Message("assistant", "done"),
        ),
        (ToolSpec("f", "adds", '{"type":"object",  "properties":{}}'),),
        source="s",
        outcome=0.5,
        meta={"x": [1, None]},
    )
)


def test_a_row_survives_arrow_byte_for_byte() -> None:
    assert from_row(to_row(ROW)) == ROW
    table = to_table([ROW])
    assert table.schema.names == arrow_schema().names
    back = from_row(table.to_pylist()[0])
    assert back == ROW
    assert back.messages[1].tool_calls[0].arguments == '{"a":  1.50}'
    assert back.tools[0].parameters == '{"type":"object",  "properties":{}}'


def test_the_id_is_the_content() -> None:
    assert finish(replace(ROW, split="val", reject_reason="x", seed=3)).id == ROW.id
    assert finish(replace(ROW, source_id="2")).id != ROW.id
    changed = replace(ROW.messages[1], tool_calls=(ToolCall("f", '{"a": 1.50}', "c1"),))
    assert finish(replace(ROW, messages=(ROW.messages[0], changed))).id != ROW.id


def test_a_derived_row_keeps_its_split_and_points_back() -> None:
    parent = replace(ROW, split="val", reject_reason="bad", quality=0.3)
    child = derive(parent, pool="negative.x", fault="x", step="negatives.edit")
    assert (child.split, child.parents, child.reject_reason) == ("val", (ROW.id,), "")
    assert child.id != ROW.id
    assert child.outcome is None


def test_what_is_no_trajectory_is_refused() -> None:
    for bad in (
        Trajectory(),
        replace(ROW, messages=(Message("robot", "x"),)),
        replace(ROW, outcome=2.0),
    ):
        with pytest.raises(RecordError):
            finish(bad)


def test_properties() -> None:
    assert (ROW.query, ROW.target.content, len(ROW.prompt)) == ("add", "done", 3)
    assert [m.trained for m in ROW.messages] == [False, True, False, True]
    assert ROW.calls[0].args == {"a": 1.5}
    with pytest.raises(ValueError, match="not an object"):
        _ = ToolCall("f", "[1]").args
