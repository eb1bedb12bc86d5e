"""The fault matrix, `make faults`: each process of a run is killed at each step, the disk fills up.

After each fault: the status is not 0 or the run went on by itself; no process is left; the same
command ends well; rows in = out + rejected + failed; no id twice; no half file is read."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, TINY, cli, command

from raytune_agents.infra.watchdog import processes_below
from raytune_agents.pipeline.generate import SAMPLED
from raytune_agents.pipeline.keys import AFTER
from raytune_agents.storage import read_json, read_rows

pytestmark = pytest.mark.faults
ROWS = {"read": "read", "label": "label", "generate": "generate/*"}  # where a step's rows lie
VICTIMS = {  # who is killed, by what its command line says; the steps that have one
    "driver": (b"", tuple(AFTER)),
    "raylet": (b"raylet/raylet", ("read", "generate", "train", "tune")),
    "engine": (b"ray::Engine", ("generate", "evaluate")),
    "worker": (b"RayTrainWorker", ("train",)),
    "trial": (b"ray::ImplicitFunc", ("tune",)),
}
CASES = [(victim, step) for victim, (_, steps) in VICTIMS.items() for step in steps]


def steps_before(step: str) -> set[str]:
    """The steps that it needs, and those that they need."""
    return {name for needed in AFTER[step] for name in (needed, *steps_before(needed))}


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def words_of(pid: int) -> bytes:
    """The command line of a process, empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def find(driver: int, words: bytes) -> int | None:
    """A process below the driver whose command line has the words."""
    return next((pid for pid in processes_below(driver) if words in words_of(pid)), None)


def start(words: list[str]) -> subprocess.Popen:
    return subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def kill_in(driver: subprocess.Popen, words: bytes, folder: Path, delay: float) -> list[int]:
    """SIGKILL the victim a moment after the step began and it is there; all processes seen."""
    stop = time.monotonic() + 240
    while time.monotonic() < stop and driver.poll() is None:
        victim = driver.pid if not words else find(driver.pid, words)
        if (folder / "started.json").is_file() and victim:
            time.sleep(delay)
            seen = [driver.pid, *processes_below(driver.pid)]
            os.kill(victim, signal.SIGKILL)
            return seen
        time.sleep(0.05)
    pytest.fail(f"no victim: the driver ended with {driver.poll()}")


@pytest.mark.parametrize(("victim", "step"), CASES, ids=[f"{v}-{s}" for v, s in CASES])
def test_a_kill_at_any_step_loses_nothing(victim, step, tiny, tmp_path) -> None:
    for name in steps_before(step):
        shutil.copytree(tiny[0] / name, tmp_path / "tiny" / name)
    words = ("run", "--steps", step, str(TINY), f"runs_dir={tmp_path}")
    driver = start(command(*words))
    delay = random.Random(f"{victim}/{step}").uniform(0.0, 3.0)
    seen = kill_in(driver, VICTIMS[victim][0], tmp_path / "tiny" / step, delay)
    try:
        driver.communicate(timeout=1200)  # slow machines take minutes
    finally:
        if driver.poll() is None:
            os.killpg(driver.pid, signal.SIGKILL)
    if victim in ("driver", "raylet"):
        assert driver.returncode != 0
    stop = time.monotonic() + 120  # an agent of Ray killed as it starts looks for its GCS first
    while any(map(alive, seen)) and time.monotonic() < stop:
        time.sleep(0.2)
    assert not [words_of(pid) for pid in seen if alive(pid)], "orphans"
    done = cli(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    check(tmp_path / "tiny", tiny[0], step)


def check(run: Path, undisturbed: Path, step: str) -> None:
    """The step adds up, and has the rows of an undisturbed run once each."""
    rows = read_json(run / step / "manifest.json")["rows"]
    lost = sum(rows["rejected"].values()) + sum(rows["failed"].values())
    assert rows["in"] == rows["out"] + lost
    assert not list(run.rglob("*.tmp"))
    if step in ROWS:
        ids, wanted = (
            Counter(
                row.id
                for part in sorted(folder.glob(ROWS[step]))
                # What mining gave as it came; those that stay stand in `mined`.
                if part.name != SAMPLED
                for row in rows_of(part)
            )
            for folder in (run, undisturbed)
        )
        assert max(ids.values()) == 1
        assert ids == wanted
    if step == "train":
        assert {p.parent.name for p in run.glob("train/*/adapter")} == {"nat", "dpo"}


def rows_of(folder: Path) -> list:
    return read_rows(folder) if folder.is_dir() else []


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("step", ["read", "train"])
def test_a_full_disk_is_said_and_the_run_goes_on_with_more_room(
    step, tiny, small_disk, tmp_path
) -> None:
    for name in steps_before(step):
        shutil.copytree(tiny[0] / name, small_disk / "tiny" / name)
    used = shutil.disk_usage(small_disk).free
    (small_disk / "ballast").write_bytes(b"x" * max(0, used - 100_000))
    done = cli("run", "--steps", step, str(TINY), f"runs_dir={small_disk}")
    assert done.returncode != 0
    assert "No space left on device" in done.stdout + done.stderr
    assert not (small_disk / "tiny" / step / "manifest.json").exists()
    whole = tmp_path / "whole"
    shutil.copytree(small_disk / "tiny", whole / "tiny")
    done = cli("run", "--steps", step, str(TINY), f"runs_dir={whole}")
    assert done.returncode == 0, done.stdout + done.stderr
    check(whole / "tiny", tiny[0], step)
