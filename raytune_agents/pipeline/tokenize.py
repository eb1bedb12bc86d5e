"""Every accepted training row as a method trains it, made once by Ray's workers: RUN/columns/KEY.

A part is a row group of the label step, so that no process holds more rows than one; a killed run
goes on with the missing ones. For a method with pairs, whose rows lie anywhere in the data, a part
is those of some first requests, which a shuffle brings together."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from raytune_agents.config import TrainConfig
from raytune_agents.infra import cluster
from raytune_agents.infra.provenance import code_revision, marks, module_files
from raytune_agents.negatives.preference_pairs import first_request
from raytune_agents.pipeline.context import Context
from raytune_agents.pipeline.rows import group_tables, training_rows
from raytune_agents.records import FlatRow, JsonObject, content_hash, from_row
from raytune_agents.runs import COLUMNS, Step
from raytune_agents.storage import GROUP_ROWS, row_groups
from raytune_agents.train.methods import Recipe
from raytune_agents.train.tokenized import Tokenized, missing_parts, tokenize_part

TOKENIZER = ("*.json", "*.jinja", "*/*.jinja", "*.model")  # files of a model's folder


def columns_key(recipe: Recipe, label: str) -> str:
    """Hash of what decides the columns: the labelled rows (their hash is `label`), the recipe, the
    tokenizer with its template, and the code."""
    files = [p for kind in TOKENIZER for p in sorted(Path(recipe.chat.path).glob(kind))]
    files += module_files(recipe.method) if ":" in recipe.method else []
    outside = [mark.content for mark in marks(files).values()]
    # The path may differ between machines; the files behind it are in the hash.
    chat = {k: v for k, v in recipe.chat.arguments.items() if k != "path"}
    return content_hash([recipe.decided_by(), outside, chat, label, code_revision()])


def tokenize(context: Context, step: Step, method: str, config: TrainConfig) -> Tokenized:
    """The training rows under a method, made where they are not there whole; read once for all
    arms that hold them."""
    recipe = Recipe(method, config, context.chat)
    folder = context.run.folder / COLUMNS / columns_key(recipe, step.inputs["label"])
    if (held := context.tokenized.get(folder)) is not None:
        return held
    items = row_groups(sorted((context.run.folder / "label").glob("*.parquet")))
    left = missing_parts(folder, len(items))
    with context.display.step(f"tokenize {method}", len(left)) as bar:
        for _ in parts_made(context, folder, recipe, items, left) if left else ():
            bar.update(1)
    found = context.tokenized[folder] = Tokenized.load(folder)
    return found


def parts_made(
    context: Context, folder: Path, recipe: Recipe, items: list[JsonObject], left: list[int]
) -> Iterator[Any]:
    """Make the parts `left`; one value for each, as it is done. `items`: all row groups. Few rows
    of pairs are made here: a shuffle would take longer."""
    paired = recipe.how.pairs is not None
    few = sum(item["rows"] for item in items) <= GROUP_ROWS
    pairs = recipe.pairs(training_rows(context.run.folder)) if paired and few else None

    def make(item: JsonObject) -> JsonObject:
        tables = group_tables(item["file"], item["group"])
        rows = (from_row(flat) for table in tables for flat in table.to_pylist())
        tokenize_part(folder, item["number"], rows, recipe, pairs)
        return {}

    todo = [items[k] | {"number": k} for k in left]
    if pairs is not None:
        yield from map(make, todo)
        return
    if paired or len(todo) > 1:
        context.resources  # noqa: B018  Ray must run
    if paired:
        yield from paired_parts(folder, recipe, items, left)
    else:
        yield from cluster.map_items("tokenize", todo, make)


def paired_parts(
    folder: Path, recipe: Recipe, items: list[JsonObject], left: list[int]
) -> Iterator[Any]:
    """The same for a method with pairs: Ray's workers meet the rows of each first request."""
    import ray

    parts = len(items)

    def by_request(batch: FlatRow) -> Iterator[pa.Table]:
        for file, group in zip(batch["file"], batch["group"]):
            for table in group_tables(file, int(group)):
                turns = ({"messages": text} for text in table["messages"].to_pylist())
                requests = (first_request(from_row(row)) for row in turns)
                part = np.array([zlib.crc32(r.encode()) % parts for r in requests], np.int32)
                table = table.append_column("part", pa.array(part))
                yield table.filter(pa.array(np.isin(part, left)))

    def make(table: pa.Table) -> pa.Table:
        number = table["part"][0].as_py()
        rows = {row.id: row for row in map(from_row, table.to_pylist())}
        tokenize_part(folder, number, rows.values(), recipe, recipe.pairs(rows))
        return pa.table({"part": [number]})

    ds = ray.data.from_items(items, override_num_blocks=parts)
    ds.set_name("tokenize pairs")
    requests = ds.map_batches(by_request, batch_size=1)
    made = requests.groupby("part", num_partitions=parts).map_groups(make, batch_format="pyarrow")
    yield from made.iter_rows()
    for empty in missing_parts(folder, parts):  # no request fell to them
        yield tokenize_part(folder, empty, [], recipe, {})
