"""The audit hook of the sandbox: refuses in Python, with a readable message, what the kernel's
layers refuse without one. Alone (`sandbox: weak`) it is no wall: see SECURITY.md.

An event of `os` that is in no table here is refused, so that a newer Python opens nothing.
Standard library only: the sandbox's child loads this file by its path.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

# event -> which of its arguments are paths
READS = {
    f"os.{name}": (0,)
    for name in ("listdir", "scandir", "walk", "fwalk", "chdir", "getxattr", "listxattr")
}
WRITES = {"os.mkdir": (0,), "os.rmdir": (0,), "os.remove": (0,), "os.rename": (0, 1)}
HARMLESS = ("os.putenv", "os.unsetenv", "os.lockf")
# fmt: off
REFUSED = (
    "socket.", "subprocess.", "pty.", "urllib.", "ftplib.", "smtplib.", "http.client", "poplib.",
    "imaplib.", "nntplib.", "telnetlib.", "webbrowser.", "syslog.", "resource.prlimit",
    "resource.setrlimit", "signal.pthread_kill", "sqlite3.enable_load_extension",
    "sqlite3.load_extension", "fcntl.ioctl", "ensurepip.", "sys.remote_exec",
    "cpython.PyInterpreterState_New",  # another interpreter has no hook
)
SIGNALS = (8, 10, 15, 1024, 1026)  # F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY
# functions of os and posix that raise no event, so a weak sandbox takes them away, and keeps their
# modules from being made anew
SILENT = (
    "mkfifo", "mknod", "chroot", "nice", "setpriority", "setsid", "setpgid", "setpgrp", "setuid",
    "setgid", "seteuid", "setegid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups",
    "initgroups", "sched_setaffinity", "sched_setparam", "sched_setscheduler", "memfd_create",
    "pidfd_open", "unshare", "setns", "tcsetpgrp", "sync", "fork_exec",
)
# native modules that write files, start programs or make interpreters without an event
NATIVE = (
    "posix", "_posixsubprocess", "_imp", "_posixshmem", "_multiprocessing", "readline", "_dbm",
    "_gdbm", "_tkinter", "_testcapi", "_testinternalcapi", "_testmultiphase", "_testsinglephase",
    "_xxsubinterpreters", "_interpreters", "_ctypes_test",
)
# fmt: on
realpath = os.path.realpath  # as it is before a tool can replace it
TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def walled(layers: Sequence[str]) -> bool:
    """Whether the kernel holds a tool in: its system calls, and its files."""
    return "seccomp" in layers and bool({"landlock", "mountns"} & set(layers))


class Forbidden(PermissionError):
    """The sandbox does not let a tool do this."""


def hook(
    readable: Sequence[str], work: str, devices: Sequence[str], weak: bool
) -> Callable[[str, tuple[Any, ...]], None]:
    """The hook: files only in `readable` and `work`, written only in `work`; no network, no
    processes, no links. `weak`: no kernel layer holds, so native code (ctypes) is refused too, and
    open folders, since no event tells from which folder a path starts (dir_fd)."""
    own = (realpath(work),)
    places = (*(realpath(p) for p in readable), *own)
    refused = (*REFUSED, "ctypes.") if weak else REFUSED

    def look(event: str, path: Any, writes: bool) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return  # an open file, or nothing for the work folder
        full = realpath(os.fsdecode(path))
        roots = own if writes else places
        if full not in devices and not any(full == r or full.startswith(r + os.sep) for r in roots):
            raise Forbidden(f"{event}: {os.fsdecode(path)} is not open to tools")
        if weak and event == "open" and os.path.isdir(full):
            raise Forbidden(f"{event}: {full} is a folder")

    def check(event: str, args: tuple[Any, ...]) -> None:
        if event.startswith(refused):
            raise Forbidden(f"{event} is not allowed in here")
        if event == "open":
            look(event, args[0], bool((args[2] or 0) & TO_WRITE))
        elif event in READS or event in WRITES:
            for i in (READS | WRITES)[event]:
                look(event, args[i], event in WRITES)
        elif event == "os.truncate" and isinstance(args[0], int):
            return  # a file that is open for writing
        elif event == "sqlite3.connect":
            name = os.fsdecode(args[0])
            if name.startswith("file:") and "%" in name:
                raise Forbidden(f"{event}: {name} hides its path")
            if name != ":memory:":
                look(event, name.removeprefix("file:"), True)
        elif event.startswith("os.") and event not in HARMLESS:
            raise Forbidden(f"{event} is not allowed in here")
        elif event == "fcntl.fcntl" and args[1] in SIGNALS:
            raise Forbidden(f"{event} {args[1]} is not allowed in here")

    return check


def silence() -> None:
    """Take the functions of SILENT and the modules of NATIVE away."""
    import _imp
    import _posixsubprocess
    import posix

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise Forbidden("this function of os is not allowed in here")

    def guarded(make: Callable[..., Any]) -> Callable[..., Any]:
        def made(spec: Any, *args: Any) -> Any:
            if spec.name in NATIVE:  # an ImportError, since libraries can do without
                raise ImportError(f"module {spec.name!r} is not allowed in here", name=spec.name)
            return make(spec, *args)

        return made

    for name in SILENT:
        for module in (os, posix, _posixsubprocess):
            if hasattr(module, name):
                setattr(module, name, refuse)
    _imp.create_builtin = guarded(_imp.create_builtin)
    _imp.create_dynamic = guarded(_imp.create_dynamic)
