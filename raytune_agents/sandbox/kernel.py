"""What the kernel keeps from a process, put in place by the process itself: limits, namespaces
with a file tree and a disk of their own, Landlock, seccomp.

Each layer is tried and named where it holds; a system without one goes on to the next. Standard
library only: the sandbox's child loads this file by its path. Linux calls that Python 3.11 lacks
are made through the C library.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import select
import signal
import struct
from collections.abc import Sequence
from pathlib import Path

DEVICES = ("/dev/null", "/dev/urandom", "/dev/zero")
NEW_USER = 0x10000000
# mount, UTS, IPC, process and network namespaces (linux/sched.h)
NEW_OTHERS = 0x20000 | 0x4000000 | 0x8000000 | 0x20000000 | 0x40000000
RDONLY, NOSUID, NODEV, BIND, REC, PRIVATE, DETACH = 1, 2, 4, 0x1000, 0x4000, 0x40000, 2
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
MOUNT_SETATTR, LANDLOCK = 442, 444  # alike on all machines
PDEATHSIG, SECCOMP, NO_NEW_PRIVS = 1, 22, 38  # of prctl
GRACE_MS = 500  # that a tool process may take to end once nobody listens to it


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def limit(memory_mib: int, cpu_s: int) -> None:
    """Address space, processor seconds (0 = no limit), file size, open files, no core."""
    limits = {
        resource.RLIMIT_AS: memory_mib << 20,
        resource.RLIMIT_FSIZE: 16 << 20,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 0,
    }
    for what, most in limits.items():
        with contextlib.suppress(ValueError, OSError):  # macOS has no limit of addresses
            resource.setrlimit(what, (most, most))
    if cpu_s:  # first SIGXCPU, which tells what it was, then SIGKILL
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))


# --- namespaces -----------------------------------------------------------------------------------


def unshare() -> bool:
    """User, mount, network, process and IPC namespaces of our own; root can do without the first.

    The user keeps its number there, so that it owns what it makes on its own disk."""
    uid, gid = os.getuid(), os.getgid()
    if _libc().unshare(NEW_USER | NEW_OTHERS):
        return uid == 0 and _libc().unshare(NEW_OTHERS) == 0
    maps = {"setgroups": "deny", "uid_map": f"{uid} {uid} 1", "gid_map": f"{gid} {gid} 1"}
    for name, text in maps.items():
        with contextlib.suppress(OSError):  # refused to a root that has lost its capabilities
            Path("/proc/self", name).write_text(text)
    return True


def _keep(worker: int, lifeline: int) -> None:
    """Wait for a process and end as it did; kill it where the other end of `lifeline` is gone, as
    it is when our parent has died."""
    with contextlib.suppress(OSError):  # some containers forbid pidfd_open: then only wait
        ended, poll = os.pidfd_open(worker), select.poll()
        poll.register(ended, select.POLLIN)
        poll.register(lifeline, 0)  # asked for nothing, it still tells of a hang-up
        if ended not in dict(poll.poll()):
            poll.unregister(lifeline)
            if not poll.poll(GRACE_MS):
                os.kill(worker, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    os._exit(code if code >= 0 else 128 - code)  # as a shell tells of signals


def fork_worker(lifeline: int, fd: int) -> None:
    """Return in a grandchild. The first process of a namespace ignores most signals, so that one
    and this one only wait; neither holds `fd` open."""
    for _ in range(2):
        worker = os.fork()
        if worker:
            os.close(fd)
            _keep(worker, lifeline)
        _libc().prctl(PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def private_root(root: str, readable: Sequence[str], work: str, disk_mib: int) -> bool:
    """A file tree with nothing but `readable`, which cannot be written, and an empty `work` with
    room for `disk_mib`. `root` is an empty folder that it is built on."""
    libc = _libc()

    def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
        if libc.mount(source.encode(), target.encode(), kind.encode(), flags, options.encode()):
            raise OSError(ctypes.get_errno(), "mount", target)

    def bind(path: str) -> None:
        real = os.path.realpath(path)
        for here in (real, path):  # first what is there, then the link to it
            inside = root + here
            if os.path.lexists(inside):
                continue
            os.makedirs(os.path.dirname(inside), exist_ok=True)
            if here != real:
                os.symlink(real, inside)
                continue
            os.mkdir(inside) if os.path.isdir(real) else os.close(os.open(inside, os.O_CREAT))
            mount(real, inside, "", BIND | REC)

    try:
        mount("none", "/", "", REC | PRIVATE)
        mount("tmpfs", root, "tmpfs", NOSUID | NODEV, "size=1m,mode=755")
        for path in filter(os.path.exists, sorted(readable, key=len)):
            bind(path)
        os.makedirs(root + work)
        attributes = struct.pack("=QQQQ", RDONLY | NOSUID, 0, 0, 0)
        if libc.syscall(
            MOUNT_SETATTR, AT_FDCWD, root.encode(), AT_RECURSIVE, attributes, ctypes.c_size_t(32)
        ):
            return False
        mount("tmpfs", root + work, "tmpfs", NOSUID | NODEV, f"size={disk_mib}m,nr_inodes=20000")
        os.chdir(root)
        # the new root stands on the old one, which is then let go: pivot_root(2), last note
        done = libc.syscall(PIVOT_ROOT[platform.machine()], b".", b".") == 0
        if done:
            libc.umount2(b".", DETACH)
    except (OSError, KeyError):
        done = False
    os.chdir(work)
    return done


def drop_capabilities() -> None:
    """What a user namespace, or root, may do beyond a plain user."""
    head = struct.pack("=Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    _libc().capset(head, bytes(24))
    _libc().prctl(NO_NEW_PRIVS, 1, 0, 0, 0)  # Landlock and seccomp ask for it


# --- Landlock and seccomp -------------------------------------------------------------------------

# struct landlock_ruleset_attr and its rights (linux/landlock.h); ABI 2 adds REFER (bit 13), 3
# TRUNCATE (14), 5 IOCTL_DEV (15), 4 TCP, 6 signals and abstract sockets beyond the sandbox
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
READ = EXECUTE | READ_FILE | READ_DIR  # libraries are mapped as programs are
SPECIAL = 1 << 6 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 15  # devices, sockets, pipes, links
OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | 1 << 14


def landlock(readable: Sequence[str], work: str) -> bool:
    """Only `readable` can be read and only `work` written, by the newest rules of this kernel."""
    libc = _libc()
    abi = libc.syscall(LANDLOCK, None, ctypes.c_size_t(0), 1)
    if abi < 1:
        return False
    every = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(abi, 16)) - 1
    head = struct.pack("=QQQ", every, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    rules = libc.syscall(LANDLOCK, head, ctypes.c_size_t(size), 0)
    if rules < 0:
        return False
    allowed = dict.fromkeys(readable, READ) | dict.fromkeys(DEVICES, READ_FILE)
    allowed |= {"/dev/null": READ_FILE | WRITE_FILE, work: every & ~SPECIAL & ~EXECUTE}
    for path, rights in allowed.items():
        if os.path.exists(path):
            folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
            kept = rights if os.path.isdir(path) else rights & OF_A_FILE
            libc.syscall(LANDLOCK + 1, rules, 1, struct.pack("=Qi", kept, folder), 0)
            os.close(folder)
    locked = libc.syscall(LANDLOCK + 2, rules, 0) == 0
    os.close(rules)
    return locked


def seccomp(program: bytes) -> bool:
    """Install a filter (`syscalls.filter_program`) for this process and all its threads to come."""
    if not program:
        return False
    steps = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(steps))
    return _libc().prctl(SECCOMP, 2, head, 0, 0) == 0
