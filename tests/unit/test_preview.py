"""The commands that look before a run: init, analyse, schema, generate --preview."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import typer
from typer.testing import CliRunner

from raytune_agents import agents
from raytune_agents.cli.app import app
from raytune_agents.cli.arguments import said_errors
from raytune_agents.config import GenerateConfig
from raytune_agents.generate import POOLS, sampling
from raytune_agents.inference.engine import EngineDown
from raytune_agents.negatives import FAULTS

TOOLS = '''
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b
'''


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "calc.py").write_text(TOOLS)
    return tmp_path


def said(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == code, done.output
    return done.output


def test_init_writes_a_spec_that_runs_its_own_module(here) -> None:
    assert "calc.yaml: 1 tools (add)" in said("init", "--tools", "calc.py")
    spec = agents.load(here / "calc.yaml")
    assert (spec.name, spec.module) == ("calc", "calc.py")
    assert agents.load(here / "calc.yaml").module_path == (here / "calc.py").resolve()
    (here / "sub").mkdir()
    said("init", "--tools", "calc.py", "--out", "sub/mine.yaml", "--name", "mine")
    assert agents.load(here / "sub/mine.yaml").module == "../calc.py"


POSITIVES = [
    ("Please add 2 and 3.", [("add", {"a": 2, "b": 3})]),
    ("Please add 2 and 9.", [("add", {"a": 2, "b": 9})]),
    ("add 1 and 1, then 4 and 4", [("add", {"a": 1, "b": 1}), ("add", {"a": 4, "b": 4})]),
    ("Please divide 4 by 2.", [("divide", {"a": 4, "b": 2})]),
    ("Add one and 2.", [("add", {"a": "one", "b": 2})]),
]


def write_positives(path) -> None:
    tools = [{"type": "function", "function": {
        "name": "add", "description": "Adds two numbers.", "parameters": {
            "type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"]}}}]  # fmt: skip
    lines = []
    for text, calls in POSITIVES:
        made = [{"id": f"c{i}", "type": "function", "function": {
            "name": n, "arguments": json.dumps(a)}} for i, (n, a) in enumerate(calls)]  # fmt: skip
        turns = [{"role": "user", "content": text}, {"role": "assistant", "tool_calls": made}]
        lines.append(json.dumps({"messages": turns, "tools": tools}))
    path.write_text("\n".join(lines))


def test_analyse_prints_the_patterns_of_good_rows(here) -> None:
    write_positives(here / "good.jsonl")
    text = said("read", "--profile", "good.jsonl")
    for line in ("rows               5", "calls per turn     1 80%, 2 20%",
                 "dialogue           tflan 80%, parallel 20%", "messages           2",
                 "words of a request 4 to 8, median 5",
                 "phrasing           polite 60%, terse 20%, plain 20%",
                 "first words        please (3), add (2)"):  # fmt: skip
        assert line in text
    known = json.loads(said("read", "--profile", "good.jsonl", "--json"))
    assert known["tools"] == {"add": 0.8333, "divide": 0.1667}
    assert known["arguments"]["divide"]["a"] == {"given": 1.0, "numbers": [4, 4, 4], "texts": {}}
    (here / "empty.jsonl").write_text("{}")
    said("read", "--profile", "empty.jsonl", code=2)


def test_init_takes_examples_and_a_profile_from_positives(here) -> None:
    write_positives(here / "good.jsonl")
    text = said("init", "--tools", "calc.py", "--positives", "good.jsonl")
    assert "left out: 1 divide: unknown_tool" in text
    assert "left out: 1 add: type:a" in text
    spec = agents.load(here / "calc.yaml")
    assert [e.request for e in spec.examples] == [text for text, _ in POSITIVES[:3]]
    assert spec.profile.rows == 3
    assert spec.profile.calls == {"1": 0.6667, "2": 0.3333}
    assert spec.profile.arguments["add"]["a"].numbers == [1, 2, 4]
    section = GenerateConfig(agents=["calc.yaml"], rows=40, pools={"tflan": 0.5, "parallel": 0.5})
    drawn = sampling.draw(section, 1)
    kinds = Counter(sampling.pool_of(r) for r in drawn.rows)
    assert kinds + drawn.short == {"tflan": 23, "parallel": 17}  # half 20:20, half 2:1
    (here / "bad.jsonl").write_text((here / "good.jsonl").read_text().splitlines()[3])
    said("init", "--tools", "calc.py", "--positives", "bad.jsonl", "--out", "b.yaml", code=2)
    assert not (here / "b.yaml").exists()


def test_init_refuses_to_overwrite_and_untyped_functions(here) -> None:
    (here / "calc.yaml").write_text("mine")
    said("init", "--tools", "calc.py", code=2)
    assert (here / "calc.yaml").read_text() == "mine"
    (here / "bad.py").write_text("def f(a):\n    return a\n")
    said("init", "--tools", "bad.py", code=2)
    assert not (here / "bad.yaml").exists()


def test_the_schema_of_a_spec_is_printed(here) -> None:
    schema = json.loads(said("init", "--schema"))
    assert {"name", "tools", "module"} <= set(schema["properties"])


def test_a_preview_shows_every_pool_and_fault_and_writes_nothing(here) -> None:
    text = said("plan", "--preview", "2")
    for pool in POOLS:
        assert f" {pool}: 2 rows " in text
    for fault in FAULTS:
        assert f" negative.{fault} " in text
    assert text.count("checked") == 2 * len(POOLS)
    assert "<|im_start|>assistant" in text
    assert "Say this request in other words" in text
    assert sorted(p.name for p in here.iterdir()) == ["calc.py"]


def test_a_preview_of_an_unknown_pool_names_the_nearest(here) -> None:
    said("plan", "--preview", "1", "generate.pools={reacts: 1}", code=2)


def test_an_engine_that_stays_down_is_a_message(capsys) -> None:
    with pytest.raises(typer.Exit) as stopped, said_errors():
        raise EngineDown("3 of 9 rows are infra_failed")
    assert stopped.value.exit_code == 2
    assert capsys.readouterr().err == "3 of 9 rows are infra_failed\n"
