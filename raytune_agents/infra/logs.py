"""Our log, by Python's `logging`: one line per event, with its numbers.

In the driver all of it goes to RUN/run.log, warnings to the terminal too. In a worker it goes to
stderr, which Ray keeps with the worker's log (the dashboard, `ray logs`). Libraries keep theirs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from raytune_agents.redact import redact, visible

OURS = logging.getLogger("raytune_agents")
FORM = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _Redacted(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        # What a row holds must not look like a line of ours, nor speak to the terminal.
        return visible(redact(super().format(record))).replace("\n", "\n  ")


class _Messages(logging.Handler):
    """Hands the message on to whoever speaks to the user."""

    def __init__(self, say: Callable[[str], None]):
        super().__init__(logging.WARNING)
        self.say = say

    def emit(self, record: logging.LogRecord) -> None:
        self.say(record.getMessage())


@contextmanager
def driver_log(file: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Log to the file for as long as the block runs; `say` shows warnings."""
    written = logging.FileHandler(file, encoding="utf-8", delay=True)
    written.setFormatter(_Redacted(FORM))
    handlers = (written, _Messages(say))
    before = OURS.level
    OURS.setLevel(logging.INFO)
    for handler in handlers:
        OURS.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            OURS.removeHandler(handler)
            handler.close()
        OURS.setLevel(before)


def log_in_worker() -> None:
    """Log to stderr in this process; called wherever work begins in one of Ray's processes."""
    if not any(isinstance(h, logging.StreamHandler) for h in OURS.handlers):
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Redacted(FORM))
        OURS.addHandler(handler)
        OURS.setLevel(logging.INFO)


def quiet_peft() -> None:
    """What PEFT loads warns of a package that nobody needs, on CPUs with bf16."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
