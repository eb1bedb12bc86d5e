"""Kept back: verified synthetic rows that training has not seen; rows whose tool is gone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from raytune_agents.agents.init import init_spec, to_yaml
from raytune_agents.calls import schema_errors
from raytune_agents.calls.gold import needs_no_call
from raytune_agents.config import GenerateConfig, LabelConfig
from raytune_agents.dedup.leaks import LeakIndex
from raytune_agents.dedup.text import request_text
from raytune_agents.generate import sampling, validate_rows
from raytune_agents.generate.held import held_back, held_counts
from raytune_agents.generate.no_call import (
    ALIKE,
    no_call_rows_lacking,
    tool_taken_away,
    word_overlap,
)
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish
from raytune_agents.situations import request_values

SHOP = Path(__file__).parents[2] / "jobs/examples/handful/bike_shop.py"


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> GenerateConfig:
    path = tmp_path_factory.mktemp("shop") / "shop.yaml"
    path.write_text(to_yaml(init_spec(SHOP)))
    return GenerateConfig(agents=[str(path)], rows=60)


def test_what_is_kept_back_is_right_and_new(config: GenerateConfig) -> None:
    trained = sampling.sample_rows(config, 1).rows
    fault = validate_rows.executor(config).fault
    wanted, marked = {"synthetic": 8, "val": 2}, LeakIndex(trained, LabelConfig()).marked
    rows, refused = held_back(config, [], trained, marked, wanted, 1, fault)
    assert Counter(r.split for r in rows) == wanted
    asked = {request_text(r) for r in trained}
    values = {v for r in trained for v in request_values(r)}
    for row in rows:
        assert request_text(row) not in asked
        assert not any(schema_errors(c, row.tools) for c in row.calls)
        assert not row.calls or request_values(row) - values  # at least one value of its own
    assert rows == held_back(config, [], trained, marked, wanted, 1, fault)[0]
    both = [*trained, *rows]
    marked = LeakIndex(both, LabelConfig()).marked
    again, lost = held_back(config, [], both, marked, wanted, 1, fault)
    assert not {r.id for r in again} & {r.id for r in rows}
    assert lost.total() > refused.total()


def test_only_own_agents_and_few_real_rows_ask_for_it(config: GenerateConfig) -> None:
    assert held_counts(config, {"test_seen": 4, "val": 2}) == {"synthetic": 120, "val": 30}
    assert held_counts(config, {"test_seen": 400, "val": 300}) == {}
    assert held_counts(GenerateConfig(), {}) == {}
    fixed = config.model_copy(update={"held_rows": 10})
    assert held_counts(fixed, {"test_seen": 400}) == {"synthetic": 10, "val": 3}
    assert held_counts(config.model_copy(update={"held_rows": 0}), {}) == {}


# --- no call ---

FIND = ToolSpec("find_room", "Find a free hotel room.")
FIND_TOO = ToolSpec("search_rooms", "Find free hotel rooms by price.")
RADIO = ToolSpec("play_radio", "Play a radio station.")


def asked(query: str, *tools: ToolSpec, call: str = "find_room") -> Trajectory:
    turns = (Message("user", query), Message("assistant", tool_calls=(ToolCall(call),)))
    return finish(Trajectory(turns, tools))


def test_the_right_tool_is_taken_away() -> None:
    rows = [asked(f"a room for {i}", FIND, RADIO) for i in range(10)]
    made = tool_taken_away(rows, 4, 1)
    assert len(made) == 4
    assert len({r.query for r in made}) == 4
    for row in made:
        assert [t.name for t in row.tools] == ["play_radio"]
        assert needs_no_call(row)
        assert not row.target.tool_calls
        assert row.parents[0] in {r.id for r in rows}


def test_their_number_of_tools_does_not_tell_that_no_call_is_right() -> None:
    post = ToolSpec("send_letter", "Send a letter by post.")
    rows = [asked(f"a room for {i}", FIND, RADIO) for i in range(20)]
    rows += [asked(f"a letter to {i}", post, call="send_letter") for i in range(20)]
    made = tool_taken_away(rows, 40, 1)
    assert len(made) == 40
    assert Counter(len(row.tools) for row in made) == {2: 20, 1: 20}
    assert {row.tools[0].name for row in made if len(row.tools) == 2} == {"send_letter"}


def test_a_near_miss_stands_in_for_half_of_the_rows() -> None:
    near = ToolSpec("hotel_pool", "Opening hours of the pool.")  # one word of four in common
    far = [ToolSpec(f"tool_{i}", f"Paint wall {i}.") for i in range(9)]
    rows = [asked(f"a room for {i}", FIND) for i in range(100)]
    others = [asked("a swim", near, *far, call="hotel_pool")]
    made = [row for row in tool_taken_away(rows + others, 101, 1) if "a room" in row.query]
    assert len(made) == 100
    # Half of them by rule, a tenth of the others by chance: 55, standard deviation 5.
    assert 40 < sum(row.tools == (near,) for row in made) < 70


def test_not_where_another_tool_might_do_the_same() -> None:
    row = asked("a room for two", FIND, FIND_TOO)
    overlap = word_overlap(row)
    assert overlap(FIND_TOO) > ALIKE >= overlap(RADIO)
    assert tool_taken_away([row], 1, 1) == []
    strangers = tool_taken_away(
        [asked("a room", FIND), asked("jazz", RADIO, call="play_radio")], 2, 1
    )
    assert {r.query: r.tools[0].name for r in strangers} == {
        "a room": "play_radio",
        "jazz": "find_room",
    }


def test_how_many_are_lacking() -> None:
    calls = [asked("q", FIND)] * 85
    assert no_call_rows_lacking(calls, 0.15) == 15  # 15 of 100
    without = tool_taken_away([asked("q", FIND, RADIO)], 1, 1) * 15
    assert no_call_rows_lacking(calls + without, 0.15) == 0
    assert no_call_rows_lacking([], 0.15) == 0
