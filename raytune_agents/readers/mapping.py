"""What a reader makes of a source, for people: format, counts, and one row side by side.

Where a field goes is found by looking: its longest texts are searched in the trajectory, and
where none is found the row is read again without the field and the differences are named.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from raytune_agents import readers
from raytune_agents.config import SourceConfig
from raytune_agents.readers.notes import SourceNotes
from raytune_agents.records import JsonObject, RecordError, Trajectory

PREVIEW = 70
SHOWN_FIELDS = 40
SAMPLE = 10_000  # texts of one field that are searched for
WORDS = re.compile(r"[\w ]{13,60}")  # of a text, also within JSON: long enough to be no chance
NOT_READ = (
    "no row can be read; name its format (read.sources.format, see docs/names.md) or write a "
    "reader (docs/how/rows.md); a list of tools goes to init --tools"
)
TOOLLESS = "write read.sources.agent, whose spec has them"
PLAIN = ("source_id", "gold", "outcome", "outcome_word", "pool", "meta")


def _text_by_field(rows: list[Trajectory]) -> dict[str, str]:
    """Our field -> all its text in the trajectories of one raw row."""
    out: dict[str, str] = {}
    for row in rows:
        parts = [(f"messages ({m.role})", m.content) for m in row.messages]
        parts += [("thought", m.thought) for m in row.messages]
        parts += [("tool_calls", f"{c.name} {c.arguments}") for c in row.calls]
        parts += [("tools", f"{t.name} {t.description} {t.parameters}") for t in row.tools]
        parts += [(name, str(getattr(row, name))) for name in PLAIN]
        for name, text in parts:
            out[name] = f"{out[name]}\n{text}" if name in out else text
    return {name: text for name, text in out.items() if text.strip()}


def goes_to(raw: JsonObject, key: str, rows: list[Trajectory], format: str, where: str) -> str:
    """The fields of ours that a source's field ends up in, or "not kept"."""
    before = _text_by_field(rows)
    for other in _without(raw, key):
        try:
            after = _text_by_field(readers.read_row(other, where, format))
        except RecordError:
            continue
        found = [p for p in before | after if before.get(p) != after.get(p)]
        return ", ".join(found) or "not kept"
    value = raw[key] if isinstance(raw[key], str) else json.dumps(raw[key], default=str)
    texts = [found[0] for found in islice(WORDS.finditer(value), SAMPLE)]
    places = [p for p, text in before.items() if any(t in text for t in texts)]
    names = {c.name for row in rows for c in row.calls}  # too short to be found so
    if names and "tool_calls" not in places and all(name in value for name in names):
        places.append("tool_calls")
    return ", ".join(places) or "needed"


def _without(raw: JsonObject, key: str) -> Iterator[JsonObject]:
    """The row without a field, then with the field emptied in the ways readers may take."""
    yield {k: v for k, v in raw.items() if k != key}
    for empty in ("", "[]", [], {}):
        yield raw | {key: empty}


def _short(value: Any) -> Text:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text[: 4 * PREVIEW].split())
    return Text(text if len(text) <= PREVIEW else text[: PREVIEW - 1] + "…")


def _row_table(where: str, raw: JsonObject, rows: list[Trajectory], format: str) -> Table:
    table = Table(title=Text(f"{where} read as {format}"), title_justify="left")
    for head in ("source field", "value", "goes to"):
        table.add_column(head, overflow="fold")
    for key in list(raw)[:60]:
        table.add_row(Text(str(key)), _short(raw[key]), goes_to(raw, key, rows, format, where))
    return table


def _trajectory_table(row: Trajectory) -> Table:
    table = Table(title="the trajectory", title_justify="left")
    table.add_column("field")
    table.add_column("value", overflow="fold")
    for m in row.messages[:12]:
        calls = " ".join(f"{c.name}({c.arguments})" for c in m.tool_calls)
        text = " ".join(p for p in (f"[{m.thought}]" if m.thought else "", m.content, calls) if p)
        table.add_row(m.role + ("" if m.trained else " (no loss)"), _short(text))
    if row.messages[12:]:
        table.add_row("", f"{len(row.messages) - 12} more turns")
    table.add_row("tools", _short(", ".join(t.name for t in row.tools)))
    for name in ("pool", "outcome", "outcome_word", "gold", "source", "source_id"):
        table.add_row(name, _short(getattr(row, name)))
    table.add_row("meta", _short(", ".join(map(str, row.meta))))
    return table


def source_report(source: SourceConfig) -> Group:
    """Tables for the terminal: detected formats with counts, bad rows, one row's mapping side by
    side. Raises SourceError where the source cannot be read at all."""
    notes = SourceNotes()
    counts: dict[str, Counter[str]] = {}
    bad: Counter[str] = Counter()
    first_bad: dict[str, str] = {}
    tasks: Counter[str] = Counter()
    example: readers.SourceRow | None = None
    toolless = 0
    for found in readers.read_source(source):
        if found.error:
            bad[found.error] += 1
            first_bad.setdefault(found.error, found.where)
            continue
        notes.add(found.format, found.sure, found.unread, found.redacted)
        count = counts.setdefault(found.format, Counter())
        count["rows"] += 1
        example = example or found
        for row in found.rows:
            word = (
                "unknown" if row.outcome is None else "success" if row.outcome >= 0.5 else "failure"
            )
            count.update(["trajectories", word])
            count["calls"] += len(row.calls)
            toolless += bool(row.calls) and not row.tools
            tasks.update([str(row.meta["task_type"])] if "task_type" in row.meta else [])
    heads = ("rows", "trajectories", "success", "failure", "unknown", "calls")
    table = Table("format", "sure", *heads, title=Text(source.path), title_justify="left")
    for name, count in counts.items():
        table.add_row(name, f"{notes.formats[name][1]:.2f}", *(str(count[h]) for h in heads))
    parts: list[RenderableType] = [table if counts else Text(f"{source.path}: {NOT_READ}")]
    parts += [*_counted("task type", tasks), *_counted("bad rows", bad, first_bad)]
    if toolless:
        parts.append(Text(f"{toolless} rows with calls list no tools: {TOOLLESS}"))
    parts += [_unread_table(notes)] if notes.fields else []
    parts += _counted("replaced as private", notes.redacted)
    if example:
        rows = list(example.rows)
        parts.append(_row_table(example.where, example.raw, rows, example.format))
        parts.append(_trajectory_table(rows[0]))
    return Group(*parts)


def _unread_table(notes: SourceNotes) -> Table:
    """The fields that nothing reads; `meta` keeps those of the row itself, others are lost."""
    table = Table(title="fields that nothing reads", title_justify="left")
    for head in ("field", "rows", "example", "goes to"):
        table.add_column(head, overflow="fold")
    for name, unread in list(notes.unread.items())[:SHOWN_FIELDS]:
        table.add_row(Text(name), str(unread.rows), Text(unread.example), unread.goes_to)
    left = len(notes.fields) - SHOWN_FIELDS + notes.more
    if left > 0:
        table.add_row(f"{left} more", "", "", "")
    return table


def _counted(title: str, counts: Counter[str], first: dict[str, str] | None = None) -> list[Table]:
    """A table of counts, and of where each stood first; none where nothing was counted."""
    table = Table(title, "rows", *(["first"] if first else []))
    for name, n in counts.most_common(20):
        table.add_row(_short(name), str(n), *([Text(first[name])] if first else []))
    return [table] if counts else []
