"""What a source turned out to be: its formats, how sure they are, and the fields nothing reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from raytune_agents.records import JsonObject

MOST_FIELDS = 200  # kept of one run: a map of ids has as many fields as rows
KEPT = "meta"  # where a row's own unread fields go; those of its parts go nowhere


class Unread(NamedTuple):
    """A field that nothing reads: the rows that have it, what one holds, and where it goes."""

    rows: int
    example: str
    goes_to: str


@dataclass
class SourceNotes:
    """Counts over rows; kept as plain values in the read step's manifest."""

    formats: dict[str, tuple[int, float]] = field(default_factory=dict)  # -> (rows, least sure)
    fields: dict[str, tuple[int, str]] = field(default_factory=dict)  # -> (rows, first example)
    redacted: Counter[str] = field(default_factory=Counter)  # kind of private data -> replaced
    more: int = 0  # fields beyond MOST_FIELDS, each as often as a row has it

    def add(
        self,
        format: str,
        sure: float,
        unread: Mapping[str, str],
        redacted: Mapping[str, int] | None = None,
    ) -> None:
        """Count one raw row that was read."""
        self.redacted.update(redacted or {})
        rows, least = self.formats.get(format, (0, 1.0))
        self.formats[format] = rows + 1, min(least, sure)
        for name, example in unread.items():
            if name in self.fields or len(self.fields) < MOST_FIELDS:
                rows, first = self.fields.get(name, (0, example))
                self.fields[name] = rows + 1, first
            else:
                self.more += 1

    @property
    def unread(self) -> dict[str, Unread]:
        """Field -> what is known of it, the most frequent first."""
        listed = sorted(self.fields.items(), key=lambda pair: (-pair[1][0], pair[0]))
        return {name: Unread(*seen, "nothing" if "." in name else KEPT) for name, seen in listed}

    def manifest(self) -> JsonObject:
        """`formats`, `unread` and `redacted` as JSON holds them."""
        formats = {
            n: {"rows": rows, "sure": round(sure, 3)} for n, (rows, sure) in self.formats.items()
        }
        unread = {name: unread_field._asdict() for name, unread_field in self.unread.items()}
        return {"formats": formats, "unread": unread} | (
            ({"unread_more": self.more} if self.more else {})
            | ({"redacted": dict(self.redacted.most_common())} if self.redacted else {})
        )

    def lines(self) -> list[str]:
        """What to say of it, a line each; nothing where all is read and certain."""
        out = [
            f"format {name}: only {sure:.0%} of what speaks for a format; write "
            f"read.sources.format={name} if it is right"
            for name, (_, sure) in self.formats.items()
            if sure < 0.6
        ]
        lost = [(n, u) for n, u in self.unread.items() if u.goes_to != KEPT]
        if lost:
            shown = ", ".join(f"{n} ({u.rows} rows)" for n, u in lost[:5])
            more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
            out.append(f"fields that nothing reads: {shown}{more}; see `read --explain`")
        if self.redacted:
            kinds = ", ".join(f"{n} {kind}" for kind, n in self.redacted.most_common())
            out.append(f"replaced as private: {kinds}; read.sources.redact=false keeps them")
        return out
