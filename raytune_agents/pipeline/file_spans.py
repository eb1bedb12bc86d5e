"""A large local file of JSON lines or Parquet as several work items of the read step, for several
workers.

Packed files stay whole, as nothing in them can be found by its place; so do files behind a URL."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from raytune_agents.config import SourceConfig
from raytune_agents.infra import cluster
from raytune_agents.readers.decode import FileSpan, span_rows
from raytune_agents.readers.sessions import is_event
from raytune_agents.readers.unpack import CHUNK, LINES, SourceError, file_kind, open_bytes
from raytune_agents.records import JsonObject

SPAN_BYTES = 64 * 2**20  # that a task reads


def spans_of(items: Sequence[JsonObject]) -> list[JsonObject]:
    """Work items in which a large file is several: of SPAN_BYTES or more each, of rows that keep
    their numbers. A log stays whole: its events are gathered over all of the file."""
    parts: list[JsonObject] = []
    for k, item in enumerate(items):
        source = SourceConfig.model_validate_json(item["source"])
        large = "://" not in source.path and Path(source.path).is_file()
        if large and source.limit is None and Path(source.path).stat().st_size >= 2 * SPAN_BYTES:
            spans = file_spans(source.path)
            parts += [{"item": k, "path": source.path, "start": a, "end": b} for a, b in spans]
    found: dict[int, list[JsonObject]] = defaultdict(list)
    for part, about in zip(parts, cluster.map_items("spans", parts, span_facts)):
        found[part["item"]].append(part | about)
    out = []
    for k, item in enumerate(items):
        row, several = 1, found[k]
        if any(part["whole"] for part in several) or not any(part["found"] for part in several):
            out.append(item | {"span": ""})
            continue
        for part in several:
            out.append(item | {"span": json.dumps([part["start"], part["end"], row])})
            row += part["rows"]
    return out


def file_spans(path: str) -> list[tuple[int, int]]:
    """(start, end) of the FileSpans of a plain file, [] of one that stays whole."""
    kind, packed = file_kind(path)
    if packed or kind not in (*LINES, ".parquet"):
        return []
    if kind == ".parquet":
        starts, end = group_starts(path, SPAN_BYTES)
    else:
        starts, end = line_starts(path, SPAN_BYTES), Path(path).stat().st_size
    return list(zip(starts, [*starts[1:], end]))


def line_starts(path: str, step: int) -> list[int]:
    """Where the first line at or after each multiple of `step` bytes begins, from 0 on."""
    with open_bytes(path) as handle:
        size, starts = handle.seek(0, 2), [0]
        for at in range(step, size, step):
            handle.seek(at - 1)  # a line may begin just there
            while (text := handle.readline(CHUNK)) and not text.endswith(b"\n"):
                pass
            if starts[-1] < handle.tell() < size:
                starts.append(handle.tell())
    return starts


def group_starts(path: str, step: int) -> tuple[list[int], int]:
    """The first row group of each `step` bytes, and how many there are; none of a file that is not
    whole, which the read itself says."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    starts, held = [], step
    try:
        about = pq.read_metadata(path)
    except (pa.ArrowException, OSError):
        return [], 0
    for k in range(about.num_row_groups):
        if held >= step:
            starts, held = [*starts, k], 0
        group = about.row_group(k)
        held += sum(group.column(i).total_compressed_size for i in range(group.num_columns))
    return starts, about.num_row_groups


def span_facts(part: JsonObject) -> JsonObject:
    """How many rows (lines, of JSON lines) a part of a file has, whether anything is found in it,
    and whether the file must stay whole: a log, or one whose fault its read is to tell."""
    found = whole = False
    try:
        for _, row in span_rows(part["path"], FileSpan(part["start"], part["end"])):
            found, whole = True, is_event(row)
            if whole:  # no need to look on
                break
    except SourceError:
        whole = True
    return {"rows": span_length(part), "found": found, "whole": whole}


def span_length(part: JsonObject) -> int:
    """Its lines, blank ones too, or the rows of its row groups."""
    path, start, end = part["path"], part["start"], part["end"]
    if file_kind(path)[0] == ".parquet":
        import pyarrow.parquet as pq

        about = pq.read_metadata(path)
        return sum(about.row_group(k).num_rows for k in range(start, end))
    with open_bytes(path) as file:
        file.seek(start)
        parts = iter(lambda: file.read(min(CHUNK, end - file.tell())), b"")
        return sum(text.count(b"\n") for text in parts)
