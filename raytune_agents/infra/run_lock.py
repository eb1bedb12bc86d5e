"""One process at a time has a run: its lock file, and who holds it."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import time
from pathlib import Path
from typing import IO

from raytune_agents.config.base import ConfigError

log = logging.getLogger(__name__)
LOCK = "run.lock"


def locked(path: Path) -> IO[str]:
    """The open lock file of a run, which says who has it; free again when it is closed, or its
    process ends in whatever way. Raises ConfigError where another process has it, OSError."""
    file = path.open("a+", encoding="utf-8")
    try:
        # The kernel frees it with the process, so no stale lock is ever left.
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.2)  # `user_of` may have been looking, which takes no time
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENOLCK):
            log.warning("%s: this file system locks no files: run one process at a time", path)
            return file
        if not isinstance(error, BlockingIOError):
            raise
        file.seek(0)
        who = file.read().strip() or "another process"
        file.close()
        raise ConfigError(
            f"{path.parent} is in use by {who}; wait for its end, stop it, or write another name"
        ) from None
    file.truncate(0)
    started = time.strftime("%Y-%m-%d %H:%M:%S")
    file.write(f"pid {os.getpid()} on host {socket.gethostname()} since {started}\n")
    file.flush()
    return file


def user_of(run: Path) -> str | None:
    """The process that has a run, as its lock says; "" = none has it: the run has ended or was
    killed. None where it cannot be told: the file system locks no files."""
    try:
        with (run / LOCK).open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return ""
    except FileNotFoundError:
        return ""
    except BlockingIOError:
        return (run / LOCK).read_text(encoding="utf-8").strip() or "another process"
    except OSError:
        return None
