"""Run a user's tool functions where they can do no harm: another process, locked in, with limits.

`run` gives one outcome a call. What a tool does wrong (raises, loops, eats memory, forks, opens a
socket, reads a secret) is a label that is counted, never an exception of ours. The module is copied
into an empty folder and sees an empty environment. What locks the process in is `child`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raytune_agents.records import ToolCall, Trajectory

CHILD = Path(__file__).with_name("child.py")


@dataclass(frozen=True)
class Limits:
    """What one batch of calls may use."""

    timeout_s: float = 10.0
    memory_mib: int = 512
    output_kib: int = 256


@dataclass(frozen=True)
class Outcome:
    """What one call gave. `error` is "", timeout, memory, killed:SIGNAL, output, not_run,
    forbidden: WHY, import: WHY, or the exception's name and text."""

    value: Any = None
    error: str = ""


@dataclass(frozen=True)
class Report:
    """The outcomes in the order of the calls, and the layers that held."""

    outcomes: tuple[Outcome, ...]
    layers: tuple[str, ...]


def _read(pipe: int, deadline: float, most: int) -> tuple[bytes, str]:
    """What the process says until it closes the pipe, is late, or says too much: (text, why)."""
    out = b""
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            return out, "timeout"
        piece = os.read(pipe, 65536)
        if not piece:
            return out, ""
        out += piece
        if len(out) > most:
            return out, "output"


def _talk(process: subprocess.Popen, pipe: int, task: bytes, limits: Limits) -> tuple[bytes, str]:
    """Send the task, read the results, make sure that the process and its children are gone."""
    deadline = time.monotonic() + limits.timeout_s
    try:
        stdin: Any = process.stdin  # a pipe
        stdin.write(task)
        stdin.close()
        said, why = _read(pipe, deadline, limits.output_kib << 10)
    except BrokenPipeError:
        said, why = b"", "killed"
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return said, why


def _ending(process: subprocess.Popen, why: str) -> str:
    """The label of the call that was running when the process ended."""
    code = process.wait()
    if why:
        return why
    if code == -signal.SIGXCPU:
        return "timeout"
    return f"killed:{signal.Signals(-code).name}" if code < 0 else f"killed:exit {code}"


def _outcome(line: bytes) -> Outcome:
    told = json.loads(line)
    return Outcome(told.get("value"), told.get("error", ""))


def run(module: str | Path, calls: Sequence[ToolCall], limits: Limits = Limits()) -> Report:
    """Run the calls one after another in one locked process that has loaded `module`.

    Calls share the module's state; two runs share nothing. Raises FileNotFoundError for no module.
    """
    source = Path(module)
    if not source.is_file():
        raise FileNotFoundError(f"tool module {str(module)!r} does not exist; give a Python file")
    with tempfile.TemporaryDirectory(prefix="tools-") as work:
        name = shutil.copy(source, Path(work, source.name))
        task = {"module": str(name), "memory_mib": limits.memory_mib,
                "cpu_s": max(1, int(limits.timeout_s) + 1),
                "calls": [{"name": c.name, "arguments": c.args} for c in calls]}  # fmt: skip
        pipe, theirs = os.pipe()
        env = {"PATH": "/usr/bin:/bin", "HOME": work, "LANG": "C.UTF-8", "TZ": "UTC"}
        process = subprocess.Popen(
            [sys.executable, "-I", "-B", str(CHILD), str(theirs)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=work,
            env=env, pass_fds=(theirs,), start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        try:
            said, why = _talk(process, pipe, json.dumps(task).encode(), limits)
        finally:
            os.close(pipe)
        label = _ending(process, why)
    lines = said.split(b"\n")[:-1]  # what follows the last line end was cut off
    layers = tuple(json.loads(lines[0])) if lines else ()
    outcomes = [_outcome(line) for line in lines[1 : len(calls) + 1]]
    if outcomes and outcomes[0].error.startswith("import: "):
        return Report((outcomes[0],) * len(calls), layers)
    if len(outcomes) < len(calls):
        outcomes.append(Outcome(error=label))
        outcomes += [Outcome(error="not_run")] * (len(calls) - len(outcomes))
    return Report(tuple(outcomes), layers)


def execution_fault(row: Trajectory, module: str | Path, limits: Limits = Limits()) -> str:
    """The execution check of APIGen (arXiv 2406.18518, section 3.2): why a row's calls do not run,
    or "". The reason starts with `execution:` and names the first call that fails."""
    try:
        report = run(module, row.calls, limits)
    except ValueError as error:  # arguments that are no JSON object
        return f"execution:arguments: {error}"
    for call, outcome in zip(row.calls, report.outcomes):
        if outcome.error:
            return f"execution:{call.name}: {outcome.error}"
    return ""
