"""Synthetic positives: known calls, grounded requests, and what a paraphrase may change."""

import random
from dataclasses import replace

import pytest

from raytune_agents import agents
from raytune_agents.agents import parse
from raytune_agents.agents.wording import numbers, survives
from raytune_agents.calls import judge, render_calls, schema_errors
from raytune_agents.generate.tasks import (
    accept_paraphrase,
    anchors,
    generic_requests,
    paraphrase_messages,
    phrase,
    tasks,
)
from raytune_agents.records import Message, ToolCall, Trajectory, finish

NAMES = agents.shipped()


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_valid_grounded_and_right(name):
    spec = agents.load(name)
    rows = tasks(spec, 200, 3)
    assert len(rows) == 200
    assert len({r.query for r in rows}) == 200
    assert {c.name for r in rows for c in r.calls} == {t.name for t in spec.tools}
    for row in rows:
        assert schema_errors(row.calls[0], row.tools) == []
        assert judge(render_calls(row.calls), row).ok
        assert sorted(t.name for t in row.tools) == sorted(t.name for t in spec.tools)
        for text in anchors(row):
            assert survives(text, row.query), (text, row.query)
        assert (row.pool, row.source, row.split, row.step, row.outcome) == (
            "synthetic.tflan", f"agent/{name}", "train", "generate.tflan", 1.0)  # fmt: skip
        assert row.meta["wording"] == "template"


def test_every_value_is_said_verbatim():
    """Independent of `anchors`: each string value of each call stands in the request."""
    for name in NAMES:
        for row in tasks(agents.load(name), 100, 8):
            for item in row.calls[0].args.values():
                for leaf in item if isinstance(item, list) else [item]:
                    if not isinstance(leaf, bool):
                        assert str(leaf).lower() in row.query.lower(), row.query


def test_seed_decides_and_longer_lists_start_with_shorter():
    spec = agents.load("qa")
    assert tasks(spec, 30, 1) == tasks(spec, 50, 1)[:30]
    assert tasks(spec, 30, 1) != tasks(spec, 30, 2)


def test_styles_and_tool_order_vary():
    rows = tasks(agents.load("legal"), 200, 1)
    assert {r.meta["style"] for r in rows} == {"terse", "plain", "polite", "chatty", "goal"}
    assert len({tuple(t.name for t in r.tools) for r in rows}) == 24


def test_a_spec_with_few_requests_gives_few_rows():
    schema = {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]}
    spec = parse({"name": "s", "description": "d", "tools": [
        {"name": "f", "description": "Switch it.", "parameters": schema}]})  # fmt: skip
    rows = tasks(spec, 500, 1)
    assert 5 < len(rows) < 30
    assert rows[0].calls[0].args == {"on": True}


def test_wording_from_a_bare_schema():
    tool = {"name": "get_weather", "description": "Gets the weather. Uses a station.",
            "parameters": {"type": "object", "required": ["city"], "properties": {
                "city": {"type": "string"}, "days_ahead": {"type": "integer"},
                "metric": {"type": "boolean"}}}}  # fmt: skip
    spec = parse({"name": "s", "description": "d", "tools": [tool]})
    assert generic_requests(spec.tools[0]) == [
        "use get_weather to get the weather with city {city}[, days ahead {days_ahead}]"
        "[, {metric=true:metric} on]"
    ]


def test_article_before_a_vowel():
    tool = agents.load("content").tool("content_generator")
    said = {phrase(tool, "write a {kind} about {topic}", random.Random(i))[0] for i in range(40)}
    assert any("an article" in s for s in said)
    assert any("a tutorial" in s for s in said)
    assert not any("a article" in s for s in said)


def row_of(query: str, name: str = "scanner", **arguments) -> Trajectory:
    tools = agents.load("security").toolspecs
    call = ToolCall.of(name, **arguments)
    return finish(
        Trajectory((Message("user", query), Message("assistant", tool_calls=(call,))), tools)
    )


ROW = row_of("Please run a port scan of 10.0.0.7 with a timeout of 15 minutes.",
             target="10.0.0.7", scan_type="port", timeout_minutes=15)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Start a PORT scan on 10.0.0.7 and give it a 15 minutes timeout.", ""),
        ('Request: "Scan 10.0.0.7 with a port scan, timeout 15 minutes"', ""),
        ("", "empty"),
        ("Start a port scan on 10.0.0.7 with timeout.", "lost:15"),
        ("Start a port scan on 10.0.0.71 with a timeout of 15 minutes.", "lost:10.0.0.7"),
        ("Run a scan of 10.0.0.7 with a timeout of 15 minutes.", "lost:port"),
        ("Run a port scan of 10.0.0.7 with a timeout of 15 minutes on 3 hosts.", "added:3"),
        ("Run a port and malware scan of 10.0.0.7 with a timeout of 15 minutes.", "added:malware"),
        ("Please run a port scan of 10.0.0.7 with a timeout of 15 minutes", "identical"),
        ("Do not run a port scan of 10.0.0.7 with a timeout of 15 minutes.", "negation"),
        ('<tool_call>{"name": "scanner"} port 10.0.0.7 15', "call_syntax"),
        ("Sure, a port scan of 10.0.0.7 with a timeout of 15 minutes it is.", "reply"),
        ("10.0.0.7 15 port", "length"),
        ("The port 10.0.0.7 is nice and I like 15 of them.", "drifted"),
        ("port scan 10.0.0.7 timeout 15 minutes " + "very " * 40, "length"),
    ],
)
def test_what_a_paraphrase_may_change(text, reason):
    made, why = accept_paraphrase(ROW, text)
    assert why == reason
    assert (made is None) == bool(reason)


def test_an_accepted_paraphrase_keeps_everything_else():
    made, _ = accept_paraphrase(ROW, "Start a port scan on 10.0.0.7 with a 15 minutes timeout.")
    assert made.messages[1] == ROW.messages[1]
    assert made.tools == ROW.tools
    assert made.parents == (ROW.id,)
    assert made.meta == {"wording": "paraphrase", "template": ROW.query}


def test_booleans_survive_by_their_word():
    said = {"action": "lock", "user": "li", "notify": "notify"}
    row = replace(row_of("Lock the account of li and notify them.", "auth_system", action="lock",
                         user="li", notify=True), meta={"anchors": said})  # fmt: skip
    assert accept_paraphrase(row, "Can you lock li's account right now?")[1] == "lost:notify"
    assert accept_paraphrase(row, "Can you lock the account of li? Also notify them.")[1] == ""


def test_survives_and_numbers():
    assert numbers("at 5, 0.25 and -3; v2 x10 1.2.3.4 7.") == {5.0, 0.25, -3.0, 7.0}
    assert survives("5", "exactly 5.0 of them")
    assert not survives("5", "exactly 55")
    assert survives("a, b and c", "c, then b, then a")
    assert not survives("acme.pdf", "acme.pdfx")
    assert survives("Weekly  Orders", "the weekly orders board")


def test_the_paraphrase_chat_is_short_and_ends_with_the_request():
    chat = paraphrase_messages(ROW)
    assert chat[-1]["role"] == "user"
    assert chat[-1]["content"].endswith(ROW.query)
    assert sum(len(m["content"]) for m in chat) < 1200
