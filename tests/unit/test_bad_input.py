"""What comes into an evaluation broken: a counted reason or a clear refusal, never a silent zero.

An empty split and arms of other bases stand in test_suites.py, missing seeds in test_paired.py and
test_ab.py, hostile strings on the page in test_report_browser.py.
"""

import json

import pytest

from raytune_agents.config import ConfigError
from raytune_agents.evaluate import ab, suites
from raytune_agents.evaluate.estimates import Resampling, mean_of
from raytune_agents.evaluate.scoring import score_answer
from raytune_agents.readers import bfcl
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish

PAY = ToolSpec("pay", "Pay.", json.dumps({"type": "object", "required": ["amount"], "properties": {
    "amount": {"type": "number"}, "who": {"type": "string"}}}))  # fmt: skip


def row(*calls: ToolCall, gold: str = "") -> Trajectory:
    said = (Message("user", "Pay."), Message("assistant", tool_calls=calls))
    return finish(Trajectory(said, (PAY,), source="t", split="test_seen", gold=gold))


FIVE = row(ToolCall.of("pay", amount=5.0, who="Ann"))


@pytest.mark.parametrize("output", [None, 5, 1e308, b"pay", ["pay"], {"name": "pay"}, float("nan")])
def test_outputs_that_are_not_text(output):
    found = score_answer(output, FIVE)
    got = found.values
    assert (found.error, got["exact_match"]) == ("decoder_wrong_output_format", 0.0)
    assert got["format_adherence"] == 0.0
    assert got["hallucination_rate"] is None  # what was called is not known


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"name": "pay", "arguments": {"amount": 1e308, "who": "Ann"}}', "value_error:others"),
        ('{"name": "pay", "arguments": {"amount": 1e999, "who": "Ann"}}', "decoder_failed"),
        ('{"name": "pay", "arguments": {"amount": NaN, "who": "Ann"}}', "decoder_failed"),
        ('{"name": "pay", "arguments": {"amount": 5.0, "amount": 6.0}}', "decoder_failed"),
        ('{"name": "pay", "name": "pay", "arguments": {"amount": 5.0}}', "decoder_failed"),
        ('[{"name": "pay", "arguments": {"amount": ' + "[" * 5000, "decoder_failed"),
    ],
)
def test_numbers_out_of_range_and_duplicate_keys(text, error):
    got = score_answer(text, FIVE)
    assert (got.values["exact_match"], got.error) == (0.0, error)
    assert all(v is None or 0 <= v <= 1 for v in got.values.values())


def test_huge_gold_is_matched():
    huge = row(ToolCall.of("pay", amount=1e308))
    found = score_answer('{"name": "pay", "arguments": {"amount": 1e308}}', huge)
    assert found.values["exact_match"] == 1.0
    with pytest.raises(ValueError, match="not finite"):
        mean_of([float("inf"), 1.0], Resampling())


@pytest.mark.parametrize(
    "text",
    [
        '[{"name": "pay", "arguments": {"amount": 5.0, "who": "Ann"}}]',
        '<tool_call>\n{"name": "pay", "arguments": {"amount": 5.0, "who": "Ann"}}\n</tool_call>',
        "[pay(amount=5.0, who='Ann')]",
        'Thought: I pay.\nAction: pay\nAction Input: {"amount": 5.0, "who": "Ann"}',
        '<|python_tag|>{"name": "pay", "parameters": {"amount": 5.0, "who": "Ann"}}',
    ],
    ids=["json_list", "tool_call", "pythonic", "react", "llama"],
)
def test_calls_in_five_dialects(text):
    got = score_answer(text, FIVE)
    values = (got.values["exact_match"], got.values["parameter_accuracy"])
    assert (*values, got.error) == (1.0, 1.0, "")


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (row(ToolCall.of("pay", amount=5.0), gold="[{]"), "bad_gold"),
        (row(ToolCall.of("pay", amount=5.0), gold='[{"pay": {"amount": 5.0}}]'), "impossible_gold"),
        (
            row(ToolCall.of("pay", amount=5.0), gold='[{"fly": {"to": ["Rome"]}}]'),
            "impossible_gold",
        ),
        (row(ToolCall.of("pay", who="Ann")), "gold_breaks_schema"),  # amount is required
        (row(ToolCall.of("pay", amount=5.0, zz=1)), "gold_breaks_schema"),  # there is no zz
        (row(ToolCall.of("pay", amount="five")), "gold_breaks_schema"),
        (row(ToolCall.of("fly", to="Rome")), "gold_breaks_schema"),
        (row(ToolCall("pay", "[5]")), "bad_gold"),
    ],
)
def test_gold_that_breaks_its_own_schema_is_counted(made, reason):
    assert suites.gold_fault(made) == reason
    suite = suites.Suite()
    suite.add("test_seen", [FIVE, made])
    assert (suite.rows, suite.rejected) == ([FIVE], {reason: 1})
    with pytest.raises(ConfigError, match=rf"test_seen has no row to ask \(left out: .*{reason}"):
        suites.Suite().add("test_seen", [made])


@pytest.mark.skipif(not bfcl.installed(), reason="needs the package bfcl-eval")
def test_the_rows_of_bfcl_that_nothing_can_pass_are_counted():
    rows = [bfcl.read(raw) for _, raw in bfcl.bfcl_rows(["live_simple", "simple_python"])]
    lost = [r.source_id for r in rows if suites.gold_fault(r)]
    assert lost == ["live_simple_106-63-0", "live_simple_112-68-0"]


def test_a_run_without_a_seed_of_its_own_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="holds no evaluate/answers"):
        ab.load_side(str(tmp_path))
