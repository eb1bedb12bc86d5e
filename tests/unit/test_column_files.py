"""Tokenised rows in mapped files: the same values in the same order as rows in memory, whatever
their number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from raytune_agents.chat import IGNORE
from raytune_agents.train import batches
from raytune_agents.train.column_files import (
    TrainingRows,
    all_null,
    columns_table,
    padded_lengths,
    write_columns,
)

ROWS = [
    {
        "row_id": f"row-{k}", "pool": "positive" if k % 2 else "negative.x",
        "input_ids": list(range(5, 10 + k % 4)), "weights": None, "trained_tokens": 1 + k % 4,
        "labels": [IGNORE] * 4 + list(range(9, 10 + k % 4)),
    }
    for k in range(7)
]  # fmt: skip
PAIR = {
    "row_id": "pair", "pool": "negative.x", "prompt_ids": [1, 2, 3], "chosen_ids": [4, 5],
    "chosen_mask": [1, 1], "rejected_ids": [6, 7, 8, 9], "rejected_mask": [1, 0, 0, 1],
    "trained_tokens": 4,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_columns(tmp_path / "columns" / "rows-00000.arrow", ROWS[:4])
    write_columns(tmp_path / "columns" / "rows-00001.arrow", ROWS[4:])
    return tmp_path / "columns"


def test_a_training_takes_its_rows_in_the_order_of_the_mix_then_of_its_seed(
    folder: Path, tmp_path: Path
) -> None:
    mixed = [6, 0, 0, 3, 5]  # a row may come twice
    np.save(tmp_path / "rows.npy", np.array(mixed))
    rows = TrainingRows.mapped(folder, tmp_path / "rows.npy", tmp_path / "links")
    assert rows.lengths.tolist() == [len(ROWS[i]["input_ids"]) for i in mixed] == [7, 5, 5, 8, 6]
    assert rows.loss_tokens == 3 + 1 + 1 + 4 + 2
    assert rows.ids.to_pylist() == [f"row-{i}" for i in mixed]
    order = batches.order(rows.lengths.tolist(), 2, 2.0, seed=3)
    data, ids = rows.ordered(order, without={"row_id", "trained_tokens", "not there"})
    expected = [ROWS[mixed[i]] for i in order]
    assert ids.to_pylist() == [row["row_id"] for row in expected]
    kept = ("pool", "input_ids", "labels", "weights")
    assert data.to_list() == [{k: row[k] for k in kept} for row in expected]
    assert [f.name for f in sorted((tmp_path / "links").iterdir())] == [
        "0-rows-00000.arrow", "0-rows-00001.arrow"]  # fmt: skip


def test_rows_in_another_order_have_another_digest(folder: Path) -> None:
    mapped = TrainingRows.mapped(folder)
    assert mapped.data.to_list() == ROWS
    assert mapped.digest == TrainingRows.mapped(folder).digest
    assert mapped.digest != TrainingRows(mapped.data, mapped.numbers[::-1]).digest


def test_lengths_count_what_a_row_becomes() -> None:
    assert padded_lengths(columns_table([PAIR])).tolist() == [2 * (3 + 4)]
    unpaired = {"prompt_ids": [1, 2], "completion_ids": [3], "completion_mask": [1]}
    assert padded_lengths(columns_table([unpaired])).tolist() == [2 * (2 + 1)]
    asked = {"prompt": "text", "length": 90}
    assert padded_lengths(columns_table([asked, asked | {"length": 8}])).tolist() == [90, 8]


def test_weights_are_seen_in_the_rows_that_are_taken(folder: Path) -> None:
    weighed = {**ROWS[0], "row_id": "w", "weights": [0.0] * 4 + [0.5]}
    write_columns(folder / "rows-00002.arrow", [weighed])
    rows = TrainingRows.mapped(folder)
    assert not all_null(rows.data, "weights")
    assert all_null(rows.data.select(range(7)), "weights")
    assert rows.data[7]["weights"] == weighed["weights"]
