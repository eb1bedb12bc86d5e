"""The commands that look before a run: init, schema, generate --preview."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from raytune_agents import agents
from raytune_agents.cli import app
from raytune_agents.generate import POOLS
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
    assert agents.module_path(here / "calc.yaml") == (here / "calc.py").resolve()
    (here / "sub").mkdir()
    said("init", "--tools", "calc.py", "--out", "sub/mine.yaml", "--name", "mine")
    assert agents.load(here / "sub/mine.yaml").module == "../calc.py"


def test_init_refuses_to_overwrite_and_untyped_functions(here) -> None:
    (here / "calc.yaml").write_text("mine")
    said("init", "--tools", "calc.py", code=2)
    assert (here / "calc.yaml").read_text() == "mine"
    (here / "bad.py").write_text("def f(a):\n    return a\n")
    said("init", "--tools", "bad.py", code=2)
    assert not (here / "bad.yaml").exists()


def test_the_schema_of_a_spec_is_printed(here) -> None:
    schema = json.loads(said("schema"))
    assert {"name", "tools", "module"} <= set(schema["properties"])


def test_a_preview_shows_every_pool_and_fault_and_writes_nothing(here) -> None:
    text = said("generate", "--preview", "2")
    for pool in POOLS:
        assert f" {pool}: 2 rows " in text
    for fault in FAULTS:
        assert f" negative.{fault} " in text
    assert text.count("checked") == 2 * len(POOLS)
    assert "<|im_start|>assistant" in text
    assert "Say this request in other words" in text
    assert sorted(p.name for p in here.iterdir()) == ["calc.py"]


def test_a_preview_of_an_unknown_pool_names_the_nearest(here) -> None:
    said("generate", "--preview", "1", "generate.pools={reacts: 1}", code=2)
