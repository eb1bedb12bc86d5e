"""jobs/examples: every config passes the checks before a run, every `init` of a README writes a
config that does, the world's tasks reach their goals."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from raytune_agents import agents, readers
from raytune_agents.agents.worlds import completed
from raytune_agents.cli.app import app
from raytune_agents.config import SourceConfig, load_config
from raytune_agents.generate.world_runs import react
from raytune_agents.pipeline.run import preflight

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "jobs" / "examples"
CONFIGS = [p for p in sorted(EXAMPLES.rglob("*.yaml")) if "model" in yaml.safe_load(p.read_text())]
FOLDERS = sorted(p for p in EXAMPLES.iterdir() if p.is_dir())
# example -> tools, rows that it reads, and those of them that are left out
FIRST_RUNS = {
    "handful": (3, 20, 0),
    "support_bot": (4, 20, 0),
    "openapi": (10, 8, 0),
    "mcp": (6, 0, 0),
    "traces": (3, 12, 2),
}


def commands(page: Path) -> list[str]:
    return re.findall(r"^raytune-agents .*", page.read_text(), re.M)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_a_config_passes_the_checks_before_a_run(path: Path, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    preflight(load_config(path))


@pytest.mark.parametrize("name", FIRST_RUNS)
def test_init_as_the_readme_says_writes_a_config_that_runs(name, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jobs").symlink_to(ROOT / "jobs")
    [line] = [c for c in commands(EXAMPLES / name / "README.md") if " init --" in c]
    words = shlex.split(line, comments=True)[1:]
    # minutes are not foreseen for a model that is not at hand: that takes seconds
    done = CliRunner().invoke(app, [*words, "--model", "Qwen/Qwen2.5-0.5B-Instruct"])
    assert done.exit_code == 0, done.output
    tools, rows, left_out = FIRST_RUNS[name]
    assert f": {tools} tools (" in done.output
    assert f"left out: {left_out} a failure" in done.output or not left_out
    assert "no rows for" not in done.output
    run = next(tmp_path.glob("*_run.yaml"))
    assert f"raytune-agents run {run.name}" in commands(EXAMPLES / name / "README.md")
    config = load_config(run, ["model.name=smollm2-135m"])
    assert f"{tools} tools, {rows} good rows" in run.read_text()
    assert bool(config.read.sources) == bool(rows)
    preflight(config)


def test_rows_of_the_service_list_no_tools_and_get_the_documents(tmp_path) -> None:
    found = list(readers.read_source(SourceConfig(path=str(EXAMPLES / "openapi/rows.jsonl"))))
    assert [len(row.rows) for row in found] == [1] * 8
    assert not any(row.rows[0].tools for row in found)


def test_traces_are_good_or_failures_by_their_score() -> None:
    source = SourceConfig(path=str(EXAMPLES / "traces/traces.jsonl"))
    rows = [row for found in readers.read_source(source) for row in found.rows]
    assert Counter(row.outcome for row in rows) == {1.0: 10, 0.0: 2}
    assert {t.name for r in rows for t in r.tools} == {
        "reset_password", "grant_access", "order_device"}  # fmt: skip


def test_tasks_of_the_library_reach_their_goals_in_its_world() -> None:
    rows = react(agents.load_spec(EXAMPLES / "library/library.yaml"), 24, 1)
    assert len(rows) == 24
    assert {c.name for r in rows for c in r.calls} == {"find_book", "lend_book", "return_book"}
    assert {len(r.calls) for r in rows} == {1, 2}
    assert all(map(completed, rows))
    assert not any('"error"' in m.content for r in rows for m in r.messages if m.role == "tool")


def test_the_index_names_every_example() -> None:
    links = re.findall(r"\]\(([^)]+)\)", (EXAMPLES / "README.md").read_text())
    assert {f"{folder.name}/README.md" for folder in FOLDERS} <= set(links)
    loose = {p.name for p in EXAMPLES.iterdir() if p.suffix in (".yaml", ".ipynb")}
    assert loose <= set(links)
