"""The steps read and label on Ray Data, and the distributed group-by against the local one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM

from raytune_agents import agents, models, storage
from raytune_agents.chat import Chat
from raytune_agents.config import Config, LabelConfig, load_config
from raytune_agents.dedup import step as dedup
from raytune_agents.dedup.leaks import LeakIndex
from raytune_agents.dedup.minhash import sketches
from raytune_agents.dedup.text import near_text
from raytune_agents.filters.quality import difficulty
from raytune_agents.generate.tasks import tasks
from raytune_agents.negatives import edit
from raytune_agents.pipeline import rows as pipeline_rows
from raytune_agents.pipeline.context import Context
from raytune_agents.pipeline.keys import sections
from raytune_agents.pipeline.run import run_step
from raytune_agents.pipeline.tokenize import paired_parts
from raytune_agents.progress import Display
from raytune_agents.records import Message, ToolCall, Trajectory, finish, to_table
from raytune_agents.runs import Counts
from raytune_agents.storage import read_json, read_rows, row_groups, write_rows
from raytune_agents.train.methods import Recipe
from raytune_agents.train.tokenized import Tokenized, missing_parts, part_file, tokenize_rows

WORDS = ("alpha", "bravo", "carol", "delta", "early", "fives", "grape", "hotel", "india", "jolly",
         "kites", "lemon")  # fmt: skip


pytestmark = pytest.mark.usefixtures("local_ray")


def raw(i: int) -> dict:
    tool = f"tool_{i % 40}"
    text = f"{WORDS[i % 12]} {WORDS[(i // 12) % 12]}{i}"
    tools = [{"name": tool, "description": "", "parameters": {"a": {"type": "str"}}}]
    answers = [{"name": tool, "arguments": {"a": text}}]
    return {"id": str(i), "query": f"Use it for {text}", "answers": answers, "tools": tools}


def labelled(folder: Path, config: Config) -> dict[str, dict]:
    """Run read and label; manifest of each."""
    context = Context(config, Display())
    run_step(context, context.step("read"))
    nothing = context.step("generate")
    nothing.begin()
    nothing.finish(Counts())
    run_step(context, context.step("label"))
    context.run.close()
    return {n: read_json(context.run.folder / n / "manifest.json") for n in ("read", "label")}


def test_read_and_label_account_for_every_row(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(storage, "FILE_ROWS", 250)  # several files, so that workers write them
    monkeypatch.setattr("raytune_agents.pipeline.read.MOST_TASKS", 2)  # one reads two files
    good = [raw(i) for i in range(600)]
    copy = good[5] | {"id": "copy"}
    other = good[7] | {"id": "other", "answers": [{"name": "tool_7", "arguments": {"a": "hotel"}}]}
    leaks = [
        good[i] | {"id": f"leak{i}", "query": f"Use it for the blue {WORDS[i]}"} for i in range(8)
    ]
    lines = [json.dumps(r) for r in [*good, copy, other, *leaks]]
    for part in range(3):
        bad = ["{", '{"strange": 1}'] if part == 1 else []
        text = "\n".join([*lines[part::3], *bad])
        (tmp_path / f"rows-{part}.jsonl").write_text(text + "\n")
    held = [raw(2000 + i) | {"query": f"use it for THE BLUE {WORDS[i].upper()}!"} for i in range(8)]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, held)))
    config = Config(
        name="run",
        runs_dir=str(tmp_path),
        read={"sources": [{"path": str(tmp_path / "rows-*.jsonl")}]},
        label={"duplicates": "minhash", "evaluation_sets": [{"path": str(tmp_path / "mine.jsonl")}],
               "rules": ["parses", "arguments_valid"]},
    )  # fmt: skip
    manifests = labelled(tmp_path, config)
    read, label = manifests["read"]["rows"], manifests["label"]["rows"]
    assert read["in"] == 612 == read["out"] + sum(read["failed"].values())
    assert sum(read["failed"].values()) == 2
    assert len((tmp_path / "run/read/quarantine.jsonl").read_text().splitlines()) == 2
    assert label["in"] == 610 == label["out"] + sum(label["rejected"].values())
    rows = {r.source_id: r for r in read_rows(tmp_path / "run" / "label")}
    assert len(rows) == 610
    assert [r.id for r in rows.values()] == [r.id for r in read_rows(tmp_path / "run" / "read")]
    in_order = [json.loads(line)["id"] for part in range(3) for line in lines[part::3]]
    assert list(rows) == in_order
    groups = row_groups(sorted((tmp_path / "run" / "read").glob("*.parquet")))
    assert len(groups) == 2
    twins = sorted([rows["copy"].reject_reason, rows["5"].reject_reason])
    assert rows["5"].split == rows["copy"].split
    assert twins[0] == ""
    assert twins[1].startswith("duplicate_of:")
    if rows["7"].split == "train":
        assert rows["7"].reject_reason.startswith("contradicts:")
        assert rows["other"].reject_reason.startswith("contradicts:")
    shown = [rows[f"leak{i}"] for i in range(8)]
    assert sum(r.split == "train" for r in shown) > 2
    for row in shown:
        assert (row.reject_reason == "contaminated:mine") == (row.split == "train")
    report = [json.loads(x) for x in (tmp_path / "run/label/leaks.jsonl").open()]
    found = {x["row"] for x in report if x["set"] == "mine"}
    assert found == {r.id for r in shown if r.split == "train"}
    assert manifests["label"]["compared_with"]["mine"] == 8
    hashes = {r.config_hash for r in rows.values()}
    assert len(hashes) == 1
    assert hashes != {""}
    assert not (tmp_path / "run" / "read" / "work").exists()
    assert not (tmp_path / "run" / "label" / "work").exists()


def test_a_large_file_that_several_tasks_read_gives_the_same_files(tmp_path, monkeypatch) -> None:
    lines = [json.dumps(raw(i)) for i in range(300)]
    lines[100:100] = ["{", "", '{"strange": 1}']
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    found = {}
    for name, size in [("whole", 1 << 30), ("parts", 5_000)]:
        monkeypatch.setattr("raytune_agents.pipeline.file_spans.SPAN_BYTES", size)
        sources = [{"path": str(tmp_path / "rows.jsonl")}]
        config = Config(name=name, runs_dir=str(tmp_path), read={"sources": sources})
        context = Context(config, Display())
        run_step(context, context.step("read"))
        context.run.close()
        step = tmp_path / name / "read"
        rows = [replace(row, config_hash="") for row in read_rows(step)]
        bad = (step / "quarantine.jsonl").read_text()
        found[name] = rows, bad, read_json(step / "manifest.json")["rows"]
    assert found["parts"] == found["whole"]
    assert len(found["whole"][0]) == 300
    assert '"rows.jsonl:101"' in found["whole"][1]
    assert '"rows.jsonl:103"' in found["whole"][1]


def test_the_shuffle_finds_what_one_process_finds(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    rows = []
    for i in range(400):
        k = int(rng.integers(0, 60))
        text = f"Please tell me what {WORDS[k % 12]} {WORDS[k // 12]} means today and tomorrow"
        text += rng.choice(["", ".", " now"])
        call = ToolCall.of("look", word=str(k if rng.random() < 0.9 else k + 1))
        turns = (Message("user", text), Message("assistant", tool_calls=(call,)))
        rows.append(finish(Trajectory(turns, source_id=str(i), quality=float(rng.random()))))
    config = LabelConfig(duplicates="minhash", partitions=4)
    for part in range(2):
        some = rows[part * 200 : part * 200 + 200]
        handles = np.arange(part * 200, part * 200 + 200, dtype=np.uint64)
        sketch = sketches([near_text(r) for r in some])
        prints = dedup.fingerprints(some, handles, sketch, config)
        pq.write_table(prints, tmp_path / f"prints-{part}.parquet")
    here = dedup.pairs_of(tmp_path, config)
    spread = dedup.pairs_of(tmp_path, config, local_bytes=0)
    assert spread.equals(here)
    words = here["word"].to_pylist()
    assert {w: words.count(w) > 10 for w in set(words)} == {
        "duplicate_of": True, "near_duplicate_of": True, "contradicts": True
    }  # fmt: skip


def test_difficulty_is_the_models_own_nll(tmp_path: Path) -> None:
    rows = [finish(Trajectory((Message("user", f"Say {w}."), Message("assistant", w)), source_id=w,
                              split=s, source="s"))
            for w, s in (("alpha", "train"), ("bravo", "train"), ("carol", "val"))]  # fmt: skip
    write_rows(tmp_path / "run" / "read" / "rows-00000.parquet", rows)
    config = Config(name="run", runs_dir=str(tmp_path), model={"dtype": "float32"},
                    label={"difficulty": True, "decontaminate": False})  # fmt: skip
    context = Context(config, Display())
    step = context.run.step("label", sections(config, "label"))
    run_step(context, step)
    assert step.manifest.rows.rows_out == 3
    found = {r.source_id: r for r in read_rows(tmp_path / "run" / "label")}
    assert found["carol"].meta == {}  # a held-out row is not scored

    model = AutoModelForCausalLM.from_pretrained(context.model, dtype=torch.float32)
    for row in rows[:2]:
        (example,) = context.chat.encode(row)
        ids, labels = (torch.tensor([x]) for x in (example.input_ids, example.labels))
        with torch.no_grad():
            nll = model(input_ids=ids, labels=labels).loss.item()
        assert found[row.source_id].meta["nll"] == pytest.approx(nll, rel=1e-3)
        wanted = (0.5 + 0.3 * difficulty(nll) + 0.2 * 3**-0.5) / 1.0
        assert found[row.source_id].quality == pytest.approx(wanted, rel=1e-3)


def test_pairs_are_those_of_one_process_wherever_their_rows_lie(tmp_path) -> None:
    good = [r for r in tasks(agents.load_spec("security"), 24, 1) if r.calls]
    bad = [made[0] for r in good if (made := edit(r, "wrong_value", 1))[0]]
    rows = [*good, *bad[::-1]]  # no row group holds both rows of a pair
    for k, part in enumerate((rows[::2], rows[1::2])):
        pq.write_table(to_table(part), tmp_path / f"{k}.parquet", row_group_size=7)
    config = load_config(None, ["model.max_length=1024"])
    chat = Chat.of(models.resolve(config.model), config.model)
    items, out = row_groups(sorted(tmp_path.glob("*.parquet"))), tmp_path / "columns"
    recipe = Recipe("dpo", config.train, chat)
    list(paired_parts(out, recipe, items, list(range(len(items)))))
    assert missing_parts(out, len(items)) == []
    _, facts = tokenize_rows(rows, recipe, recipe.pairs({r.id: r for r in rows}))
    found = Tokenized.load(out).facts
    assert found.sort_by("id") == facts.sort_by("id")
    assert pa.compute.sum(pa.compute.greater(found["tokens"], 0)).as_py() == len(bad) > 20
    # A part that is gone is made again, and no other.
    gone, kept = (part_file(out, k) for k in (1, 2))
    before, stamp = read_json(gone), kept.stat().st_mtime_ns
    gone.unlink()
    list(paired_parts(out, recipe, items, [1]))
    after = read_json(gone)
    assert {n: m["sha256"] for n, m in after.items()} == {n: m["sha256"] for n, m in before.items()}
    assert kept.stat().st_mtime_ns == stamp


def test_workers_find_the_rows_that_training_shows(tmp_path, monkeypatch) -> None:
    made = [replace(row, split="train") for row in tasks(agents.load_spec("support"), 40, 1)]
    pq.write_table(to_table(made), tmp_path / "rows-0.parquet", row_group_size=9)
    asked = [replace(row, split="mine") for row in tasks(agents.load_spec("support"), 60, 1)]
    context = Context(Config(name="run", runs_dir=str(tmp_path)), Display())
    monkeypatch.setattr(pipeline_rows, "GROUP_ROWS", 32)
    found = pipeline_rows.without_trained(context, [tmp_path], asked)
    context.run.close()
    assert found == LeakIndex(made, LabelConfig()).marked(asked)
    assert 0 < sum(bool(row.reject_reason) for row in found) <= 60
