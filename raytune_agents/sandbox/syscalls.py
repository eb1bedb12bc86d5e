"""The seccomp filter of the sandbox: the system calls that an honest tool needs, and no other.

An allow-list, since a new kernel brings new calls. What is not in it gives EPERM, or ENOSYS where
the number is so new that a C library expects a kernel without it and does something else. Where a
call can be turned against another process or to another use, its arguments are looked at too.
Paths are no matter of seccomp (it sees only their address): they are Landlock's and the mounts'.
Standard library only: the sandbox's child loads this file by its path.
"""

from __future__ import annotations

import struct

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # linux/audit.h

# name, its number on x86_64 and on aarch64; "-" where the machine has none
ALLOWED = """
read 0 63, write 1 64, readv 19 65, writev 20 66, pread64 17 67, pwrite64 18 68, preadv 295 69,
pwritev 296 70, preadv2 327 286, pwritev2 328 287, lseek 8 62, close 3 57, close_range 436 436,
dup 32 23, dup2 33 -, dup3 292 24, pipe 22 -, pipe2 293 59, eventfd2 290 19, fsync 74 82,
fdatasync 75 83, flock 73 32, fallocate 285 47, ftruncate 77 46, fadvise64 221 223,
sendfile 40 71, copy_file_range 326 285, open 2 -, openat 257 56, creat 85 -, stat 4 -, lstat 6 -,
fstat 5 80, newfstatat 262 79, statx 332 291, statfs 137 43, fstatfs 138 44, access 21 -,
faccessat 269 48, faccessat2 439 439, readlink 89 -, readlinkat 267 78, getdents64 217 61,
getcwd 79 17, chdir 80 49, fchdir 81 50, umask 95 166, mkdir 83 -, mkdirat 258 34, rmdir 84 -,
unlink 87 -, unlinkat 263 35, rename 82 -, renameat 264 38, renameat2 316 276, mmap 9 222,
munmap 11 215, mprotect 10 226, mremap 25 216, madvise 28 233, msync 26 227, brk 12 214,
membarrier 324 283, clone 56 220, futex 202 98, set_robust_list 273 99, set_tid_address 218 96,
rseq 334 293, sched_yield 24 124, sched_getaffinity 204 123, getcpu 309 168, exit 60 93,
exit_group 231 94, tgkill 234 131, rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139,
rt_sigsuspend 130 133, rt_sigpending 127 136, rt_sigtimedwait 128 137, sigaltstack 131 132,
restart_syscall 219 128, alarm 37 -, setitimer 38 103, getitimer 36 102, pause 34 -, poll 7 -,
ppoll 271 73, select 23 -, pselect6 270 72, epoll_create 213 -, epoll_create1 291 20,
epoll_ctl 233 21, epoll_wait 232 -, epoll_pwait 281 22, nanosleep 35 101, clock_nanosleep 230 115,
clock_gettime 228 113, clock_getres 229 114, gettimeofday 96 169, time 201 -, times 100 153,
getrusage 98 165, getpid 39 172, gettid 186 178, getppid 110 173, getpgrp 111 -, getuid 102 174,
geteuid 107 175, getgid 104 176, getegid 108 177, getresuid 118 148, getresgid 120 150,
getgroups 115 158, uname 63 160, sysinfo 99 179, getrandom 318 278, fcntl 72 25, ioctl 16 29,
prctl 157 167, prlimit64 302 261, getrlimit 97 163
"""
FIRST_NEW = 424  # from here on all machines count alike; these calls are younger than Linux 5.0

ALL = 0xFFFFFFFF
CLONE_THREAD, CLONE_NEW = 0x10000, 0x7E020000
TRUNCATES, ACCESS = 0x200, 0x3  # O_TRUNC and the access mode among the flags of open
# Only reading flags with O_TRUNC would empty a file that may only be read (Landlock before ABI 3).
OPEN = (TRUNCATES | ACCESS, (0, 1, 2, 3, 0x201, 0x202))
Check = tuple[int, int, tuple[int, ...]]  # offset in seccomp_data, mask, values that pass


def low(argument: int) -> int:
    """Offset of an argument's lower half in struct seccomp_data (little-endian machines)."""
    return 16 + 8 * argument


def argument_checks(pid: int) -> dict[str, list[Check]]:
    """What the arguments of some calls must be, of a process that is `pid` to itself."""
    own = (0, pid)
    return {
        "clone": [(low(0), CLONE_THREAD | CLONE_NEW, (CLONE_THREAD,))],  # threads, no processes
        "open": [(low(1), *OPEN)],
        "openat": [(low(2), *OPEN)],
        # not F_SETOWN, F_SETSIG, F_SETLEASE, F_NOTIFY (signals), F_SETPIPE_SZ (memory)
        "fcntl": [(low(1), ALL, (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030))],
        # FIOCLEX, FIONCLEX, FIONBIO, FIONREAD, TCGETS, TIOCGWINSZ
        "ioctl": [(low(1), ALL, (0x5451, 0x5450, 0x5421, 0x541B, 0x5401, 0x5413))],
        "prctl": [(low(0), ALL, (15, 16, 0x53564D41))],  # names of threads and of memory
        "prlimit64": [(low(0), ALL, own), (low(2), ALL, (0,)), (low(2) + 4, ALL, (0,))],  # to read
        "sched_getaffinity": [(low(0), ALL, own)],
        "tgkill": [(low(0), ALL, (pid,))],  # abort() and raise() signal the process itself
    }


def system_calls(machine: str) -> dict[str, int]:
    """Name -> number of the allowed calls on x86_64 or aarch64."""
    column = 1 + list(AUDIT_ARCH).index(machine)
    rows = [entry.split() for entry in ALLOWED.replace("\n", " ").split(",")]
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


def _step(code: int, k: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, k)


LOAD, AND, EQUAL, AT_LEAST, GIVE = 0x20, 0x54, 0x15, 0x35, 0x06  # linux/bpf_common.h
ALLOW, EPERM, ENOSYS = _step(GIVE, 0x7FFF0000), _step(GIVE, 0x50001), _step(GIVE, 0x50026)


def _checked(check: Check) -> bytes:
    """Go on where (word at offset & mask) is one of the values, else EPERM."""
    offset, mask, values = check
    out = _step(LOAD, offset) + _step(AND, mask)
    for i, value in enumerate(values):
        out += _step(EQUAL, value, yes=len(values) - i)
    return out + EPERM


def filter_program(machine: str, pid: int) -> bytes:
    """The filter as struct sock_filter[]; b"" for a machine whose numbers we do not know."""
    if machine not in AUDIT_ARCH:
        return b""
    checks = argument_checks(pid)
    out = _step(LOAD, 4) + _step(EQUAL, AUDIT_ARCH[machine], yes=1) + EPERM  # no 32-bit calls
    out += _step(LOAD, 0)
    for name, number in system_calls(machine).items():
        body = b"".join(map(_checked, checks.get(name, []))) + ALLOW
        out += _step(EQUAL, number, no=len(body) // 8) + body
    return out + _step(AT_LEAST, FIRST_NEW, no=1) + ENOSYS + EPERM
