"""A bound on CPU time, for inputs that take minutes where they are handled badly."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ends_soon(limit_s: float = 15.0) -> Iterator[None]:
    """Fails where the block takes more CPU time: far more than a slow, busy machine needs."""
    started = time.process_time()
    yield
    assert time.process_time() - started < limit_s
