"""Requests for tools that nobody here has seen: a module, an OpenAPI document, a hundred MCP tools,
five hundred of a back end."""

from __future__ import annotations

import random
import re

import pytest
import strangers

from raytune_agents.agents import AgentSpec, parse_spec
from raytune_agents.calls import schema_errors
from raytune_agents.filters import grounding
from raytune_agents.generate import POOLS, actions, described_requests, grammar, known, realism
from raytune_agents.generate.scenes import Scene
from raytune_agents.generate.tasks import tasks
from raytune_agents.records import Message, ToolCall, Trajectory, finish

NAMES = ("hotel", "charging", "office", "erp")


@pytest.fixture(scope="module")
def specs(tmp_path_factory) -> dict[str, AgentSpec]:
    folder = tmp_path_factory.mktemp("strangers")
    return {name: strangers.spec_of(name, folder) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_requests_name_no_tool_and_say_every_value(specs, name: str) -> None:
    spec = specs[name]
    assert known.gaps(spec) == []
    rows = tasks(spec, 150, 5)
    assert len(rows) == 150
    figures = realism.realism_figures(rows, [], spec.toolspecs)
    assert figures["named_tool_share"] <= 0.02
    assert figures["misfit_share"] == 0.0
    assert figures["grounded_share"] == 1.0
    for row in rows:
        assert schema_errors(row.calls[0], row.tools) == []
        assert len(row.tools) <= 12
        assert "{" not in row.query, row.query
        assert not re.search(
            r"\b(a [aeio]\w|an [bcdfgjklmnpqrstvwz][a-z]|the the|a the)\b", row.query
        )


@pytest.mark.parametrize("name", ["hotel", "charging", "office"])
@pytest.mark.parametrize("pool", ["parallel", "followup", "gradual", "corrected", "notool"])
def test_every_pool_serves_a_stranger(specs, name: str, pool: str) -> None:
    rows = POOLS[pool](specs[name], 20, 3)
    assert len(rows) >= 18
    for row in rows:
        assert all(schema_errors(c, row.tools) == [] for c in row.calls)
        assert grounding.check_values(row)[1] == [], row


def test_what_no_row_can_be_made_of_makes_no_row() -> None:
    hard = parse_spec({"name": "hard", "description": "d", "tools": [
        t | {"description": t["description"] or "F."} for t in strangers.HARD]})  # fmt: skip
    for pool in ("tflan", "parallel", "followup", "gradual", "corrected", "irrelevant"):
        assert POOLS[pool](hard, 20, 1) == [], pool


def test_rooms_that_exist_are_booked(specs) -> None:
    spec = known.with_known(specs["hotel"], (), strangers.HOTEL)
    rows = tasks(spec, 60, 1)
    rooms = {r.calls[0].args["room"] for r in rows if "room" in r.calls[0].args}
    assert rooms == {"L-101", "L-204", "P-12", "P-31"}
    assert {r.calls[0].args["city"] for r in rows if "city" in r.calls[0].args} == {
        "Lisbon", "Porto"}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "about", "verbs", "head", "parts"),
    [
        ("w", "Retrieves the weather for a given city using the X API.", ("retrieve",),
         "the weather", (("for", "a city"), ("using", "the X API"))),
        ("t", "This tool allows you to cancel an order.", ("cancel",), "an order", ()),
        ("t", "Create, update or delete a ticket.", ("create", "update", "delete"), "a ticket", ()),
        ("t", "Allow or block traffic", ("allow", "block"), "traffic", ()),
        ("t", "Order status", ("get",), "order status", ()),
        ("getWeather", "", ("get",), "weather", ()),
        ("t", "Establish a connection.", ("establish",), "a connection", ()),
        ("t", "List stations within a specified radius.", ("list",), "stations",
         (("within", "a radius"),)),
    ],
)  # fmt: skip
def test_what_a_tool_does_in_words(name, about, verbs, head, parts) -> None:
    found = actions.action(name, about)
    assert (found.verbs, found.head, found.parts) == (verbs, head, parts)


def test_grammar_is_mended() -> None:
    assert grammar.mended("send a email to 1 guests") == "send an email to 1 guest"
    assert grammar.mended("an hour for an file") == "an hour for a file"
    assert grammar.with_article("free room", False) == "a free room"
    assert grammar.with_article("weather", False) == "weather"
    assert grammar.with_article("it", False) == "it"


def said(spec: AgentSpec, tool: str, **args) -> str:
    rng = random.Random(1)
    wish = described_requests.compose(spec.tool(tool), args, Scene(rng), rng, "order")
    return f"{wish.text} {wish.rest}".strip()


def test_a_value_stands_where_the_description_speaks_of_it(specs) -> None:
    office = specs["office"]
    assert said(office, "label_email", message_id="msg_1", label="Travel") == (
        "apply the label Travel to email msg_1")  # fmt: skip
    assert said(office, "set_thermostat", room="kitchen", temperature=21) == (
        "set the temperature of the kitchen to 21 degrees")  # fmt: skip
    assert said(office, "translate_text", text="Hi", target_language="French") == (
        'translate the text into French: "Hi"')  # fmt: skip
    assert said(specs["hotel"], "room_service", room="L-101", meal="lunch", time="12:15") in (
        "order lunch to room L-101 at 12:15", "order lunch to room L-101 at 12:15 pm")  # fmt: skip
    assert said(office, "refund_payment", payment_id="pay_1") == "refund the payment pay_1"


def test_naming_a_tool(specs) -> None:
    tools = specs["hotel"].toolspecs
    assert realism.names_tool("use find_room for me", tools) == "find_room"
    assert realism.names_tool("please Find Room now", tools) == "find_room"
    assert realism.names_tool("find a free room", tools) == ""
    email = parse_spec({"name": "e", "description": "d", "tools": [
        {"name": "email", "description": "Send an email.", "parameters": {
            "type": "object", "properties": {}}}]}).toolspecs  # fmt: skip
    assert realism.names_tool("send an email to Ana", email) == ""
    assert realism.names_tool("use email to write to Ana", email) == "email"
    assert realism.names_tool("call the email tool", email) == "email"


def test_figures_by_hand() -> None:
    assert realism.distinct_bigrams(["a b c", "a b"]) == pytest.approx(2 / 3)
    assert realism.distinct_bigrams([]) == 0.0
    near = [f"book a room in city {i} please" for i in range(20)]
    far = [f"the quick brown fox number {i} jumps" for i in range(20)]
    assert realism.auc_real(near, far) == pytest.approx(1.0)
    assert realism.auc_real(near, near) < 0.6
    assert realism.auc_real(near[:9], far) is None


def test_values_that_do_not_fit_are_seen(specs) -> None:
    tools = specs["hotel"].toolspecs
    call = ToolCall.of("book_room", room="L-101", guest="A", check_in="keyboard", nights="two")
    row = finish(Trajectory(
        (Message("user", "book"), Message("assistant", tool_calls=(call,))), tools))  # fmt: skip
    count, found = realism.misfits(row)
    assert count == 4
    assert found == ["book_room.check_in=keyboard", "book_room.nights=two"]


def test_init_says_at_once_what_no_row_can_be_made_of(tmp_path, monkeypatch) -> None:
    from typer.testing import CliRunner

    from raytune_agents.cli.app import app

    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd.json").write_text(strangers.json.dumps(strangers.HARD[1:2]))
    done = CliRunner().invoke(app, ["init", "--tools", "odd.json"], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "no rows for frobnicate.gizmo: say what it is" in done.output
