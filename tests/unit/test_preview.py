"""The commands that look before a run: init, analyse, schema, generate --preview."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from raytune_agents import agents, readers
from raytune_agents.agents.init import to_yaml, with_positives
from raytune_agents.cli.app import app
from raytune_agents.cli.prepare import good_rows
from raytune_agents.cli.shared_options import printed_errors
from raytune_agents.config import GenerateConfig, load_config
from raytune_agents.generate import sampling
from raytune_agents.inference.client import EngineDown
from raytune_agents.negatives import FAULTS
from raytune_agents.pipeline import first_run
from raytune_agents.split import split_rows

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
    assert "calc.yaml: 1 tool (add)" in said("init", "--tools", "calc.py")
    spec = agents.load_spec(here / "calc.yaml")
    assert (spec.name, spec.module) == ("calc", "calc.py")
    assert agents.load_spec(here / "calc.yaml").module_path == (here / "calc.py").resolve()
    (here / "sub").mkdir()
    said("init", "--tools", "calc.py", "--out", "sub/mine.yaml", "--name", "mine")
    assert agents.load_spec(here / "sub/mine.yaml").module == "../calc.py"


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
                 "requests           Please {wish}. (3), "):  # fmt: skip
        assert line in text
    known = json.loads(said("read", "--profile", "good.jsonl", "--json"))
    assert known["tools"] == {"add": 0.8333, "divide": 0.1667}
    assert known["arguments"]["divide"]["a"] == {"given": 1.0, "numbers": [4, 4, 4], "texts": {}}
    (here / "empty.jsonl").write_text("{}")
    said("read", "--profile", "empty.jsonl", code=2)


def test_init_takes_examples_and_a_profile_from_training_rows_alone(here) -> None:
    write_positives(here / "good.jsonl")
    text = said("init", "--tools", "calc.py", "--positives", "good.jsonl")
    assert "left out: 1 divide: unknown_tool" in text
    assert "left out: 1 add: type:a" in text
    spec, run = agents.load_spec(here / "calc.yaml"), load_config(here / "calc_run.yaml")
    assert run.generate.agents == ["calc.yaml"]
    rows = [
        r for raw in readers.list_raw(run.read.sources[0]) for r in readers.read_row(raw[1], "")
    ]
    train = {r.query for r in split_rows(rows, run.read.split, run.seed) if r.split == "train"}
    assert {e.request for e in spec.examples} == train & {text for text, _ in POSITIVES[:3]}
    assert spec.profile.rows == len(spec.examples) > 0
    (here / "bad.jsonl").write_text((here / "good.jsonl").read_text().splitlines()[3])
    said("init", "--tools", "calc.py", "--positives", "bad.jsonl", "--out", "b.yaml", code=2)
    assert not (here / "b.yaml").exists()


def test_the_files_of_each_fold_quote_no_row_that_it_asks(here) -> None:
    write_positives(here / "good.jsonl")
    text = said("init", "--tools", "calc.py", "--positives", "good.jsonl", "--folds", "3")
    assert "after all 3: raytune-agents compare runs/calc-0,runs/calc-1,runs/calc-2" in text
    rows, _ = good_rows("good.jsonl")
    asked = []
    for fold in range(3):
        spec = agents.load_spec(here / f"calc-{fold}.yaml")
        run = load_config(here / f"calc-{fold}_run.yaml")
        assert (run.name, run.generate.agents) == (f"calc-{fold}", [f"calc-{fold}.yaml"])
        found = split_rows(rows, run.read.split, run.seed)
        tested = {r.query for r in found if r.split == "test_seen"}
        assert tested
        assert not tested & {e.request for e in spec.examples}
        asked += tested
    assert sorted(asked) == sorted(r.query for r in rows)
    more = said("init", "--tools", "calc.py", "--positives", "good.jsonl", "--folds", "9", code=2)
    assert "--folds 9 needs as many good rows" in more


def test_a_profile_moves_the_shares_of_pools(here) -> None:
    write_positives(here / "good.jsonl")
    said("init", "--tools", "calc.py")
    rows, _ = good_rows("good.jsonl")
    spec, _ = with_positives(agents.load_spec(here / "calc.yaml"), rows)
    assert spec.profile.calls == {"1": 0.6667, "2": 0.3333}
    assert spec.profile.arguments["add"]["a"].numbers == [1, 2, 4]
    (here / "calc.yaml").write_text(to_yaml(spec))
    config = GenerateConfig(agents=["calc.yaml"], rows=40, pools={"tflan": 0.5, "parallel": 0.5})
    drawn = sampling.sample_rows(config, 1)
    kinds = Counter(sampling.pool_of(r) for r in drawn.rows)
    assert kinds + drawn.short == {"tflan": 23, "parallel": 17}  # half 20:20, half 2:1


def test_a_first_run_says_its_suites_and_what_they_can_show(here) -> None:
    shop = Path(__file__).parents[2] / "jobs/examples/handful"
    text = said("init", "--tools", str(shop / "bike_shop.py"), "--out", "my.yaml",
                "--positives", str(shop / "rows.jsonl"))  # fmt: skip
    for line in ("test_seen: 6 real rows, can show 57 points", "test_unseen: left out",
                 "synthetic: up to 120 verified rows of other values, can show 13 points",
                 "next: raytune-agents run my_run.yaml"):  # fmt: skip
        assert line in text
    run = load_config(here / "my_run.yaml")
    assert run.evaluate.splits == ["test_seen"]
    assert (run.generate.rows, run.generate.tools, run.mix.tokens) == (160, 3, 0)
    assert run.mix.weights == {"positive": 0.22, "synthetic": 0.78}  # 11 x 4 of 44 + 160
    no_call = {name: run.mix.of(arm).no_call for name, arm in run.train.arms.items()}
    assert no_call == {"sft": 0.45, "nat": 0.3}
    assert run.train.early_stopping_patience > 0
    assert "11 train, 3 val, 6 test_seen" in (here / "my_run.yaml").read_text()


def test_a_first_run_of_rows_alone_and_of_tools_alone(here) -> None:
    write_positives(here / "good.jsonl")
    said("init", "--positives", "good.jsonl")
    assert [t.name for t in agents.load_spec(here / "good.yaml").tools] == ["add"]
    said("init", "--tools", "calc.py")
    run = load_config(here / "calc_run.yaml")
    assert run.read.sources == []
    assert run.mix.weights == {"synthetic": 1.0}
    said("init", code=2)


ODD = ["*", "&a", "a, b", "a: b", "a #b", "it's", 'a"b', "a]b", "ü{}", "!x", "- a", "%a", "a\nb"]


@pytest.mark.parametrize("odd", ODD)
def test_a_first_run_names_files_of_any_name(here, odd) -> None:
    folder = here / odd
    folder.mkdir()
    write_positives(folder / f"{odd}.jsonl")
    words = ("--positives", f"{odd}/*.jsonl", "--out", f"{odd}/{odd}.yaml", "--model", f"my/{odd}")
    said("init", *words)
    run = load_config(folder / f"{odd}_run.yaml")
    assert run.read.sources[0].path == f"{odd}/*.jsonl"
    assert run.generate.agents == [f"{odd}/{odd}.yaml"]
    assert run.model.name == f"my/{odd}"


@pytest.mark.parametrize(
    "name", ["123", "null", "1.5", "true", "2026-01-01", "1e5", "0x1f", "no", "0o17"]
)
def test_a_name_that_yaml_takes_for_something_else_stays_a_name(here, name) -> None:
    said("init", "--tools", "calc.py", "--name", name, "--out", "x.yaml")
    assert load_config(here / "x_run.yaml").name == name
    assert agents.load_spec(here / "x.yaml").name == name


def test_a_name_that_no_spec_may_have_is_answered_with_one_that_may(here) -> None:
    text = said("init", "--tools", "calc.py", "--name", "my desk", code=2)
    assert "--name 'my desk' is no agent's name; write my_desk" in text


def test_what_init_cannot_finish_it_does_not_begin(here, monkeypatch) -> None:
    def broken(first, minutes=None):
        return "read: {sources: [*]}"

    with monkeypatch.context() as patch:
        patch.setattr(first_run, "run_yaml", broken)
        said("init", "--tools", "calc.py", "--world", code=2)
    assert [p.name for p in here.iterdir()] == ["calc.py"]
    (here / "calc_world.py").write_text("mine")
    said("init", "--tools", "calc.py", "--world", code=2)
    assert (here / "calc_world.py").read_text() == "mine"
    assert not (here / "calc.yaml").exists()


def test_a_large_catalogue_is_shown_in_parts(here) -> None:
    tools = [{"name": f"tool_{i}", "description": f"Does thing {i} of the many that there are.",
              "parameters": {"type": "object", "properties": {"x": {"type": "string"}}}}
             for i in range(500)]  # fmt: skip
    (here / "many.json").write_text(json.dumps(tools))
    turns = [{"role": "user", "content": "thing 3 of apple please"}, {"role": "assistant",
             "tool_calls": [{"id": "1", "type": "function", "function": {
                 "name": "tool_3", "arguments": '{"x": "apple"}'}}]}]  # fmt: skip
    row = json.dumps(
        {"messages": turns, "tools": [{"type": "function", "function": t} for t in tools]}
    )
    (here / "rows.jsonl").write_text("\n".join([row] * 3))
    said("init", "--tools", "many.json", "--positives", "rows.jsonl")
    run = load_config(here / "many_run.yaml")
    assert 10 < run.read.tools < 60
    assert run.generate.tools == run.read.tools
    assert run.model.max_length <= 1664


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
    for pool in GenerateConfig().pools:
        assert f" {pool} " in text
    for fault in FAULTS:
        assert f" negative.{fault} " in text
    assert text.count("checked") == 2 * len(GenerateConfig().pools)
    assert "<|im_start|>assistant" in text
    assert "Say this request in other words" in text
    assert sorted(p.name for p in here.iterdir()) == ["calc.py"]


def test_a_preview_says_why_a_pool_is_empty(here) -> None:
    (here / "calc.py").write_text('def noon() -> str:\n    """Get the time of noon."""\n')
    said("init", "--tools", "calc.py")
    text = " ".join(said("plan", "calc_run.yaml", "--preview", "1").split())
    assert "no rows of react: its calls are carried out: name a world in the spec" in text
    for pool in ("parallel: it needs two different", "gradual: two values", "reordered: arguments"):
        assert f"no rows of {pool}" in text


def test_a_preview_of_an_unknown_pool_names_the_nearest(here) -> None:
    said("plan", "--preview", "1", "generate.pools={reacts: 1}", code=2)


def test_an_engine_that_stays_down_is_a_message(capsys) -> None:
    with pytest.raises(typer.Exit) as stopped, printed_errors():
        raise EngineDown("3 of 9 rows are infra_failed")
    assert stopped.value.exit_code == 2
    assert capsys.readouterr().err == "3 of 9 rows are infra_failed\n"
