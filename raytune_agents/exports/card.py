"""The dataset card of an exported folder (card.md.jinja): Hub metadata and tables of what is in
it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from raytune_agents.records import JsonObject
from raytune_agents.redact import visible
from raytune_agents.storage import filled

CARD = Path(__file__).with_name("card.md.jinja")
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def _cell(value: Any) -> str:
    """A value as the text of a cell: a reason may hold what a row calls its tool."""
    text = " ".join(visible(str(value)).split())
    return text.replace("|", "\\|").replace("<", "&lt;").replace("](", "]\\(")


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(c) for c in line) + " |" for line in lines)


def _configs(names: Iterable[str]) -> list[JsonObject]:
    """Hub configs: one for plain files, one per agent for a preset's."""
    groups: dict[str, list[JsonObject]] = {}
    for name in names:
        agent, _, split = name.removesuffix(".jsonl").rpartition("_")
        hub_split = "validation" if split == "val" else split
        groups.setdefault(agent or "default", []).append({"split": hub_split, "path": name})
    return [{"config_name": group, "data_files": files} for group, files in groups.items()]


def card(summary: JsonObject, title: str) -> str:
    """README.md of the folder. Licences are the sources': the card names the sources, not a
    licence."""
    files = summary["files"]
    total = summary["rows_out"]
    head = {
        "tags": ["agents", "tool-calling", summary["format"]],
        "size_categories": [next((word for limit, word in SIZES if total < limit), "n>1M")],
        "configs": _configs(files),
    }
    sources: Counter[str] = Counter()
    lines = []
    for name, f in files.items():
        sources.update(f["sources"])
        pools = ", ".join(f"{k} {v}" for k, v in f["pools"].items())
        lines.append([name, *(f[k] for k in ("rows", "bytes", "calls", "tools")), pools])
    return filled(
        CARD,
        **summary,
        title=title,
        head=yaml.safe_dump(head, sort_keys=False, allow_unicode=True),
        file_lines=lines,
        sources=sorted(sources.items()),
        table=markdown_table,
    )
