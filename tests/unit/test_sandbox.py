"""User tool code: what it may do, what it may not, and how that is named."""

import os
import socket
import sys
import time

import pytest

from raytune_agents.records import Message, ToolCall, Trajectory
from raytune_agents.sandbox import Limits, Outcome, execution_fault, run
from raytune_agents.sandbox.child import SYSCALLS, filter_program

TOOLS = """
import os, socket, subprocess, sys, threading, time, json, sqlite3, math
seen = []

def add(a: int, b: int) -> int: return a + b
def remember(x): seen.append(x); return list(seen)
def noisy(): print("noise"); sys.stderr.write("noise"); return 1
def wrong(): raise KeyError("gone")
def leave(): sys.exit(3)
def hard_exit(): os._exit(7)
def loop():
    while True: pass
def sleep(): time.sleep(60)
def eat(): return len(bytearray(10 << 30))
def fork(): return os.fork()
def shell(): return subprocess.run(["id"], capture_output=True).stdout.decode()
def system(): return os.system("id")
def env(): return dict(os.environ)
def parent_env(): return open(f"/proc/{os.getppid()}/environ").read()
def read(path): return open(path).read()[:20]
def write(path): open(path, "w").write("x"); return os.path.exists(path)
def connect(port): s = socket.socket(); s.settimeout(1); s.connect(("127.0.0.1", port)); return "in"
def raw(number):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    return [libc.syscall(number, 2, 1, 0), ctypes.get_errno()]
def raw_open(path):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    return [libc.open(path.encode(), 0), ctypes.get_errno()]
def kill_parent(): os.kill(os.getppid(), 9)
def raw_kill(number):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    return [libc.syscall(number, os.getppid(), os.getppid(), 0), ctypes.get_errno()]
def flood(): return "x" * (3 << 20)
def thread():
    out = []
    t = threading.Thread(target=lambda: out.append(math.pi)); t.start(); t.join()
    return out
def database(): return sqlite3.connect(":memory:").execute("select 1 + 1").fetchone()[0]
def unserialisable(): return {1, 2}.__iter__()
def folder(): return os.listdir(".")
def _secret(): return 1
"""


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    path = tmp_path_factory.mktemp("tools") / "mytools.py"
    path.write_text(TOOLS)
    (path.parent / ".env").write_text("KEY=secret")
    return path


LIMITS = Limits()


def one(tools, name: str, limits: Limits = LIMITS, **arguments) -> Outcome:
    (outcome,) = run(tools, [ToolCall.of(name, **arguments)], limits).outcomes
    return outcome


def test_calls_run_in_order_and_share_state(tools):
    calls = [
        ToolCall.of("add", a=2, b=3),
        ToolCall.of("remember", x=1),
        ToolCall.of("remember", x=2),
    ]
    report = run(tools, calls)
    assert [o.value for o in report.outcomes] == [5, [1], [1, 2]]
    assert [o.error for o in report.outcomes] == ["", "", ""]
    assert one(tools, "remember", x=9).value == [9], "two runs share nothing"


def test_errors_are_labels(tools):
    assert one(tools, "wrong").error == "KeyError: 'gone'"
    assert one(tools, "add", a=1).error.startswith("TypeError: add() missing")
    assert one(tools, "leave").error == "SystemExit: 3"
    assert one(tools, "hard_exit").error == "killed:exit 7"
    assert one(tools, "nothing").error == "no function 'nothing'"
    assert one(tools, "_secret").error == "no function '_secret'"
    assert one(tools, "noisy").value == 1
    assert "iterator" in one(tools, "unserialisable").value


def test_a_loop_is_stopped_and_the_rest_is_not_run(tools):
    start = time.monotonic()
    calls = [ToolCall.of("add", a=1, b=1), ToolCall.of("loop"), ToolCall.of("add", a=1, b=1)]
    report = run(tools, calls, Limits(timeout_s=1.0))
    assert [o.error for o in report.outcomes] == ["", "timeout", "not_run"]
    assert one(tools, "sleep", Limits(timeout_s=0.7)).error == "timeout"
    assert time.monotonic() - start < 6


def test_memory_and_output_are_capped(tools):
    assert one(tools, "eat").error == "memory"
    assert one(tools, "flood").error == "output"


@pytest.mark.parametrize("name", ["fork", "shell", "system", "parent_env", "kill_parent"])
def test_no_processes_and_no_look_at_the_parent(tools, name):
    assert one(tools, name).error.startswith("forbidden: ")


def test_no_secret_is_seen(tools, monkeypatch):
    monkeypatch.setenv("RAYTUNE_TEST_KEY", "secret")
    env = one(tools, "env").value
    assert set(env) <= {"PATH", "HOME", "LANG", "TZ", "LC_CTYPE"}
    for path in ["/etc/passwd", str(tools.parent / ".env"), "/proc/self/environ"]:
        assert one(tools, "read", path=path).error.startswith("forbidden: "), path
    assert one(tools, "folder").value == ["mytools.py"]


def test_files_only_in_the_work_folder(tools, tmp_path):
    assert one(tools, "write", path="here.txt").value is True
    assert one(tools, "write", path=str(tmp_path / "x")).error.startswith("forbidden: ")
    assert not (tmp_path / "x").exists()


def test_no_network(tools):
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert one(tools, "connect", port=server.getsockname()[1]).error.startswith("forbidden: ")


def test_honest_tools_work(tools):
    assert one(tools, "thread").value == [pytest.approx(3.14159, abs=1e-4)]
    assert one(tools, "database").value == 2


def test_the_kernel_refuses_what_python_is_bypassed_for(tools):
    """A tool that calls the C library past the audit hook."""
    layers = run(tools, []).layers
    if "seccomp" not in layers or "landlock" not in layers:
        pytest.skip(f"this kernel holds only {layers}")
    _, _, _, refused = SYSCALLS[os.uname().machine]
    assert one(tools, "raw", number=refused[0]).value == [-1, 1], "socket: EPERM"
    fork = {"x86_64": 57}.get(os.uname().machine)
    if fork:
        assert one(tools, "raw", number=fork).value == [-1, 1]
        assert one(tools, "raw_kill", number=234).value == [-1, 1], "tgkill"
    for path in ["/etc/passwd", f"/proc/{os.getpid()}/environ", str(tools.parent / ".env")]:
        assert one(tools, "raw_open", path=path).value == [-1, 13], "EACCES"


def test_the_layers_that_always_hold_are_named(tools):
    assert {"limits", "audit"} <= set(run(tools, []).layers)
    if sys.platform == "linux" and os.uname().machine in SYSCALLS:
        assert len(filter_program()) % 8 == 0


def test_a_module_that_cannot_be_loaded(tools, tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("import nosuchmodule\n")
    report = run(bad, [ToolCall("f"), ToolCall("g")])
    assert [o.error for o in report.outcomes] == [
        "import: ModuleNotFoundError: No module named 'nosuchmodule'"] * 2  # fmt: skip
    bad.write_text("while True: pass\n")
    errors = [o.error for o in run(bad, [ToolCall("f"), ToolCall("g")], Limits(0.7)).outcomes]
    assert errors == ["timeout", "not_run"]
    with pytest.raises(FileNotFoundError, match="give a Python file"):
        run(tmp_path / "none.py", [])


def test_execution_check_of_a_row(tools):
    def row(*calls: ToolCall) -> Trajectory:
        return Trajectory((Message("user", "q"), Message("assistant", tool_calls=calls)))

    assert execution_fault(row(ToolCall.of("add", a=1, b=2)), tools) == ""
    why = execution_fault(row(ToolCall.of("add", a=1, b=2), ToolCall.of("wrong")), tools)
    assert why == "execution:wrong: KeyError: 'gone'"
    assert execution_fault(row(ToolCall("add", "{broken")), tools).startswith("execution:arguments")
