"""Ends a run that hangs: after `stall_timeout_s` without progress the stacks of all threads and the
state of every process below this one go to RUN/stall.txt, those processes are killed, and the exit
status is 4. Before that, it says what Ray has no room for.

Progress is a bar that moved, a line that was said, or a file of the run folder that was written,
also by a worker. A step that does none of these for so long is taken for dead; the timeout has to
be longer than the longest silent part (an engine that loads, one batch of answers)."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from raytune_agents.progress import Display
from raytune_agents.storage import newest_write

log = logging.getLogger(__name__)
STALLED = 4  # exit status
LOOK_S, QUIET_S, AGAIN_S = 30.0, 60.0, 300.0  # between looks; silence that is explained; again


class Watchdog:
    """Watches while the block runs. `timeout_s` 0: never ends anything. `waiting` says for what
    resources the run waits, "" for none."""

    def __init__(
        self,
        folder: Path,
        display: Display,
        timeout_s: float,
        waiting: Callable[[], str] = str,
        quiet_s: float = QUIET_S,
    ):
        self.folder, self.display, self.timeout_s = folder, display, timeout_s
        self.waiting, self.quiet_s, self.explained = waiting, quiet_s, -AGAIN_S
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.watch, name="watchdog", daemon=True)

    def __enter__(self) -> None:
        self.display.alive()
        self.thread.start()

    def __exit__(self, *error: Any) -> None:
        self.stopped.set()

    def watch(self) -> None:
        while not self.stopped.wait(min(LOOK_S, self.quiet_s, self.timeout_s / 4 or LOOK_S)):
            silent = time.monotonic() - self.display.moved
            # Both must be silent: a worker's files move while the driver waits for it.
            if 0 < self.timeout_s < min(silent, time.time() - newest_write(self.folder)):
                end(self.folder, silent)
            elif silent > self.quiet_s and time.monotonic() - self.explained > AGAIN_S:
                self.explain(silent)

    def explain(self, silent: float) -> None:
        """Say for what resources the run waits; that is no progress."""
        try:
            demand = self.waiting()
        except Exception as error:  # whatever Ray's state answers, the watch goes on
            log.warning("Ray does not say what it waits for: %s", error)
            demand = ""
        if demand:
            moved, self.explained = self.display.moved, time.monotonic()
            text = f"waiting for resources: Ray has no room for {demand}, nothing in {silent:.0f} s"
            self.display.say(text, style="yellow")
            # What it says itself must not count as progress.
            self.display.moved = moved


def end(folder: Path, silent: float) -> None:
    """Write what hangs, end every process below this one, and this one."""
    # Before anything is killed: children of a dead process are init's.
    below = processes_below(os.getpid())
    path = folder / "stall.txt"
    with path.open("w", encoding="utf-8") as file:
        file.write(f"no progress for {silent:.0f} s; the driver's threads:\n\n")
        file.flush()
        faulthandler.dump_traceback(file, all_threads=True)
        file.write("\nprocesses below it (pid, state, waits in, command):\n")
        file.writelines(f"{describe(pid)}\n" for pid in below)
    text = f"no progress for {silent:.0f} s (resources.stall_timeout_s): stopped; see {path}"
    print(f"{text}; the same command goes on from here", file=sys.stderr, flush=True)
    for pid in below:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    # No clean-up: what hangs here would hang that too. A run goes on from its files.
    os._exit(STALLED)


def processes_below(pid: int) -> list[int]:
    """All descendants of a process; [] where it has ended."""
    try:
        return [process.pid for process in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def describe(pid: int) -> str:
    """pid, state, where in the kernel, command line; "-" for what cannot be told."""
    state = words = waits = "-"
    with suppress(psutil.Error, OSError):
        process = psutil.Process(pid)
        state = process.status()  # first: a zombie has a state but no command line
        words = " ".join(process.cmdline())
        waits = Path(f"/proc/{pid}/wchan").read_text() or waits
    return f"{pid} {state} {waits} {words[:120]}"
