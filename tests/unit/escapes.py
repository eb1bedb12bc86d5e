"""Tools that try to get out of the sandbox, or to do harm from in there. Each function returns
something true where it thinks that it did; what it changed outside is looked at too.

VICTIM is a folder of the user. Run by `test_sandbox_escapes`, each in a process of its own.
"""

import ctypes
import fcntl
import os
import platform
import resource
import signal
import sys
import threading
import time

VICTIM = "@VICTIM@"
FILE = VICTIM + "/file.txt"
FD = int(sys.argv[1])  # where the answers go
X86 = platform.machine() == "x86_64"


def c():
    return ctypes.CDLL(None, use_errno=True)


def call(x86, arm, *args):
    """A system call past the C library: whether it succeeded."""
    return c().syscall(x86 if X86 else arm, *args) >= 0


def done(function, *args, **named):
    """Whether a function of Python succeeded."""
    try:
        function(*args, **named)
        return True
    except OSError:
        return False


# --- files of the user ---


def truncates():
    tried = [done(os.truncate, FILE, 0), c().truncate(FILE.encode(), 0) == 0]
    return any(tried) or done(os.open, FILE, os.O_RDONLY | os.O_TRUNC)


def changes_modes():
    folder = os.open(sys.prefix, os.O_RDONLY)
    tried = [done(os.chmod, FILE, 0o777), c().chmod(VICTIM.encode(), 0) == 0]
    return any([*tried, c().fchmod(folder, 0o755) == 0, call(268, 53, -100, FILE.encode(), 0o777)])


def changes_owners():
    tried = [done(os.chown, FILE, 1, 1), c().lchown(FILE.encode(), 1, 1) == 0]
    return any([*tried, call(260, 54, -100, FILE.encode(), 1, 1, 0)])


def changes_times():
    return done(os.utime, FILE, (0, 0)) or call(280, 88, -100, FILE.encode(), None, 0)


def sets_attributes():
    tried = [done(os.setxattr, FILE, "user.x", b"y"), done(os.removexattr, FILE, "user.kept")]
    return any([*tried, call(188, 5, FILE.encode(), b"user.x", b"y", 1, 0)])


def removes():
    empty = (VICTIM + "/empty").encode()
    tried = [done(os.remove, FILE), done(os.rmdir, empty), c().unlink(FILE.encode()) == 0]
    return any([*tried, c().rmdir(empty) == 0])


def renames():
    tried = [done(os.rename, FILE, VICTIM + "/moved"), done(os.replace, __file__, FILE)]
    return any([*tried, c().rename(FILE.encode(), b"mine") == 0])


def creates():
    made = (VICTIM + "/made").encode()
    tried = [done(os.mkdir, made), done(open, made, "w"), c().mkdir(made, 0o700) == 0]
    return any([*tried, c().open(made, os.O_CREAT | os.O_WRONLY, 0o600) >= 0])


def links():
    tried = [
        done(os.link, FILE, "hard"),
        done(os.symlink, FILE, "soft"),
        c().link(FILE.encode(), b"hard2") == 0,
    ]
    return any([*tried, c().symlink(b"/etc", (VICTIM + "/link").encode()) == 0])


def makes_nodes():
    node, pipe = (VICTIM + "/node").encode(), (VICTIM + "/pipe").encode()
    tried = [done(os.mkfifo, pipe), c().mkfifo(pipe, 0o600) == 0]
    return any([*tried, call(133, -1, node, 0o600, 0), call(259, 33, -100, node, 0o600, 0)])


def reads():
    tried = [done(open, p) for p in (FILE, "/etc/passwd", "/proc/self/environ", "/proc/1/maps")]
    return any([*tried, c().open(FILE.encode(), 0) >= 0, c().open(b"/etc/shadow", 0) >= 0])


def lists():
    tried = [done(os.listdir, p) for p in (VICTIM, "/", "/etc", "/proc")]
    return any([*tried, done(os.scandir, VICTIM), done(os.chdir, VICTIM)])


def reads_by_folder():
    """Paths that start at another folder than the work folder."""
    here = os.open("..", os.O_RDONLY)
    return os.open("../.." + FILE, os.O_RDONLY, dir_fd=here)


def writes_packages():
    """The interpreter and its packages can be read, and nothing else."""
    return done(open, os.path.join(sys.prefix, "made-by-a-tool"), "w") or (
        c().open(os.path.join(sys.prefix, "made-by-a-tool").encode(), 0o101, 0o600) >= 0
    )


def makes_native_modules_anew():
    """Functions of them that raise no event, or were taken away."""
    from importlib import machinery, util

    def history():
        __import__("readline").write_history_file(VICTIM + "/made")

    def pipe():
        spec = machinery.BuiltinImporter.find_spec("posix")
        util.module_from_spec(spec).mkfifo(VICTIM + "/pipe")

    def shared():
        __import__("_posixshmem").shm_open("/escapes", os.O_CREAT | os.O_RDWR, 0o600)

    def interpreter():
        if __import__("_testcapi").run_in_subinterp(f"open({FILE!r}, 'a').write('x')"):
            raise OSError("it was stopped in there")

    def tried(function):
        try:
            return done(function)
        except ImportError:
            return False

    return any(map(tried, (history, pipe, shared, interpreter)))


def replaces_what_the_hook_asks():
    os.path.realpath = lambda path, **named: os.getcwd()
    return done(open, FILE)


def writes_a_database():
    import sqlite3

    coded = FILE.replace("/", "%2f")
    for path, uri in ((FILE + ".db", False), (f"file:{FILE}.db", True), (f"file:{coded}.db", True)):
        try:
            sqlite3.connect(path, uri=uri).execute("create table t (x)")
            return True
        except (sqlite3.Error, OSError):
            continue
    return False


def asks_another_interpreter():
    """Which has no audit hook of ours."""
    try:
        try:
            import _xxsubinterpreters as interpreters
        except ImportError:
            import _interpreters as interpreters
    except ImportError:
        return False
    try:
        interpreters.run_string(interpreters.create(), f"open({FILE!r}, 'w')")
        return True
    except RuntimeError:
        return False


def attaches_a_database():
    import sqlite3

    memory = sqlite3.connect(":memory:")
    memory.execute("create table t (x)")
    for line in (f"vacuum into '{FILE}.db'", f"attach '{FILE}.db' as out"):
        try:
            memory.execute(line)
            memory.execute("create table if not exists out.t (x)")
            return True
        except sqlite3.Error:
            continue
    return False


# --- the parent and other processes ---


def sets_limits_of_the_parent():
    one = (ctypes.c_uint64 * 2)(1, 1)
    tried = [done(resource.prlimit, os.getppid(), resource.RLIMIT_CPU, (1, 1))]
    return any([*tried, call(302, 261, os.getppid(), 7, one, None)])


def kills():
    parent = os.getppid()
    tried = [done(os.kill, parent, 9), done(os.killpg, 0, 9), call(62, 129, parent, 9)]
    tried += [call(62, 129, -1, 9), call(200, 130, parent, 9), call(234, 131, parent, parent, 9)]
    info = ctypes.create_string_buffer(128)
    return any([*tried, call(129, 138, parent, 9, info), call(297, 240, parent, parent, 9, info)])


def signals_by_fcntl():
    for setown in (fcntl.F_SETOWN, 15):
        read, write = os.pipe()
        owner = os.getppid() if setown == fcntl.F_SETOWN else (ctypes.c_int * 2)(1, os.getppid())
        if c().fcntl(read, setown, owner) == 0:
            c().fcntl(read, fcntl.F_SETSIG, 9)
            c().fcntl(read, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
            os.write(write, b"x")
            return True
    return done(fcntl.fcntl, read, fcntl.F_SETOWN, os.getppid())


def signals_by_ioctl():
    read, _ = os.pipe()
    parent = ctypes.c_int(os.getppid())
    return c().ioctl(read, 0x8901, ctypes.byref(parent)) == 0 or c().ioctl(read, 0x5412, b"x") == 0


def lowers_priority():
    tried = [done(os.setpriority, os.PRIO_PROCESS, os.getppid(), 19), done(os.nice, 5)]
    return any([*tried, call(141, 140, 0, os.getppid(), 19)])


def changes_scheduling():
    parent, mask = os.getppid(), (ctypes.c_ulong * 1)(1)
    tried = [done(os.sched_setaffinity, parent, {0}), call(203, 122, parent, 8, mask)]
    tried += [call(144, 119, parent, 3, (ctypes.c_int * 1)(0))]
    return any([*tried, call(314, 274, parent, ctypes.create_string_buffer(48), 0)])


def traces():
    parent, out = os.getppid(), ctypes.create_string_buffer(64)
    vector = (ctypes.c_uint64 * 2)(ctypes.addressof(out), 64)
    tried = [call(101, 117, 16, parent, 0, 0), call(310, 270, parent, vector, 1, vector, 1, 0)]
    tried += [call(312, 272, 1, 2, 0, 0, 0)]
    return any([*tried, call(311, 271, parent, vector, 1, vector, 1, 0)])


def opens_a_pidfd():
    tried = [call(434, 434, os.getppid(), 0), call(438, 438, 3, 0, 0)]
    return any([*tried, call(424, 424, 3, 9, None, 0), call(440, 440, 3, None, 0, 0, 0)])


def forks():
    flags = 17  # SIGCHLD
    tried = [call(57, 220, flags, 0, 0, 0, 0), call(56, 220, flags, 0, 0, 0, 0)]
    return any([*tried, call(435, 435, (ctypes.c_uint64 * 11)(), 88), c().fork() >= 0])


def runs_programs():
    import subprocess

    argv = (ctypes.c_char_p * 2)(b"/bin/true", None)
    tried = [done(subprocess.run, ["true"]), done(os.system, "true")]
    tried += [done(os.execv, "/bin/true", ["true"]), done(os.posix_spawn, "/bin/true", ["x"], {})]
    return any([*tried, call(59, 221, b"/bin/true", argv, None), c().system(b"true") == 0])


def leaves_its_group():
    return done(os.setsid) or call(109, 154, 0, 0)


# --- the kernel ---


def opens_sockets():
    import socket

    pair = (ctypes.c_int * 2)()
    tried = [done(socket.socket, family) for family in (socket.AF_INET, socket.AF_UNIX)]
    return any([*tried, call(41, 198, 16, 3, 0), call(53, 199, 1, 1, 0, pair)])


def uses_io_uring():
    return call(425, 425, 8, ctypes.create_string_buffer(256)) or call(206, 0, 8, ctypes.c_ulong(0))


def unshares():
    tried = [call(272, 97, flag) for flag in (0x10000000, 0x20000, 0x40000000)]
    return any([*tried, call(308, 268, 3, 0)])


def mounts():
    tried = [call(165, 40, b"none", b".", b"tmpfs", 0, 0), call(428, 428, -100, b"/", 1)]
    return any([*tried, call(166, 39, b"/usr", 2), call(155, 41, b".", b"."), call(161, 51, b".")])


def loads_kernel_code():
    buffer = ctypes.create_string_buffer(128)
    tried = [call(321, 280, 0, buffer, 128), call(313, 273, 3, b"", 0)]
    tried += [call(175, 105, buffer, 128, b"")]
    return any([*tried, call(298, 241, buffer, 0, -1, -1, 0), call(323, 282, 0)])


def uses_keys():
    tried = [call(248, 217, b"user", b"k", b"v", 1, -5), call(249, 218, b"user", b"k", 0, -5)]
    return any([*tried, call(250, 219, 0, -5, 1)])


def shares_memory():
    """Memory that outlives the process or that no limit counts."""
    tried = [call(29, 194, 0x5151, 1 << 20, 0o1600), call(68, 186, 0x5151, 0o1600)]
    tried += [call(64, 190, 0x5151, 1, 0o1600), call(240, 180, b"queue", 0o102, 0o600, 0)]
    return any([*tried, call(319, 279, b"x", 0), done(os.memfd_create, "x")])


def becomes_another_user():
    data = (ctypes.c_uint32 * 6)(*[0xFFFFFFFF] * 6)
    head = (ctypes.c_uint32 * 2)(0x20080522, 0)
    tried = [done(os.setuid, 1), done(os.setgroups, []), call(126, 91, head, data)]
    return any([*tried, call(105, 146, 1), call(157, 167, 8, 1), call(157, 167, 4, 1)])


def makes_code():
    """Machine code of its own: fork as a 32-bit call, and as a plain one."""
    import mmap

    if not X86:
        return False
    tried = []
    for code in ("b802000000cd80c3", "b8390000000f05c3"):
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(bytes.fromhex(code))
        start = ctypes.addressof(ctypes.c_char.from_buffer(page))
        tried.append(ctypes.CFUNCTYPE(ctypes.c_int)(start)() >= 0)
    return any([*tried, call(0x40000000 | 57, -1), call(0x40000000 | 41, -1, 2, 1, 0)])


def hears_of_others():
    """By timers, signals or changes of files."""
    buffer = ctypes.create_string_buffer(8)
    tried = [call(222, 107, 0, 0, buffer), call(283, 85, 0, 0), call(282, 74, -1, buffer, 8, 0)]
    return any([*tried, call(294, 26, 0), call(300, 262, 0, 0), call(448, 448, 0, 0)])


def takes_the_hook_apart():
    import gc
    import socket

    for found in gc.get_objects():
        if isinstance(found, dict) and "REFUSED" in found and "Forbidden" in found:
            found["REFUSED"] = ()
    return done(socket.socket)


# --- too much ---


def fills_the_disk():
    written = 0
    for number in range(60):
        with open(f"f{number}", "wb") as out:
            written += out.write(b"x" * (15 << 20))
    return written


def fills_folders():
    """Deeper than a path may be long, and than a function may call itself."""
    while True:
        os.mkdir("d")
        os.chdir("d")


def fills_a_folder():
    number = 0
    while True:
        os.close(os.open(f"f{number}", os.O_CREAT | os.O_WRONLY))
        number += 1


def fills_memory():
    return len(bytearray(2 << 30))


def fills_memory_with_files():
    descriptors = [os.memfd_create("x") for _ in range(20)]
    return [os.write(d, b"x" * (15 << 20)) for d in descriptors]


def loops():
    while True:
        pass


def loops_in_threads():
    for _ in range(4):
        threading.Thread(target=loops, daemon=True).start()
    loops()


def ignores_signals():
    for number in range(1, 32):
        if number not in (9, 19):
            signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(1)


def floods():
    return "x" * (3 << 20)


def recurses():
    sys.setrecursionlimit(10**8)
    deep = []
    for _ in range(10**6):
        deep = [deep]
    return deep


def crashes():
    return ctypes.string_at(0)


# --- the protocol ---


def answers(line):
    os.write(FD, line)
    return ""


# fmt: off
def forges_a_list(): return answers(b"[1]\n")
def forges_text(): return answers(b"hello\n")
def forges_bytes(): return answers(b"\xff\xfe\n")
def forges_levels(): return answers(b"0123456789abcdef value " + b"[" * 100000 + b"\n")
def forges_an_integer(): return answers(b"0123456789abcdef value " + b"9" * 100000 + b"\n")
def forges_lines(): return answers(b'{"value": "forged"}\n' * 3)
def forges_half_a_line(): return answers(b"0123456789abcdef value 1")
def forges_nothing(): return answers(b"\n")
def moves_the_answers(): return os.dup2(os.pipe()[1], FD) and ""
def writes_to_all_files(): return [done(os.write, d, b"x\n") for d in range(3, 64)] and ""


# fmt: on


def _request():
    """The id of the request that is being answered, found in the frames of the child."""
    frame = sys._getframe(1)
    while "request" not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals["request"]["id"].encode()


def answers_twice():
    return answers(_request() + b" value 1\n")


def answers_with(text):
    os.write(FD, _request() + text)
    os._exit(0)


# fmt: off
def answers_deep(): answers_with(b" value " + b"[" * 500 + b"]" * 500 + b"\n")
def answers_a_huge_integer(): answers_with(b" value " + b"9" * 5000 + b"\n")
def answers_infinity(): answers_with(b" value 1e999\n")
def answers_nan(): answers_with(b" value NaN\n")
def answers_a_surrogate(): answers_with(b' value "\\ud800"\n')
def answers_another_kind(): answers_with(b" layers []\n")
def answers_an_error_that_is_none(): answers_with(b" error 5\n")
def answers_an_empty_error(): answers_with(b' error ""\n')
def answers_a_long_error(): answers_with(b' error "' + b"x" * 100000 + b'"\n')
