"""A throw-away parent for tests of the sandbox: it runs one call, then says how it is itself.

`python victim.py MODULE FUNCTION MISSING...` first forbids itself the system calls in MISSING, as a
kernel or a container that does not have them would, and prints {outcome, layers, harm} as JSON.
"""

import ctypes
import json
import os
import platform
import resource
import struct
import sys
import time

from raytune_agents import sandbox
from raytune_agents.records import ToolCall
from raytune_agents.sandbox import kernel

NUMBERS = {"unshare": (272, 97), "landlock": (444, 444), "pidfd_open": (434, 434)}
PRCTL = (157, 167)


def forbid(missing: list[str]) -> None:
    """A filter of this process and its children: EPERM for these calls."""

    def step(code: int, k: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("=HBBI", code, yes, no, k)

    column, eperm = ["x86_64", "aarch64"].index(platform.machine()), step(6, 0x50001)
    program = step(0x20, 0)
    for name in missing:
        if name in NUMBERS:
            program += step(0x15, NUMBERS[name][column], no=1) + eperm
    if "seccomp" in missing:  # prctl(PR_SET_SECCOMP)
        program += step(0x15, PRCTL[column], no=3) + step(0x20, 16) + step(0x15, 22, no=1) + eperm
    program += step(6, 0x7FFF0000)
    if "capabilities" in missing:
        kernel.drop_capabilities()
    ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)  # no new privileges
    assert kernel.seccomp(program)


def harm(before: dict) -> dict:
    """What has changed of this process."""
    time.sleep(0.1)  # a signal may be on its way
    return {k: [before[k], v] for k, v in state().items() if v != before[k]}


def state() -> dict:
    limits = [resource.RLIMIT_CPU, resource.RLIMIT_NOFILE, resource.RLIMIT_AS]
    return {
        "limits": [resource.getrlimit(x) for x in limits],
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "cpus": sorted(os.sched_getaffinity(0)),
        "policy": os.sched_getscheduler(0),
        "files": len(os.listdir("/dev/fd")),
        "shm": open("/proc/sysvipc/shm").read().count("\n"),
    }


if __name__ == "__main__":
    module, function, *missing = sys.argv[1:]
    if missing:
        forbid(missing)
    before = state()
    try:
        report = sandbox.run_calls(module, [ToolCall.of(function)], sandbox.Limits(timeout_s=2.0))
        (outcome,) = report.outcomes
        found = {"value": outcome.value, "error": outcome.error, "layers": report.layers}
    except sandbox.SandboxError as error:
        found = {"refused": str(error)}
    print(json.dumps(found | {"harm": harm(before)}))
