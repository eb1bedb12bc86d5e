"""NESTFUL and ComplexFuncBench as nestful-wrapper 0.1.7 keeps them: rows of its own files, the
answers cut; then (slow) all of its data, where it is installed apart."""

from __future__ import annotations

import json
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from raytune_agents import readers
from raytune_agents.config import SourceConfig
from raytune_agents.evaluate.suites import gold_fault
from raytune_agents.readers.nested import turns_of_steps
from raytune_agents.readers.nestful_package import SYSTEM
from raytune_agents.records import RecordError

TIP = {
    "input": "Calculate the distance between two cities, then a 20% tip on it.",
    "output": [
        {"name": "calculate_distance", "arguments": {"origin": "Rome"}, "label": "var1"},
        {"name": "calculate_tip", "arguments": {"bill_total": "$var1.distance$",
                                                "tip_percentage": 20}, "label": "var2"},
        {"name": "var_result", "arguments": {"tip": "$var2$"}},
    ],
}
TIP_TOOLS = [
    {"name": "calculate_distance", "description": "Distance.", "query_parameters": {
        "origin": {"required": True, "description": "A city"}},
     "output_parameters": {"distance": {"type": "number"}}},
    {"name": "calculate_tip", "description": "Tip.", "query_parameters": {
        "bill_total": {"type": "number", "required": True, "enum": [], "default": None},
        "tip_percentage": {"type": "number", "required": True}}},
]
FLIGHT = {  # two airports, their fares, then a flight on a day that only the fares name
    "input": " I'm traveling from Philadelphia to Brussels; which day is the cheapest?",
    "output": [
        {"name": "Search_Flight_Location", "arguments": {"query": "Philadelphia"},
         "label": "var1", "errors": [], "response": [{"id": "PHL.CITY", "type": "CITY"}]},
        {"name": "Search_Flight_Location", "arguments": {"query": "Brussels"},
         "label": "var2", "errors": [], "response": [{"id": "BRU.CITY", "type": "CITY"}]},
        {"name": "Get_Min_Price", "arguments": {"fromId": "$var1.id$", "toId": "$var2.id$"},
         "label": "var3", "errors": [], "response": [{"departureDate": "2024-12-03"}]},
        {"name": "Search_Flights", "arguments": {"fromId": "$var1.id$", "toId": "$var2.id$",
                                                 "departDate": "2024-12-03"},
         "label": "var4", "errors": [], "response": {"offers": []}},
    ],
    "var_result": {}, "errors": [], "num_successful_calls": 4,
}


def text(*names: str) -> dict[str, Any]:
    return {name: {"type": "string", "required": True} for name in names}


FLIGHT_TOOLS = [
    {"name": "Search_Flight_Location", "description": "Finds.", "query_parameters": text("query")},
    {"name": "Get_Min_Price", "description": "Fares.", "query_parameters": text("fromId", "toId")},
    {"name": "Search_Flights", "description": "Flights.",
     "query_parameters": text("fromId", "toId", "departDate")},
]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package as pip lays it out, with one row for each set."""
    about = tmp_path / "nestful_wrapper-0.1.7.dist-info"
    about.mkdir()
    told = "Metadata-Version: 2.4\nName: nestful-wrapper\nVersion: 0.1.7\n"
    (about / "METADATA").write_text(told)
    sets = {"executable/executable": (TIP, TIP_TOOLS),
            "non-executable/non-executable-glaive": (TIP, TIP_TOOLS),
            "non-executable/non-executable-sgd": (TIP, TIP_TOOLS),
            "complexfuncbench/complexfuncbench": (FLIGHT, FLIGHT_TOOLS)}
    for name, (row, tools) in sets.items():
        path = tmp_path / "data_v1" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(f"{path.name}-data.json").write_text(json.dumps([row]))
        path.with_name(f"{path.name}-spec.json").write_text(json.dumps(tools))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("package")
def test_all_calls_of_a_request_with_their_references() -> None:
    found = list(readers.read_source(SourceConfig(path="nestful")))
    assert [f.where for f in found] == [
        f"nestful/{s}:0" for s in ("executable", "non-executable-glaive", "non-executable-sgd")]
    [row] = found[0].rows
    assert [(m.role, m.content) for m in row.messages[:2]] == [
        ("system", SYSTEM), ("user", TIP["input"])]
    assert [(c.name, c.args, c.id) for c in row.calls] == [
        ("calculate_distance", {"origin": "Rome"}, "var1"),
        ("calculate_tip", {"bill_total": "$var1.distance$", "tip_percentage": 20}, "var2")]
    assert row.tools[0].description == "Distance. Gives: distance."
    assert row.tools[1].schema["properties"]["bill_total"] == {"type": "number"}
    # the reference fits no number: a gold of its own lets the answer be right all the same
    assert (found[0].format, found[0].unread, gold_fault(row)) == ("nestful", {}, "")


@pytest.mark.usefixtures("package")
def test_each_turn_of_a_run_is_a_row() -> None:
    found = list(readers.read_source(SourceConfig(path="complexfuncbench")))
    rows = [row for f in found for row in f.rows]
    shapes = ["".join("C" if m.tool_calls else m.role[0] for m in r.messages) for r in rows]
    assert shapes == ["uC", "uCttC", "uCttCtC"]
    assert [len(r.target.tool_calls) for r in rows if r.target] == [2, 1, 1]
    assert rows[1].calls[-1].args == {"fromId": "PHL.CITY", "toId": "BRU.CITY"}
    assert rows[2].messages[3].content == '[{"id": "BRU.CITY", "type": "CITY"}]'
    assert rows[2].messages[3].name == "Search_Flight_Location"
    assert [gold_fault(r) for r in rows] == ["", "", ""]
    assert len({r.source_id for r in rows}) == 3


def test_a_reference_to_nothing_makes_the_row_bad(package: Path) -> None:
    lost = json.loads(json.dumps(FLIGHT))
    lost["output"][2]["arguments"]["toId"] = "$var9.id$"
    (package / "data_v1/complexfuncbench/complexfuncbench-data.json").write_text(json.dumps([lost]))
    [found] = readers.read_source(SourceConfig(path="complexfuncbench"))
    assert found.error == "a reference to nothing: $var9.id$"
    with pytest.raises(RecordError, match="a reference to nothing"):
        turns_of_steps("", lost["output"])


def test_without_the_package_the_source_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if any(d.name == "nestful-wrapper" for d in metadata.distributions()):
        pytest.skip("nestful-wrapper is installed")
    with pytest.raises(readers.SourceError, match="pip install --no-deps nestful-wrapper"):
        list(readers.list_raw(SourceConfig(path="nestful")))
    monkeypatch.chdir(tmp_path)
    row = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    Path("nestful").mkdir()
    Path("nestful/rows.jsonl").write_text(json.dumps(row) + "\n")
    assert len(list(readers.read_source(SourceConfig(path="nestful")))) == 1


INSTALLED = Path(__file__).parents[2] / ".venvs/nestful"
COUNTS = {  # rows of each set, and of those whose own answer fits their tools
    "nestful": ({"executable": 85, "non-executable-glaive": 169, "non-executable-sgd": 46}, 287),
    "complexfuncbench": ({"complexfuncbench": 2537}, 2535),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTS)
def test_all_rows_of_the_package(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be right is the data's: calls without a value that their tool requires."""
    if not (INSTALLED / "data_v1").is_dir():
        pytest.skip("nestful-wrapper is not installed apart: make environments")
    monkeypatch.syspath_prepend(str(INSTALLED))
    counts, right = COUNTS[name]
    found = list(readers.read_source(SourceConfig(path=name)))
    rows = [row for f in found for row in f.rows]
    assert {f.error for f in found} == {""}
    assert {field for f in found for field in f.unread} == set()
    assert Counter(r.source.rpartition("/")[2] for r in rows) == counts
    assert sum(gold_fault(r) == "" for r in rows) == right
    assert len({r.id for r in rows}) == len(rows)
    called = {c.name for r in rows for c in r.calls} - {t.name for r in rows for t in r.tools}
    assert called == set()
