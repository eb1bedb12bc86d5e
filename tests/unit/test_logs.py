"""The log: events of our package with their numbers, without secrets, warnings on the terminal."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from raytune_agents.cli.shared_options import table_of
from raytune_agents.infra.logs import driver_log
from raytune_agents.pipeline.train_arm import advance
from raytune_agents.progress import Display, SafeConsole
from raytune_agents.redact import CONTROLS


def test_the_driver_writes_all_and_says_warnings(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "0123456789abcdef")
    said: list[str] = []
    log = logging.getLogger("raytune_agents.pipeline.shards")
    with driver_log(tmp_path / "run.log", said.append):
        log.info("ask: shard %d, %d rows", 3, 64)
        log.warning("the key 0123456789abcdef is odd")
        logging.getLogger("other").error("not ours")
    log.info("after the end")
    lines = (tmp_path / "run.log").read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == [
        "INFO raytune_agents.pipeline.shards: ask: shard 3, 64 rows",
        "WARNING raytune_agents.pipeline.shards: the key [SOME_API_KEY] is odd",
    ]
    assert said == ["the key 0123456789abcdef is odd"]  # the display redacts what it says


HOSTILE = "rejected 3 tool_exists:[/b] \x1b[2J\u202e\nnext \x9b31m[red]"
SHOWN = "rejected 3 tool_exists:[/b] ⟨U+001B⟩[2J⟨U+202E⟩\nnext ⟨U+009B⟩31m[red]"


def test_a_text_of_a_row_says_nothing_to_the_terminal_and_forges_no_line(tmp_path: Path) -> None:
    with driver_log(tmp_path / "run.log", print):
        logging.getLogger("raytune_agents.x").info("%s\n2026-01-01 INFO forged", HOSTILE)
    lines = (tmp_path / "run.log").read_text().splitlines()
    assert [line.startswith("  ") for line in lines] == [False, True, True]
    assert "\n".join(lines[:2]).replace("\n  ", "\n").endswith(SHOWN)
    for console in (SafeConsole(file=io.StringIO()), Console(file=io.StringIO(), soft_wrap=True)):
        Display(console).say(HOSTILE)
        assert console.file.getvalue() == f"{SHOWN}\n"
    console = SafeConsole(file=io.StringIO(), width=200)
    console.print(table_of("", ("a",), [[HOSTILE]]))
    console.print(HOSTILE, markup=False)
    table = Table("a", title=Text(HOSTILE))
    table.add_row(Text(HOSTILE))
    console.print(Group(table, Text(HOSTILE)))
    assert not CONTROLS.search(console.file.getvalue())


def test_a_run_without_events_leaves_no_file(tmp_path: Path) -> None:
    with driver_log(tmp_path / "run.log", print):
        pass
    assert not list(tmp_path.iterdir())


def test_a_worker_logs_to_stderr_once() -> None:
    code = (
        "import logging\nfrom raytune_agents.infra.logs import log_in_worker\n"
        "log_in_worker()\nlog_in_worker()\n"
        "logging.getLogger('raytune_agents.x').info('shard %d', 7)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.count("INFO raytune_agents.x: shard 7") == 1


def test_a_resumed_training_counts_no_old_step_as_new(tmp_path: Path, monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def line(step: int) -> dict:
        return {"step": step, "of": 100, "loss": 0.5, "num_tokens": 1_000 * step}

    display = Display(Console(file=io.StringIO(), width=150))
    with display.step("train sft") as bar:
        advance(bar, line(60), old=True)
        assert (bar.done, bar.tokens, bar.text(now[0])) == (60, 60_000, "60,000 tokens  loss 0.500")
        now[0] = 5.0  # it goes on from its checkpoint, ten steps earlier
        advance(bar, line(51))
        assert "tokens/s" not in bar.text(now[0])
        for step in (52, 61):
            now[0] += 10.0
            advance(bar, line(step))
        assert "61,000 tokens, 900 tokens/s" in bar.text(now[0])  # 9 steps in 10 s
        bar.print_line(now[0])
    assert "61/100" in display.console.file.getvalue()
    assert "ETA 43 s" in display.console.file.getvalue()  # 39 steps at 0.9 a second
