"""Command lines that work as they are (examples.toml), under `--help` of each command."""

from __future__ import annotations

import tomllib
from pathlib import Path

FIRST = "First: raytune-agents init --tools my_tools.py --positives good.jsonl; then plan and run."
# {command: {what for: the words after it}}; TOML, as YAML would be loaded at every start
EXAMPLES: dict[str, dict[str, str]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text("utf-8")
)


def example_lines(command: str) -> list[str]:
    """The examples of a command, as they are typed."""
    return [f"raytune-agents {command} {words}" for words in EXAMPLES.get(command, {}).values()]


def epilog(command: str) -> str:
    """What `--help` shows last; one paragraph per line."""
    lines = map(": ".join, zip(EXAMPLES[command], example_lines(command)))
    return "\n\n".join(["Examples", *lines]).replace("[", "\\[")
