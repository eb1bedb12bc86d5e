"""kill -9 in the middle of generation: the same command ends with the same rows."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time

import pytest
from conftest import ROOT, TINY, cli, command, generated

from raytune_agents.storage import read_json


def texts(folder) -> dict[str, tuple]:
    """Id -> messages of every row; no id twice."""
    rows = generated(folder)
    assert len({r.id for r in rows}) == len(rows)
    return {r.id: r.messages for r in rows}


@pytest.mark.slow
def test_a_signal_to_the_whole_group_ends_the_run_at_once(tmp_path) -> None:
    """As `timeout` sends it: Ray's processes end too, and nobody waits for them."""
    driver = subprocess.Popen(
        command("run", str(TINY), f"runs_dir={tmp_path}"), cwd=ROOT, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)  # fmt: skip
    stop = time.monotonic() + 300
    while not (tmp_path / "tiny" / "generate").is_dir():
        assert driver.poll() is None
        assert time.monotonic() < stop
        time.sleep(0.05)
    time.sleep(5)
    os.killpg(driver.pid, signal.SIGTERM)
    _, errors = driver.communicate(timeout=45)
    assert driver.returncode == 143
    assert "the same command goes on from here" in errors
    assert "Traceback" not in errors


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_it_trains_ends_the_run_as_in_any_step(tmp_path, number, code) -> None:
    words = (str(TINY), f"runs_dir={tmp_path}", "generate.rows=0", "negatives.mined_tasks=0")
    steps = ("run", "--steps", "read,generate,label,mix,train", *words, "mix.tokens=20000")
    driver = subprocess.Popen(
        command(*steps), cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True)  # fmt: skip
    assert driver.stdout
    assert any("loss" in line for line in driver.stdout), "it never trained"
    os.kill(driver.pid, number)
    _, errors = driver.communicate(timeout=90)
    assert driver.returncode == code
    assert "the same command goes on from here" in errors
    assert "Traceback" not in errors


@pytest.mark.slow
def test_a_killed_generation_goes_on_and_makes_no_row_twice(tiny, tmp_path) -> None:
    words = (str(TINY), f"runs_dir={tmp_path}")
    assert cli("run", "--steps", "read", *words).returncode == 0
    driver = subprocess.Popen(
        command("run", "--steps", "generate", *words), cwd=ROOT,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True)  # fmt: skip
    shards = tmp_path / "tiny" / "generate" / "synthetic"
    stop = time.monotonic() + 300
    while not list(shards.glob("rows-*.parquet")):
        assert driver.poll() is None, "generation ended before it could be killed"
        assert time.monotonic() < stop
        time.sleep(0.05)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    assert not (tmp_path / "tiny" / "generate" / "manifest.json").exists()
    first = {f.name: f.stat().st_mtime_ns for f in shards.glob("rows-*.parquet")}
    done = cli("run", "--steps", "generate", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {n: (shards / n).stat().st_mtime_ns for n in first} == first, (
        "a finished shard was redone"
    )
    ids = [r.id for r in generated(tmp_path / "tiny")]
    assert len(ids) == len(set(ids)) == read_json(
        tmp_path / "tiny" / "generate" / "manifest.json")["rows"]["out"]  # fmt: skip
    assert texts(tmp_path / "tiny") == texts(tiny[0])


@pytest.mark.slow
def test_ten_kills_at_random_moments_change_nothing(tmp_path) -> None:
    """The driver and all its workers die ten times anywhere from start-up to the last shard; the
    rows and their text are those of an undisturbed run."""
    plain, killed = (
        (str(TINY), f"runs_dir={tmp_path / name}", "generate.shard_rows=1", "generate.rows=12")
        for name in ("plain", "killed")
    )
    for words in (plain, killed):
        assert cli("run", "--steps", "read", *words).returncode == 0
    begun = time.monotonic()
    done = cli("run", "--steps", "generate", *plain)
    took = time.monotonic() - begun
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "killed" / "tiny" / "generate"
    rng, shards = random.Random(4), []
    moments = [took * (k + rng.random()) / 10 for k in range(10)]
    rng.shuffle(moments)
    for attempt in range(20):
        driver = subprocess.Popen(
            command("run", "--steps", "generate", *killed), cwd=ROOT, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
        try:
            assert driver.wait(moments[attempt % 10]) == 0  # it was faster than the kill
            (folder / "manifest.json").unlink()
            for shard in (folder / "mined").glob("*.parquet"):
                shard.unlink()  # there is something left to do for the next one
        except subprocess.TimeoutExpired:
            os.killpg(driver.pid, signal.SIGKILL)
            driver.wait()
            shards.append(len(list(folder.glob("*/rows-*.parquet"))))
        if len(shards) == 10:
            break
    assert len(shards) == 10
    assert len(set(shards)) > 2, "kills before, between and after shards"
    done = cli("run", "--steps", "generate", *killed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert texts(tmp_path / "killed" / "tiny") == texts(tmp_path / "plain" / "tiny")
