"""Rows -> a folder: JSON lines a file, `dataset_summary.json`, and a dataset card (README.md).

A wrong answer is no target: rows known to be wrong are written only where the format labels them
(trl_label, trl_pairs) or with NAT's markers in the request. Every row is counted: written, or
left out with its reason.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from raytune_agents.chat import mark
from raytune_agents.config import ExportSection
from raytune_agents.exports import LOSES, PAIR_WRITERS, resolve, splits
from raytune_agents.exports.card import card
from raytune_agents.records import RecordError, Trajectory

LABELLED = ("trl_label",)


def is_wrong(row: Trajectory) -> bool:
    """Whether the row's answer is known to be wrong."""
    return bool(row.fault) or (row.outcome is not None and row.outcome < 0.5)


def lines(
    rows: Iterable[Trajectory],
    format: str,
    markers: tuple[str, str] | None,
    by_id: dict[str, Trajectory],
    left_out: Counter[str],
) -> Iterator[tuple[Trajectory, dict[str, Any]]]:
    """(row, what is written for it) of a file; rows the format cannot carry are counted."""
    pair = PAIR_WRITERS.get(format)
    write = None if pair else resolve(format)
    for row in rows:
        try:
            if pair:
                twin = next((by_id[p] for p in row.parents if p in by_id), None)
                if not is_wrong(row) or twin is None:
                    left_out["not the rejected half of a pair"] += 1
                    continue
                yield row, pair(twin, row)
                continue
            if format not in LABELLED and markers:
                row = replace(row, messages=mark(row.messages, markers[is_wrong(row)]))
            elif format not in LABELLED and is_wrong(row):
                raise RecordError("a wrong answer, and no label or marker that says so")
            yield row, write(row)
        except RecordError as error:
            left_out[str(error)[:80]] += 1


def write_files(
    rows: Iterable[Trajectory],
    folder: str | Path,
    section: ExportSection,
    seed: int = 17,
    markers: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """Write the files of a format or preset; returns what dataset_summary.json holds.

    `markers` are NAT's texts (right, wrong). Raises ConfigError on an unknown format. The folder
    gets its summary last, so a folder with a summary is a whole one.
    """
    if section.format not in PAIR_WRITERS:
        resolve(section.format)  # an unknown one stops before anything is written
    pool = list(rows)
    by_id = {r.id: r for r in pool}
    parts = (
        splits.agent_flan(pool, section.scale, seed)
        if section.preset == "agent_flan"
        else splits.plain(pool, section.val_share, seed)
    )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for stem, members in parts.files.items():
        found = lines(members, section.format, markers, by_id, parts.left_out)
        files[f"{stem}.jsonl"] = _write_one(folder / f"{stem}.jsonl", found)
    summary = {
        "format": section.format,
        "preset": section.preset,
        "scale": section.scale,
        "seed": seed,
        "rows_in": len(pool),
        "rows_out": sum(f["rows"] for f in files.values()),
        "left_out": dict(parts.left_out.most_common()),
        "missing": parts.missing,
        "not_carried": LOSES.get(section.format, ""),
        "files": files,
    }
    _save(folder / "README.md", card(summary, folder.name))
    _save(folder / "dataset_summary.json", json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    return summary


def _save(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def _write_one(path: Path, found: Iterator[tuple[Trajectory, dict[str, Any]]]) -> dict[str, Any]:
    """Write one file and describe it."""
    digest, counts = hashlib.sha256(), {k: Counter() for k in ("pools", "sources", "roles")}
    rows = calls = longest = size = 0
    names: set[str] = set()
    part = path.with_name(path.name + ".part")
    with part.open("wb") as out:
        for row, value in found:
            line = json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"
            out.write(line)
            digest.update(line)
            rows, calls = rows + 1, calls + len(row.calls)
            size, longest = size + len(line), max(longest, len(line))
            names.update(t.name for t in row.tools)
            counts["pools"][row.pool] += 1
            counts["sources"][row.source] += 1
            counts["roles"].update(m.role for m in row.messages)
    os.replace(part, path)
    about = {k: dict(c.most_common()) for k, c in counts.items()}
    return {"rows": rows, "bytes": size, "longest_row_bytes": longest, "calls": calls,
            "tools": len(names), "sha256": digest.hexdigest()} | about  # fmt: skip
