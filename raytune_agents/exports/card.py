"""The dataset card of an exported folder: Hub metadata and tables of what is in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from raytune_agents.records import JsonObject

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(c) for c in line) + " |" for line in lines)


def _configs(names: list[str]) -> list[JsonObject]:
    """Hub configs: one for plain files, one per agent for a preset's."""
    groups: dict[str, dict[str, str]] = {}
    for name in names:
        agent, _, split = name.removesuffix(".jsonl").rpartition("_")
        groups.setdefault(agent or "default", {})[split] = name
    words = {"train": "train", "val": "validation"}
    return [
        {
            "config_name": group,
            "data_files": [
                {"split": words.get(split, split), "path": path} for split, path in found.items()
            ],
        }
        for group, found in groups.items()
    ]


def card(summary: JsonObject, title: str) -> str:
    """README.md of the folder. Licences are the sources': the card names the sources, not a
    licence.
    """
    files = summary["files"]
    total = summary["rows_out"]
    size = next((word for limit, word in SIZES if total < limit), "n>1M")
    head = {
        "tags": ["agents", "tool-calling", summary["format"]],
        "size_categories": [size],
        "configs": _configs(list(files)),
    }
    sources: dict[str, int] = {}
    for about in files.values():
        for name, n in about["sources"].items():
            sources[name] = sources.get(name, 0) + n
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---",
        f"# {title}",
        f"Tool-calling trajectories in the format `{summary['format']}`"
        + (f", preset `{summary['preset']}`" if summary["preset"] != "none" else "")
        + f". {total} of {summary['rows_in']} rows, seed {summary['seed']}.",
        markdown_table(
            ("file", "rows", "bytes", "calls", "tools", "pools"),
            [
                (
                    name,
                    f["rows"],
                    f["bytes"],
                    f["calls"],
                    f["tools"],
                    ", ".join(f"{k} {v}" for k, v in f["pools"].items()),
                )
                for name, f in files.items()
            ],
        ),
        "## Sources\n\nThe licence of each source holds for its rows.\n\n"
        + markdown_table(("source", "rows"), sorted(sources.items())),
    ]
    if summary["left_out"]:
        parts.append(
            "## Left out\n\n" + markdown_table(("reason", "rows"), [*summary["left_out"].items()])
        )
    if summary["missing"]:
        rows = [*summary["missing"].items()]
        parts.append(
            "## Fewer than the preset wants\n\n" + markdown_table(("kind", "missing"), rows)
        )
    if summary["not_carried"]:
        parts.append(f"## Not carried by the format\n\n{summary['not_carried']}.")
    return "\n\n".join(parts) + "\n"
