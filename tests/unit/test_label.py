"""The label step without Ray: a batch, the pairs, the files; every row is accounted for."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from raytune_agents.config import Config, ConfigError, LabelConfig
from raytune_agents.dedup import step as dedup
from raytune_agents.dedup.leaks import LeakIndex
from raytune_agents.pipeline import keys, label
from raytune_agents.pipeline.label_quality import write_labels
from raytune_agents.pipeline.run import preflight
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish, to_table
from raytune_agents.runs import Counts
from raytune_agents.storage import RowFiles, bunched, read_rows, row_groups, write_rows

WEATHER = ToolSpec(
    "weather",
    "Weather of a city",
    json.dumps({"type": "object", "properties": {"city": {"type": "string"}}}),
)
LONG = ("Please book a table for four people at the Blue Lagoon in Lisbon on Friday evening and "
        "send the confirmation to my assistant")  # fmt: skip


def make(query: str, city: str, split: str = "train", **changes) -> Trajectory:
    call = ToolCall.of("weather", city=city)
    turns = (Message("user", query), Message("assistant", tool_calls=(call,)))
    return finish(Trajectory(turns, (WEATHER,), split=split, **changes))


def run(rows: list[Trajectory], held: list[Trajectory], folder: Path, size: int = 3, **options):
    """The three passes, in batches of `size`: (rows by source_id, counts, extra)."""
    config = LabelConfig(**options)
    index = LeakIndex(held, config)
    work = folder / "work"
    for number, k in enumerate(range(0, len(rows), size)):
        table = label.label_rows(to_table(rows[k : k + size]), config, index)
        assert [len(t) for t in label.store_labelled(work, number, k, [table])] == [len(table)]
    pairs = dedup.pairs_of(work / "prints", config)
    counts, extra = write_labels(work / "rows", work / "prints", pairs, folder)
    return {r.source_id: r for r in read_rows(folder)}, counts, extra


POOL = [
    make("Weather in Paris today?", "Paris", source_id="kept", source="a"),
    make("weather in  PARIS today?", "Paris", source_id="copy", source="b"),
    make("Weather in Rome now?", "Oslo", source_id="invented", source="a"),
    make(LONG + " in Lisbon", "Lisbon", source_id="leak", source="b"),
    make("Which of Bern and Kiel is cold?", "Bern", source_id="bern", source="a"),
    make("Which of Bern and Kiel is cold?", "Kiel", source_id="kiel", source="b"),
    make("Weather in Paris today?", "Paris", split="test_seen", source_id="held", source="a"),
    make("Weather in Rome today?", "Rome", source_id="other", source="a"),
]


@pytest.mark.parametrize("mode", ["exact", "minhash"])
def test_every_row_comes_out_with_its_reason(tmp_path: Path, mode: str) -> None:
    held = [make(LONG, "Lisbon", split="test_unseen")]
    got, counts, extra = run(POOL, held, tmp_path, duplicates=mode)
    first = {k: r.reject_reason.split(":")[0] for k, r in got.items()}
    assert first == {
        "kept": "", "copy": "duplicate_of", "invented": "ungrounded", "leak": "contaminated",
        "bern": "contradicts", "kiel": "contradicts", "held": "", "other": "",
    }  # fmt: skip
    assert got["copy"].reject_reason == f"duplicate_of:{POOL[0].id}"
    assert got["leak"].reject_reason == "contaminated:test_unseen"
    assert got["leak"].meta["leak"]["of"] == held[0].id
    reasons = {"duplicate_of": 1, "ungrounded": 1, "contaminated": 1, "contradicts": 2}
    assert counts == Counts(8, 3, Counter(reasons))
    assert (
        extra["funnel"][""]["in"]
        == 8
        == sum(v for k, v in extra["funnel"][""].items() if k != "in")
    )
    assert extra["funnel"]["b"] == {
        "in": 3, "duplicate_of": 1, "contaminated": 1, "contradicts": 1, "kept": 0
    }  # fmt: skip
    assert extra["pools"] == {"positive": 2}
    assert [replace(r, reject_reason="", quality=None, meta={}) for r in got.values()] == POOL


def test_quality_counts_how_rare_a_kept_row_is(tmp_path: Path) -> None:
    got, _, _ = run(POOL, [], tmp_path)
    # kept, held, other and leak call weather(city): 4 rows stay that show the same
    assert got["other"].quality == pytest.approx((0.5 + 0.2 * 4**-0.5) / 0.7)
    assert got["invented"].quality == 0.0


def test_the_survivor_is_the_better_row(tmp_path: Path) -> None:
    rows = [
        make("Weather in Paris today?", "Paris", source_id="low", outcome=0.6),
        make("Weather in Paris today?", "Paris", source_id="high", outcome=1.0),
    ]
    got, _, _ = run(rows, [], tmp_path, size=1)
    assert got["low"].reject_reason == f"duplicate_of:{rows[1].id}"
    assert got["high"].reject_reason == ""


def test_the_score_of_a_model_counts_in_the_quality() -> None:
    table = to_table([POOL[0], POOL[2], POOL[6]])
    asked: list[str] = []

    def score(rows: list[Trajectory]) -> list[float]:
        asked.extend(r.source_id for r in rows)
        return [4.0] * len(rows)

    config = LabelConfig()
    out = label.label_rows(table, config, LeakIndex([], config), score)
    assert asked == ["kept"]  # neither rejected nor held-out rows cost a forward pass
    assert out["quality"].to_pylist() == pytest.approx([(0.5 + 0.3 * 0.5) / 0.8, 0.0, 1.0])
    assert json.loads(out["meta"][0].as_py()) == {"nll": 4.0}


def test_a_set_that_is_read_as_a_source_is_no_evaluation_set() -> None:
    config = Config(
        read={"sources": [{"path": "x"}]},
        label={"evaluation_sets": [{"path": "sets/e.jsonl"}, {"path": "x"}]},
        evaluate={"sources": {"nestful": {"path": "n.jsonl"}, "own": {"path": "x"}}},
    )
    sets = [(name, s.path) for name, s in label.evaluation_sets(config)]
    assert sets == [("e", "sets/e.jsonl"), ("nestful", "n.jsonl")]
    assert label.evaluation_sets(Config()) == []  # bfcl is the source
    other = config.model_copy(update={"evaluate": Config().evaluate})
    assert keys.sections(other, "label") != keys.sections(config, "label")


@pytest.mark.parametrize(("options", "told"), [
    ({"evaluation_sets": [{"path": "/no/none.jsonl"}]}, "none.jsonl"),
    ({"rules": ["default", "pij"]}, "label.rules='pij' is unknown"),
    ({"embed": "no.such:f", "duplicates": "minhash"}, r"label.embed='no.such:f'"),
])  # fmt: skip
def test_a_wrong_option_stops_before_anything_starts(tmp_path: Path, options, told: str) -> None:
    (tmp_path / "rows.jsonl").write_text("{}")
    source = {"path": str(tmp_path / "rows.jsonl")}
    with pytest.raises(ConfigError, match=told):
        preflight(Config(read={"sources": [source]}, label=options))


def test_what_matched_what_is_written_out() -> None:
    held = [make(LONG, "Lisbon", split="", source="mine")]
    config = LabelConfig()
    table = label.label_rows(to_table(POOL), config, LeakIndex(held, config))
    (found,) = label.leaks_in(table)
    assert (found["set"], found["of"], found["how"]) == ("mine", held[0].id, "ngram")
    assert found["request"] == LONG + " in Lisbon"


def test_files_of_rows_hold_a_bounded_number(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("raytune_agents.storage.FILE_ROWS", 5)
    files = RowFiles(tmp_path)
    for k in range(0, 8, 2):
        files.add(to_table(POOL[k : k + 2]))
    files.close()
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["rows-00000.parquet", "rows-00001.parquet"]
    assert read_rows(tmp_path) == POOL
    assert (files.rows, Counter(r.source for r in POOL)["a"]) == (8, 5)


def test_small_files_of_rows_become_one(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("raytune_agents.storage.FILE_ROWS", 5)
    paths = [tmp_path / f"rows-{k:05d}.parquet" for k in range(5)]
    for path, count in zip(paths, (2, 3, 1, 7, 1)):
        write_rows(path, (POOL * 2)[:count])
    one, two, three, four, five = paths
    names = [[Path(f) for f in item["files"]] for item in bunched(tmp_path, tmp_path / "out")]
    assert names == [[one, two], [three], [four], [five]]
    monkeypatch.setattr("raytune_agents.storage.FILE_BYTES", 1)
    items = bunched(tmp_path, tmp_path / "out")
    assert [item["files"] for item in items] == [[str(path)] for path in paths]
    assert items[1]["out"] == str(tmp_path / "out" / "rows-00001.parquet")


def test_row_groups_know_which_rows_are_theirs(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("raytune_agents.storage.GROUP_ROWS", 5)
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for path, count in zip(paths, (7, 3)):
        write_rows(path, POOL[:count])
    items = label.numbered(row_groups(paths))
    found = [(Path(i["file"]).name[0], i["group"], i["rows"], i["first"]) for i in items]
    assert found == [("a", 0, 5, 0), ("a", 1, 2, 5), ("b", 0, 3, 7)]
    assert [i["number"] for i in items] == [0, 1, 2]
