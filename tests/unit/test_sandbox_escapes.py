"""Tools that try to get out (`escapes`): each in a process of its own, with a folder of the user to
harm and a parent to throw away (`victim`), on this kernel and on poorer ones."""

import ast
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from raytune_agents import sandbox
from raytune_agents.config import ConfigError, load_config

HERE = Path(__file__).parent
SOURCE = (HERE / "escapes.py").read_text(encoding="utf-8")
NAMES = [n.name for n in ast.parse(SOURCE).body if isinstance(n, ast.FunctionDef)]
HELPERS = {"c", "call", "done", "answers", "answers_with", "_request"}
TOO_MUCH = {
    "fills_the_disk": ("OSError: [Errno 28]", "disk"),
    # Landlock refuses a folder whose path is longer than 4,096 characters.
    "fills_folders": ("OSError: [Errno 28]", "disk", "timeout", "forbidden: [Errno 13]"),
    "fills_a_folder": ("OSError: [Errno 28]", "disk", "timeout"),
    "fills_memory": ("memory",),
    "fills_memory_with_files": ("forbidden: ",),
    "loops": ("timeout",),
    "loops_in_threads": ("timeout",),
    "ignores_signals": ("timeout",),
    "floods": ("output",),
    "recurses": ("killed:SIGSEGV", "timeout", "memory"),
    "crashes": ("killed:SIGSEGV", "forbidden: ctypes"),
}
FORGED = [n for n in NAMES if n.startswith(("forges_", "answers_", "moves_")) and n not in HELPERS]
ESCAPES = [n for n in NAMES if n not in {*HELPERS, *TOO_MUCH, *FORGED}]
POORER = {  # what is missing -> the layers that must hold all the same
    "no namespaces": (["unshare"], {"landlock", "seccomp"}),
    "no Landlock": (["landlock"], {"mountns", "seccomp"}),
    "no capabilities": (["capabilities"], {"landlock", "seccomp"}),
    "no pidfd": (["unshare", "pidfd_open"], {"landlock", "seccomp"}),
    "weak": (["unshare", "landlock", "seccomp"], {"audit", "limits"}),
}
ON_POORER = ["truncates", "changes_modes", "removes", "links", "reads", "writes_a_database",
             "makes_native_modules_anew", "replaces_what_the_hook_asks",
             "asks_another_interpreter", "writes_packages", "kills", "sets_limits_of_the_parent",
             "runs_programs", "fills_the_disk", "fills_folders", "fills_a_folder"]  # fmt: skip

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the layers are Linux's")


def looks(folder: Path) -> dict:
    """Everything about a folder that a tool could change."""
    out = {}
    for path in sorted([folder, *folder.rglob("*")]):
        s = path.lstat()
        text = path.read_bytes() if path.is_file() else b""
        marks = {}
        with contextlib.suppress(OSError):
            marks = {k: os.getxattr(path, k) for k in os.listxattr(path)}
        facts = (s.st_mode, s.st_uid, s.st_gid, s.st_nlink, s.st_mtime_ns, text, marks)
        out[str(path.relative_to(folder))] = facts
    return out


def attack(tmp_path: Path, name: str, missing: list[str], mode: str = "strong") -> dict:
    """What the parent says after one call; the victim's folder must be as it was."""
    folder = tmp_path / "victim"
    (folder / "empty").mkdir(parents=True)
    (folder / "file.txt").write_text("SECRET=1")
    with contextlib.suppress(OSError):  # not on every file system
        os.setxattr(folder / "file.txt", "user.kept", b"1")
    tools = tmp_path / "tools.py"
    tools.write_text(SOURCE.replace("@VICTIM@", str(folder)))
    before = looks(folder)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    packages = set(os.listdir(sys.prefix))
    told = subprocess.run(
        [sys.executable, str(HERE / "victim.py"), str(tools), name, *missing],
        capture_output=True, text=True, timeout=60,
        env=os.environ | {sandbox.MODE: mode, "TMPDIR": str(temporary)},
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert looks(folder) == before
    assert set(os.listdir(sys.prefix)) == packages
    assert not os.listdir(temporary)
    found = json.loads(told.stdout)
    assert found["harm"] == {}
    return found


@pytest.mark.parametrize("name", ESCAPES)
def test_nothing_gets_out(tmp_path, name):
    found = attack(tmp_path, name, [])
    assert sandbox.walled(found["layers"])
    assert not found["value"]
    assert not found["error"].startswith(("killed", "timeout", "import")), found


@pytest.mark.parametrize("name", TOO_MUCH)
def test_too_much_is_stopped(tmp_path, name):
    assert attack(tmp_path, name, [])["error"].startswith(TOO_MUCH[name])


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_answer_is_none(tmp_path, name):
    assert attack(tmp_path, name, [])["error"] == "forbidden: protocol"


@pytest.mark.parametrize("name", ON_POORER)
@pytest.mark.parametrize("system", POORER)
def test_nothing_gets_out_of_a_poorer_system(tmp_path, name, system):
    missing, held = POORER[system]
    found = attack(tmp_path, name, missing, "weak" if system == "weak" else "strong")
    assert held <= set(found["layers"])
    if system == "weak":
        assert not sandbox.walled(found["layers"])
    assert not found["value"]
    stopped = TOO_MUCH.get(name, ("forbidden: ",))
    assert not found["error"] or found["error"].startswith(stopped), found


def test_the_config_decides_whether_a_weak_sandbox_may_run(monkeypatch):
    monkeypatch.delenv(sandbox.MODE, raising=False)
    sandbox.set_mode(load_config(None, ["sandbox=weak"]).sandbox)
    assert os.environ[sandbox.MODE] == "weak"
    sandbox.set_mode(load_config().sandbox)
    assert sandbox.MODE not in os.environ
    with pytest.raises(ConfigError, match="sandbox='none'"):
        load_config(None, ["sandbox=none"])


def test_without_the_kernel_it_is_refused(tmp_path):
    found = attack(tmp_path, "loops", ["unshare", "landlock", "seccomp"])
    assert "write sandbox: weak" in found["refused"]
    assert "limits, audit" in found["refused"]
