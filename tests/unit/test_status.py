"""`status` says where a run is from its files alone."""

from __future__ import annotations

import json
import os
from collections import Counter

import pytest
import typer
from finished import finish_step
from typer.testing import CliRunner

from raytune_agents.cli.app import app
from raytune_agents.cli.look import step_states as states
from raytune_agents.cli.shared_options import console, printed_errors
from raytune_agents.infra.run_lock import LOCK, locked
from raytune_agents.runs import MANIFEST, Counts
from raytune_agents.storage import newest_write, write_json


def written(path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))


def run_folder(tmp_path):
    run = tmp_path / "half"
    counts = Counts(9, 6, Counter(ungrounded=2), Counter(infra_failed=1))
    step = finish_step(run / "read", counts=counts)
    write_json(step.folder / MANIFEST, step.manifest.model_dump(mode="json") | {"seconds": 11.2})
    written(run / "train" / "started.json", {"started": 1_000.0})
    line = {"step": 3, "of": 17, "loss": 0.25, "tokens_per_s": 340.4}
    half = '{"step": 4, "of"'  # being written
    written(run / "train" / "sft" / "metrics.jsonl", json.dumps(line) + "\n" + half)
    return run


def test_states_of_a_run_that_is_under_way(tmp_path) -> None:
    run = run_folder(tmp_path)
    with locked(run / LOCK):
        found = {name: row for name, *row in states(run, 1_060.0)}
    assert found["read"] == ["done", "11", "in 9 = out 6 + rejected 2 + failed 1"]
    state, seconds, text = found["train"]
    assert (state, seconds) == ("running", "60")
    assert "sft: step 3/17, loss 0.250, 340 tokens/s" in text
    assert f"pid {os.getpid()} on host" in text
    assert found["tune"] == ["waiting", "", ""]


def test_a_killed_step_is_told_from_one_that_runs(tmp_path, monkeypatch) -> None:
    run = run_folder(tmp_path)
    written(run / "tune" / "started.json", {"started": 900.0})
    for file in run.rglob("*"):
        os.utime(file, (1_030.0, 1_030.0))
    with locked(run / LOCK):
        found = {name: row for name, *row in states(run, 1_060.0)}
    assert (found["train"][0], found["tune"][0]) == ("running", "stopped")  # of an older command
    found = {name: row for name, *row in states(run, 1_060.0)}  # its lock file stays
    state, seconds, text = found["train"]
    assert (state, seconds) == ("stopped", "30")
    assert "last write 30 s ago" in text
    assert text.endswith("the same command goes on")
    monkeypatch.setattr("raytune_agents.infra.run_lock.user_of", lambda run: None)
    assert {name: row for name, *row in states(run, 1_060.0)}["train"][0] == "started"


def test_files_that_go_while_it_looks_are_left_out(tmp_path, monkeypatch) -> None:
    written(tmp_path / "a" / "kept", "x")
    written(tmp_path / "a" / "b.tmp", "x")
    os.utime(tmp_path / "a" / "kept", (5.0, 5.0))
    walk = os.walk

    def emptied(folder):
        for found in walk(folder):
            (tmp_path / "a" / "b.tmp").unlink(missing_ok=True)
            yield found

    monkeypatch.setattr(os, "walk", emptied)
    assert newest_write(tmp_path) == 5.0
    assert newest_write(tmp_path / "none") == 0.0


def test_the_command_prints_every_step_and_refuses_no_folder(tmp_path) -> None:
    done = CliRunner().invoke(app, ["status", str(run_folder(tmp_path))])
    assert done.exit_code == 0
    assert all(step in done.stdout for step in ("read", "train", "report"))
    assert CliRunner().invoke(app, ["status", str(tmp_path / "none")]).exit_code == 2


@pytest.mark.parametrize(
    "work",
    [lambda f: f.read_text(), lambda f: f.mkdir(), lambda f: (f / "none" / "x").write_text("")],
    ids=["a folder is read", "it is there", "its folder is not"],
)
def test_a_path_that_the_system_refuses_is_named(tmp_path, work, capsys) -> None:
    with pytest.raises(typer.Exit) as ended, printed_errors():
        work(tmp_path)
    assert ended.value.exit_code == 2
    said = capsys.readouterr().err
    assert str(tmp_path) in said
    assert "write another path" in said


def test_a_lost_node_is_one_line_and_an_error_of_code_is_not(capsys) -> None:
    from ray import exceptions

    with pytest.raises(typer.Exit) as ended, printed_errors():
        raise exceptions.NodeDiedError("node 10.0.0.7 was preempted")
    assert ended.value.exit_code == 2
    said = capsys.readouterr().err
    assert "node 10.0.0.7 was preempted" in said
    assert "the same command goes on from here" in said
    task = exceptions.RayTaskError("label", "Traceback ...", KeyError("x"))
    with pytest.raises(exceptions.RayTaskError), printed_errors():
        raise task


@pytest.mark.parametrize("content", ['{"star', "[]", '{"started": "x"}', "[" * 100_000, "{}"])
def test_a_damaged_file_is_named(tmp_path, capsys, content) -> None:
    run = run_folder(tmp_path)
    written(run / "train" / "started.json", content)
    done = CliRunner().invoke(app, ["status", str(run)])
    assert done.exit_code == 2
    assert f"{run / 'train' / 'started.json'} is damaged" in done.output + capsys.readouterr().err


def test_a_line_without_figures_is_passed_over(tmp_path) -> None:
    run = run_folder(tmp_path)
    with (run / "train" / "sft" / "metrics.jsonl").open("a") as file:
        file.write('\n{"of": 17, "step": "x", "loss": null}\n')
    assert "step 3/17" in {name: row for name, *row in states(run, 1_060.0)}["train"][2]


def test_a_folders_name_is_no_markup(tmp_path) -> None:
    (tmp_path / "half[").mkdir()
    run = run_folder(tmp_path).rename(tmp_path / "half[" / "b]")
    with console.capture() as printed:
        done = CliRunner().invoke(app, ["status", str(run)])
    assert done.exit_code == 0, done.exception
    assert "half[/b]" in printed.get().replace("\n", "").replace(" ", "")


@pytest.mark.parametrize("command", ["status", "trials", "report"])
def test_a_name_that_is_too_long_is_one_line(command, capsys) -> None:
    done = CliRunner().invoke(app, [command, "n" * 300])
    assert done.exit_code == 2
    assert "File name too long" in done.output + capsys.readouterr().err


def test_a_finished_run_takes_no_options(tmp_path, capsys) -> None:
    run = str(run_folder(tmp_path))
    for more in ((), ("--json",)):
        done = CliRunner().invoke(app, ["report", run, "seed=3", *more])
        assert done.exit_code == 2
        assert "'seed=3': a finished run takes" in done.output + capsys.readouterr().err
