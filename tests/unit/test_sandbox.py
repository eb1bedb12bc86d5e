"""User tool code: what it may do, what it may not, and how that is named."""

import os
import re
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from raytune_agents.records import Message, ToolCall, Trajectory
from raytune_agents.sandbox import (
    Limits,
    Outcome,
    Sandbox,
    SandboxError,
    bubblewrap,
    execution_fault,
    run_calls,
)
from raytune_agents.sandbox.protocol import DEEPEST, depth, parse_answer
from raytune_agents.sandbox.syscalls import AUDIT_ARCH, filter_program, system_calls

TOOLS = """
import asyncio, os, socket, subprocess, sys, threading, time, json, sqlite3, math
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
def kill_parent(): os.kill(os.getppid(), 9)
def flood(): return "x" * (3 << 20)
def thread():
    out = []
    t = threading.Thread(target=lambda: out.append(math.pi)); t.start(); t.join()
    return out
def database(): return sqlite3.connect(":memory:").execute("select 1 + 1").fetchone()[0]
def unserialisable(): return {1, 2}.__iter__()
def yields(): yield 1
class Thing: pass
def things(): return [Thing()]
def a_set(): return {1}
def folder(): return os.listdir(".")
def length(x): return len(x)
FD = int(sys.argv[1])
def late(): time.sleep(0.2); os.write(FD, b"0123456789abcdef value 1\\n")
def writes_later(): threading.Thread(target=late).start(); return 1
def sleep_short(): time.sleep(0.5); return 1
def uses_files():
    import shutil, tempfile, zipfile
    with tempfile.TemporaryDirectory() as folder:
        open(folder + "/a.txt", "w").write("a")
        with zipfile.ZipFile("a.zip", "w") as z: z.write(folder + "/a.txt")
    os.makedirs("b/c"); open("b/c/d", "w").write("x"); os.rename("b/c/d", "b/e")
    shutil.rmtree("b")
    c = sqlite3.connect("own.db"); c.execute("create table t (x)"); c.commit(); c.close()
    return "ok" if os.path.getsize("own.db") and zipfile.ZipFile("a.zip").namelist() else "no"
def uses_libraries():
    import concurrent.futures, datetime, decimal, hashlib, random, re, statistics, uuid, zoneinfo
    with concurrent.futures.ThreadPoolExecutor(4) as pool: list(pool.map(abs, range(-9, 9)))
    zoneinfo.ZoneInfo("Europe/Berlin"); uuid.uuid4(); random.random(); datetime.datetime.now()
    return "ok" if hashlib.sha256(b"").hexdigest().startswith("e3b0") else "no"
def uses_numpy():
    import numpy
    return "ok" if (numpy.ones((50, 50)) @ numpy.ones(50)).sum() == 2500 else "no"
async def asleep(s): await asyncio.sleep(s); return s
async def is_async():
    found = await asyncio.gather(asleep(0.01), asyncio.to_thread(lambda: 1))
    return "ok" if found == [0.01, 1] else "no"
async def connects(port): await asyncio.open_connection("127.0.0.1", port)
async def async_wrong(): raise KeyError("gone")
def raises(name, text): raise type(name, (Exception,), {})(text)
def refuses(): raise PermissionError("forbidden: not yours")
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
    (outcome,) = run_calls(tools, [ToolCall.of(name, **arguments)], limits).outcomes
    return outcome


def test_calls_run_in_order_and_share_state(tools):
    calls = [
        ToolCall.of("add", a=2, b=3),
        ToolCall.of("remember", x=1),
        ToolCall.of("remember", x=2),
    ]
    report = run_calls(tools, calls)
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


@pytest.mark.parametrize("name", ["unserialisable", "yields", "things"])
def test_an_object_that_says_only_where_it_lies_is_no_answer(tools, name):
    """It was an observation, another one in each run."""
    report = run_calls(tools, [ToolCall.of(name), ToolCall.of("a_set")])
    assert report.outcomes[0].error.endswith("is no answer: return text, numbers, lists or dicts")
    assert report.outcomes[1].value == "{1}"


def test_a_loop_is_stopped_and_the_rest_is_not_run(tools):
    start = time.monotonic()
    calls = [ToolCall.of("add", a=1, b=1), ToolCall.of("loop"), ToolCall.of("add", a=1, b=1)]
    report = run_calls(tools, calls, Limits(timeout_s=1.0))
    assert [o.error for o in report.outcomes] == ["", "timeout", "not_run"]
    assert one(tools, "sleep", Limits(timeout_s=0.7)).error == "timeout"
    assert time.monotonic() - start < 30


def test_memory_and_output_are_capped(tools):
    assert one(tools, "eat").error == "memory"
    assert one(tools, "flood").error == "output"


@pytest.mark.parametrize("name", ["fork", "shell", "system", "parent_env", "kill_parent"])
def test_no_processes_and_no_look_at_the_parent(tools, name):
    assert one(tools, name).error.startswith("forbidden: ")


def test_no_secret_is_seen(tools, monkeypatch):
    monkeypatch.setenv("RAYTUNE_TEST_KEY", "secret")
    env = one(tools, "env").value
    assert set(env) <= {"PATH", "HOME", "LANG", "TZ", "LC_CTYPE", "PWD"}
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


def test_threads_and_databases_work(tools):
    assert one(tools, "thread").value == [pytest.approx(3.14159, abs=1e-4)]
    assert one(tools, "database").value == 2


def test_the_layers_that_hold_are_named(tools):
    layers = run_calls(tools, []).layers
    assert {"limits", "audit"} <= set(layers)
    if sys.platform == "linux":
        assert {"landlock", "seccomp"} <= set(layers) or {"mountns", "seccomp"} <= set(layers)


def test_the_system_calls_have_the_numbers_of_the_kernels_headers():
    headers = {
        "x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
        "aarch64": "/usr/include/asm-generic/unistd.h",
    }
    for machine, header in headers.items():
        assert len(filter_program(machine, 2)) % 8 == 0
        if not Path(header).exists():
            pytest.skip(f"no {header}")
        text = Path(header).read_text()
        for name, number in system_calls(machine).items():
            words = [name, "3264_fstatat" if name == "newfstatat" else f"3264_{name}"]
            assert any(re.search(rf"__NR_?{w} {number}\b", text) for w in words), (machine, name)
    assert not {"socket", "execve", "kill", "ptrace", "mount", "link"} & set(system_calls("x86_64"))
    assert filter_program("riscv64", 2) == b""
    assert list(AUDIT_ARCH) == ["x86_64", "aarch64"]


def test_a_process_answers_call_after_call_until_it_dies(tools):
    with Sandbox(tools, Limits(timeout_s=1.0)) as box:
        assert [box.call("remember", {"x": i}).value for i in (1, 2)] == [[1], [1, 2]]
        assert box.call("wrong", {}).error == "KeyError: 'gone'"
        assert not box.call("wrong", {}).broken
        text = "x" * 300_000  # more than a pipe holds
        assert box.call("length", {"x": text}).value == 300_000
        assert box.call("loop", {}) == Outcome(error="timeout")
        assert box.call("add", {"a": 1, "b": 1}) == Outcome(error="not_run")
        assert box.call("loop", {}).broken


def test_a_tool_that_prints_for_later_answers_nothing(tools):
    """A line written beforehand, by a thread, is no answer to the next call."""
    calls = [ToolCall.of("writes_later"), ToolCall.of("sleep_short"), ToolCall.of("add", a=1, b=1)]
    errors = [o.error for o in run_calls(tools, calls).outcomes]
    assert errors == ["", "forbidden: protocol", "not_run"]


def test_the_process_ends_with_its_parent(tools, tmp_path):
    """Also where a tool loops, and however the parent ends."""
    code = (
        "import sys, time\nfrom raytune_agents.sandbox import Limits, Sandbox\n"
        f"box = Sandbox({str(tools)!r}, Limits(60.0))\nprint(box._process.pid, flush=True)\n"
        "box.call('loop', {})"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    group = int(parent.stdout.readline())
    time.sleep(0.3)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the tool is still running")


def test_a_process_with_many_files_can_have_a_sandbox(tools):
    """select() takes no descriptor above 1023, which workers of Ray have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1200:
        pytest.skip("no room for 1,100 open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    try:
        assert one(tools, "add", a=1, b=1).value == 2
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("name", ["uses_files", "uses_libraries", "uses_numpy", "is_async"])
def test_honest_tools_have_what_they_need(tools, name):
    assert one(tools, name, Limits(memory_mib=2048)) == Outcome("ok")


def test_async_tools_have_the_limits_of_others(tools):
    assert one(tools, "async_wrong").error == "KeyError: 'gone'"
    assert one(tools, "connects", port=9).error.startswith("forbidden: ")
    assert one(tools, "asleep", Limits(timeout_s=1), s=60).error == "timeout"


def test_bubblewrap_is_the_first_layer_where_it_works(tools):
    if not bubblewrap():
        pytest.skip("no working bwrap here")
    report = run_calls(tools, [ToolCall.of("add", a=1, b=2), ToolCall.of("hard_exit")])
    assert [(o.value, o.error) for o in report.outcomes] == [(3, ""), (None, "killed:exit 7")]
    assert {"bwrap", "mountns", "landlock", "seccomp"} <= set(report.layers)


def test_an_exception_is_no_label_whatever_its_name(tools):
    names = ["killed", "killed:SIGKILL", "forbidden", "import", "server"]
    with Sandbox(tools) as box:
        found = [box.call("raises", {"name": name, "text": "protocol"}) for name in names]
        assert [o.error for o in found] == [f"exception {name}: protocol" for name in names]
        for name in ("timeout", "memory", "KeyError", "exception killed"):
            assert box.call("raises", {"name": name, "text": ""}).error == f"{name}: "
        own = box.call("refuses", {})
        assert not any(o.broken for o in (*found, own))
        assert box.call("read", {"path": "/etc/shadow"}).broken


def test_an_answer_is_read_strictly():
    assert parse_answer(b"ab value [1, 2.5]", "ab") == ([1, 2.5], "")
    assert parse_answer(b'ab error "KeyError: 1"', "ab") == (None, "KeyError: 1")
    assert parse_answer(b'ab ended "forbidden: x"', "ab") == (None, "forbidden: x")
    assert parse_answer(b'ab error "memory"', "ab") == (None, "exception memory")
    odd = [b"", b"ab", b"ab value", b"ac value 1", b"ab value 1 2", b"ab layers 1", b"ab error 1",
           b'ab error ""', b'ab ended "timeout"', b'ab ended "killed:SIGKILL"',
           b"ab value NaN", b"ab value -Infinity", b"ab value 1e999",
           b"ab value \xff", b'ab value "\\ud800"', b"ab value " + b"9" * 5000,
           b"ab value " + b"[" * 101 + b"]" * 101, b"ab value " + b"[" * 10**5]  # fmt: skip
    for line in odd:
        with pytest.raises(ValueError):  # noqa: PT011  any ValueError is one label
            parse_answer(line, "ab")
    assert depth(3) == 0
    assert depth({"a": [1, {"b": ()}]}) == 4
    deep: list = []
    for _ in range(DEEPEST - 1):
        deep = [deep]
    assert depth(deep) == DEEPEST
    assert depth([deep] * 2) == DEEPEST + 1


def test_a_module_that_cannot_be_loaded(tools, tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("import nosuchmodule\n")
    report = run_calls(bad, [ToolCall("f"), ToolCall("g")])
    assert [o.error for o in report.outcomes] == [
        "import: ModuleNotFoundError: No module named 'nosuchmodule'"] * 2  # fmt: skip
    bad.write_text("while True: pass\n")  # imports have five seconds at least
    errors = [o.error for o in run_calls(bad, [ToolCall("f"), ToolCall("g")], Limits(0.7)).outcomes]
    assert errors == ["timeout", "not_run"]
    with pytest.raises(FileNotFoundError, match="give a Python file"):
        run_calls(tmp_path / "none.py", [])


def test_a_module_has_the_files_beside_it_that_it_imports(tmp_path):
    (tmp_path / "main.py").write_text(
        "import helper, os\nfrom parts.one import ONE\n"
        "def f(): return [helper.TWO + ONE, sorted(os.listdir())]\n"
    )
    (tmp_path / "helper.py").write_text("TWO = 2\n")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "one.py").write_text("ONE = 1\n")
    (tmp_path / "unused.py").write_text("KEY = 'secret'\n")
    (outcome,) = run_calls(tmp_path / "main.py", [ToolCall("f")]).outcomes
    assert outcome == Outcome([3, ["helper.py", "main.py", "parts"]])


def test_execution_check_of_a_row(tools):
    def row(*calls: ToolCall) -> Trajectory:
        return Trajectory((Message("user", "q"), Message("assistant", tool_calls=calls)))

    assert execution_fault(row(ToolCall.of("add", a=1, b=2)), tools) == ""
    why = execution_fault(row(ToolCall.of("add", a=1, b=2), ToolCall.of("wrong")), tools)
    assert why == "execution:wrong: KeyError: 'gone'"
    assert execution_fault(row(ToolCall("add", "{broken")), tools).startswith("execution:arguments")


def test_code_that_cannot_be_copied_says_so(tmp_path):
    """A link to nowhere is left out; a pipe, or a file that may not be read, is refused."""
    tools, package = tmp_path / "tools.py", tmp_path / "package"
    tools.write_text("def one(): return 1")
    package.mkdir()
    (package / "gone").symlink_to("nowhere")
    with Sandbox(tools, code=[package]) as box:
        assert box.call("one", {}).value == 1
    os.truncate(os.open(package / "data.bin", os.O_CREAT | os.O_RDWR), 1 << 40)  # takes no room
    with pytest.raises(SandboxError, match="the code takes 1048576 MiB"):
        Sandbox(tools, code=[package])
    (package / "data.bin").unlink()
    os.mkfifo(package / "pipe")
    with pytest.raises(SandboxError, match="package cannot be copied into the sandbox"):
        Sandbox(tools, code=[package])


def test_a_link_beside_a_tool_shows_it_no_other_file(tmp_path):
    """A folder of tools may come from a stranger, and with it links to what only its reader has."""
    own, package = tmp_path / "own", tmp_path / "own" / "package"
    package.mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("SECRET=1")
    tools = own / "tools.py"
    tools.write_text("def one(): return 1")
    (package / "real.py").write_text("")
    (package / "same.py").symlink_to("real.py")
    with Sandbox(tools, code=[package]) as box:
        assert box.call("one", {}).value == 1
    for name, target, says in [
        ("notes.txt", "../../secret.txt", "is a link out of its folder"),
        ("again", ".", "is a link to a folder"),  # two of them would be copied without end
    ]:
        (package / name).symlink_to(target)
        with pytest.raises(SandboxError, match=says):
            Sandbox(tools, code=[package])
        (package / name).unlink()
    (own / "helper.py").symlink_to("../secret.txt")
    tools.write_text("import helper\ndef one(): return 1")
    with pytest.raises(SandboxError, match=r"helper\.py is a link out of its"):
        Sandbox(tools)
