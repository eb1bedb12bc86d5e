"""The inside of the sandbox: run as a script, it locks itself in and then answers calls.

Standard library only, since nothing of ours is imported in there. It copies the code of the tools
into its work folder, puts every layer of `kernel`, `syscalls` and `audit` in place that the system
has, and loads the module only then. Requests are JSON objects, one per line on stdin: the first
sets the sandbox up and is answered by the layers that hold, {load} imports a file, {name,
arguments} calls a function of it. Answers are lines of `protocol` on file descriptor `fd`.
"""

from __future__ import annotations

import importlib.util
import inspect
import io
import json
import os
import platform
import sys
from types import ModuleType
from typing import Any

OWN = ("audit", "kernel", "protocol", "syscalls")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # which -I leaves out
import audit  # noqa: E402
import kernel  # noqa: E402
import protocol  # noqa: E402
import syscalls  # noqa: E402

del sys.path[0]
for own in OWN:  # a tool may have files of these names
    del sys.modules[own]


def copy_code(source: str, work: str) -> None:
    """The files of a folder into the work folder."""
    for folder, _, files in os.walk(source):
        into = os.path.join(work, os.path.relpath(folder, source))
        os.makedirs(into, exist_ok=True)
        for name in files:
            with open(os.path.join(folder, name), "rb") as original:
                content = original.read()
            with open(os.path.join(into, name), "wb") as made:
                made.write(content)


def lock(setup: dict[str, Any], lifeline: int, fd: int) -> list[str]:
    """Put every layer in place; the names of those that hold. Returns in another process."""
    work, readable, held = os.getcwd(), setup["readable"], ["limits", "audit"]
    kernel.limit(setup["memory_mib"], setup["cpu_s"])
    if sys.platform == "linux":
        bwrap = setup["bwrap"]
        apart = bwrap or kernel.unshare()
        kernel.fork_worker(lifeline, fd)
        held += ["bwrap"] * bwrap + ["netns", "pidns", "ipcns"] * apart
        shown = [*readable, *kernel.DEVICES, setup["code"]]
        tree = bwrap
        if apart and not bwrap:
            tree = kernel.private_root(setup["root"], shown, work, setup["disk_mib"])
        held += ["mountns"] * tree
    copy_code(setup["code"], work)
    if sys.platform == "linux":
        kernel.drop_capabilities()
        if kernel.landlock(readable, work):
            held.append("landlock")
        if kernel.seccomp(syscalls.filter_program(platform.machine(), os.getpid())):
            held.append("seccomp")
    weak = not audit.walled(held)
    if weak:
        audit.silence()
    sys.addaudithook(audit.hook(readable, work, kernel.DEVICES, weak))
    return held


def load_module(path: str) -> ModuleType:
    """Import a file of the work folder under the name `tools`; it may import what lies beside."""
    sys.path.insert(0, os.getcwd())
    spec = importlib.util.spec_from_file_location("tools", path)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    sys.modules["tools"] = module
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def run_coroutine(coroutine: Any) -> Any:
    """What an async function returns."""
    import asyncio  # slow to import, and most tools need none

    class Pipe(io.FileIO):
        send, recv = io.FileIO.write, io.FileIO.read

    class Loop(asyncio.SelectorEventLoop):
        _internal_fds: int
        _add_reader: Any
        _read_from_self: Any

        def _make_self_pipe(self) -> None:
            # What wakes it from another thread: a pair of sockets elsewhere, which nobody has here.
            ends = os.pipe()
            for end in ends:
                os.set_blocking(end, False)
            self._ssock, self._csock = Pipe(ends[0], "rb"), Pipe(ends[1], "wb")
            self._internal_fds += 1
            self._add_reader(ends[0], self._read_from_self)

    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(coroutine)


def call_function(module: ModuleType, name: str, arguments: dict[str, Any]) -> tuple[str, str]:
    """One call: ("value", JSON), ("ended", why as JSON) where the sandbox did not let it go on, or
    ("error", its exception). Never raises."""
    try:
        function = getattr(module, name, None)
        if not callable(function) or name.startswith("_"):
            return "error", protocol.dumps(f"no function {name!r}")
        value = function(**arguments)
        if inspect.iscoroutine(value):
            value = run_coroutine(value)
        return "value", protocol.result_json(value)
    except MemoryError:
        return "ended", protocol.dumps("memory")
    except PermissionError as error:  # of a layer; one that the tool itself raises has no number
        why = protocol.described(error)
        if isinstance(error, audit.Forbidden) or error.errno:
            return "ended", protocol.dumps(f"forbidden: {why.partition(': ')[2]}")
    except BaseException as error:
        why = protocol.described(error)
    return "error", protocol.dumps(why)


def serve_calls(fd: int) -> None:
    lifeline = os.dup(0)
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)  # a tool that reads finds the end
    requests = os.fdopen(lifeline, "rb")
    setup = json.loads(requests.readline())
    layers = lock(setup, lifeline, fd)
    answers = os.fdopen(fd, "wb")

    def answer(request: dict[str, Any], kind: str, text: str) -> None:
        answers.write(protocol.answer_line(request["id"], kind, text))
        answers.flush()

    answer(setup, "value", protocol.dumps(layers))
    module = ModuleType("tools")
    for line in requests:
        request = json.loads(line)
        if "load" not in request:
            answer(request, *call_function(module, request["name"], request["arguments"]))
            continue
        try:
            module = load_module(request["load"])
            answer(request, "value", "null")
        except BaseException as error:  # the user's code may raise anything, also SystemExit
            why = f"import: {protocol.described(error)}"[: protocol.LONGEST]
            answer(request, "ended", protocol.dumps(why))
    os._exit(0)


if __name__ == "__main__":
    serve_calls(int(sys.argv[1]))
