"""How long rows are, before anything starts: what `model.max_length: auto` stands for, and what a
limit costs.

Rows evenly spread over the first ones of each source are written by the model's template, and
positives drawn for the agents beside them, as the run would have both.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from raytune_agents import models, readers
from raytune_agents.chat import UNLIMITED, Chat
from raytune_agents.config import Config, SourceConfig
from raytune_agents.generate import sampling
from raytune_agents.mirror import folder_of_run
from raytune_agents.pipeline.read import with_fewer_tools
from raytune_agents.records import RecordError, Trajectory
from raytune_agents.storage import read_json

READ, ENCODED, SAMPLED = 2000, 256, 32  # raw rows of a source, those tokenised, drawn positives
KEPT = 0.98  # share of rows that auto has room for
MULTIPLE = 64
ROOM = 128  # tokens of an answer beyond the longest row, that the engine has room for
USUAL = 1024  # where there is no row to look at
COSTLY = 0.05  # share of rows left out that is worth a warning


@dataclass(frozen=True)
class RowLengths:
    """Tokens of prompt and answer of the rows that were looked at, the shortest first."""

    tokens: Sequence[int]

    def lost(self, limit: int) -> float:
        """Share of the rows that are longer than `limit`."""
        return sum(n > limit for n in self.tokens) / max(1, len(self.tokens))

    def auto(self, most: int) -> int:
        """A multiple of MULTIPLE that KEPT of the rows are within, `most` at most."""
        longest = self.tokens[math.ceil(KEPT * len(self.tokens)) - 1] if self.tokens else USUAL
        return min(most, MULTIPLE * math.ceil(longest / MULTIPLE))

    def describe(self, limit: int) -> str:
        """What a limit costs, in words, and what to write where it is much."""
        said = f"model.max_length={limit}"
        if not self.tokens:
            return said
        longest, lost = self.tokens[-1], self.lost(limit)
        write = f"; write {self.auto(longest)}" if lost > COSTLY else ""
        looked_at = f"{len(self.tokens)} rows looked at (longest {longest})"
        return f"{said} leaves out {lost:.0%} of {looked_at}{write}"


def row_lengths(config: Config) -> RowLengths:
    """Of rows of the sources and drawn positives; those that cannot be read or written are left
    out, as the run counts them."""
    chat = Chat.of(models.resolve(config.model), config.model)
    # Without a limit: what is asked is how long the rows would be.
    chat, found = Chat(**chat.arguments | {"max_length": UNLIMITED}), []
    read = (row for s in config.read.sources for row in sampled_rows(s, READ, ENCODED))
    shown = (with_fewer_tools(row, config.read.tools) for row in read)
    few = config.generate.model_copy(update={"rows": min(SAMPLED, config.generate.rows)})
    made = sampling.sample_rows(few, config.seed).rows if few.rows else []
    for row in chain(shown, made):
        with contextlib.suppress(RecordError):
            found += [len(example.input_ids) for example in chat.encode(row)]
    return RowLengths(sorted(found))


def sampled_rows(source: SourceConfig, first: int, count: int) -> Iterator[Trajectory]:
    """Rows of about `count` raw ones, evenly spread over the `first` of a source; bad ones give
    none."""
    raw = list(islice(readers.list_raw(source), first))
    # Files are often sorted: the first rows alone may be the short ones.
    for where, one in raw[:: max(1, len(raw) // count)]:
        yield from readers.read_raw(one, where, source).rows


def with_max_length(config: Config) -> tuple[Config, RowLengths]:
    """The config with model.max_length as a number: auto is KEPT of the rows, as far as the model
    reads, and the engine has room for it. And the lengths of the rows."""
    lengths = row_lengths(config)
    if config.model.max_length:
        return config, lengths
    limit = lengths.auto(models.max_positions(models.resolve(config.model)) - ROOM)
    return with_limit(config, limit), lengths


def with_limit(config: Config, limit: int) -> Config:
    """The config with `limit` as its max_length, and room for it in the engine."""
    engine = max(config.engine.max_model_len, limit + ROOM)
    update = {
        "model": config.model.model_copy(update={"max_length": limit}),
        "engine": config.engine.model_copy(update={"max_model_len": engine}),
    }
    return config.model_copy(update=update)


def with_kept_length(config: Config) -> Config:
    """The config with the number that auto was when its run was begun, where there is one: a
    finished run is recognised by it at once. Other rows are seen by the keys of the steps."""
    path = folder_of_run(config) / "config.json"
    if config.model.max_length or not path.is_file():
        return config
    # Else a finished run would read its sources only to find that nothing is left to do.
    limit = read_json(path)["model"]["max_length"]
    return with_limit(config, limit) if limit else config
