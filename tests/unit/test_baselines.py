"""Fair baselines and rows to decline: what the untrained model is shown, what it must write."""

import json
from itertools import islice

import jsonschema
import pytest

from raytune_agents.calls import judge, parse
from raytune_agents.calls.gold import gold_of
from raytune_agents.config import load_config
from raytune_agents.evaluate.baselines import Arm, call_schema, examples_to_show, with_shots
from raytune_agents.evaluate.estimates import Resampling
from raytune_agents.evaluate.latency import LatencyRow, latency_scores, sample_of
from raytune_agents.evaluate.measured import BFCL_IRRELEVANCE, IRRELEVANCE
from raytune_agents.evaluate.suites import Suite
from raytune_agents.pipeline.evaluate import EvaluationRequests, arm_facts, arms_of
from raytune_agents.readers import bfcl
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish


def tool(name: str, about: str, **params: str) -> ToolSpec:
    schema = {"type": "object", "required": list(params),
              "properties": {k: {"type": t} for k, t in params.items()}}  # fmt: skip
    return ToolSpec(name, about, json.dumps(schema))


WEATHER = tool("get_weather", "Weather forecast of a city.", city="string", days="integer")
TICKET = tool("open_ticket", "Opens a support ticket.", title="string")
MENU = tool("order_pizza", "Orders pizza from a restaurant.", size="string")


def row(name: str, text: str, tools=(WEATHER, TICKET), split="train", **args) -> Trajectory:
    calls = (ToolCall.of(name, **args),) if name else ()
    answer = Message("assistant", "" if calls else "I cannot do that.", tool_calls=calls)
    said = (Message("system", "Be short."), Message("user", text), answer)
    return finish(Trajectory(said, tools, split=split))


ROWS = [
    row("get_weather", "Will it rain in Oslo?", city="Oslo", days=1),
    row("get_weather", "Weather in Rome for two days?", city="Rome", days=2),
    row("open_ticket", "My login fails.", title="login"),
    row("", "Write me a poem."),
    row("open_ticket", "x" * 500, title="long"),
]


def test_examples_are_short_of_different_tools_and_one_declines():
    shown = examples_to_show(ROWS, 3, seed=5)
    assert [r.calls[0].name if r.calls else "" for r in shown][-1] == ""
    assert {r.calls[0].name for r in shown if r.calls} == {"get_weather", "open_ticket"}
    assert examples_to_show(ROWS, 3, seed=5) == shown
    assert all(len(r.query) < 100 for r in shown)  # of the shorter half, but for need
    assert examples_to_show(ROWS, 0, seed=5) == ()
    assert examples_to_show([], 3, seed=5) == ()


def test_examples_stand_after_the_system_turn_and_before_the_request():
    test = row("get_weather", "And in Bonn?", city="Bonn", days=3, split="test_seen")
    made = with_shots(test, examples_to_show(ROWS, 3, seed=5))
    roles = [m.role for m in made.messages]
    assert roles == ["system", *["user", "assistant"] * 3, "user", "assistant"]
    assert made.query == "And in Bonn?"
    assert made.prompt[0].content == "Be short."
    assert made.tools == test.tools  # the example's tools are named in its own turn
    assert "(tools of this example: get_weather(city, days), open_ticket(title))" in (
        made.messages[1].content
    )
    assert not any(m.trained for m in made.messages[:-1])
    assert with_shots(test, ()) is test


def test_the_grammar_takes_the_calls_of_the_offered_tools_and_nothing_else():
    schema = json.loads(call_schema((WEATHER, TICKET)))
    right = [{"name": "get_weather", "parameters": {"city": "Oslo", "days": 1}}]
    jsonschema.validate(right, schema)
    jsonschema.validate([*right, {"name": "open_ticket", "parameters": {"title": "x"}}], schema)
    for bad in (
        [],
        [{"name": "fly", "parameters": {}}],
        [{"name": "get_weather", "parameters": {"city": "Oslo", "days": "one"}}],
        [{"name": "get_weather", "parameters": {"city": "Oslo"}}],
        [{"name": "open_ticket", "parameters": {"title": "x", "urgent": True}}],
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, schema)
    # what it lets through is read as a call
    parsed = parse(json.dumps(right), (WEATHER, TICKET))
    assert [(c.name, c.args) for c in parsed.calls] == [
        ("get_weather", {"city": "Oslo", "days": 1})
    ]
    assert call_schema(()) == ""


def test_the_grammar_leaves_out_what_backends_refuse():
    spec = {
        "type": "object",
        "$defs": {"id": {"type": "string"}},
        "properties": {
            "n": {"type": "integer", "multipleOf": 5, "minimum": 1},
            "when": {"type": "string", "format": "duration", "pattern": "^P", "maxLength": 9},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "uniqueItems": True},
            "who": {"$ref": "#/$defs/id"},
            "where": {"anyOf": [{"type": "null"}, {"type": "object", "propertyNames": {}}]},
        },
        "required": ["n", "missing"],
    }
    text = call_schema((ToolSpec("f", "", json.dumps(spec)),))
    for word in ("multipleOf", "format", "pattern", "uniqueItems", "$ref", "propertyNames"):
        assert word not in text
    call = {"n": 5, "when": "P1D", "tags": ["a", "a"], "who": "x", "where": {"lat": 1}}
    jsonschema.validate([{"name": "f", "parameters": call}], json.loads(text))


@pytest.mark.skipif(not bfcl.installed(), reason="needs the package bfcl-eval")
def test_every_gold_call_of_bfcl_is_within_its_grammar():
    """Rows whose own gold breaks its schema apart; and the grammar backend takes every schema."""
    xgrammar = pytest.importorskip("xgrammar")
    rows = [bfcl.read(raw) for _, raw in bfcl.bfcl_rows(["live_multiple"])][::25]
    outside = 0
    for one in rows:
        text = call_schema(one.tools)
        xgrammar.Grammar.from_json_schema(text, any_whitespace=False)
        calls = [{"name": c.name, "parameters": c.args} for c in one.answer.tool_calls]
        try:
            jsonschema.validate(calls, json.loads(text))
        except jsonschema.ValidationError:
            outside += 1
            continue
        assert judge(json.dumps(calls), one).ok
    assert len(rows) > 40
    assert outside <= len(rows) // 20


def test_who_is_asked_what():
    """No baseline answers val or perturbed rows; one that must call is asked where calls are
    right."""
    seen = row("get_weather", "Rain?", city="Oslo", days=1, split="test_seen")
    none = finish(Trajectory((Message("user", "A poem."),), (WEATHER,), split=IRRELEVANCE,
                             gold="[]"))  # fmt: skip
    val = row("open_ticket", "Help.", title="x", split="val")
    noisy = row("get_weather", "Rian?", city="Oslo", days=1, split="test_seen")
    asked = EvaluationRequests([seen, none, val], [noisy], [], [], [], (), {})
    assert asked.of(Arm("base")) == [seen, none, val, noisy]
    assert asked.of(Arm("base_few_shot", shots=(seen,))) == [seen, none]
    assert asked.of(Arm("base_constrained", constrained=True)) == [seen]


def test_the_arms_and_the_one_of_positives_only(tmp_path):
    arms = (
        "train.arms={mix: {method: sft}, nat: {method: nat}, "
        "pos: {method: sft, weights: {positive: 0.8, synthetic: 0.2}}}"
    )
    more = ("train.curve=[0.5]", "mix.weights={positive: 0.5, negative: 0.5}")
    tree = load_config(None, [arms, *more])
    names = [a.name for a in arms_of(tree, tmp_path, (ROWS[0],))]
    assert names[:3] == ["base", "base_few_shot", "base_constrained"]
    facts = arm_facts(tree)
    assert facts.trained == ("mix", "nat", "pos")  # shares of the data are no headline
    assert facts.positives_only == "pos"
    less = load_config(None, ["evaluate.few_shot=0", "evaluate.constrained=false"])
    assert [a.name for a in arms_of(less, tmp_path)][:2] == ["base", "sft"]


def test_rows_to_decline_are_made_of_the_runs_own_tools_and_of_bfcl():
    config = load_config(None, ["evaluate.irrelevance_rows=3"]).evaluate
    suite = Suite()
    tools = (WEATHER, TICKET, MENU)
    suite.add("test_seen", [row("get_weather", f"Rain in town {i}?", tools, "test_seen",
                                city=str(i), days=1) for i in range(5)])  # fmt: skip
    suite.add_irrelevance(config, list, seed=1)
    own = [r for r in suite.rows if r.split == IRRELEVANCE]
    assert len(own) == 3
    for made in own:
        assert gold_of(made) == []
        assert {t.name for t in made.tools} == {"open_ticket", "order_pizza"}
    if bfcl.installed():
        theirs = [r for r in suite.rows if r.split == BFCL_IRRELEVANCE]
        assert len(theirs) == 3
        assert all(gold_of(r) == [] and r.tools for r in theirs)


# --- latency ---


def test_each_load_has_whole_waves_of_its_own_rows():
    places = sample_of(list(range(100)), [1, 8, 32], 16)
    assert [len(p) for p in places] == [16, 16, 32]
    assert len(set(islice((i for p in places for i in p), 64))) == 64
    assert sample_of([0, 1, 2], [2], 3) == [[0, 1, 2, 0]]  # few rows are asked again


def test_latency_is_of_requests_and_speed_of_waves():
    rows = [LatencyRow("base", 2, wave, f"{wave}{k}", 10.0 + wave, 100.0 * (k + 1), 20, 1.0 + wave)
            for wave in range(2) for k in range(2)]  # fmt: skip
    cells = latency_scores(rows, Resampling(200))["base"]["2"]
    assert cells["first_token_ms"].value == 10.5  # median of 10, 10, 11, 11
    assert cells["end_to_end_ms"].value == 150.0
    assert cells["tokens_per_s"].value == pytest.approx(80 / 3)  # 4 * 20 tokens in 1 + 2 seconds
    assert cells["tokens_per_s"].n == 4
