"""Faults: every edit is wrong by our checker for the reason it names, or is not made."""

import json
import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raytune_agents import agents
from raytune_agents.agents.worlds import Episode, completed, task_of
from raytune_agents.calls import fault_of, judge, parse, render_calls
from raytune_agents.calls.gold import tolerant_gold
from raytune_agents.config import NegativesConfig
from raytune_agents.generate import dialogue_patterns, refusals, rewrite
from raytune_agents.generate.tasks import tasks
from raytune_agents.generate.world_runs import react
from raytune_agents.inference.client import Reply
from raytune_agents.negatives import (
    FAULTS,
    TRAJECTORY_FAULTS,
    answer_text,
    choose_faults,
    edit,
    fault_shares,
    mined,
    trajectory_fault,
)
from raytune_agents.negatives.wrong_values import mistyped, other_value
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish

ROWS = [row for name in agents.shipped() for row in tasks(agents.load_spec(name), 30, 4)]
SINGLE = ["wrong_function", "hallucinated_function", "missing_required", "extra_argument",
          "wrong_argument_name", "wrong_value", "wrong_type", "malformed_json", "wrong_format",
          "extra_call", "repeated_call", "answered_directly"]  # fmt: skip
SOME = ["missing_optional_needed", "swapped_values"]


def check(row: Trajectory, bad: Trajectory, fault: str) -> None:
    """The promise of a negative, by the checker alone."""
    text = answer_text(bad.target)
    assert not judge(text, row).ok
    assert not judge(text, bad).ok, "the negative carries the right gold itself"
    assert fault_of(text, row) == fault
    assert (bad.fault, bad.pool, bad.outcome) == (fault, f"negative.{fault}", 0.0)
    assert (bad.parents, bad.split, bad.prompt) == ((row.id,), row.split, row.prompt)
    assert bad.tools == row.tools
    assert bad.id != row.id


@pytest.mark.parametrize("fault", SINGLE)
def test_every_row_admits_the_fault_and_it_is_proved(fault):
    for row in ROWS:
        bad, reason = edit(row, fault, 9)
        assert reason == "", (row.query, reason)
        check(row, bad, fault)


@pytest.mark.parametrize("fault", SOME)
def test_faults_that_need_a_fitting_row(fault):
    counts = Counter()
    for row in ROWS:
        bad, reason = edit(row, fault, 9)
        counts[reason] += 1
        if bad:
            check(row, bad, fault)
    assert counts[""] > 60
    assert set(counts) <= {"", "not_applicable", "still_right", "named:wrong_type"}


def two_calls() -> Trajectory:
    first, second = ROWS[0], ROWS[1]
    target = Message("assistant", tool_calls=first.calls + second.calls)
    text = f"{first.query} {second.query}"
    return finish(replace(first, messages=(Message("user", text), target)))


def test_missing_call_needs_several():
    assert edit(ROWS[0], "missing_call", 1) == (None, "not_applicable")
    row = two_calls()
    bad, _ = edit(row, "missing_call", 1)
    check(row, bad, "missing_call")
    assert len(bad.target.tool_calls) == 1


def test_unneeded_call_where_no_call_is_right():
    chat = finish(Trajectory((Message("user", "Hi"), Message("assistant", "Hello!")),
                             ROWS[0].tools, gold="[]", split="val"))  # fmt: skip
    bad, _ = edit(chat, "unneeded_call", 1)
    check(chat, bad, "unneeded_call")
    open_row = finish(replace(chat, messages=chat.messages[:1]))
    bad, reason = edit(open_row, "unneeded_call", 1)
    assert reason == ""
    assert bad.target.tool_calls
    assert edit(ROWS[0], "unneeded_call", 1)[1] == "not_applicable"


def test_the_edit_is_minimal():
    for row in ROWS[:40]:
        good = row.calls[0].args
        bad = edit(row, "wrong_value", 2)[0].calls[0]
        assert bad.name == row.calls[0].name
        assert list(bad.args) == list(good)
        assert sum(bad.args[k] != good[k] for k in good) == 1
        lost = edit(row, "missing_required", 2)[0].calls[0].args
        assert lost.items() < good.items()
        assert len(good) - len(lost) == 1


def test_malformed_json_is_text_that_does_not_parse():
    for row in ROWS[:40]:
        bad, _ = edit(row, "malformed_json", 5)
        assert bad.target.tool_calls == ()
        assert parse(bad.target.content).error == "decoder_failed"


def test_edits_are_seeded():
    assert edit(ROWS[0], "wrong_value", 1) == edit(ROWS[0], "wrong_value", 1)
    assert len({edit(ROWS[0], "wrong_value", s)[0].id for s in range(20)}) > 1


def test_an_edit_on_another_allowed_value_is_refused():
    tools = ROWS[0].tools
    call = ToolCall.of(tools[0].name, flag=True)
    gold = json.dumps([{tools[0].name: {"flag": [True, False]}}])
    row = finish(Trajectory((Message("user", "q"), Message("assistant", tool_calls=(call,))),
                            (replace(tools[0], parameters='{"type": "object", "properties": '
                                     '{"flag": {"type": "boolean"}}}'),), gold=gold))  # fmt: skip
    assert edit(row, "wrong_value", 1) == (None, "still_right")


def test_a_wrong_row_is_no_base_for_a_negative():
    bad, _ = edit(ROWS[0], "wrong_value", 1)
    assert edit(bad, "wrong_type", 1) == (None, "not_a_positive")
    prompt_only = replace(ROWS[0], messages=ROWS[0].prompt)
    assert edit(prompt_only, "wrong_type", 1) == (None, "not_a_positive")


@pytest.mark.parametrize("schema", [
    "null", "[]", "not JSON", '{"properties": {"a": true}, "required": ["a"]}',
    '{"properties": {"a": {"type": {"x": 1}}}, "required": ["a"]}',
    '{"properties": {"a": {}}, "required": true}', '{"properties": {"a": {"enum": null}}}',
    '{"properties": {"a": {"type": "integer", "minimum": "x"}}, "required": ["a"]}',
    '{"properties": {"a": {"type": "integer", "minimum": 1e400}}, "required": ["a"]}',
])  # fmt: skip
def test_a_strange_schema_beside_a_good_call_stops_no_step(schema):
    """What an edit cannot do with a row is a counted reason, whatever the row holds."""
    strange = ToolSpec("strange", "", schema)
    call = Message("assistant", tool_calls=(ToolCall.of("book", city="Rome"),))
    book = ToolSpec("book", "", '{"properties": {"city": {"type": "string"}}}')
    row = finish(Trajectory((Message("user", "book Rome"), call), (strange, book)))
    for fault in FAULTS:
        bad, reason = edit(row, fault, 1)
        assert (bad is None) == bool(reason)


def test_mined_failures():
    row = ROWS[0]
    assert mined(row, render_calls(row.calls)) is None
    assert mined(row, "  ") is None
    said = mined(row, "I cannot do that.")
    assert (said.fault, said.target.content) == ("answered_directly", "I cannot do that.")
    assert (said.split, said.parents, said.step) == (row.split, (row.id,), "negatives.mined")
    wrong = render_calls([replace(row.calls[0], name="nope")])
    made = mined(row, wrong)
    assert (made.fault, made.target.tool_calls[0].name) == ("hallucinated_function", "nope")
    assert answer_text(made.target) == wrong
    prose = f"Here you go: {wrong}"
    assert answer_text(mined(row, prose).target) == prose
    assert made.gold == tolerant_gold(row)


def test_mined_failures_keep_their_frequency():
    row = tasks(agents.load_spec("security"), 1, 3)[0]
    right = answer_text(row.target)
    prose, other = "I have done it.", '<tool_call>{"name": "hack", "arguments": {}}</tool_call>'
    texts = [prose, right, other, prose, prose, "too long"]
    reply = Reply(texts, [5, 5, 5, 5, 5, 64], 10, 0.0, 0.0, cut=[False] * 5 + [True])
    shard = rewrite.Shard()
    rewrite.failures(row, reply, NegativesConfig(mined_samples=6, max_tokens=64), shard)
    assert [(r.fault, r.meta["frequency"]) for r in shard.rows] == [
        ("answered_directly", 0.5), ("hallucinated_function", 0.1667)]  # fmt: skip
    assert shard.rejected == {"right_answer": 1, "repeated": 2, "cut_at_max_tokens": 1}
    assert shard.notes == {"answered_directly": 3, "hallucinated_function": 1}


def test_fault_shares_follow_the_mined_ones_above_a_floor():
    names = ["wrong_value", "extra_call", "wrong_type", "malformed_json"]
    counts = {"wrong_value": 6, "extra_call": 2, "bad_gold": 50}
    shares = fault_shares(counts, 0.4, names)
    assert shares == pytest.approx(
        {"wrong_value": 0.55, "extra_call": 0.25, "wrong_type": 0.1, "malformed_json": 0.1}
    )
    assert set(fault_shares({}, 0.1).values()) == {1 / len(FAULTS)}
    chosen = Counter(choose_faults(counts, 20, 0.4, random.Random(1), names))
    assert chosen == {"wrong_value": 11, "extra_call": 5, "wrong_type": 2, "malformed_json": 2}
    assert len(choose_faults(counts, 7, 0.4, random.Random(1), names)) == 7
    assert choose_faults(counts, 0, 0.4, random.Random(1), names) == []


VALUES = st.recursive(
    st.booleans() | st.integers(-(10**9), 10**9) | st.floats(-1e6, 1e6).map(lambda x: round(x, 3))
    | st.text("abc 123-_.", min_size=1, max_size=12),
    lambda inner: st.lists(inner, min_size=1, max_size=3), max_leaves=4)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(VALUES, st.integers(0, 99))
def test_near_misses_keep_or_change_the_type(item, seed):
    rng = random.Random(seed)
    other = other_value(item, {}, rng)
    if other is not None:
        assert type(other) is type(item)
        assert other != item
    wrong = mistyped(item, rng)
    assert wrong is None or type(wrong) is not type(item)


RUNS = [row for name in agents.shipped() for row in react(agents.load_spec(name), 20, 2)]
OFTEN = {"wrong_order": 30, "looping": 120, "premature_finish": 90, "no_termination": 90,
         "no_recovery_after_error": 20, "ignore_observation": 100, "fabricated_output": 80,
         "bad_thought": 120}  # fmt: skip


def test_good_runs_have_no_fault():
    assert {trajectory_fault(row, row) for row in RUNS} == {""}


@pytest.mark.parametrize("fault", TRAJECTORY_FAULTS)
def test_trajectory_faults_are_real_runs_that_went_wrong(fault):
    made = 0
    for row in RUNS:
        bad, reason = edit(row, fault, 3)
        if bad is None:
            assert reason.split(":")[0] in ("not_applicable", "still_right", "named")
            continue
        made += 1
        assert trajectory_fault(bad, row) == fault
        assert not completed(bad) or fault in ("looping", "wrong_order", "bad_thought")
        world = Episode(task_of(bad), bad.tools)
        told = [world.call(c) for m in bad.messages for c in m.tool_calls]
        seen = [m.content for m in bad.messages if m.role == "tool"]
        assert seen == told[: len(seen)], "the world is never the liar"
        assert bad.messages[-1].role == "assistant"
        assert bad.messages[0] == row.messages[0]
        assert (bad.pool, bad.parents, bad.outcome) == (f"negative.{fault}", (row.id,), 0.0)
    assert made >= OFTEN[fault]


def test_an_invented_observation_is_seen():
    row = RUNS[0]
    lie = [replace(m, content='{"ok": true}') if m.role == "tool" else m for m in row.messages]
    assert trajectory_fault(replace(row, messages=tuple(lie)), row) == "unreal"
    assert edit(replace(row, messages=tuple(lie)), "looping", 1) == (None, "not_a_positive")


def test_trajectory_faults_need_a_world():
    for fault in TRAJECTORY_FAULTS:
        assert edit(ROWS[0], fault, 1) == (None, "not_applicable")


def test_calls_where_a_question_or_refusal_is_right():
    counts = Counter()
    for name in agents.shipped():
        spec = agents.load_spec(name)
        for row in [*dialogue_patterns.followup(spec, 20, 1), *refusals.notool(spec, 24, 1)]:
            for fault in ("should_ask_violated", "should_refuse_violated", "unneeded_call"):
                bad, reason = edit(row, fault, 1)
                if bad is None:
                    assert reason == "not_applicable"
                    continue
                counts[fault] += 1
                assert bad.target.tool_calls
                assert not judge(answer_text(bad.target), row).ok
    assert counts["should_ask_violated"] == 60
    assert counts["should_refuse_violated"] == 54  # of 24 rows in nine cells nine refuse
    assert counts["unneeded_call"] >= 12


def test_bfcl_rows_admit_the_faults():
    pytest.importorskip("bfcl_eval", reason="bfcl-eval is not installed")
    from raytune_agents.readers import bfcl

    found = bfcl.bfcl_rows(["simple_python", "live_multiple"])
    rows = [finish(bfcl.read(raw)) for _, raw in found][::40]
    made = Counter()
    for row in rows:
        for fault in FAULTS:
            bad, reason = edit(row, fault, 3)
            if bad:
                check(row, bad, fault)
                made[fault] += 1
            else:
                assert reason.split(":")[0] in ("not_applicable", "still_right", "named",
                                                "not_a_positive")  # fmt: skip
    assert len(rows) > 30
    for fault in SINGLE:
        assert made[fault] > len(rows) * (0.4 if fault == "wrong_function" else 0.8), fault
