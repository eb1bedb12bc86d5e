"""Where a row came from, by the files of a run."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from report_run import make_run, rows
from typer.testing import CliRunner

from raytune_agents.cli.app import app
from raytune_agents.dedup.leaks import Leak
from raytune_agents.evaluate.perturb import perturb
from raytune_agents.records import derive, to_table
from raytune_agents.report import lineage


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
    assert [a["arm"] for a in test_row.answers] == ["base", "sft", "nat"]


def test_a_missing_parent_is_named_not_dropped(run, tmp_path):
    _, grandchild, *_ = run
    (tmp_path / "label").mkdir()
    pq.write_table(to_table([grandchild]), tmp_path / "label/rows-00000.parquet")
    found = lineage.trace_row(tmp_path, grandchild.id)
    assert found.missing == list(grandchild.parents)


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
