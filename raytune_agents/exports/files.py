"""Rows -> a folder: JSON lines, one file per split, `dataset_summary.json`, and a dataset card
(README.md).

A wrong answer is no target: rows known to be wrong are written only where the format labels them
(trl_label, trl_pairs) or with NAT's markers in the request. Every row is counted: written, or
left out with its reason. Rows stream: what is held is their names and labels, and for trl_pairs
the better halves.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from raytune_agents.chat import mark
from raytune_agents.config import ExportConfig
from raytune_agents.exports import LOSES, PAIR_WRITERS, splits, writer_named
from raytune_agents.exports.card import card
from raytune_agents.exports.pricing import provider_problems, roughly
from raytune_agents.records import ROW_FAULTS, JsonObject, RecordError, Trajectory, row_reason
from raytune_agents.storage import whole_file, write_text

LABELLED = ("trl_label",)
Written = tuple[Trajectory, JsonObject]
Marker = Callable[[Trajectory], str]


def written_file(
    row: Trajectory, format: str, marker: Marker | None, better: dict[str, Trajectory]
) -> Written:
    """(the row, what is written for it). Raises RecordError where the format cannot carry it."""
    if format in PAIR_WRITERS:
        chosen = next((better[p] for p in row.parents if p in better), None)
        if not row.failed or chosen is None:
            raise RecordError("not the rejected half of a pair")
        return row, PAIR_WRITERS[format](chosen, row)
    if format not in LABELLED and marker:
        row = replace(row, messages=mark(row.messages, marker(row)))
    elif format not in LABELLED and row.failed:
        raise RecordError("a wrong answer, and no label or marker that says so")
    return row, writer_named(format)(row)


def better_halves(
    rows: Iterable[Trajectory], files: dict[str, list[Trajectory]]
) -> dict[str, Trajectory]:
    """By id, the accepted rows that a failed row of the same file was made from."""
    made = {(stem, p) for stem, part in files.items() for r in part if r.failed for p in r.parents}
    return {row.id: row for stem, _, row in splits.chosen(rows, files) if (stem, row.id) in made}


def validate_format(name: str) -> None:
    """Raises ConfigError where no writer has this name."""
    if name not in PAIR_WRITERS:
        writer_named(name)


def write_files(
    rows: Iterable[Trajectory],
    folder: str | Path,
    config: ExportConfig,
    seed: int = 17,
    marker: Marker | None = None,
) -> JsonObject:
    """Write the files of a format or preset; returns what dataset_summary.json holds.

    `rows` are gone through more than once: a list, or `storage.StoredRows`. `marker` gives a
    row's marker (`train.nat`). Raises ConfigError on an unknown format. The folder gets its summary
    last, so a folder with a summary is a whole one.
    """
    validate_format(config.format)  # before anything is written
    slim = list(map(splits.slim, rows))
    if config.preset == "agent_flan":
        parts = splits.agent_flan(slim, config.scale, seed)
    else:
        parts = splits.plain(slim, config.val_share, seed)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    better = better_halves(rows, parts.files) if config.format in PAIR_WRITERS else {}
    with ExitStack() as stack:
        files = {stem: _File(folder / f"{stem}.jsonl", stack) for stem in parts.files}
        for stem, position, row in splits.chosen(rows, parts.files):
            try:
                files[stem].add(position, *written_file(row, config.format, marker, better))
            except ROW_FAULTS as error:
                parts.left_out[row_reason(error)[:80]] += 1
        about = {file.path.name: file.finish() for file in files.values()}
    refused = {
        file.path.name: found
        for stem, file in files.items()
        if stem.endswith("train")
        and (found := provider_problems(config.format, file.tokens, file.size))
    }
    summary = {
        "format": config.format,
        "preset": config.preset,
        "scale": config.scale,
        "seed": seed,
        "rows_in": len(slim),
        "rows_out": sum(f["rows"] for f in about.values()),
        "left_out": dict(parts.left_out.most_common()),
        "missing": parts.missing,
        "would_be_refused": refused,
        "not_carried": LOSES.get(config.format, ""),
        "files": about,
    }
    write_text(folder / "README.md", card(summary, folder.name))
    text = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
    write_text(folder / "dataset_summary.json", text)
    return summary


class _File:
    """One file: lines come in any order into a scratch file and are put in their places at the
    end."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.path, self.size, self.calls = path, 0, 0
        self.tokens: list[int] = []  # of each row, roughly
        self.lines: list[tuple[int, int, int]] = []  # place, offset, bytes
        self.tools: set[str] = set()
        self.counts: dict[str, Counter[str]] = {k: Counter() for k in ("pools", "sources", "roles")}
        name = path.with_name(path.name + ".scratch")
        self.scratch = stack.enter_context(name.open("w+b"))
        stack.callback(name.unlink, missing_ok=True)

    def add(self, position: int, row: Trajectory, value: JsonObject) -> None:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        line = text.encode() + b"\n"
        self.scratch.write(line)
        self.lines.append((position, self.size, len(line)))
        self.tokens.append(roughly(text))
        self.size, self.calls = self.size + len(line), self.calls + len(row.calls)
        self.tools.update(t.name for t in row.tools)
        self.counts["pools"][row.pool] += 1
        self.counts["sources"][row.source] += 1
        self.counts["roles"].update(m.role for m in row.messages)

    def finish(self) -> JsonObject:
        """Write the file and describe it."""
        digest = hashlib.sha256()
        with whole_file(self.path) as part, part.open("wb") as out:
            for _, offset, length in sorted(self.lines):
                self.scratch.seek(offset)
                line = self.scratch.read(length)
                out.write(line)
                digest.update(line)
        longest = max((length for *_, length in self.lines), default=0)
        about = {k: dict(c.most_common()) for k, c in self.counts.items()}
        return {
            "rows": len(self.lines),
            "bytes": self.size,
            "longest_row_bytes": longest,
            "calls": self.calls,
            "tools": len(self.tools),
            "sha256": digest.hexdigest(),
        } | about
