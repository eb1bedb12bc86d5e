"""The inside of the sandbox: run as a script, it locks itself in and then runs a tool module's
calls.

Standard library only, since nothing of ours is imported in there. Layers, each kept only where the
system has it: resource limits; a network namespace without any interface; Landlock, which leaves
the interpreter readable and the work folder writable; seccomp, which refuses sockets, new
processes and programs; and an audit hook that refuses the same in Python, with a readable message,
everywhere. Protocol: one JSON object on stdin {module, calls, memory_mib, cpu_s}, one JSON line a
result on file descriptor `fd`, after a first line that names the layers.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import platform
import resource
import struct
import sys

EPERM, ENOSYS = 1, 38
CLONE_THREAD, NEWUSER, NEWNET = 0x10000, 0x10000000, 0x40000000
# machine -> (audit arch, clone, clone3, refused calls): socket, socketpair, fork, vfork, execve,
# execveat, ptrace, kill, tkill, tgkill, queued signals, pidfd_send_signal, process_vm_readv and
# writev, setns, unshare, mount, bpf, keyctl, io_uring_setup
SYSCALLS = {
    "x86_64": (
        0xC000003E, 56, 435,
        (41, 53, 57, 58, 59, 322, 101, 62, 200, 234, 129, 297, 424, 310, 311, 308, 272, 165, 321,
         250, 425),
    ),
    "aarch64": (
        0xC00000B7, 220, 435,
        (198, 199, 221, 281, 117, 129, 130, 131, 138, 240, 424, 270, 271, 268, 97, 40, 280, 219,
         425),
    ),
}  # fmt: skip
READ = 1 << 2 | 1 << 3 | 1  # Landlock: read file, read folder, execute (libraries are mapped)
WRITE = (1 << 13) - 1  # all rights of Landlock's first version
REFUSED = (
    "socket.", "subprocess.", "os.system", "os.fork", "os.exec", "os.posix_spawn", "os.spawn",
    "os.kill", "pty.", "urllib.", "ftplib.", "smtplib.", "http.client",
)  # fmt: skip
DEVICES = ("/dev/null", "/dev/urandom", "/dev/zero")


def limit(memory_mib: int, cpu_s: int) -> None:
    """Memory, processor seconds, file size, open files, no core."""
    for what, most in [
        (resource.RLIMIT_AS, memory_mib << 20),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 16 << 20),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ]:
        resource.setrlimit(what, (most, most))


def no_network(libc: ctypes.CDLL) -> bool:
    """A network namespace of our own, without any interface."""
    return libc.unshare(NEWUSER | NEWNET) == 0


def landlock(libc: ctypes.CDLL, readable: list[str], work: str) -> bool:
    """Only `readable` can be read and only `work` written, by the kernel's word."""
    wanted = ctypes.c_uint64(WRITE)
    rules = libc.syscall(444, ctypes.byref(wanted), ctypes.c_size_t(8), 0)
    if rules < 0:
        return False
    for path, rights in (
        [(p, READ) for p in readable] + [(d, 1 << 2) for d in DEVICES] + [(work, WRITE)]
    ):
        if os.path.exists(path):
            folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
            kept = rights if os.path.isdir(path) else rights & (1 | 1 << 1 | 1 << 2)
            rule = ctypes.create_string_buffer(struct.pack("=Qi", kept, folder))
            libc.syscall(445, rules, 1, rule, 0)
            os.close(folder)
    locked = libc.syscall(446, rules, 0) == 0
    os.close(rules)
    return locked


def filter_program() -> bytes:
    """The seccomp filter of this machine; b"" for one we have no numbers for."""
    if platform.machine() not in SYSCALLS:
        return b""
    arch, clone, clone3, refused = SYSCALLS[platform.machine()]

    def step(code: int, yes: int, no: int, k: int) -> bytes:
        return struct.pack("=HBBI", code, yes, no, k)

    load, equal, has, give = 0x20, 0x15, 0x45, 0x06
    allow, deny, absent = 0x7FFF0000, 0x00050000 | EPERM, 0x00050000 | ENOSYS
    out = [
        step(load, 0, 0, 4),
        step(equal, 1, 0, arch),
        step(give, 0, 0, deny),
        step(load, 0, 0, 0),
    ]
    out += [step(0x35, 0, 1, 0x40000000), step(give, 0, 0, deny)]  # x32 numbers
    out += [
        step(equal, 0, 1, clone3),
        step(give, 0, 0, absent),
    ]  # the C library falls back to clone
    for number in refused:
        out += [step(equal, 0, 1, number), step(give, 0, 0, deny)]
    out += [step(equal, 0, 4, clone), step(load, 0, 0, 16), step(has, 0, 1, CLONE_THREAD)]
    out += [step(give, 0, 0, allow), step(give, 0, 0, deny), step(give, 0, 0, allow)]
    return b"".join(out)


def seccomp(libc: ctypes.CDLL) -> bool:
    """No sockets, processes or programs, by the kernel's word; threads stay."""
    program = filter_program()
    if not program:
        return False
    steps = ctypes.create_string_buffer(program, len(program))
    head = ctypes.create_string_buffer(
        struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(steps))
    )
    return libc.prctl(22, 2, head, 0, 0) == 0


def hook(readable: list[str], work: str):
    """The audit hook: refuses network, processes, and files outside the two places."""
    places = tuple(os.path.realpath(p) for p in readable)
    own = os.path.realpath(work)

    def inside(path: str, roots: tuple[str, ...]) -> bool:
        return any(path == r or path.startswith(r + os.sep) for r in roots)

    def check(event: str, args: tuple) -> None:
        if event.startswith(REFUSED):
            raise PermissionError(f"{event} is not allowed in here")
        if event == "open" and isinstance(args[0], str | bytes):
            path = os.path.realpath(os.fsdecode(args[0]))
            writes = bool((args[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
            if path not in DEVICES and not inside(path, (own,) if writes else (*places, own)):
                raise PermissionError(f"{path} is not open to tools")

    return check


def lock(work: str) -> list[str]:
    """Put every layer in place; the names of those that hold."""
    readable = [sys.prefix, sys.base_prefix, "/usr", "/lib", "/lib64", "/etc/localtime"]
    readable = [p for p in readable if p != "/"]
    held = ["limits", "audit"]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if no_network(libc):
            held.append("netns")
        libc.prctl(38, 1, 0, 0, 0)  # no new privileges; the next two need it
        if landlock(libc, readable, work):
            held.append("landlock")
        if seccomp(libc):
            held.append("seccomp")
    sys.addaudithook(hook(readable, work))
    return held


def main(fd: int) -> None:
    task = json.loads(sys.stdin.read())
    results = os.fdopen(fd, "w", encoding="utf-8")

    def tell(value: object) -> None:
        results.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
        results.flush()

    limit(task["memory_mib"], task["cpu_s"])
    tell(lock(os.getcwd()))
    try:
        spec = importlib.util.spec_from_file_location("tools", task["module"])
        module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        sys.modules["tools"] = module
        spec.loader.exec_module(module)  # type: ignore[union-attr]
    except BaseException as error:  # the user's code may raise anything, also SystemExit
        tell({"error": f"import: {type(error).__name__}: {error}"})
        return
    for call in task["calls"]:
        try:
            function = getattr(module, call["name"], None)
            if not callable(function) or call["name"].startswith("_"):
                tell({"error": f"no function {call['name']!r}"})
                continue
            tell({"value": function(**call["arguments"])})
        except MemoryError:
            tell({"error": "memory"})
        except PermissionError as error:
            tell({"error": f"forbidden: {error}"})
        except BaseException as error:
            tell({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main(int(sys.argv[1]))
