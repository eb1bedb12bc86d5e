"""Every rule accepts what is right and names what is wrong; rows are labelled, never dropped."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from raytune_agents.config import ConfigError, LabelConfig
from raytune_agents.filters import (
    ON_HELD_OUT,
    ON_NEGATIVES,
    ON_REQUEST,
    OPTIONS,
    RULES,
    active_rules,
    label,
    label_funnel,
)
from raytune_agents.filters.grounding import Evidence, check_values, groundedness, is_grounded
from raytune_agents.filters.quality import difficulty, quality, quality_parts, rarity, signature
from raytune_agents.filters.shape import dead_loop
from raytune_agents.readers import read_row
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish

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
SECTION = LabelConfig()


def make(*calls: ToolCall, text: str = "", query: str = "Add 2 and 3", **changes) -> Trajectory:
    turns = (Message("user", query), Message("assistant", text, tool_calls=calls))
    return finish(replace(Trajectory(messages=turns, tools=(ADD,)), **changes))


GOOD = make(ToolCall.of("add", a=2, b=3))


def test_a_right_row_passes_every_rule():
    assert {name: rule(GOOD) for name, rule in RULES.items()} == dict.fromkeys(RULES)
    assert label(GOOD, SECTION) == replace(GOOD, quality=1.0)


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
    assert replace(got, reject_reason="", quality=row.quality) == row
    assert got.quality == 0.0


def test_thresholds_come_from_the_section():
    row = make(ToolCall.of("add", a=2, b=3), outcome=0.25)
    size = (
        len("Add 2 and 3")
        + len("add")
        + len('{"a": 2, "b": 3}')
        + sum(len(x) for x in (ADD.name, ADD.description, ADD.parameters))
    )
    assert label(row, LabelConfig(min_outcome=0.25)).reject_reason == ""
    assert label(GOOD, LabelConfig(max_chars=size)).reject_reason == ""
    assert label(GOOD, LabelConfig(max_chars=size - 1)).reject_reason == f"too_long:{size}"
    assert set(OPTIONS) <= set(RULES)


def test_a_negative_may_be_wrong_but_not_long_or_empty():
    wrong = make(ToolCall.of("sum", a=2), pool="negative.wrong_function", outcome=0.0)
    assert label(wrong, SECTION).reject_reason == ""
    assert label(replace(wrong, pool="synthetic.tflan"), SECTION).reject_reason == "tool_exists:sum"
    assert label(replace(wrong, messages=wrong.prompt), SECTION).reject_reason.startswith(
        "empty_target"
    )
    assert label(wrong, LabelConfig(max_chars=10)).reject_reason.startswith("too_long")
    assert set(RULES) > ON_NEGATIVES | ON_HELD_OUT | ON_REQUEST


def test_an_earlier_reason_is_kept():
    row = replace(make(ToolCall.of("sum")), reject_reason="duplicate_of:abc")
    assert label(row, SECTION) == replace(row, quality=0.0)


def test_rules_are_chosen_by_name_and_a_users_own_is_called():
    only = LabelConfig(rules=["outcome", "builtins:repr"])
    assert list(active_rules(only)) == ["outcome", "builtins:repr"]
    assert label(make(ToolCall.of("sum")), LabelConfig(rules=["outcome"])).reject_reason == ""
    assert label(GOOD, only).reject_reason == repr(GOOD)[:200]
    with pytest.raises(ConfigError, match=r"label\.rules='tool_exist' is unknown.*tool_exists"):
        active_rules(LabelConfig(rules=["tool_exist"]))


def test_a_held_out_row_is_judged_by_its_use_not_by_taste():
    asked = make(ToolCall.of("add", a=2, b=77), outcome=0.0, split="test_seen")
    assert label(asked, SECTION).reject_reason == ""
    assert label(replace(asked, split="train"), SECTION).reject_reason == "outcome:0"
    no_call = replace(asked, messages=asked.prompt, gold="[]")
    assert label(no_call, SECTION).reject_reason == ""
    assert label(replace(no_call, split="train"), SECTION).reject_reason.startswith("empty_target")
    wrong = make(ToolCall.of("add", a=2), split="val")
    assert label(wrong, SECTION).reject_reason == "arguments_valid:missing_required:b"


def test_the_funnel_adds_up_by_source():
    labels = {("a", ""): 1, ("a", "parses:x"): 1, ("b", "parses:y"): 1, ("a", "duplicate_of:1"): 1}
    got = label_funnel(labels)
    assert got["a"] == {"in": 3, "parses": 1, "duplicate_of": 1, "kept": 1}
    assert got["b"] == {"in": 1, "parses": 1, "kept": 0}
    assert got[""] == {"in": 4, "parses": 2, "duplicate_of": 1, "kept": 1}
    assert all(n["in"] == sum(v for k, v in n.items() if k != "in") for n in got.values())


# --- dead loops ---


def chat(*turns: Message) -> Trajectory:
    return finish(Trajectory(messages=turns))


def test_three_identical_calls_in_a_row_are_a_dead_loop():
    def act(day):
        return Message("assistant", tool_calls=(ToolCall.of("find", day=day),))

    seen = Message("tool", "nothing")
    user = Message("user", "Find it")
    assert dead_loop(chat(user, act(1), seen, act(1), seen, act(1))) == "dead_loop:find"
    assert dead_loop(chat(user, act(1), seen, act(2), seen, act(1), seen, act(1))) is None
    same = ToolCall("find", '{ "day":1}'), ToolCall.of("find", day=1), ToolCall.of("find", day=1)
    assert dead_loop(chat(user, Message("assistant", tool_calls=same))) == "dead_loop:find"


def test_three_identical_turns_of_a_text_agent_are_a_dead_loop():
    user, act = Message("user", "obs"), Message("assistant", "Action: go north")
    assert dead_loop(chat(user, act, user, act, user, act)) == "dead_loop:turn"
    assert dead_loop(chat(user, act, user, act, user, Message("assistant", "Action: look"))) is None


# --- grounding ---

ANY = ToolSpec(
    "tool",
    "Plays a song",
    json.dumps(
        {
            "type": "object",
            "properties": {
                "unit": {"type": "string", "enum": ["celsius", "kelvin"]},
                "limit": {"type": "integer", "default": 25},
                "kind": {"type": "string", "description": "for example sedan or hatchback"},
            },
        }
    ),
)


def grounds(query: str, **arguments) -> bool:
    row = replace(make(ToolCall.of("tool", **arguments), query=query), tools=(ANY,))
    return check_values(row)[1] == []


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("Weather in New York City", "new york"),
        ("Find hiking paths", "hikes"),
        ("pairs like ETH/BTC", "ETHBTC"),
        ("the year 1,250,000", 1250000),
        ("a dozen eggs", 12),
        ("twenty five people", 25),
        ("at 5% a year", 0.05),
        ("about 1.5 million", 1_500_000),
        ("in 2 hours", 120),
        ("5 km away", 5000),
        ("from the 11th result", 10),
        ("anything", True),
        ("anything", None),
        ("anything", ""),
        ("anything", 0),
        ("on January 3rd, 2022", "2022-01-03"),
        ("on 3 May", "2024-05-03"),
        ("all of August 2023", "2023-08-31"),
        ("tomorrow", "2031-02-17"),
        ("at 6 pm", "18:00"),
        ("in English", "en"),
        ("in the United States", "US"),
        ("pay 3 dollars", "USD"),
        ("on Sept 9, 2015", 20150909),
        ("a note that says we meet the whole team there", "We will meet the whole team there."),
    ],
)
def test_a_value_that_was_said_is_grounded(query, value):
    assert grounds(query, x=value)


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("Weather in New York City", "Boston"),
        ("a dozen eggs", 13),
        ("in 2 hours", 130),
        ("on January 3rd, 2022", "2022-01-04"),
        ("on January 3rd, 2022", "2022-02-03"),
        ("at 6 pm", "19:00"),
        ("in English", "fr"),
        ("my account", "ACC-4711"),
        ("stock of Apple", "AAPL"),
        ("play a song", "The Effects of Social Media"),
        ("two of them", 2.5),
    ],
)
def test_an_invented_value_is_not_grounded(query, value):
    assert not grounds(query, x=value)


@pytest.mark.parametrize(
    ("query", "value"),
    [
        # numbers: in words, as countries write them, fractions, powers, other scripts
        ("a table for two hundred and five", 205),
        ("one hundred twenty three items", 123),
        ("in two thousand twenty four", 2024),
        ("back in nineteen ninety nine", 1999),
        ("three quarters of it", 0.75),
        ("€1.234,56 please", 1234.56),
        ("1 234,5 kg", 1234.5),
        ("1'000 francs", 1000),
        ("12.500 Euro", 12500),
        ("2½ cups", 2.5),
        ("a 3/4 inch pipe", 0.75),
        ("1e5 samples", 100_000),
        ("the byte 0x1F", 31),
        ("chapter XIV", 14),
        ("十二個", 12),
        ("二〇二四年", 2024),
        ("三万五千", 35_000),
        ("funf Karten", 5),
        ("pour deux personnes", 2),
        # dates: with points, two-digit years, other languages, quarters
        ("on 05.03.2024", "2024-03-05"),
        ("on 05.03.24", "2024-03-05"),
        ("am 5. März 2024", "2024-03-05"),
        ("le 5 février 2024", "2024-02-05"),
        ("demain", "2024-05-03"),
        ("明天", "2024-05-03"),
        ("in two weeks", "2024-05-03"),
        ("in Q2 2024", "2024-06-30"),
        ("quarter to six", "05:45"),
        ("at 5 o'clock", "17:00"),
        # the same measure in another unit
        ("it is 100 F", 37.8),
        ("5 miles away", 8.05),
        ("she is 6 feet tall", 1.83),
        ("180 lbs", 81.6),
        ("wait 5 minutes", "300s"),
        # currencies by their sign; accents, wide and styled letters
        ("$50", "USD"),
        ("£20", "GBP"),
        ("złoty", "PLN"),
        ("Zürich", "Zurich"),
        ("e\u0301cole", "\u00e9cole"),
        ("Ｐａｒｉｓ", "Paris"),
        ("John O’Brien", "John O'Brien"),
    ],
)
def test_a_value_that_was_said_in_another_form_is_grounded(query, value):
    assert is_grounded(value, Evidence(query))


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("call me at 5551234", 5551235),
        ("200,000 at 3% for 5 years", 503),
        ("base of 10 units, height of 5", 39.41),
        ("on March 5, 2024", "2023-03-05"),
        ("at 9:30 AM on March 19", "17:45"),
        ("5 miles away", 8.5),
        ("$50", "EUR"),
        ("2½ cups", 3.5),
        ("an area of 9 m²", 92),
        ("chapter XIV", 16),
    ],
)
def test_another_form_is_no_other_value(query, value):
    assert not is_grounded(value, Evidence(query))


def test_the_schemas_own_words_ground_a_value_of_that_parameter():
    assert grounds("anything", unit="kelvin", limit=25, kind="hatchback")
    assert not grounds("anything", limit=24)
    assert not grounds("anything", x="kelvin")


def test_observations_before_the_call_are_evidence_and_the_assistants_own_words_are_not():
    call = Message("assistant", tool_calls=(ToolCall.of("book", id="HX-99"),))
    user = Message("user", "Book the cheapest")
    seen = chat(user, Message("tool", '{"id": "HX-99"}'), call)
    made_up = chat(user, Message("assistant", "I take HX-99"), Message("user", "fine"), call)
    late = chat(user, call, Message("tool", '{"id": "HX-99"}'))
    assert [check_values(r) for r in (seen, made_up, late)] == [
        (1, []),
        (1, ["book.id=HX-99"]),
        (1, ["book.id=HX-99"]),
    ]
    assert [groundedness(r) for r in (seen, made_up)] == [1.0, 0.0]
    half = make(ToolCall.of("add", a=2, b=9))
    assert groundedness(half) == 0.5
    assert label(half, SECTION).reject_reason == "ungrounded:add.b=9"


# --- quality ---


def test_difficulty_is_full_between_its_bounds():
    assert [difficulty(x) for x in (0.0, 0.025, 0.05, 1.0, 2.0, 4.0)] == [0, 0.5, 1, 1, 1, 0.5]


def test_diversity_falls_with_the_square_root_of_the_count():
    rows = [make(ToolCall.of("add", a=i, b=3)) for i in range(4)] + [make(ToolCall.of("add", a=1))]
    assert rarity(np.array([signature(r) for r in rows])).tolist() == [0.5, 0.5, 0.5, 0.5, 1.0]


def worth(row, nll=None, rare=None):
    return float(quality(*quality_parts(row, nll), rare))


def test_quality_weighs_what_is_known():
    half = make(ToolCall.of("add", a=2, b=9))  # groundedness 0.5
    assert worth(half) == pytest.approx(0.5)
    assert worth(half, nll=4.0) == pytest.approx((0.5 * 0.5 + 0.3 * 0.5) / 0.8)
    assert worth(half, nll=1.0, rare=0.5) == pytest.approx(0.5 * 0.5 + 0.3 + 0.2 * 0.5)
    assert worth(replace(half, outcome=0.8)) == pytest.approx(0.4)
    assert worth(replace(half, reject_reason="outcome:0")) == 0.0
    wrong = replace(half, pool="negative.wrong_value")
    assert worth(wrong) == 1.0
    assert worth(wrong, rare=0.5) == pytest.approx(0.5)
    by_meta = label(replace(GOOD, meta={"nll": 4.0}), SECTION)
    assert by_meta.quality == pytest.approx((0.5 + 0.15) / 0.8)
    told = np.array([quality_parts(r) for r in (half, wrong)])
    assert quality(*told.T, np.array([1.0, 0.25])).tolist() == pytest.approx([0.45 / 0.7, 0.25])


# --- real rows ---

XLAM = Path(__file__).parents[2].parent / "shared/data/samples/xlam.jsonl"


@pytest.mark.skipif(not XLAM.exists(), reason="shared/data is absent")
def test_real_rows_pass_and_perturbed_values_are_seen():
    lines = XLAM.read_text(encoding="utf-8").splitlines()
    rows = [r for i, line in enumerate(lines) for r in read_row(json.loads(line), f"xlam:{i}")]
    reasons = [label(r, SECTION).reject_reason.split(":")[0] for r in rows]
    assert reasons.count("arguments_valid") == 2  # a Sudoku of lists, a missing permitivity
    assert reasons.count("") >= 90
    seen = []
    for row in rows:
        call = row.calls[0]
        name = next((k for k, v in call.args.items() if isinstance(v, str) and len(v) > 2), None)
        if name and not check_values(row)[1]:
            wrong = ToolCall(call.name, json.dumps(call.args | {name: "Qorvath Ilmen"}))
            turns = (*row.prompt, Message("assistant", tool_calls=(wrong,)))
            seen.append(bool(check_values(replace(row, messages=turns))[1]))
    assert len(seen) > 50
    assert all(seen)
