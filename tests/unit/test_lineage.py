"""Where a row came from, by the files of a run."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from report_run import make_run, rows
from typer.testing import CliRunner

from raytune_agents.cli.app import app
from raytune_agents.config import ConfigError
from raytune_agents.dedup.leaks import Leak
from raytune_agents.evaluate.perturb import perturb
from raytune_agents.records import derive, to_table
from raytune_agents.report import lineage
from raytune_agents.storage import write_rows


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = make_run(tmp_path_factory.mktemp("runs") / "demo")
    made = rows()
    child = next(r for r in made if r.fault)
    grandchild = derive(child, pool="negative.twice", step="negatives.edit", seed=5)
    perturbed = perturb(next(r for r in made if r.split == "test_seen"), "typos", 1, ())
    pq.write_table(to_table([grandchild]), folder / "label/rows-00002.parquet")
    pq.write_table(to_table([perturbed]), folder / "evaluate/rows.parquet")
    (folder / "mix").mkdir(exist_ok=True)
    mixed = [grandchild.id, child.id, grandchild.id]
    pq.write_table(pa.table({"id": mixed}), folder / "mix/nat.parquet")
    return folder, grandchild, child, perturbed


def test_parents_are_followed_to_the_source(run):
    folder, grandchild, child, _ = run
    found = lineage.trace_row(folder, grandchild.id)
    assert [r.id for r in found.rows] == [grandchild.id, child.id, child.parents[0]]
    assert [r.step for r in found.rows] == ["negatives.edit", "negatives.edit", "read"]
    assert found.trained == {"nat": 2}
    assert found.missing == []


def test_a_perturbed_row_leads_to_its_test_row_and_its_answers(run):
    folder, _, _, perturbed = run
    found = lineage.trace_row(folder, perturbed.id)
    assert [r.step for r in found.rows] == ["evaluate.typos", "read"]
    test_row = lineage.trace_row(folder, found.rows[1].id)
    assert [a.arm for a in test_row.answers] == ["base", "sft", "nat"]


def test_a_missing_parent_is_named_not_dropped(run, tmp_path):
    _, grandchild, *_ = run
    (tmp_path / "label").mkdir()
    pq.write_table(to_table([grandchild]), tmp_path / "label/rows-00000.parquet")
    found = lineage.trace_row(tmp_path, grandchild.id)
    assert found.missing == list(grandchild.parents)


def test_rows_of_a_round_are_known(tmp_path):
    """The round's columns are of three rows, of which the second became two examples: examples 0,
    2, 1 and 2 were trained on."""
    one, two, three = rows()[:3]
    folder = tmp_path / "train/again/round-2"
    (folder / "columns").mkdir(parents=True)
    for name, made in {"new": [one], "drawn": [one, two], "answered": [three]}.items():
        marked = [replace(r, meta=r.meta | {"round": 2, "at": name}) for r in made]
        write_rows(folder / name / "rows-00000.parquet", marked)
    facts = {"id": [one.id, two.id, three.id], "examples": [1, 2, 1]}
    pq.write_table(pa.table(facts), folder / "columns/facts-00000.parquet")
    np.save(folder / "rows.npy", np.array([0, 2, 1, 2]))
    found = [lineage.trace_row(tmp_path, r.id) for r in (one, two, three)]
    assert [f.rows[0].meta["at"] for f in found] == ["new", "drawn", "answered"]
    uses = [{"again round-2": 1}, {"again round-2": 3}, {}]
    assert [f.trained for f in found] == uses
    assert "made in round 2" in lineage.row_verdict(found[0].rows[0])


def test_the_command_prints_the_chain(run):
    folder, grandchild, child, _ = run
    done = CliRunner().invoke(app, ["trace", grandchild.id[:12], str(folder)])
    assert done.exit_code == 0, done.output
    assert done.output.index(f"row {grandchild.id}") < done.output.index(f"from {child.id}")
    assert "step negatives.edit, seed 5" in done.output
    assert f"fault {child.fault}" in done.output
    assert "trained on by nat: 2 times" in done.output
    for wrong, said in (("zz", "no row"), ("", "fits")):
        done = CliRunner().invoke(app, ["trace", wrong, str(folder)])
        assert done.exit_code == 2
        assert said in done.output


@pytest.mark.parametrize(
    "name", ["label/rows-00002.parquet", "mix/nat.parquet", "evaluate/answers.parquet"]
)
def test_a_damaged_table_is_named(run, tmp_path, name):
    folder = Path(shutil.copytree(run[0], tmp_path / "demo"))
    (folder / name).write_bytes(b"PAR1 no table")
    with pytest.raises(ConfigError, match=f"{name} is damaged: .*run again"):
        lineage.trace_row(folder, run[1].id)
    (folder / name).unlink()
    (folder / name).mkdir()
    done = CliRunner().invoke(app, ["trace", run[1].id, str(folder)])
    assert done.exit_code in (0, 2), done.exception


def test_an_id_that_is_no_text_is_unknown(run):
    with pytest.raises(lineage.UnknownRow, match="no row of"):
        lineage.trace_row(run[0], "\udcff")


def test_answers_of_an_older_run_are_traced(run, tmp_path):
    test_row = next(r for r in rows() if r.split == "test_seen")
    write_rows(tmp_path / "label/rows-00000.parquet", [test_row])
    given = {"arm": ["base"], "split": ["test_seen"], "id": [test_row.id], "answer": ["x"]}
    (tmp_path / "evaluate").mkdir()
    pq.write_table(pa.table(given), tmp_path / "evaluate/answers.parquet")
    done = CliRunner().invoke(app, ["trace", test_row.id, str(tmp_path)])
    assert "answered by base: not scored: x" in done.output


def test_the_verdict_names_the_evaluation_row_that_is_shown():
    row = Leak("a", "b1c2", "bfcl", "ngram", 0.9123).mark(rows()[0])
    told = lineage.row_verdict(row)
    assert told.startswith("rejected: contaminated:bfcl, shows row b1c2 by ngram (0.912)")


def test_hostile_text_is_made_visible(run, tmp_path):
    row = derive(rows()[0], source_id="\x1b[31m\u202e", pool="positive")
    (tmp_path / "label").mkdir()
    pq.write_table(to_table([row]), tmp_path / "label/rows-00000.parquet")
    done = CliRunner().invoke(app, ["trace", row.id, str(tmp_path)])
    assert "\x1b" not in done.output
    assert "⟨U+001B⟩" in done.output
    assert json.dumps(row.calls[0].args) in done.output
