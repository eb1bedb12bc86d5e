"""Readers: a row of any known source format -> Trajectory. One small file per format.

`sources.list_raw` finds the rows, `detection` tells their format, `read_row` makes trajectories;
`read_source` is all of it. A user's own reader is "module:function", with the same contract: (row)
-> Trajectory or a list of them; RecordError (or any plain error) makes the row a counted bad row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from raytune_agents.calls.results import in_call_order
from raytune_agents.config import SourceConfig
from raytune_agents.config.lookup import user_object
from raytune_agents.readers.decode import FileSpan, span_rows
from raytune_agents.readers.detection import READERS, Detected, Reader, detected, recognised
from raytune_agents.readers.fields import AccessedRow, readable, unread_fields, words_of
from raytune_agents.readers.hidden import with_hidden
from raytune_agents.readers.pairs import rated
from raytune_agents.readers.sources import files, hub_files, is_hub, is_packaged, list_raw
from raytune_agents.readers.strict import check_record
from raytune_agents.readers.turns import results_apart
from raytune_agents.readers.unpack import SourceError
from raytune_agents.records import (
    OWN_CODE,
    JsonObject,
    Message,
    RecordError,
    Trajectory,
    finish,
    row_reason,
)

# what programs recorded of people at work: secrets and private data are replaced unless a source
# says otherwise
RECORDED = words_of("recorded_formats")


def detect(row: JsonObject) -> str:
    """The format of a row. Raises RecordError where no known format fits, or two fit equally."""
    return recognised(row)[0].format


def reader_named(name: str) -> Reader:
    """The reader of a format name or of "module:function". Raises SourceError naming the known
    ones.
    """
    if name in READERS:
        return READERS[name]
    known = f"auto or one of {', '.join(sorted(READERS))}"
    return user_object(name, "read.sources.format", known, SourceError)


def read_row(
    raw: JsonObject,
    where: str,
    format: str = "auto",
    min_rating: float = 0.8,
    rating_max: float = 1.0,
    redact: bool | None = None,
) -> list[Trajectory]:
    """The trajectories of one raw row, with source, ids and pool set. Raises RecordError(reason).

    `where` is what `list_raw` said: "file:line". A known outcome below one half puts the row in the
    pool "negative.observed"; a reader may name a narrower pool itself. `redact` None means: the
    formats of RECORDED.
    """
    if not isinstance(raw, dict):
        raise RecordError(f"the row is a {type(raw).__name__}, not an object")
    name = format
    if format == "auto":
        found_format, raw = recognised(raw)
        name = found_format.format
    reader = reader_named(name)
    if name == "ratings":
        reader = partial(rated, min_rating=min_rating, rating_max=rating_max)
    own = AccessedRow(raw) if name not in READERS else None
    try:
        read = reader(raw if own is None else own)
        found = read if isinstance(read, list) else [read]
        if own is not None:
            own.note_unread()
            for made in found:
                check_record(made)
        if redact or (redact is None and name in RECORDED):
            found = [with_hidden(t) for t in found]
        finished = partial(_with_origin, name=name, where=where)
        # a log's conversations stand side by side; those of other rows may be each other's parents
        rows = readable(finished, found) if name in RECORDED else [finished(t) for t in found]
        return [replace(t, parents=_parents(t, rows)) if t.parents else t for t in rows]
    except RecordError:
        raise
    except OWN_CODE as error:  # the one row boundary: whatever a strange row does to a reader
        kind, _, reason = row_reason(error).partition(": ")
        first = (reason.splitlines() or [""])[0][:120]
        raise RecordError(f"{name}: {kind} {first}".rstrip()) from None


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A raw row of a source and what became of it."""

    where: str
    raw: JsonObject = field(default_factory=dict)
    rows: tuple[Trajectory, ...] = ()
    error: str = ""  # the reason of a bad row
    format: str = ""
    sure: float = 1.0  # of the format, see `detection`
    unread: dict[str, str] = field(default_factory=dict)  # field that nothing reads -> example

    @property
    def redacted(self) -> Counter[str]:
        """Kind of private data -> how many were replaced."""
        return sum((Counter(t.meta.get("redacted")) for t in self.rows), Counter())


def read_source(source: SourceConfig, span: FileSpan | None = None) -> Iterator[SourceRow]:
    """Every row of a source, or of some lines of its one file, good and bad. Raises SourceError
    where it cannot be read at all."""
    for where, raw in span_rows(source.path, span) if span else list_raw(source):
        yield read_raw(raw, where, source)


def read_raw(raw: JsonObject | RecordError, where: str, source: SourceConfig) -> SourceRow:
    """What `list_raw` found at one place, read."""
    if isinstance(raw, RecordError):
        return SourceRow(where, error=str(raw) or "bad row")
    found = Detected(source.format, 1.0)
    try:
        if source.format == "auto":
            found, raw = recognised(raw)
        with unread_fields() as unread:
            rows = read_row(
                raw, where, found.format, source.min_rating, source.rating_max, source.redact
            )
    except RecordError as error:
        return SourceRow(where, raw, (), str(error) or "bad row", found.format, found.sure)
    error = "" if rows else f"{found.format}: no trajectory in it"
    return SourceRow(where, raw, tuple(rows), error, found.format, found.sure, unread)


def _parents(row: Trajectory, rows: list[Trajectory]) -> tuple[str, ...]:
    """Ids for "@0": the trajectory at that place among those of the same raw row."""
    return tuple(rows[int(p[1:])].id if p.startswith("@") else p for p in row.parents)


def _settled(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Results beside their calls. Of turns in which nothing is said or called none stays before or
    after another of the assistant's, one that the user answers is not trained on, and one that a
    tool answers called something that is lost. Raises RecordError."""
    seen = any(m.role == "tool" for m in messages)
    turns = in_call_order(results_apart(messages)) if seen else messages
    if all(_says_something(m) for m in turns):
        return turns
    out: list[Message] = []
    for i, turn in enumerate(turns):
        after = turns[i + 1].role if i + 1 < len(turns) else ""
        answered = bool(out) and out[-1].role == "assistant" and _says_something(out[-1])
        if not _says_something(turn) and after and not turn.thought:
            if after == "tool" and not (answered and out[-1].tool_calls):
                raise RecordError("an observation after an assistant turn that calls nothing")
            if after == "user":
                out.append(replace(turn, loss=False))
        elif _says_something(turn) or after or not answered:
            out.append(turn)
    return tuple(out)


def _says_something(turn: Message) -> bool:
    return turn.role != "assistant" or bool(turn.tool_calls or turn.content.strip())


def _with_origin(row: Trajectory, name: str, where: str) -> Trajectory:
    for tool in (*(t.name for t in row.tools), *(c.name for c in row.calls)):
        if not tool.isprintable():
            raise RecordError(f"a tool name with control characters: {tool[:40]!r}")
    where = where.encode("utf-8", "backslashreplace").decode()  # a file's name may be no text
    file, _, line = where.rpartition(":")
    failed = row.outcome is not None and row.outcome < 0.5 and row.pool == "positive"
    source = file if file.startswith(f"{name}/") else f"{name}/{file or where}"
    changes: JsonObject = {
        "source": row.source or source,
        "source_id": row.source_id or line,
        "step": "read",
        "pool": "negative.observed" if failed else row.pool,
        "messages": _settled(row.messages),
    }
    return finish(replace(row, **changes))
