"""Every accepted training row as a method trains it, made once by Ray's workers: RUN/columns/KEY.

A part is a row group of the label step, so that no process holds more rows than one; a killed run
goes on with the missing ones. Rows of a method with pairs are made here: a pair joins rows from
anywhere in the data."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from raytune_agents.config import TrainConfig
from raytune_agents.infra.provenance import code_revision, marks, module_files
from raytune_agents.pipeline.rows import accepted, training_rows
from raytune_agents.records import FlatRow, Trajectory, content_hash, from_row
from raytune_agents.runs import COLUMNS, Step, row_groups
from raytune_agents.storage import GROUP_ROWS
from raytune_agents.train.methods import columns_recipe, method_named
from raytune_agents.train.tokenized import Tokenized, missing_parts, tokenize_part

if TYPE_CHECKING:
    from raytune_agents.pipeline.context import Context

TOKENIZER = ("*.json", "*.jinja", "*.model")  # files of a model's folder


def columns_key(context: Context, step: Step, method: str, config: TrainConfig) -> str:
    """Hash of what decides the columns: the labelled rows, the method's recipe, the tokenizer with
    its template, and the code."""
    files = [p for kind in TOKENIZER for p in sorted(context.model.glob(kind))]
    files += module_files(method) if ":" in method else []
    outside = [mark.content for mark in marks(files).values()]
    # The path may differ between machines; the files behind it are in the hash.
    chat = {k: v for k, v in context.chat.arguments.items() if k != "path"}
    recipe = columns_recipe(method, config)
    return content_hash([recipe, outside, chat, step.inputs["label"], code_revision()])


def tokenize(context: Context, step: Step, method: str, config: TrainConfig) -> Tokenized:
    """The training rows under a method, made where they are not there whole; read once for all
    arms that hold them."""
    folder = context.run.folder / COLUMNS / columns_key(context, step, method, config)
    if (held := context.tokenized.get(folder)) is not None:
        return held
    items = row_groups(sorted((context.run.folder / "label").glob("*.parquet")))
    left = [items[k] | {"number": k} for k in missing_parts(folder, len(items))]
    with context.display.step(f"tokenize {method}", len(left)) as bar:
        for _ in parts_made(context, left, folder, method, config):
            bar.update(1)
    found = context.tokenized[folder] = Tokenized.load(folder)
    return found


def parts_made(
    context: Context, items: list[FlatRow], folder: Path, method: str, config: TrainConfig
) -> Iterator[Any]:
    """Make the parts; one value for each, as it is done."""
    if not items:
        return
    chat, pairs_of = context.chat, method_named(method).pairs
    if pairs_of or len(items) == 1:  # one is sooner done than a worker is started
        pairs = pairs_of(training_rows(context.run.folder), config) if pairs_of else None
        for item in items:
            rows = group_rows(item["file"], item["group"])
            yield tokenize_part(folder, item["number"], rows, method, chat, config, pairs)
        return
    context.resources  # noqa: B018  Ray must run
    import ray

    def make(batch: FlatRow) -> FlatRow:
        found = zip(batch["file"], batch["group"], batch["number"])
        return {
            "rows": [
                tokenize_part(folder, int(n), group_rows(file, int(group)), method, chat, config)
                for file, group, n in found
            ]
        }

    ds = ray.data.from_items(items, override_num_blocks=len(items))
    ds.set_name("tokenize")
    yield from ds.map_batches(make, batch_size=1).iter_rows()  # type: ignore[arg-type]


def group_rows(file: str, group: int) -> Iterator[Trajectory]:
    """The training rows of one row group, a few held at a time."""
    with pq.ParquetFile(str(file)) as opened:
        for batch in opened.iter_batches(GROUP_ROWS // 16, row_groups=[group]):
            table = pa.Table.from_batches([batch])
            yield from map(from_row, table.filter(accepted(table, "train")).to_pylist())


def keep_columns(context: Context, kept: Collection[Path]) -> None:
    """Remove what no arm reads any more."""
    for old in (context.run.folder / COLUMNS).glob("*"):
        if old not in kept:
            shutil.rmtree(old)
