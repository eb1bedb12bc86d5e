"""Values of the user's rows change in the way that a person wrote them."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from raytune_agents.agents import parse_spec
from raytune_agents.generate import variants
from raytune_agents.generate.own_words import said_text
from raytune_agents.generate.ways_said import ways_said, written_alike
from raytune_agents.records import Message, ToolCall, Trajectory, finish

STAY = {
    "name": "reserve",
    "description": "Reserve a room in a hotel",
    "parameters": {
        "type": "object",
        "properties": {
            "day": {"type": "string", "description": "Day of arrival, YYYY-MM-DD"},
            "nights": {"type": "integer", "description": "Number of nights"},
            "time": {"type": "string", "description": "Time of arrival, HH:MM"},
        },
        "required": ["day"],
    },
}
SPEC = parse_spec({"name": "s", "description": "d", "tools": [STAY]})


def said(text: str, **args: Any) -> Trajectory:
    call = ToolCall.of("reserve", **args)
    messages = (Message("user", text), Message("assistant", tool_calls=(call,)))
    return finish(Trajectory(messages, SPEC.toolspecs, outcome=1.0, split="train"))


@pytest.mark.parametrize(
    ("value", "text", "new", "alike"),
    [
        ("2026-05-08", "8 May", "2026-11-21", "21 November"),
        ("2026-05-08", "May 8th", "2026-11-21", "November 21st"),
        ("2026-09-08", "8 sep 2026", "2027-01-02", "2 Jan 2027"),
        ("2026-05-08", "08.05.2026", "2026-12-03", "03.12.2026"),
        ("2026-05-08", "5/8", "2026-12-03", "12/3"),
        ("2026-05-08", "2026-05-08", "2026-12-03", "2026-12-03"),
        ("2026-05-08", "8 May", "2027-11-21", ""),  # of another year
        ("2026-05-05", "5/5", "2026-11-21", ""),  # which of them is the month?
        ("2026-05-08", "8 May", "tomorrow", ""),
        ("14:00", "2 pm", "09:30", "9:30 am"),
        ("09:15", "9:15", "18:00", "18:00"),
        (2, "two", 7, "seven"),
        (2, "two", 40, "40"),
        (1500, "1,500", 22000, "22,000"),
        ("Oslo", "oslo", "Rome", "Rome"),
    ],
)
def test_a_new_value_is_written_as_the_old_one(value, text, new, alike) -> None:
    assert said_text(value, [f"please take {text}, thanks"]) == text
    assert written_alike(new, value, text) == alike


def test_the_longest_way_is_what_is_said() -> None:
    assert said_text("2026-05-08", ["from 8 May 2026 on"]) == "8 May 2026"
    assert said_text(12, ["the 2012 one"]) == ""
    assert ways_said(True) == ways_said(["a"]) == ()


def test_rows_change_days_counts_and_times_where_they_stand() -> None:
    row = said(
        "a room from 8 May for two nights, we come at 2 pm",
        day="2026-05-08",
        nights=2,
        time="14:00",
    )
    made = [variants.variant(row, SPEC, random.Random(i)) for i in range(40)]
    rows = [r for r in made if r is not None]
    assert len({r.query for r in rows}) > 20
    for r in rows:
        args = r.calls[0].args
        assert re.fullmatch(r"a room from .+ for \w+ nights?, we come at .+", r.query), r.query
        for name, value in args.items():
            assert said_text(value, [r.query]), (name, value, r.query)
    assert len({r.calls[0].args["day"] for r in rows}) > 5
    assert len({r.calls[0].args["nights"] for r in rows}) > 2


@pytest.mark.parametrize("day", ["Friday 8 May", "tomorrow (8/5)", "8/5, today"])
def test_a_day_beside_what_says_it_again_stays(day: str) -> None:
    row = said(f"a room from {day} for two nights", day="2026-05-08", nights=2)
    made = [variants.variant(row, SPEC, random.Random(i)) for i in range(20)]
    assert {r.calls[0].args["day"] for r in made if r is not None} == {"2026-05-08"}


def test_a_value_that_is_said_once_changes_in_both_calls() -> None:
    calls = tuple(ToolCall.of("reserve", day="2026-05-08", nights=n) for n in (2, 3))
    text = "rooms from 8 May, one for two nights and one for three"
    messages = (Message("user", text), Message("assistant", tool_calls=calls))
    row = finish(Trajectory(messages, SPEC.toolspecs, outcome=1.0, split="train"))
    made = [variants.variant(row, SPEC, random.Random(i)) for i in range(40)]
    days = [[c.args["day"] for c in r.calls] for r in made if r is not None]
    assert len({day for day, _ in days}) > 5
    assert all(one == two for one, two in days)
