"""Run a user's tool functions where they can do no harm: another process, locked in, with limits.

`run` gives one outcome for each call; `Sandbox` keeps the process for more. What a tool does wrong
(raises, loops, eats memory, forks, opens a socket, reads a secret, forges an answer) is a label
that is counted, never an exception of ours. What locks the process in is `child`; where bubblewrap
is installed, it is the first layer.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from raytune_agents.config import ConfigError
from raytune_agents.records import ToolCall, Trajectory
from raytune_agents.sandbox.audit import walled
from raytune_agents.sandbox.folders import CACHED, copy_tools, remove_folder, size_mib
from raytune_agents.sandbox.protocol import is_label, parse_answer

CHILD = Path(__file__).with_name("child.py")
MODE = "RAYTUNE_AGENTS_SANDBOX"  # environment variable: "weak" where the config's `sandbox` is
START_S = 20.0  # a busy machine may take long to start an interpreter
LOAD_S = 5.0  # for a module's imports, at least
GRACE_S = 0.5  # for a process to end by itself
POLL_S = 0.25  # between two looks at a disk that the kernel does not limit
READABLE = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime")


class SandboxError(ConfigError):
    """The sandbox itself cannot start here; no fault of a tool."""


@dataclass(frozen=True)
class Limits:
    """What the calls of one process may use."""

    timeout_s: float = 10.0  # of a batch in `run`, of each call in a `Sandbox`; imports apart
    memory_mib: int = 512
    output_kib: int = 256  # of one answer
    disk_mib: int = 64


@dataclass(frozen=True)
class Outcome:
    """What one call gave. `error` is "", timeout, memory, disk, killed:SIGNAL, output, not_run,
    forbidden: WHY, import: WHY, server: WHY, or the exception's name and text, after "exception "
    where it is named as one of these. `forbidden: protocol` = the process wrote something else than
    one answer to each request."""

    value: Any = None
    error: str = ""

    @property
    def broken(self) -> bool:
        """Whether it was the sandbox that ended the call, and not the tool's own exception."""
        return is_label(self.error)


RENDERING = Limits(timeout_s=10.0, memory_mib=1024)  # of a chat template
MOST_CHARACTERS = 100_000  # that one may write for a short question
PROTOCOL, NOT_RUN = Outcome(error="forbidden: protocol"), Outcome(error="not_run")


@dataclass(frozen=True)
class Report:
    """The outcomes in the order of the calls, and the layers that held."""

    outcomes: tuple[Outcome, ...]
    layers: tuple[str, ...]


@cache
def bubblewrap() -> str:
    """The path of a bwrap that works here, or ""."""
    path = shutil.which("bwrap")
    if not path:
        return ""
    options = ["--unshare-all", "--ro-bind", "/", "/", "--size", "65536", "--tmpfs", "/tmp"]
    test = [path, *options, "true"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        if subprocess.run(test, capture_output=True, timeout=START_S).returncode == 0:
            return path
    return ""


def _readable() -> list[str]:
    """What every tool may read: the interpreter, its packages, the C libraries."""
    return [p for p in (sys.prefix, sys.base_prefix, *READABLE) if p != "/" and os.path.exists(p)]


def _command(fd: int, work: Path, code: Path, disk_mib: int) -> list[str]:
    """The child's command line, in bubblewrap where it works."""
    child = [sys.executable, "-I", "-B", str(CHILD), str(fd)]
    if not bubblewrap():
        return child
    shown = [*_readable(), str(CHILD.parent), str(code)]
    binds = [word for path in shown for word in ("--ro-bind", path, path)]
    jail = ["--unshare-all", "--cap-drop", "ALL", *binds, "--dev", "/dev"]
    home = ["--size", str(disk_mib << 20), "--tmpfs", str(work), "--chdir", str(work)]
    return [bubblewrap(), *jail, *home, "--", *child]


class Sandbox:
    """A locked process that has loaded `module` and answers calls, one after another, until it is
    closed or dies. It has the module with the files of its folder that it imports, and those files
    or folders of `code`. Not thread-safe.

    Raises FileNotFoundError for no module, SandboxError where no kernel layer holds and `sandbox:
    weak` does not allow that."""

    def __init__(
        self,
        module: str | Path,
        limits: Limits = Limits(),
        code: Sequence[Path] = (),
        cpu_s: int = 0,
    ):
        source = Path(module)
        if not source.is_file():
            raise FileNotFoundError(f"tool module {str(source)!r} is no file; give a Python file")
        self.limits, self.alive = limits, True
        self.layers: tuple[str, ...] = ()
        self._process: Any = None  # a Popen
        self._folder = tempfile.TemporaryDirectory(prefix="tools-", ignore_cleanup_errors=True)
        try:
            self._start([source, *code], cpu_s)
            self._loaded = self._exchange({"load": source.name}, max(limits.timeout_s, LOAD_S))
        except BaseException:
            self.close()
            raise

    def _start(self, code: Sequence[Path], cpu_s: int) -> None:
        places = {name: Path(self._folder.name, name) for name in ("code", "work", "root")}
        for folder in places.values():
            folder.mkdir()
        try:
            for path in code:
                if path.is_dir():
                    self._must_fit(path, path)  # before it fills the disk twice
                copy_tools(path, places["code"])
        except OSError as error:  # shutil.Error is one
            raise SandboxError(
                f"{path} cannot be copied into the sandbox ({str(error)[:200]}); give plain "
                "files that can be read, and look whether the disk is full"
            ) from None
        self._must_fit(places["code"], code[-1])
        self._work = places["work"]
        env = {"PATH": "/usr/bin:/bin", "HOME": str(self._work), "LANG": "C.UTF-8", "TZ": "UTC"}
        self._answers, theirs = os.pipe()
        self._process = subprocess.Popen(
            _command(theirs, self._work, places["code"], self.limits.disk_mib),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._work,
            env=env,
            pass_fds=(theirs,),
            start_new_session=True,
        )
        os.close(theirs)
        os.set_blocking(self._requests, False)
        setup = {
            "readable": _readable(),
            "code": str(places["code"]),
            "root": str(places["root"]),
            "bwrap": bool(bubblewrap()),
            "memory_mib": self.limits.memory_mib,
            "disk_mib": self.limits.disk_mib,
            "cpu_s": cpu_s,
        }
        found = self._exchange(setup, START_S)
        if found.error:
            raise SandboxError(
                f"the sandbox does not start ({found.error}); run {sys.executable} {CHILD} by hand "
                f"to see why, and look whether {tempfile.gettempdir()} has room"
            )
        self.layers = tuple(found.value)
        if not walled(self.layers) and os.environ.get(MODE) != "weak":
            raise SandboxError(
                f"no kernel layer holds a tool in here, only {', '.join(self.layers)}: install "
                "bubblewrap, use Linux 5.13 or newer, or write sandbox: weak to trust the tools"
            )

    def _must_fit(self, folder: Path, named: Path) -> None:
        if (size := size_mib(folder, left_out=CACHED)) > self.limits.disk_mib:
            raise SandboxError(
                f"{named}: the code takes {size:.0f} MiB, the disk of the sandbox has "
                f"{self.limits.disk_mib}; put data elsewhere, or give a smaller folder"
            )

    @property
    def _requests(self) -> int:
        return self._process.stdin.fileno()

    def call(self, name: str, arguments: dict[str, Any], timeout_s: float | None = None) -> Outcome:
        """The outcome of one call of the module's function, within the limits' time or this one."""
        if self._loaded.error:  # every call says why it cannot be made; a death is said once
            loaded = self._loaded
            self._loaded = loaded if self.alive else NOT_RUN
            return loaded
        if not self.alive:
            return NOT_RUN
        seconds = self.limits.timeout_s if timeout_s is None else timeout_s
        return self._exchange({"name": name, "arguments": arguments}, seconds)

    def _exchange(self, request: dict[str, Any], seconds: float) -> Outcome:
        """One request and its answer; whatever is wrong with that ends the process."""
        ident = secrets.token_hex(8)
        line = json.dumps(request | {"id": ident}).encode() + b"\n"
        text, why = self._send_and_read(line, time.monotonic() + seconds)
        if why:
            code = self._stop(GRACE_S if why == "closed" else 0)
            return Outcome(error=_ending(code) if why == "closed" else why)
        answer, _, more = text.partition(b"\n")
        try:
            if more:
                raise ValueError("more than one line")
            return Outcome(*parse_answer(answer, ident))
        except ValueError:
            self._stop()
            return PROTOCOL

    def _send_and_read(self, line: bytes, deadline: float) -> tuple[bytes, str]:
        """Send the request and read until a line has ended: (text, why that did not come)."""
        poll, unsent, out = select.poll(), line, b""
        poll.register(self._answers, select.POLLIN)
        poll.register(self._requests, select.POLLOUT)
        watched = bool(self.layers) and "mountns" not in self.layers
        while (left := deadline - time.monotonic()) > 0:
            ready = dict(poll.poll(1000 * (min(left, POLL_S) if watched else left)))
            if self._requests in ready:
                try:
                    unsent = unsent[os.write(self._requests, unsent) :]
                except BrokenPipeError:
                    unsent = b""
                if not unsent:
                    poll.unregister(self._requests)
            if self._answers in ready:
                piece = os.read(self._answers, 65536)
                out += piece
                if not piece or b"\n" in piece:
                    return out, "" if piece else "closed"
                if len(out) > self.limits.output_kib << 10:
                    return out, "output"
            if watched and size_mib(self._work) > self.limits.disk_mib:
                return out, "disk"
        return out, "timeout"

    def _stop(self, wait_s: float = 0) -> int | None:
        """The process's exit code; None where it had to be killed, with all that came of it."""
        self.alive = False
        try:
            return self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            return None

    def close(self) -> bool:
        """End the process and remove its folder; whether it wrote nothing after its last answer."""
        clean = True
        if self._process and self._process.stdin:
            self._process.stdin.close()
            last = select.poll()
            last.register(self._answers, select.POLLIN)
            if self.alive and last.poll(1000 * GRACE_S):
                clean = not os.read(self._answers, 1)  # a closed pipe has nothing to read
            self._stop()
            os.close(self._answers)
            self._process = None
        with contextlib.suppress(RecursionError):  # of folders in folders
            self._folder.cleanup()
        if os.path.exists(self._folder.name):
            remove_folder(Path(self._folder.name))
        return clean

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _ending(code: int | None) -> str:
    """The label of the call that was running when the process closed its pipe."""
    if code is None:
        return PROTOCOL.error  # and went on without it
    number = code - 128 if code > 128 else -code  # as a shell, bwrap and our own keeper tell it
    if number == signal.SIGXCPU:
        return "timeout"
    known = number in set(signal.Signals)
    return f"killed:{signal.Signals(number).name}" if known else f"killed:exit {code}"


def run_calls(module: str | Path, calls: Sequence[ToolCall], limits: Limits = Limits()) -> Report:
    """Run the calls one after another in one locked process that has loaded `module`.

    Calls share the module's state; two runs share nothing. Raises ValueError for arguments that are
    no JSON object, and what `Sandbox` raises.
    """
    arguments = [call.args for call in calls]
    box = Sandbox(module, limits, cpu_s=int(limits.timeout_s + LOAD_S) + 1)
    try:
        deadline = time.monotonic() + limits.timeout_s
        outcomes = [
            box.call(call.name, args, deadline - time.monotonic())
            for call, args in zip(calls, arguments)
        ]
    finally:
        clean = box.close()
    if outcomes and not clean:
        outcomes[-1] = PROTOCOL
    return Report(tuple(outcomes), box.layers)


def set_mode(mode: str) -> None:
    """The config's `sandbox`, for this process and those that start from here on."""
    os.environ.pop(MODE, None)
    if mode == "weak":
        os.environ[MODE] = mode


def require_walls() -> None:
    """Raises SandboxError where `Sandbox` would, before anything expensive starts."""
    Sandbox(CHILD.with_name("protocol.py")).close()


def execution_fault(row: Trajectory, module: str | Path, limits: Limits = Limits()) -> str:
    """The execution check of APIGen (arXiv 2406.18518, section 3.2): why a row's calls do not run,
    or "". The reason starts with `execution:` and names the first call that fails."""
    try:
        for call in row.calls:
            call.args  # noqa: B018  raises where they are no JSON object
    except ValueError as error:
        return f"execution:arguments: {error}"
    for call, outcome in zip(row.calls, run_calls(module, row.calls, limits).outcomes):
        if outcome.error:
            return f"execution:{call.name}: {outcome.error}"
    return ""


def template_fault(template: str, messages: Sequence[Any], tools: Sequence[Any]) -> str:
    """What a chat template takes too much of for a short question: time, memory, characters; ""
    where it is like others, or cannot be tried here. What it raises is for others to say."""
    try:
        with Sandbox(CHILD.with_name("template.py"), RENDERING) as box:
            able = not box.call("characters", {"template": "", "messages": [], "tools": []}).error
            arguments = {"template": template, "messages": messages, "tools": tools}
            found = box.call("characters", arguments) if able else NOT_RUN
    except SandboxError:
        able = False
    if not able:
        return ""
    if found.broken:
        most = f"{RENDERING.timeout_s:.0f} s and {RENDERING.memory_mib} MiB"
        return f"more than {most} ({found.error})"
    return f"{found.value:,} characters" if (found.value or 0) > MOST_CHARACTERS else ""
