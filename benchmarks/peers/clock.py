"""Seconds of a training loop, by the wall and by the processor."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback


class Clock(TrainerCallback):
    """Writes {"loop_s", "cpu_s"} of the loop, without loading, to `path` at its end."""

    def __init__(self, path: str | Path):
        self.path, self.began = Path(path), (0.0, 0.0)

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self.began = (time.perf_counter(), time.process_time())

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        took = (time.perf_counter() - self.began[0], time.process_time() - self.began[1])
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(dict(zip(("loop_s", "cpu_s"), took))))
