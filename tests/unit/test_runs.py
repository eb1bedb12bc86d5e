"""The run folder: skip, resume, damage, one process at a time, and rows that must add up."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from raytune_agents.config import Config, ConfigError
from raytune_agents.infra import provenance
from raytune_agents.infra.provenance import FileMark
from raytune_agents.records import Message, Trajectory, finish, to_table
from raytune_agents.runs import MANIFEST, STARTED, Counts, Manifest, RowsLost, Run, Shards, Step
from raytune_agents.storage import read_json, read_rows, write_json, write_rows


def row(text: str, **labels: str) -> Trajectory:
    return finish(Trajectory((Message("user", text),), **labels))


def made(run: Run, config: dict, text: str = "a", **outside: list[Path]) -> Step:
    step = run.step("read", config, **outside)
    step.begin()
    write_rows(step.folder / "rows-00000.parquet", [row(text)])
    step.finish(Counts(rows_in=1, rows_out=1), pools={"positive": 1})
    return step


def test_the_time_in_which_nobody_worked_is_no_cost(tmp_path: Path) -> None:
    step = Run.of(Config(runs_dir=str(tmp_path))).step("read", {})
    step.begin()
    write_rows(step.folder / "rows-00000.parquet", [row("a")])
    yesterday = time.time() - 86_400
    write_json(step.folder / STARTED, {"key": step.key, "started": yesterday - 60})
    for file in step.folder.iterdir():
        os.utime(file, (yesterday, yesterday))
    step.begin()  # killed after a minute, gone on a day later
    assert 60 <= step.finish(Counts(rows_in=1, rows_out=1)).seconds < 70
    assert step.finish(Counts(rows_in=1, rows_out=1), seconds=5.0).seconds == 5.0


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.of(Config(runs_dir=str(tmp_path)))


def test_a_step_is_done_until_its_section_or_an_input_changes(run: Run) -> None:
    assert made(run, {"x": 1}).done
    assert run.step("read", {"x": 1}).done
    assert not run.step("read", {"x": 2}).done
    before = run.step("label", {}, ["read"]).key
    assert run.step("label", {}, ["read"]).key == before
    made(run, {"x": 1}, "b")
    assert run.step("label", {}, ["read"]).key != before
    with pytest.raises(FileNotFoundError, match="raytune-agents run --steps mix"):
        run.step("train", {}, ["mix"])


def test_a_file_outside_the_run_that_changes_makes_the_step_undone(run: Run, tmp_path) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text("{}\n")
    assert made(run, {}, content=[source]).done
    os.utime(source, ns=(1, 1))  # copied or touched: the same content
    assert run.step("read", {}, content=[source]).done
    source.write_text("[]\n")  # as long as before
    assert not run.step("read", {}, content=[source]).done
    source.write_text("{}\n")
    assert made(run, {}, content=[source]).done
    at = source.stat()
    source.write_text("[]\n")  # and of the same time: unpacked, or copied with its dates
    os.utime(source, ns=(at.st_atime_ns, at.st_mtime_ns))
    assert not run.step("read", {}, content=[source]).done
    source.unlink()
    assert not run.step("read", {}, content=[source]).done


def test_a_large_file_is_known_by_its_bytes_and_read_once(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(provenance, "LARGE_BYTES", 4)
    read: list[Path] = []
    own = provenance.sha256
    monkeypatch.setattr(provenance, "sha256", lambda path: read.append(path) or own(path))
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights1")
    first, second = FileMark.of(path), FileMark.of(path)
    assert (first, len(read)) == (second, 1)
    os.utime(path, ns=(1, 1))
    assert FileMark.of(path).content == first.content
    path.write_bytes(b"weights2")
    os.utime(path, ns=(1, 1))
    assert FileMark.of(path, first).content != first.content


def test_a_killed_step_goes_on_and_another_one_is_cleared(run: Run) -> None:
    step = run.step("generate", {"x": 1})
    step.begin()
    shards = Shards(step.folder / "tflan")
    shards.commit(1, to_table([row("a")]))
    half = shards.folder / "rows-00002.parquet.99.tmp"
    half.write_bytes(b"half")
    step.begin()  # the same key: what was committed stays, a half-written file is no shard
    assert shards.missing(3) == [0, 2]
    assert not half.exists()
    assert [r.query for r in read_rows(shards.folder)] == ["a"]
    half.write_bytes(b"half")  # of a worker of this very step, done again by another one
    step.finish(Counts())
    assert not half.exists()
    (step.folder / MANIFEST).unlink()
    (step.folder / STARTED).write_text("{")  # a broken disk: begun anew
    step.begin()
    assert shards.missing(3) == [0, 1, 2]
    run.step("generate", {"x": 2}).begin()
    assert shards.missing(3) == [0, 1, 2]


@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_a_finished_step_whose_files_are_not_whole_is_done_again(run: Run, harm: str) -> None:
    path = made(run, {}).folder / "rows-00000.parquet"
    data = bytearray(path.read_bytes())
    if harm == "flip":
        data[len(data) // 2] ^= 255
    path.write_bytes(data if harm == "flip" else data[:-9])
    if harm == "remove":
        path.unlink()
    assert not run.step("read", {}).done


@pytest.mark.parametrize("text", ["", "[]", "{", "{}", "null", '{"key": 1}', "\udcff", "[" * 9999])
def test_an_unreadable_manifest_means_not_done(run: Run, text: str, caplog) -> None:
    folder = made(run, {}).folder
    (folder / MANIFEST).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert not run.step("read", {}).done
    assert "counts as not done" in caplog.text
    with pytest.raises(FileNotFoundError, match="needs step read first"):
        run.step("label", {}, ["read"])


def test_the_manifest_has_the_config_by_name_and_the_notes(run: Run) -> None:
    manifest = made(run, {"read": Config().read}).manifest
    assert manifest.config["read"]["sources"][0]["path"] == "bfcl"
    assert manifest.notes == {"pools": {"positive": 1}}
    assert manifest.rows == Counts(1, 1)
    assert read_json(run.folder / "read" / MANIFEST)["rows"]["in"] == 1
    assert Manifest.load(run.folder / "mix") is None


def test_options_that_change_no_output_leave_a_step_done(run: Run) -> None:
    config = Config()
    more = {"actors": 2, "timeout_s": 9.0, "retries": 7, "gpu_memory_utilization": 0.5}
    patient = config.engine.model_copy(update=more)
    workers = config.train.model_copy(update={"num_workers": 4, "sharding": "ddp"})
    assert made(run, {"engine": config.engine, "train": config.train}).done
    assert run.step("read", {"engine": patient, "train": workers}).done
    longer = config.engine.model_copy(update={"max_model_len": 9})
    split = config.train.model_copy(update={"num_workers": 4, "sharding": "fsdp"})
    assert not run.step("read", {"engine": longer, "train": config.train}).done
    assert not run.step("read", {"engine": config.engine, "train": split}).done


def test_one_process_at_a_time_has_a_run(run: Run, tmp_path: Path) -> None:
    code = (
        "from raytune_agents.config import load_config\nfrom raytune_agents.runs import Run\n"
        f"Run.of(load_config(None, ['runs_dir={tmp_path}', 'seed=5']))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"in use by pid {os.getpid()} on host {socket.gethostname()}" in other.stderr
    assert json.loads((run.folder / "config.json").read_text())["seed"] == Config().seed
    with pytest.raises(ConfigError, match="is in use by pid"):
        Run.of(Config(runs_dir=str(tmp_path)))
    run.close()
    Run.of(Config(runs_dir=str(tmp_path))).close()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", "/proc/x"):
        with pytest.raises(ConfigError, match=r"runs_dir='.*cannot be written"):
            Run.of(Config(runs_dir=str(place)))


def test_rows_must_add_up() -> None:
    counts = Counts(5, 2, Counter(a=1), Counter(b=2))
    assert counts.settled("x").failed == {"b": 2}
    assert counts.line() == "in 5 = out 2 + rejected 1 + failed 2"
    counts.rows_out = 3
    with pytest.raises(RowsLost, match="-1 unaccounted"):
        counts.settled("x")


def test_a_table_that_a_step_did_not_write_makes_it_undone(run: Run) -> None:
    step = made(run, {})
    (step.folder / "notes.txt").write_text("mine")
    assert run.step("read", {}).done
    write_rows(step.folder / "rows-00009.parquet", [row("another")])
    assert not run.step("read", {}).done


def test_a_step_folder_on_another_disk_is_cleared_there_and_no_folder_of_others(
    run: Run, tmp_path: Path
) -> None:
    other, mine = tmp_path / "disk", tmp_path / "mine"
    for folder in (other, mine):
        folder.mkdir()
        write_rows(folder / "rows-00000.parquet", [row("old")])
    (other / STARTED).write_text('{"key": "another"}')
    (run.folder / "read").symlink_to(other)
    run.step("read", {}).begin()
    assert [p.name for p in other.iterdir()] == [STARTED]
    (run.folder / "label").symlink_to(mine)
    with pytest.raises(ConfigError, match="remove it by hand"):
        run.step("label", {}).begin()
    assert len(read_rows(mine)) == 1


@pytest.mark.parametrize("more", ["", ', "started": null', ', "started": 1, "idle": "x"'])
def test_a_damaged_start_begins_anew(run: Run, more: str) -> None:
    step = run.step("read", {})
    step.folder.mkdir()
    (step.folder / STARTED).write_text(f'{{"key": "{step.key}"{more}}}')
    (step.folder / "rows-00000.parquet").write_bytes(b"of whom?")
    step.begin()
    assert [p.name for p in step.folder.iterdir()] == [STARTED]


def test_a_shard_that_is_not_whole_is_made_again(tmp_path: Path, caplog) -> None:
    shards = Shards(tmp_path)
    for number in range(3):
        shards.commit(number, to_table([row("a" * 100)]))
    assert shards.missing(4) == [3]
    whole = shards.path(1).read_bytes()
    shards.path(1).write_bytes(whole[:-20])
    shards.path(2).write_bytes(bytes(len(whole)))
    assert shards.missing(3) == [1, 2]
    assert "made again" in caplog.text
