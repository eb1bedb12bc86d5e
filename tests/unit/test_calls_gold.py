"""Gold of a row, its form and its use; names of faults."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
from test_calls import CALL, row

from raytune_agents import negatives
from raytune_agents.calls import (
    compare,
    fault_of,
    gold_of,
    judge,
    render_call,
    render_calls,
    schema_errors,
)
from raytune_agents.calls.match import greedy_hits
from raytune_agents.negatives import preference_pairs
from raytune_agents.negatives.grades import answer_grade
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish
from raytune_agents.train import rewards

PREPARED = Path(__file__).parents[2].parent / "shared/data/prepared"


def test_gold_of_the_target_has_bfcl_form():
    call = ToolCall.of(
        "book", city="Oslo", price=5, guest={"age": 3}, guests=[{"age": 4}], days=["a"]
    )
    assert gold_of(row(call)) == [{"book": {
        "city": ["Oslo"], "price": [5.0], "guest": [{"age": [3]}], "guests": [[{"age": [4]}]],
        "days": [["a"]]}}]  # fmt: skip
    assert gold_of(row(content="no")) == []
    assert gold_of(row(call, gold='[{"cancel": {}}]')) == [{"cancel": {}}]


def test_the_target_is_right_even_where_bfcl_refuses_it():
    tools = (
        ToolSpec("f", "", '{"properties": {"x": {"type": "array", "items": {"type": "number"}}}}'),
    )
    call = ToolCall.of("f", x=[1.5, 2])
    mine = replace(row(call), tools=tools)
    assert compare([call], gold_of(mine), tools).error == "type_error:nested"
    assert judge(render_call(call), mine).ok
    assert not judge(render_call(ToolCall.of("f", x=[1.5, 3])), mine).ok


def test_no_call_is_right():
    mine = row(content="Which city?", gold="[]")
    assert judge("Which city?", mine).ok
    assert judge('{"name": "book", "arg', mine).ok  # BFCL: what does not decode is no call
    assert judge(CALL, mine).error == "irrelevance_error"
    assert fault_of(CALL, mine) == "unneeded_call"


@pytest.mark.skipif(not PREPARED.is_dir(), reason="shared/data/prepared is not here")
def test_real_rows_are_right_about_themselves():
    checked = 0
    for line in gzip.decompress((PREPARED / "val.jsonl.gz").read_bytes()).splitlines():
        raw = json.loads(line)
        tools = tuple(ToolSpec(t["name"], t["description"], json.dumps(t["parameters"]))
                      for t in json.loads(raw["tools"]))  # fmt: skip
        answer = tuple(
            ToolCall(a["name"], json.dumps(a["arguments"])) for a in json.loads(raw["answers"])
        )
        target = Message("assistant", tool_calls=answer)
        real = Trajectory((Message("user", raw["query"]), target), tools)
        text = render_calls(answer)
        assert judge(text, real).ok, raw["id"]
        assert compare(answer, gold_of(real), tools).ok, raw["id"]
        assert fault_of(text.replace("<tool_call>{", "<tool_call>", 1), real) != "", raw["id"]
        assert not any(schema_errors(c, tools) for c in answer), raw["id"]
        checked += 1
    assert checked == 299


# --- fault names ---

PARIS = ToolCall.of("book", city="Paris", nights=3, to="Rome")


def said(*several: ToolCall) -> str:
    return render_calls(several)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("", said(PARIS)),
        ("answered_directly", "It is booked."),
        ("hallucinated_function", said(ToolCall.of("fly", city="Paris"))),
        ("wrong_function", said(ToolCall.of("cancel", id="Paris"))),
        ("missing_required", said(ToolCall.of("book", nights=3, to="Rome"))),
        ("missing_optional_needed", said(ToolCall.of("book", city="Paris", nights=3))),
        ("extra_argument", said(ToolCall.of("book", city="Paris", nights=3, to="Rome", pets=True))),
        ("wrong_argument_name", said(ToolCall.of("book", town="Paris", nights=3, to="Rome"))),
        ("wrong_value", said(ToolCall.of("book", city="Lyon", nights=3, to="Rome"))),
        ("wrong_type", said(ToolCall.of("book", city="Paris", nights="3", to="Rome"))),
        ("swapped_values", said(ToolCall.of("book", city="Rome", nights=3, to="Paris"))),
        ("repeated_call", said(PARIS, PARIS)),
        ("extra_call", said(PARIS, ToolCall.of("cancel", id="1"))),
        ("malformed_json", said(PARIS)[:-14]),
        ("wrong_format", '{"tool": "book"}'),
    ],
)  # fmt: skip
def test_fault_names(fault, text):
    assert fault_of(text, row(PARIS)) == fault
    assert judge(text, row(PARIS)).ok == (fault == "")


def test_faults_of_several_calls():
    two = row(PARIS, ToolCall.of("cancel", id="1"))
    assert fault_of(said(PARIS), two) == "missing_call"
    assert fault_of(said(ToolCall.of("cancel", id="1"), PARIS), two) == ""
    assert fault_of(said(PARIS, ToolCall.of("cancel", id="2")), two) == "wrong_value"
    assert fault_of(said(PARIS, PARIS), two) == "wrong_function"


def call_of(**arguments: object) -> ToolCall:
    return ToolCall("search", json.dumps(arguments))


SEARCH = ToolSpec(
    "search",
    "Search.",
    json.dumps(
        {
            "type": "object",
            "required": ["q", "page"],
            "properties": {
                "q": {"type": "string"},
                "page": {"type": "integer", "default": 1},
                "limit": {"type": "integer", "default": "10"},  # text, as xLAM writes numbers
                "ratio": {"type": "number", "default": 1},
                "order": {"type": "string", "default": "Newest"},
                "near": {
                    "type": "object",
                    "properties": {
                        "city": {"type": "string"},
                        "km": {"type": "integer", "default": 5},
                    },
                },
            },
        }
    ),
)


def searched(**arguments: object) -> Trajectory:
    turn = Message("assistant", tool_calls=(call_of(**arguments),))
    return Trajectory((Message("user", "find it"), turn), (SEARCH,))


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ({"q": "a", "page": 2}, {"q": "a", "page": 2, "limit": 10, "order": "newest"}),
        ({"q": "a", "page": 2, "limit": 10}, {"q": "a", "page": 2}),
        ({"q": "a", "page": 2, "ratio": 1.0}, {"q": "a", "page": 2}),
        ({"q": "a", "page": 2}, {"q": "a", "page": 2, "ratio": 1}),
        ({"q": "a", "page": 2, "near": {"city": "Oslo"}},
         {"q": "a", "page": 2, "near": {"city": "Oslo", "km": 5}}),
        ({"q": "a", "page": 2, "near": {"city": "Oslo", "km": 5}},
         {"q": "a", "page": 2, "near": {"city": "Oslo"}}),
    ],
)  # fmt: skip
def test_a_default_may_be_said_or_left_out(gold: dict, answer: dict) -> None:
    assert judge(render_call(call_of(**answer)), searched(**gold)).ok


@pytest.mark.parametrize(
    ("gold", "answer", "fault"),
    [
        ({"q": "a", "page": 1}, {"q": "a"}, "missing_required"),  # required stays required
        ({"q": "a", "page": 2}, {"q": "a", "page": 2, "limit": 11}, "wrong_value"),
        ({"q": "a", "page": 2, "limit": 20}, {"q": "a", "page": 2}, "missing_optional_needed"),
        ({"q": "a", "page": 2, "limit": 20}, {"q": "a", "page": 2, "limit": 10}, "wrong_value"),
        ({"q": "a", "page": 2}, {"q": "a", "page": 2, "sort": "up"}, "extra_argument"),
        ({"q": "a", "page": 2, "near": {"city": "Oslo"}},
         {"q": "a", "page": 2, "near": {"city": "Oslo", "km": 6}}, "wrong_value"),
    ],
)  # fmt: skip
def test_another_value_than_the_default_stays_wrong(gold: dict, answer: dict, fault: str) -> None:
    assert fault_of(render_call(call_of(**answer)), searched(**gold)) == fault


def test_what_is_right_is_neither_mined_nor_rejected_nor_rewarded_less() -> None:
    good = finish(searched(q="a", page=2))
    said = render_call(call_of(q="a", page=2, limit=10))
    assert negatives.mined(good, said) is None
    assert rewards.tooln1(said, good) == 1.0
    assert rewards.toolrl(said, good) == 3.0
    assert answer_grade(said, good) == 1.0
    # a wrong page, the default left out: names 1, argument names 1, the value of q: 3 of 4
    assert answer_grade(render_call(call_of(q="a", page=3)), good) == 0.75
    official = replace(good, gold='[{"search": {"q": ["a"], "page": [2]}}]')
    assert judge(said, official).error == "unexpected_param"  # BFCL's gold says what BFCL says
    assert negatives.mined(official, said) is None
    worse = replace(
        searched(q="a", page=2, limit=10), fault="extra_argument", parents=(good.id,), id="w"
    )
    assert preference_pairs.minimal_pairs([good, worse]) == []
    wrong = replace(searched(q="a", page=3), fault="wrong_value", parents=(good.id,), id="x")
    assert len(preference_pairs.minimal_pairs([good, wrong])) == 1


@pytest.mark.parametrize(("said", "right"), [
    ({"o": {"k": "v"}}, True), ({"o": {"k": "v", "m": 3}}, True),
    ({"o": {"k": "v", "p": {"n": 5}}}, True), ({"o": {"k": "v", "m": 3, "p": {}}}, True),
    ({"o": {"k": "v", "m": 4}}, False), ({"o": {"k": "v", "p": {"n": 6}}}, False),
])  # fmt: skip
def test_defaults_deep_inside_and_behind_references(said: dict, right: bool) -> None:
    whole = {"type": "integer", "default": 5}
    inner = {"type": "object", "properties": {"n": {"$ref": "#/$defs/N"}}, "default": {}}
    outer = {"type": "object", "required": ["k"], "properties": {
        "k": {"type": "string"}, "m": {"type": "integer", "default": 3}, "p": inner}}  # fmt: skip
    schema = {"type": "object", "properties": {"o": {"$ref": "#/$defs/O"}}, "required": ["o"],
              "$defs": {"N": whole, "O": outer}}  # fmt: skip
    tool = ToolSpec("f", "", json.dumps(schema))
    target = Message("assistant", tool_calls=(ToolCall.of("f", o={"k": "v", "p": {}}),))
    row = Trajectory((Message("user", "q"), target), (tool,))
    answer = json.dumps({"name": "f", "arguments": said})
    assert judge(f"<tool_call>{answer}</tool_call>", row).ok is right


def test_greedy_matching_compares_nothing_after_the_first_missed_gold_call() -> None:
    compared = []
    hits = greedy_hits(3, 2, lambda row, column: bool(compared.append((row, column))))
    assert next(row for row, hit in enumerate(hits) if hit is None) == 0
    assert compared == [(0, 0), (0, 1)]
