"""Rows tokenised once: the columns, costs and checks of a method that reads the rows themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from finished import finish_step
from method_rows import BAD, GOOD, ROWS, section_of, small_chat

from raytune_agents.chat import Chat
from raytune_agents.config import ConfigError, load_config
from raytune_agents.mix import RowKind
from raytune_agents.pipeline.context import Context
from raytune_agents.pipeline.mix import row_counts
from raytune_agents.pipeline.rows import drawn_rows, stored_training_rows, training_rows
from raytune_agents.pipeline.tokenize import tokenize
from raytune_agents.progress import Display
from raytune_agents.records import Message, Trajectory, finish
from raytune_agents.storage import write_rows
from raytune_agents.train import methods
from raytune_agents.train.column_files import TrainingRows, columns_table, write_columns
from raytune_agents.train.methods import METHODS, Recipe
from raytune_agents.train.tokenized import (
    Tokenized,
    missing_parts,
    tokenize_part,
    validate_mixed,
)

ALL = [*GOOD, *BAD]


@pytest.fixture(scope="module")
def chat() -> Chat:
    return small_chat()


def pairs_of(method: str) -> dict | None:
    how = METHODS[method]
    return dict(how.pairs(ROWS, section_of())) if how.pairs else None


def made(folder: Path, method: str, chat: Chat, rows: Sequence[Trajectory] = ALL) -> Tokenized:
    """The rows in two parts."""
    half = len(rows) // 2
    for number, part in enumerate((rows[:half], rows[half:])):
        tokenize_part(folder, number, part, Recipe(method, section_of(), chat), pairs_of(method))
    return Tokenized.load(folder)


@pytest.mark.parametrize("method", ["sft", "vanilla", "nat", "inverse", "dpo", "kto", "grpo"])
def test_what_is_trained_is_what_the_method_makes_of_the_chosen_rows(
    chat: Chat, tmp_path: Path, method: str
) -> None:
    found, config, pairs = made(tmp_path, method, chat), section_of(), pairs_of(method)
    costs = dict.fromkeys(ROWS, 0)
    for i, row in ROWS.items():
        if METHODS[method].takes(row) and (pairs is None or i in pairs):
            columns, _ = methods.build_columns(method, [row], chat, config, pairs)
            costs[i] = sum(column["trained_tokens"] for column in columns)
    assert dict(zip(found.ids, found.facts["tokens"].to_pylist())) == costs
    assert found.costs() == [(r.id, r.pool, costs[r.id]) for r in ALL if costs[r.id]]
    assert found.kinds == [RowKind.of(row) for row in ALL]
    taken = [i for i, _, _ in found.costs()][::-1] * 2
    positions = found.positions(taken)
    expected, _ = methods.build_columns(method, [ROWS[i] for i in taken], chat, config, pairs)
    rows = TrainingRows(TrainingRows.mapped(tmp_path).data, found.numbers(positions))
    assert rows.data.select(rows.numbers).to_list() == columns_table(expected).to_pylist()
    assert rows.loss_tokens == sum(costs[i] for i in taken)
    validate_mixed(Recipe(method, config, chat), found, positions, lambda ids: ROWS)


def test_rows_that_become_several_examples_or_none_keep_their_numbers(tmp_path: Path) -> None:
    found = made(tmp_path, "sft", small_chat(), GOOD[:4])
    facts = found.facts.set_column(5, "examples", [[2, 0, 1, 3]])
    several = Tokenized(found.folder, facts, first=np.array([0, 2, 2, 3]))
    positions = several.positions([GOOD[3].id, GOOD[1].id, GOOD[0].id, GOOD[3].id])
    assert several.numbers(positions).tolist() == [3, 4, 5, 0, 1, 3, 4, 5]
    with pytest.raises(KeyError, match="1 rows are not in"):
        several.positions([GOOD[0].id, "nobody"])


def test_a_row_that_stands_twice_counts_once(chat: Chat, tmp_path: Path) -> None:
    found = made(tmp_path, "sft", chat, [GOOD[0], GOOD[1], GOOD[1], GOOD[0], GOOD[2]])
    assert found.ids == [GOOD[0].id, GOOD[1].id, GOOD[2].id]
    assert found.numbers(found.positions(found.ids)).tolist() == [0, 1, 4]


def test_a_killed_run_makes_the_parts_that_are_missing(chat: Chat, tmp_path: Path) -> None:
    made(tmp_path, "sft", chat)
    assert missing_parts(tmp_path, 4) == [2, 3]
    (tmp_path / "part-00000.json").unlink()  # killed before it was written
    assert missing_parts(tmp_path, 2) == [0]


@pytest.mark.parametrize("file", ["rows-00001.arrow", "facts-00001.parquet", "part-00001.json"])
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_a_part_whose_files_are_not_whole_is_missing(
    chat: Chat, tmp_path: Path, file: str, harm: str
) -> None:
    made(tmp_path, "sft", chat)
    path = tmp_path / file
    data = bytearray(path.read_bytes())
    if harm == "flip":
        data[len(data) // 2] ^= 255
    path.write_bytes(data if harm == "flip" else data[:-9])
    if harm == "remove":
        path.unlink()
    assert missing_parts(tmp_path, 2) == [1]


def test_a_run_makes_damaged_columns_again_and_reads_shared_ones_once(tmp_path: Path) -> None:
    config = load_config(None, [f"runs_dir={tmp_path}", "model.max_length=900"])
    context = Context(config, Display())
    folder = context.run.folder
    for name in ("read", "generate"):
        finish_step(folder / name)
    write_rows(folder / "label" / "rows-00000.parquet", ALL)
    finish_step(folder / "label")
    step, options = context.step("mix"), config.train
    first = tokenize(context, step, "sft", options)
    assert tokenize(context, step, "nut", options) is first  # of the same columns
    assert tokenize(context, step, "vanilla", options).folder != first.folder
    expected = TrainingRows.mapped(first.folder).data.to_list()
    (file,) = first.folder.glob("*.arrow")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert context.tokenized.pop(first.folder) is first  # another step holds none
    again = tokenize(context, step, "sft", options)
    assert file.read_bytes() == whole
    assert TrainingRows.mapped(again.folder).data.to_list() == expected
    folder = first.folder
    del first, again
    assert folder not in context.tokenized
    context.close()


def test_refused_rows_say_why_and_masked_or_shifted_ones_stop_the_arm(
    chat: Chat, tmp_path: Path
) -> None:
    short = Chat(chat.path, max_length=40)
    found = made(tmp_path / "short", "vanilla", short, GOOD)
    assert set(found.facts["refused"].to_pylist()) == {"longer than model.max_length=40 tokens"}
    assert found.costs() == []
    recipe = Recipe("vanilla", section_of(), short)
    with pytest.raises(ConfigError, match="the mix is empty"):
        validate_mixed(recipe, found, found.positions([]), lambda ids: ROWS)
    masked = section_of(
        "sft={reasoning: 1, answer: 0, retrieval: 0, understanding: 0, instruction: 0}"
    )
    recipe = Recipe("vanilla", masked, chat)
    tokenize_part(tmp_path / "masked", 0, GOOD, recipe)
    found = Tokenized.load(tmp_path / "masked")
    with pytest.raises(ConfigError, match="has no trained token"):
        validate_mixed(recipe, found, found.positions(found.ids), lambda ids: ROWS)
    found = made(tmp_path / "shifted", "vanilla", chat, GOOD)
    columns, _ = methods.build_columns("vanilla", GOOD, chat, section_of(), None)
    columns[0]["input_ids"][3] += 1
    write_columns(tmp_path / "shifted" / "rows-00000.arrow", columns)
    (tmp_path / "shifted" / "rows-00001.arrow").unlink()
    recipe = Recipe("vanilla", section_of(), chat)
    with pytest.raises(ConfigError, match="trained on another prompt"):
        validate_mixed(recipe, found, found.positions(found.ids), lambda ids: ROWS)


def test_a_row_is_refused_where_no_arm_trains_on_it_and_one_says_why() -> None:
    def facts(tokens: list[int], refused: list[str]) -> pa.Table:
        return pa.table({"tokens": pa.array(tokens, pa.int32()), "refused": refused})

    sft = facts([5, 0, 0, 0], ["", "too long", "too long", ""])
    dpo = facts([0, 0, 9, 0], ["", "no pair", "", ""])
    counts = row_counts([sft, dpo])
    assert (counts.rows_in, counts.rows_out, counts.rejected) == (4, 3, {"too long": 1})
    assert row_counts([dpo]).rejected == {"no pair": 1}


def test_only_accepted_training_rows_are_read_and_only_those_asked_for(tmp_path: Path) -> None:
    rejected, held = replace(GOOD[1], reject_reason="duplicate:x"), replace(GOOD[2], split="val")
    write_rows(tmp_path / "label" / "rows-00000.parquet", [GOOD[0], rejected])
    write_rows(tmp_path / "label" / "rows-00001.parquet", [held, GOOD[3]])
    assert list(training_rows(tmp_path)) == [GOOD[0].id, GOOD[3].id]
    assert list(training_rows(tmp_path, [GOOD[3].id, GOOD[2].id])) == [GOOD[3].id]
    stored = stored_training_rows(tmp_path)
    assert [row.id for row in stored] == [row.id for row in stored] == [GOOD[0].id, GOOD[3].id]


def test_the_rows_that_generation_works_from_are_an_even_draw_of_each_split(tmp_path: Path) -> None:
    rows = [
        finish(
            Trajectory(
                (Message("user", f"question {k}"), Message("assistant", "yes")),
                split="val" if k % 100 == 0 else "train",
                reject_reason="no" if k % 10 == 1 else "",
            )
        )
        for k in range(2000)
    ]
    for k in range(2):
        write_rows(tmp_path / "read" / f"rows-{k}.parquet", rows[1000 * k : 1000 * (k + 1)])
    every, found = drawn_rows(tmp_path, 0)
    assert found == {"train": 1780, "val": 20}
    assert [r.id for r in every if r.split == "train"] == [
        r.id for r in rows if r.split == "train" and not r.reject_reason
    ]
    drawn, found = drawn_rows(tmp_path, 0, most=200)
    assert found == {"train": 1780, "val": 20}
    own = {r.id for r in drawn if r.split == "train"}
    assert len(own) == 200
    assert len(drawn) == 220
    # 200 of 1,780, half of them expected from the second file: 100, standard deviation 6.7.
    assert 70 < sum(row.id in own for row in rows[1000:]) < 130
    assert drawn == drawn_rows(tmp_path, 0, most=200)[0]
    assert drawn != drawn_rows(tmp_path, 1, most=200)[0]


def test_a_row_that_no_template_can_render_is_counted(chat: Chat, tmp_path: Path) -> None:
    """Its tool's schema is no JSON: whatever comes out of a row is a reason, and stops nothing."""
    tool = replace(GOOD[0].tools[0], parameters="not JSON")
    strange = finish(replace(GOOD[0], tools=(tool,)))
    facts = made(tmp_path, "sft", chat, [strange, GOOD[1]]).facts.to_pylist()
    assert [bool(f["examples"]) for f in facts] == [False, True]
    assert "Expecting value" in facts[0]["refused"]
