"""A large file of JSON lines as several work items of the read step, for several workers.

Packed files stay whole, as nothing in them can be found by its place; Parquet files and hub sets do
too."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from raytune_agents.config import SourceConfig
from raytune_agents.infra import cluster
from raytune_agents.readers.decode import LineSpan, line_starts, span_rows
from raytune_agents.readers.sessions import is_event
from raytune_agents.readers.unpack import CHUNK, LINES, file_kind
from raytune_agents.records import JsonObject

SPAN_BYTES = 64 * 2**20  # that a task reads


def spans_of(items: Sequence[JsonObject]) -> list[JsonObject]:
    """Work items in which a large plain file of JSON lines is several: of SPAN_BYTES each, of lines
    that keep their numbers. A log stays whole: its events are gathered over all of the file."""
    parts: list[JsonObject] = []
    for k, item in enumerate(items):
        source = SourceConfig.model_validate_json(item["source"])
        path, plain = Path(source.path), file_kind(source.path)
        large = plain[0] in LINES and not plain[1] and "://" not in source.path
        if large and source.limit is None and path.stat().st_size >= 2 * SPAN_BYTES:
            starts = line_starts(source.path, SPAN_BYTES)
            ends = [*starts[1:], path.stat().st_size]
            parts += [
                {"item": k, "path": source.path, "start": a, "end": b} for a, b in zip(starts, ends)
            ]
    found: dict[int, list[JsonObject]] = defaultdict(list)
    for part, about in zip(parts, cluster.map_items("lines", parts, span_facts)):
        found[part["item"]].append(part | about)
    out = []
    for k, item in enumerate(items):
        line, several = 1, found[k]
        if any(part["events"] for part in several) or not any(part["rows"] for part in several):
            out.append(item | {"span": ""})
            continue
        for part in several:
            out.append(item | {"span": json.dumps([part["start"], part["end"], line])})
            line += part["lines"]
    return out


def span_facts(part: JsonObject) -> JsonObject:
    """How many lines some bytes of a file have, and whether rows, or a log's events, are in
    them."""
    lines, at = 0, part["start"]
    with open(part["path"], "rb") as file:
        file.seek(at)
        while at < part["end"] and (text := file.read(min(CHUNK, part["end"] - at))):
            lines, at = lines + text.count(b"\n"), at + len(text)
    rows = events = False
    for _, row in span_rows(part["path"], LineSpan(part["start"], part["end"])):
        rows, events = True, is_event(row)
        if events:  # the file stays whole: no need to look on
            break
    return {"lines": lines, "rows": rows, "events": events}
