"""A run that hangs is ended with its stacks; one that goes on is left alone; a killed one leaves no
process behind."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from raytune_agents.infra.watchdog import STALLED, Watchdog, processes_below
from raytune_agents.progress import Display
from raytune_agents.runs import Counts, Step
from raytune_agents.storage import write_json

HANGS = """
import subprocess, sys, threading, time
from pathlib import Path
from raytune_agents.progress import Display
from raytune_agents.infra.watchdog import Watchdog

folder, kind = Path(sys.argv[1]), sys.argv[2]
display = Display()

def waits_for_ever():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (folder / "child").write_text(str(child.pid))
    threading.Event().wait()

with Watchdog(folder, display, 0 if kind == "never" else 1.0):
    if kind == "hangs":
        waits_for_ever()
    for k in range(9 if kind != "never" else 5):
        time.sleep(0.2)
        if kind == "moves":
            with display.step("read") as bar:
                bar.update(1)
        elif kind == "writes":
            (folder / "rows").write_text(str(k))
"""


def go(folder: Path, kind: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", HANGS, str(folder), kind]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def ends(pid: int, within_s: float) -> bool:
    """True once a killed process is gone: a signal sent is not a process ended."""
    stat = Path(f"/proc/{pid}/stat")
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            if ") Z " in stat.read_text():
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def test_a_hang_ends_with_its_stack_and_without_children(tmp_path) -> None:
    began = time.monotonic()
    done = go(tmp_path, "hangs")
    assert done.returncode == STALLED, done.stderr
    assert time.monotonic() - began < 30
    assert "resources.stall_timeout_s" in done.stderr
    told = (tmp_path / "stall.txt").read_text()
    assert "in waits_for_ever" in told
    child = int((tmp_path / "child").read_text())
    assert f"\n{child} sleeping " in told
    assert ends(child, within_s=20)


@pytest.mark.parametrize("kind", ["moves", "writes", "never"])
def test_a_run_that_goes_on_is_left_alone(kind, tmp_path) -> None:
    done = go(tmp_path, kind)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "stall.txt").exists()


def test_what_ray_has_no_room_for_is_said_once_and_is_no_progress(tmp_path) -> None:
    out = io.StringIO()
    display = Display(Console(file=out, width=200))
    with Watchdog(tmp_path, display, 0, lambda: "4 x (1 GPU)", quiet_s=0.05):
        moved = display.moved
        time.sleep(0.5)
    assert out.getvalue().count("waiting for resources: Ray has no room for 4 x (1 GPU)") == 1
    assert display.moved == moved
    with Watchdog(tmp_path, display, 0, lambda: "", quiet_s=0.05):  # busy, not waiting
        time.sleep(0.2)
    assert out.getvalue().count("\n") == 1


def test_processes_below_are_all_descendants() -> None:
    code = "import subprocess, sys; subprocess.run(['sleep', '9'])"
    parent = subprocess.Popen([sys.executable, "-c", code])
    stop = time.monotonic() + 20
    while not processes_below(parent.pid) and time.monotonic() < stop:
        time.sleep(0.05)
    (child,) = processes_below(parent.pid)
    subprocess.run(["kill", "-9", str(child)], check=True)
    parent.wait(20)
    assert processes_below(parent.pid) == []


def test_a_clock_that_is_set_back_gives_no_negative_time(tmp_path) -> None:
    step = Step("read", tmp_path / "read", {}, {}, 1)
    step.begin()
    write_json(step.folder / "started.json", {"key": step.key, "started": time.time() + 3600})
    assert step.finish(Counts()).seconds == 0
