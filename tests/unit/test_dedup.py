"""Duplicates and leaks on small pools whose answer is known by eye."""

import json
from dataclasses import replace

from raytune_agents.dedup import exact_key, mark_duplicates, mark_leaks
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish

WEATHER = ToolSpec(
    "weather",
    "Weather of a city",
    json.dumps(
        {"type": "object", "properties": {"city": {"type": "string"}, "day": {"type": "string"}}}
    ),
)


def make(query: str = "Weather in Paris?", text: str = "", call: ToolCall | None = None, **changes):
    calls = (call or ToolCall.of("weather", city="Paris", day="today"),) if not text else ()
    turns = (Message("user", query), Message("assistant", text, tool_calls=calls))
    return finish(replace(Trajectory(messages=turns, tools=(WEATHER,)), **changes))


def test_the_key_ignores_case_space_order_of_arguments_and_tool_descriptions():
    a = make("Weather  in PARIS?", call=ToolCall("weather", '{"day": "today",  "city": "Paris"}'))
    b = make(tools=(replace(WEATHER, description="x"),))
    assert exact_key(a) == exact_key(b) == exact_key(make())
    assert len(exact_key(a)) == 32


def test_the_key_tells_apart_query_call_tools_and_negatives():
    rows = [
        make(),
        make("Weather in Rome?"),
        make(call=ToolCall.of("weather", city="Paris")),
        make(tools=(WEATHER, replace(WEATHER, name="news"))),
        make(text="It rains."),
        make(text="It is dry."),
        make(pool="negative.wrong_value"),
        make(call=ToolCall("weather", '{"city": "Paris"')),
    ]
    assert len({exact_key(r) for r in rows}) == len(rows)
    assert exact_key(make(pool="synthetic.tflan")) == exact_key(make())


def test_the_survivor_has_the_best_quality_then_is_a_positive():
    low, high = make(quality=0.2, source="a"), make(quality=0.9, source="b", pool="synthetic.tflan")
    out = mark_duplicates([low, high])
    assert [r.reject_reason for r in out] == [f"duplicate_of:{high.id}", ""]
    made, read = make(pool="synthetic.tflan", source="a"), make(source="z")
    assert [r.reject_reason for r in mark_duplicates([made, read])] == [
        f"duplicate_of:{read.id}",
        "",
    ]


def test_every_cluster_keeps_exactly_one_row_and_the_order():
    rows = [
        make(source=str(i % 7), source_id=str(i), query=f"Weather in city {i % 5}?")
        for i in range(50)
    ]
    out = mark_duplicates(rows)
    assert [r.id for r in out] == [r.id for r in rows]
    kept = [r for r in out if not r.reject_reason]
    assert sorted(r.query for r in kept) == [f"Weather in city {i}?" for i in range(5)]
    by_id = {r.id: r for r in kept}
    assert all(
        by_id[r.reject_reason.split(":")[1]].query == r.query for r in out if r.reject_reason
    )


def test_a_negative_is_no_duplicate_of_its_twin_but_of_an_equal_negative():
    twin = make(pool="negative.wrong_value", call=ToolCall.of("weather", city="Rome", day="today"))
    again = replace(twin, source="b", id="b" * 16)
    assert [r.reject_reason == "" for r in mark_duplicates([make(), twin, again])].count(False) == 1


def test_a_rejected_row_is_left_alone_and_never_survives():
    bad, good = replace(make(quality=1.0), reject_reason="too_long:9"), make(quality=0.1)
    assert mark_duplicates([bad, good]) == [bad, good]


def test_an_evaluation_row_is_never_a_duplicate_of_a_training_row():
    rows = [make(split="train", quality=1.0), make(split="val"), make(split="test_seen")]
    assert mark_duplicates(rows) == rows


def test_a_training_row_with_an_evaluation_query_is_contaminated():
    leak = make("weather in PARIS?", split="train", call=ToolCall.of("weather", city="Rome"))
    clean = make("Will it snow in Oslo next Friday?", split="train")
    rejected = replace(leak, reject_reason="outcome:0")
    out = mark_leaks([leak, clean, rejected], [make(split="test_unseen")])
    assert [r.reject_reason for r in out] == ["contaminated:test_unseen", "", "outcome:0"]
