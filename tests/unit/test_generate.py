"""Synthetic positives: known calls, grounded requests, and what a paraphrase may change."""

import random
from collections import Counter
from dataclasses import replace

import gate
import pytest

from raytune_agents import agents
from raytune_agents.agents import parse_spec
from raytune_agents.agents.analyse import Argument, Profile, analyse, examples, like
from raytune_agents.agents.wording import numbers, survives
from raytune_agents.calls import judge, render_calls, schema_errors
from raytune_agents.generate import dialogue_patterns, paraphrase, refusals
from raytune_agents.generate.frames import PRIOR_ROWS, misspelled
from raytune_agents.generate.paraphrase import anchors
from raytune_agents.generate.tasks import OPTIONAL_RATE, phrase, tasks
from raytune_agents.records import Message, ToolCall, Trajectory, finish

NAMES = agents.shipped()


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_valid_grounded_and_right(name):
    spec = agents.load_spec(name)
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
        assert row.meta["wording"] in ("template", "wording")


def test_every_value_is_said():
    """Independent of `anchors`: each value of each call stands in the request."""
    for name in NAMES:
        for row in tasks(agents.load_spec(name), 100, 8):
            for item in row.calls[0].args.values():
                for leaf in item if isinstance(item, list) else [item]:
                    assert gate.said(leaf, row.query), row.query


def test_misspelled_requests_keep_their_values():
    said = misspelled("please measure coverage of src/measure", ["src/measure"], random.Random(1))
    assert "src/measure" in said
    assert said != "please measure coverage of src/measure"


def test_profile_by_hand():
    tools = agents.load_spec("security").toolspecs

    def row(text: str, *calls: ToolCall) -> Trajectory:
        return Trajectory((Message("user", text), Message("assistant", tool_calls=calls)), tools)

    scan = ToolCall.of("scanner", target="a", scan_type="port")
    late = ToolCall.of("scanner", target="b", scan_type="port", timeout_minutes=5)
    rows = [row("scan a", scan), row("Please scan b.", late, ToolCall("firewall", "{broken")),
            row("Hey, scan it?", late)]  # fmt: skip
    found = analyse(rows)
    assert found.rows == 3
    assert found.tools == {"scanner": 0.75, "firewall": 0.25}
    assert found.calls == {"1": 0.6667, "2": 0.3333}
    scanner = found.arguments["scanner"]
    assert scanner["timeout_minutes"] == Argument(given=0.6667, numbers=[5, 5, 5])
    assert scanner["target"] == Argument(given=1.0, texts={"b": 2, "a": 1})
    assert found.arguments.keys() == {"scanner"}
    assert found.kinds == {"tflan": 0.6667, "parallel": 0.3333}
    assert found.turns == [2, 2, 2]
    assert found.words == [2, 3, 3]
    assert found.frames == {"{wish}": 1, "Please {wish}.": 1, "Hey, {wish}?": 1}
    assert found.verbs == {"scan": 3}
    assert found.joins == {}  # the request with two calls says one
    assert found.marks == {"": 2}  # "it" says no target
    assert analyse([]) == Profile()


def with_profile(name: str, **known) -> agents.AgentSpec:
    tree = agents.load_spec(name).model_dump(exclude_defaults=True)
    return parse_spec(tree | {"profile": known})


def test_generation_follows_a_profile():
    def share(spec: agents.AgentSpec, tool: str) -> float:
        rows = tasks(spec, 400, 1)
        return sum(r.calls[0].name == tool for r in rows) / len(rows)

    assert share(with_profile("security"), "scanner") == pytest.approx(0.25, abs=0.08)
    spec = with_profile("security", rows=16, calls={"1": 1.0}, tools={"scanner": 1.0},
                        frames={"Hi, {wish}!": 12}, arguments={
        "scanner": {"timeout_minutes": {"given": 1.0, "numbers": [7, 7, 7]},
                    "scan_type": {"given": 1.0, "texts": {"malware": 3}}}})  # fmt: skip
    assert share(spec, "scanner") == pytest.approx(0.5 + 0.5 / 4, abs=0.08)
    rows = tasks(spec, 400, 1)
    orders = [r.meta["frame"] for r in rows if "wish}" in r.meta["frame"].lower()]
    likely = 12 / (12 + PRIOR_ROWS)  # the counted frame beside the prior
    assert orders.count("Hi, {wish}!") / len(orders) == pytest.approx(likely, abs=0.08)
    scans = [r.calls[0].args for r in rows if r.calls[0].name == "scanner"]
    late = [a["timeout_minutes"] for a in scans if "timeout_minutes" in a]
    given = (PRIOR_ROWS * OPTIONAL_RATE + 16) / (PRIOR_ROWS + 16)  # 16 calls beside the prior
    assert len(late) / len(scans) == pytest.approx(given, abs=0.08)
    assert late.count(7) / len(late) >= 0.4
    kinds = Counter(a["scan_type"] for a in scans)
    assert kinds["malware"] / len(scans) == pytest.approx(0.5 + 0.5 / 3, abs=0.08)
    three = dialogue_patterns.parallel_calls(with_profile("security", calls={"3": 1.0}), 200, 1)
    assert sum(len(r.calls) == 3 for r in three) / 200 == pytest.approx(0.75, abs=0.08)


def test_values_like_those_of_examples_fit_the_schema():
    rng = random.Random(3)
    known = Argument(given=1.0, texts={"red": 1, "pink": 1})
    colours = [like(known, {"type": "string", "enum": ["red", "blue"]}, rng) for _ in range(50)]
    assert {tuple(c) for c in colours} == {(), ("red",)}
    whole = [like(Argument(given=1.0, numbers=[1, 2, 9]), {"type": "integer", "maximum": 8}, rng)
             for _ in range(200)]  # fmt: skip
    assert {n for drawn in whole for n in drawn} == set(range(1, 9))
    items = {"type": "array", "items": {"type": "string"}, "minItems": 3}
    assert not any(like(known, items, rng) for _ in range(20))
    assert like(None, {"type": "string"}, rng) == []


def test_a_specs_examples_are_right_rows():
    for name in NAMES:
        for row in examples(agents.load_spec(name)):
            assert judge(render_calls(row.calls), row).ok
            for leaf in (v for c in row.calls for a in c.args.values()
                         for v in (a if isinstance(a, list) else [a])):  # fmt: skip
                assert survives(str(leaf), row.query)


def test_seed_decides_and_longer_lists_start_with_shorter():
    spec = agents.load_spec("qa")
    assert tasks(spec, 30, 1) == tasks(spec, 50, 1)[:30]
    assert tasks(spec, 30, 1) != tasks(spec, 30, 2)


def test_frames_and_tool_order_vary():
    rows = tasks(agents.load_spec("legal"), 200, 1)
    assert len({r.meta["frame"] for r in rows}) > 12
    assert len({tuple(t.name for t in r.tools) for r in rows}) == 24


def test_a_spec_with_few_requests_gives_few_rows():
    schema = {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]}
    spec = parse_spec({"name": "s", "description": "d", "tools": [
        {"name": "f", "description": "Switch it.", "parameters": schema}]})  # fmt: skip
    rows = tasks(spec, 500, 1)
    assert 5 < len(rows) < 300


def test_article_before_a_vowel():
    tool = agents.load_spec("content").tool("content_generator")
    said = {phrase(tool, "write a {kind} about {topic}", random.Random(i))[0] for i in range(40)}
    assert any("an article" in s for s in said)
    assert any("a tutorial" in s for s in said)
    assert not any("a article" in s for s in said)


def row_of(query: str, name: str = "scanner", **arguments) -> Trajectory:
    tools = agents.load_spec("security").toolspecs
    call = ToolCall.of(name, **arguments)
    return finish(
        Trajectory((Message("user", query), Message("assistant", tool_calls=(call,))), tools)
    )


def accept_paraphrase(row: Trajectory, text: str) -> tuple[Trajectory | None, str]:
    turn = max(i for i, m in enumerate(row.messages) if m.role == "user")
    said, why = paraphrase.first_good(row, turn, [text])
    return (None if why else paraphrase.reworded(row, {turn: said})), why


ROW = row_of("Please run a port scan of 10.0.0.7 with a timeout of 15 minutes.",
             target="10.0.0.7", scan_type="port", timeout_minutes=15)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Start a PORT scan on 10.0.0.7 and give it a 15 minutes timeout.", ""),
        ('Request: "Scan 10.0.0.7 with a port scan, timeout 15 minutes"', ""),
        ("", "empty"),
        ("Start a port scan on 10.0.0.7 with timeout.", "lost:15"),
        ("Run 10.0.0.7's port scan, with a timeout of 15 minutes.", ""),
        ("Run a port scan of 10.0.0.7 into scan.log, timeout 15 minutes.", "added:scan.log"),
        ("Start a port scan on 10.0.0.71 with a timeout of 15 minutes.", "lost:10.0.0.7"),
        ("Run a scan of 10.0.0.7 with a timeout of 15 minutes.", "lost:port"),
        ("Run a port scan of 10.0.0.7 with a timeout of 15 minutes on 3 hosts.", "added:3"),
        ("Run a port and malware scan of 10.0.0.7 with a timeout of 15 minutes.", "added:malware"),
        ("Please run a port scan of 10.0.0.7 with a timeout of 15 minutes", "identical"),
        ("Do not run a port scan of 10.0.0.7 with a timeout of 15 minutes.", "negation"),
        ('<tool_call>{"name": "scanner"} port 10.0.0.7 15', "call_syntax"),
        ("Sure, a port scan of 10.0.0.7 with a timeout of 15 minutes it is.", "reply"),
        ("10.0.0.7 15 port", "length"),
        ("I'm sorry, I can't help with that request.", "reply"),  # a writer that refuses
        ("As an AI language model, I cannot run a port scan of 10.0.0.7 for 15 minutes.", "reply"),
        ("Book room L-101 for Ana Sousa for two nights.", "lost:10.0.0.7"),  # copies an example
        ("Which host do you want me to scan?", "lost:10.0.0.7"),  # answers instead of asking
        ("How do I run a port scan of 10.0.0.7 with a timeout of 15 minutes?", "intent"),
        ("Can you run a port scan of 10.0.0.7 with a timeout of 15 minutes?", ""),
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
    chat = paraphrase.messages(ROW, 0)
    assert chat[-1]["role"] == "user"
    assert chat[-1]["content"].endswith(ROW.query)
    assert sum(len(m["content"]) for m in chat) < 1200


@pytest.mark.parametrize("name", NAMES)
def test_parallel_rows(name):
    rows = dialogue_patterns.parallel_calls(agents.load_spec(name), 60, 2)
    assert len(rows) == 60
    for row in rows:
        assert len(row.calls) in (2, 3)
        assert len({(c.name, c.arguments) for c in row.calls}) == len(row.calls)
        assert all(schema_errors(c, row.tools) == [] for c in row.calls)
        assert judge(render_calls(row.calls), row).ok
        assert all(survives(a, row.query) for a in anchors(row))
    assert any(len({c.name for c in r.calls}) == 1 for r in rows)
    assert any(len({c.name for c in r.calls}) > 1 for r in rows)


def test_a_paraphrase_may_not_exchange_values():
    row = row_of("Draw a bar chart of units by region from a.csv.", "sql", x="region", y="units")
    assert (
        accept_paraphrase(row, "Make a bar chart of region by units from a.csv.")[1] == "reordered"
    )
    assert accept_paraphrase(row, "Make a bar chart of units by region from a.csv.")[1] == ""


@pytest.mark.parametrize("name", NAMES)
def test_followups_ask_for_what_is_missing(name):
    spec = agents.load_spec(name)
    rows = dialogue_patterns.followup(spec, 60, 2)
    assert len(rows) >= 50
    for row in rows:
        if row.meta.get("ask"):
            assert (row.gold, row.target.tool_calls) == ("[]", ())
            words = {"to": "recipient"}.get(row.meta["ask"], row.meta["ask"].replace("_", " "))
            assert words in row.target.content.lower()
            assert row.meta["ask"] in spec.tool(row.meta["near"]).parameters["required"]
            assert judge("anything without a call", row).ok
        else:
            assert len(row.messages) == 4
            assert schema_errors(row.calls[0], row.tools) == []
            said = " ".join(m.content for m in row.messages if m.role == "user")
            for item in row.calls[0].args.values():
                for leaf in item if isinstance(item, list) else [item]:
                    assert gate.said(leaf, said)


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_of_the_grid_is_filled(name):
    spec = agents.load_spec(name)
    rows = refusals.notool(spec, 80, 2)
    cells = Counter(r.meta["cell"] for r in rows)
    assert set(cells) == set(refusals.CELLS)
    assert min(cells.values()) >= 8
    for row in rows:
        cell = row.meta["cell"]
        assert bool(row.tools) == (not cell.endswith("_none"))
        assert bool(row.calls) == (cell == "tool_tools")
        assert row.gold == ("" if cell == "tool_tools" else "[]")
        if "refuse" in row.meta:
            assert cell == row.meta["refuse"]
            for tool in spec.tools:
                assert tool.name in row.target.content, "a good refusal names the tools at hand"
            assert judge(row.target.content, row).ok
    fake = [r for r in rows if r.meta["cell"] == "nonexistent_tool"]
    assert all(r.meta["near"] not in {t.name for t in r.tools} for r in fake)
    assert all(r.meta["near"] in r.query for r in fake)
