"""Our comparison against the official BFCL checker on every Python row of BFCL.

The official checker runs with the interpreter that BFCL_PYTHON names (`evaluate.bfcl_official`);
where there is none its verdicts still count: `OFFICIAL` is their digest over the same probes. A
change of the probes or of the BFCL reader needs a new digest: run once with BFCL_PYTHON, which
compares each verdict.
"""

import hashlib
import json
import os
import sys
from collections import Counter
from functools import lru_cache
from pathlib import Path

import pytest

from raytune_agents.calls import compare, judge, render_calls
from raytune_agents.evaluate.bfcl_official import (
    PYTHON_CATEGORIES,
    OfficialError,
    OfficialJob,
    decoded,
    official_scores,
    official_verdicts,
    raw_rows,
)
from raytune_agents.readers import SourceError, bfcl
from raytune_agents.records import ToolCall

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from bfcl_probes import official_label, probes

SEED = 1
OFFICIAL = "89126e20675d0659"  # verdicts and labels of bfcl-eval 2026.3.23
# rows whose own gold breaks its own rules: an empty list of allowed values, an argument that the
# schema lacks, a required argument that the answer lacks
IMPOSSIBLE = {"live_simple_106-63-0", "live_simple_112-68-0", "live_multiple_862-181-3",
              "live_multiple_964-207-0"}  # fmt: skip


@pytest.fixture(scope="module")
def python() -> str:
    chosen = os.environ.get("BFCL_PYTHON", sys.executable)
    try:
        official_verdicts([], chosen)
    except OfficialError as error:
        pytest.skip(f"{error}; set BFCL_PYTHON")
    return chosen


@lru_cache(maxsize=1)
def cases() -> list:
    """(category, raw row, trajectory, probe, calls) of every probe of every row."""
    try:
        rows = [(c, raw, bfcl.read(raw)) for c, raw in raw_rows()]
    except SourceError:
        pytest.skip("the package bfcl-eval, which holds BFCL's rows, is not installed")
    return [(c, raw, row, kind, calls) for c, raw, row in rows for kind, calls in probes(row, SEED)]


def digest(verdicts: list) -> str:
    return hashlib.sha256(json.dumps(verdicts).encode()).hexdigest()[:16]


def ours() -> list:
    verdicts = [compare(calls, json.loads(row.gold), row.tools) for _, _, row, _, calls in cases()]
    return [[v.ok, v.error] for v in verdicts]


def test_the_probes_reach_both_verdicts_of_every_kind():
    tally = Counter((kind, v[0]) for (*_, kind, _), v in zip(cases(), ours()))
    assert sum(tally.values()) >= 20_000
    for kind in ("value", "type", "wording", "missing", "order", "count", "gold"):
        assert tally[kind, True] > 0, kind
        assert tally[kind, False] > 0, kind
    labels = {v[1] for v in ours()}
    assert labels >= {"wrong_count", "wrong_func_name", "missing_required", "unexpected_param",
                      "missing_optional", "type_error:simple", "type_error:nested",
                      "cannot_find_match", "value_error:string", "value_error:list/tuple",
                      "value_error:dict_key", "value_error:dict_value",
                      "value_error:others"}  # fmt: skip


def test_our_verdicts_are_the_official_ones():
    assert digest(ours()) == OFFICIAL


def test_gold_passes_but_for_the_rows_that_nothing_can_pass():
    gold = [(row, calls) for *_, row, kind, calls in cases() if kind == "gold"]
    assert len(gold) == 2351
    failed = {row.source_id for row, calls in gold if not judge(render_calls(calls), row).ok}
    assert failed == IMPOSSIBLE


def test_parity_with_the_official_checker(python):
    jobs = [OfficialJob(c, raw["function"], raw["ground_truth"], decoded(calls))
            for c, raw, _, _, calls in cases()]  # fmt: skip
    official = official_verdicts(jobs, python)
    verdicts = [[ok, official_label(error)] for ok, error in official]
    different = [(case[1]["id"], case[3], a, b) for case, a, b in zip(cases(), verdicts, ours())
                 if a != b]  # fmt: skip
    assert different == []
    assert {c for c, *_ in cases()} == set(PYTHON_CATEGORIES)
    assert digest(verdicts) == OFFICIAL


def test_official_scores_of_a_run(python):
    rows = [bfcl.read(raw) for _, raw in raw_rows(["simple_python"])][:10]
    answers = {r.source_id: render_calls(r.target.tool_calls) for r in rows}
    answers[rows[0].source_id] = render_calls([ToolCall.of("nothing")])
    answers[rows[1].source_id] = "I do not know."
    answers |= {"irrelevance_0": "No tool fits.", "irrelevance_1": "[f(a=1)]"}
    got = official_scores(answers, ["simple_python", "irrelevance"], python)
    assert (got["simple_python"]["correct_count"], got["simple_python"]["total_count"]) == (8, 10)
    assert got["simple_python"]["wrong"][rows[0].source_id].endswith("wrong_func_name")
    assert got["irrelevance"]["accuracy"] == 0.5


def test_an_interpreter_without_the_checker_is_named():
    with pytest.raises(OfficialError, match="python='/no/such/python'"):
        official_verdicts([], "/no/such/python")
