"""What a user sees while it runs: a live display on a terminal, plain lines in a log."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment

from raytune_agents.redact import redact, visible

LINE_EVERY_S = 10.0


class SafeConsole(Console):
    """The console, for texts of rows too: their controls are shown, and do nothing."""

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*map(visible, objects), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Those of tables, too."""
        for part in super().render(renderable, options):
            yield part if part.control else Segment(visible(part.text), part.style)


class Bar:
    """Progress of a part of a step: rows done of all, tokens, tokens/s, seconds left."""

    def __init__(self, display: Display, name: str, total: int | None, resumed: int = 0):
        self.display, self.name, self.progress = display, name, display.progress
        self.started = self.spoke = time.monotonic()
        self.done, self.tokens, self.total, self.note = resumed, 0, total, ""
        self.before: tuple[int, int] | None = None  # rows and tokens that the clock leaves out
        self.task = None
        if self.progress is not None:
            text = f"{display.step_number} {name}".strip()
            self.task = self.progress.add_task(text, total=total, completed=resumed, note="")

    def update(
        self, done: int = 0, tokens: int = 0, total: int | None = None, note: str | None = None
    ) -> None:
        """Add rows and tokens; on a log, at most one line every LINE_EVERY_S seconds."""
        self.display.alive()
        self.done, self.tokens = self.done + done, self.tokens + tokens
        self.total = total if total is not None else self.total
        self.note = note if note is not None else self.note
        now = time.monotonic()
        if self.before is None and (
            done or tokens
        ):  # a start is slow and tells nothing of the rest
            self.started, self.before = now, (self.done, self.tokens)
        if self.progress is not None and self.task is not None:
            text = self.text(now)
            self.progress.update(self.task, completed=self.done, total=self.total, note=text)
        elif now - self.spoke > LINE_EVERY_S:
            self.spoke = now
            self.print_line(now)

    def text(self, now: float) -> str:
        """Tokens with their speed since the first came, and the note."""
        rate = f"{self.tokens:,} tokens" if self.tokens else ""
        if self.before and (fresh := self.tokens - self.before[1]):
            rate += f", {fresh / max(now - self.started, 1e-9):,.0f} tokens/s"
        return "  ".join(part for part in (rate, self.note) if part)

    def print_line(self, now: float) -> None:
        """One line of a log."""
        text, display = self.text(now), self.display
        if display.json:
            counts = {"done": self.done, "total": self.total, "tokens": self.tokens}
            return display.write("info", f"{self.name}  {text}".strip(), **counts)
        fresh = self.done - self.before[0] if self.before else 0
        left = (self.total or 0) - self.done
        eta = f"  ETA {left / fresh * (now - self.started):,.0f} s" if fresh and left > 0 else ""
        line = f"{self.name:<10} {self.done}/{self.total or '?'}  {text}{eta}"
        display.console.print(
            f"{display.step_number} {line}".strip(), highlight=False, markup=False
        )


class Display:
    """The one place that writes to the terminal while steps run."""

    def __init__(self, console: Console | None = None):
        self.console = console or SafeConsole(soft_wrap=True)
        self.progress: Progress | None = None
        self.moved = time.monotonic()  # when something last went on
        self.run, self.current, self.json = "", "", False  # names the run and the step in logs
        self.step_number = ""  # "[3/8]": which step of all this is

    def alive(self) -> None:
        """Something went on: the run does not hang."""
        self.moved = time.monotonic()

    def write(self, level: str, message: str, **ids: Any) -> None:
        """One JSON object on a line of its own."""
        line = {"time": round(time.time(), 3), "level": level, "run": self.run}
        line |= {"step": self.current, "message": message, **ids}
        out = visible(redact(json.dumps(line, ensure_ascii=False, default=str)))
        self.console.print(out, highlight=False, markup=False, soft_wrap=True)

    def say(self, text: Any, style: str | None = None, **ids: Any) -> None:
        """One line. As JSON: time, level, run, step, message and `ids` (shard, row, trial)."""
        self.alive()
        if self.json and isinstance(text, str):
            return self.write("error" if style == "red" else "info", text.strip(), **ids)
        said = visible(redact(text)) if isinstance(text, str) else text
        # No markup: a reason may name a tool "[/b]".
        self.console.print(said, style=style, highlight=False, markup=False)

    @contextmanager
    def live(self) -> Iterator[Display]:
        """Show live bars on a terminal for as long as the block runs."""
        if not self.console.is_terminal or self.json:
            yield self
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description:<10}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        with Progress(*columns, console=self.console, transient=True) as self.progress:
            yield self
        self.progress = None

    @contextmanager
    def step(self, name: str, total: int | None = None, resumed: int = 0) -> Iterator[Bar]:
        """A bar for a part of a step, removed when it ends; `resumed`: rows done before."""
        bar = Bar(self, name, total, resumed)
        self.alive()
        try:
            yield bar
        finally:
            if self.progress is not None and bar.task is not None:
                self.progress.remove_task(bar.task)
