"""Exported folders: presets, splits, summaries, cards and plans add up."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from raytune_agents.config import ConfigError, ExportConfig
from raytune_agents.exports import splits
from raytune_agents.exports.card import markdown_table
from raytune_agents.exports.files import write_files
from raytune_agents.exports.pricing import export_plan, roughly, tuning_commands
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish
from raytune_agents.storage import StoredRows, write_rows


def sample(i: int = 0, **more: Any) -> Trajectory:
    """A small row of agent qa; `more` are its other fields."""
    call = Message("assistant", "", "think", (ToolCall.of("add", a=i),))
    messages = (Message("user", f"q{i}"), call, Message("tool", "1"), Message("assistant", "done"))
    schema = '{"type": "object", "properties": {"a": {"type": "integer"}}}'
    tools = (ToolSpec("add", "adds", schema),)
    return finish(
        Trajectory(messages, tools, **({"source": "agent/qa", "source_id": str(i)} | more))
    )


def read_back(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("format", ["trl", "gemini"])
@pytest.mark.parametrize("arguments", ['{"a": NaN}', '{"a": 1e999}', "[" * 5000, "{"])
def test_a_row_that_a_format_cannot_write_is_counted(
    tmp_path: Path, format: str, arguments: str
) -> None:
    turns = (Message("user", "q"), Message("assistant", tool_calls=(ToolCall("add", arguments),)))
    rows = [finish(replace(sample(1), messages=turns)), sample(2)]
    summary = write_files(rows, tmp_path, ExportConfig(format=format, val_share=0.0))
    assert summary["rows_out"] == 1
    assert sum(summary["left_out"].values()) == 1
    if format == "gemini":
        plan = export_plan(rows, format, ExportConfig())
        assert (plan.rows, plan.left_out.total()) == (1, 1)


def test_files_summary_and_card(tmp_path: Path) -> None:
    rows = [sample(i) for i in range(20)]
    rows += [sample(100, reject_reason="too_long:9"), sample(101, split="test_seen"),
             sample(102, outcome=0.0), sample(103, fault="wrong_value"),
             replace(sample(104), messages=(Message("user", "q"),))]  # fmt: skip
    summary = write_files(rows, tmp_path, ExportConfig(val_share=0.25))
    assert json.loads((tmp_path / "dataset_summary.json").read_text()) == summary
    assert summary["rows_in"] == 25 == summary["rows_out"] + sum(summary["left_out"].values())
    assert summary["left_out"] == {
        "a wrong answer, and no label or marker that says so": 2, "too_long": 1, "test row": 1,
        "no assistant turn to train on at the end": 1}  # fmt: skip
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {"train.jsonl", "val.jsonl", "dataset_summary.json", "README.md"}
    written = {n: read_back(tmp_path / n) for n in ("train.jsonl", "val.jsonl")}
    assert {n: len(v) for n, v in written.items()} == {
        n: f["rows"] for n, f in summary["files"].items()}  # fmt: skip
    for row in [*written["train.jsonl"], *written["val.jsonl"]]:
        assert row["messages"][-1] == {"role": "assistant", "content": "done"}
    head = yaml.safe_load((tmp_path / "README.md").read_text().split("---")[1])
    assert head["configs"][0]["data_files"] == [
        {"split": "train", "path": "train.jsonl"},
        {"split": "validation", "path": "val.jsonl"},
    ]
    again = write_files(rows[::-1], tmp_path, ExportConfig(val_share=0.25))
    assert again["files"] == summary["files"]  # the same bytes, whatever the order


def test_a_reason_adds_nothing_to_a_card() -> None:
    bad = "tool_exists:![x](http://evil.example/x.png)<script>|\r\n# a\x1b[31m"
    table = markdown_table(("reason",), [[bad]])
    assert table.splitlines()[2:] == [
        "| tool_exists:![x]\\(http://evil.example/x.png)&lt;script>\\| # a⟨U+001B⟩[31m |"
    ]


def test_marked_val_rows_and_families(tmp_path: Path) -> None:
    rows = [sample(i, split="val" if i < 3 else "train") for i in range(10)]
    train, val = splits.cut_val(rows, 3, seed=1)
    assert {r.id for r in val} == {r.id for r in rows[:3]}
    twins = [sample(i + 50, parents=(rows[i].id,)) for i in range(10)]
    free = [replace(r, split="") for r in rows] + twins
    train, val = splits.cut_val(free, 6, seed=1)
    assert len(val) == 6
    sides = {r.id: "val" for r in val} | {r.id: "train" for r in train}
    assert all(sides[t.id] == sides[t.parents[0]] for t in twins)


def right_or_wrong(row: Trajectory) -> str:
    return "WRONG" if row.failed else "RIGHT"


def test_wrong_answers_only_with_labels_or_markers(tmp_path: Path) -> None:
    good = [sample(i) for i in range(4)]
    wrong = Message("assistant", "wrong")
    labels = {"fault": "wrong_value", "outcome": 0.0, "pool": "negative.wrong_value"}
    bad = [
        finish(replace(g, messages=(*g.messages[:-1], wrong), parents=(g.id,), **labels))
        for g in good
    ]
    rows = good + bad

    def written(format: str, **more: Any) -> list[dict[str, Any]]:
        write_files(rows, tmp_path / format, ExportConfig(format=format, val_share=0.0), **more)
        return read_back(tmp_path / format / "train.jsonl")

    assert len(written("openai")) == 4
    marked = written("openai", marker=right_or_wrong)
    marks = Counter((m["messages"][0]["content"].split("\n")[1], m["messages"][-1]["content"])
                    for m in marked)  # fmt: skip
    assert marks == {("RIGHT", "done"): 4, ("WRONG", "wrong"): 4}
    assert Counter(r["label"] for r in written("trl_label")) == {True: 4, False: 4}
    pairs = written("trl_pairs")
    assert [(p["chosen"][-1]["content"], p["rejected"][-1]["content"]) for p in pairs] == [
        ("done", "wrong")] * 4  # fmt: skip
    rows[0] = replace(rows[0], reject_reason="pii:email")  # a rejected row is nobody's better half
    assert len(written("trl_pairs")) == 3


def test_rows_are_streamed_and_put_in_an_order_of_the_seed(tmp_path: Path) -> None:
    write_rows(tmp_path / "run" / "rows-0.parquet", [sample(i) for i in range(30)])
    write_rows(tmp_path / "run" / "rows-1.parquet", [sample(i) for i in range(30, 60)])

    def order(rows: Any, seed: int) -> list[str]:
        write_files(rows, tmp_path / "out", ExportConfig(val_share=0.0), seed)
        return [r["messages"][0]["content"] for r in read_back(tmp_path / "out" / "train.jsonl")]

    stored = StoredRows(tmp_path / "run")
    assert order(stored, 1) == order(list(stored), 1)
    assert sorted(order(stored, 1)) == sorted(order(stored, 2))
    assert order(stored, 1) != order(stored, 2)
    assert {p.suffix for p in (tmp_path / "out").iterdir()} == {".jsonl", ".json", ".md"}


def agents_pool(n: int) -> list[Trajectory]:
    kinds = ["synthetic.tflan"] * n + ["synthetic.react"] * n + ["negative.wrong_value"] * n
    return [sample(i, source=f"agent/{name}", pool=kind, fault=kind.partition("negative.")[2])
            for name in ("qa", "legal") for i, kind in enumerate(kinds)]  # fmt: skip


def test_preset_agent_flan() -> None:
    parts = splits.agent_flan(agents_pool(400), scale=1.0, seed=3)
    assert {k: len(v) for k, v in parts.files.items()} == {
        "legal_train": 480, "legal_val": 120, "qa_train": 480, "qa_val": 120}  # fmt: skip
    for agent in ("legal", "qa"):
        both = parts.files[f"{agent}_train"] + parts.files[f"{agent}_val"]
        assert Counter(splits.kind(r) for r in both) == splits.AGENT_FLAN
        assert len({r.id for r in both}) == 600
    assert parts.missing == {}
    assert parts.left_out == {"more than the preset takes": 2 * 600}
    small = splits.agent_flan(agents_pool(400), scale=0.1, seed=3)
    assert {k: len(v) for k, v in small.files.items()} == {
        "legal_train": 48, "legal_val": 12, "qa_train": 48, "qa_val": 12}  # fmt: skip
    other = splits.agent_flan(agents_pool(400), scale=1.0, seed=4)
    assert [r.id for r in other.files["qa_val"]] != [r.id for r in parts.files["qa_val"]]
    short = splits.agent_flan(agents_pool(250), scale=1.0, seed=3)
    assert short.missing == {"legal.react": 50, "qa.react": 50}


def test_preset_files(tmp_path: Path) -> None:
    config = ExportConfig(format="agent_flan", preset="agent_flan", scale=0.1)
    summary = write_files(agents_pool(40), tmp_path, config, marker=right_or_wrong)
    assert summary["rows_out"] == 2 * 60
    assert summary["rows_in"] == 240 == 120 + sum(summary["left_out"].values())
    rows = read_back(tmp_path / "qa_train.jsonl")
    assert {row["agent"] for row in rows} == {"qa"}
    assert {(row["type"], row["hallucination_type"]) for row in rows} == {
        ("tflan", ""), ("react", ""), ("negative", "wrong_value")}  # fmt: skip
    head = yaml.safe_load((tmp_path / "README.md").read_text().split("---")[1])
    assert [c["config_name"] for c in head["configs"]] == ["legal", "qa"]


# --- plans ---------------------------------------------------------------------------------------


def test_plan_of_hosted_tuning() -> None:
    price = {"model": "m", "usd_per_mtok": 3.0, "epochs": 2, "mtok_per_hour": 0.5}
    config = ExportConfig(prices={"openai": price | {"as_of": "2025-10"}})
    rows = [sample(i) for i in range(12)] + [sample(99, outcome=0.0)]
    made = export_plan(rows, "openai", config, count=lambda text: 1_000)
    assert (made.rows, made.tokens, made.problems) == (12, 12_000, [])
    assert made.usd == pytest.approx(12_000 * 2 / 1e6 * 3.0)
    assert made.hours == pytest.approx(12_000 * 2 / 1e6 / 0.5)
    assert made.left_out == {"a wrong answer": 1}
    assert "0.07 USD (table of 2025-10" in "\n".join(made.lines())
    assert made.payback == ""
    long = export_plan(rows[:3], "openai", config, count=lambda text: 70_000)
    assert long.problems == ["3 rows, fewer than 10", "3 rows are longer than 65,536 tokens"]
    with pytest.raises(ConfigError, match="gemini"):
        export_plan(rows, "gemini", config)
    assert export_plan(rows, "gemini", ExportConfig()).problems == ["12 rows, fewer than 100"]
    assert [roughly(t) for t in ("", "abcd", "abcde")] == [0, 1, 2]


def test_what_answers_cost_and_when_the_tuning_is_paid_back() -> None:
    """By hand: rows of 1,000 tokens whose answer ("done") takes 100 of them, 12 rows, 3 epochs."""
    rows = [sample(i) for i in range(12)]
    config = ExportConfig(answers_per_month=50_000, traffic_share=0.5)

    def line(config: ExportConfig) -> str:
        counted = {"done": 100}
        return export_plan(rows, "openai", config, count=lambda x: counted.get(x, 1_000)).payback

    # 900 * 0.8 + 100 * 3.2 = 1,040 and 900 * 2 + 100 * 8 = 2,600 USD per million answers; the
    # tuning is 36,000 tokens at 5 USD per million = 0.18 USD; 25,000 answers save 39 USD a month
    assert line(config) == (
        "1,000 answers about 1.04 USD (gpt-4.1-mini, tuned), 2.60 today (gpt-4.1); at 50% of "
        "50,000 answers a month it saves 39.00 and is paid back in 0.0 months"
    )
    few = config.model_copy(update={"answers_per_month": 100})
    assert line(few).endswith("it saves 0.08 and is paid back in 2.3 months")
    assert line(config.model_copy(update={"traffic_share": 0.0})).endswith("nothing is saved")


def test_the_commands_of_a_hosted_job() -> None:
    files = [Path("out/train.jsonl"), Path("out/val.jsonl")]
    *uploads, create, poll = tuning_commands(ExportConfig(), files)
    assert [line.rpartition("@")[2] for line in uploads] == ["out/train.jsonl", "out/val.jsonl"]
    body = json.loads(create.partition(" -d ")[2].strip("'"))
    assert body == {
        "model": "gpt-4.1-mini", "training_file": "file-ID", "validation_file": "file-ID"}
    assert "/fine_tuning/jobs/JOB " in poll
    copy, create, poll = tuning_commands(ExportConfig(format="gemini"), files[:1])
    assert copy == "gcloud storage cp out/train.jsonl gs://BUCKET/"
    body = json.loads(create.partition(" -d ")[2].strip("'"))
    assert body["supervisedTuningSpec"] == {"trainingDatasetUri": "gs://BUCKET/train.jsonl"}
    assert "tuningJobs/JOB " in poll
    assert tuning_commands(ExportConfig(format="sharegpt"), files) == []
    odd = [Path("my rows; #2") / file.name for file in files]
    assert "'file=@my rows; #2/" in tuning_commands(ExportConfig(), odd)[0]
    assert "'my rows; #2/" in tuning_commands(ExportConfig(format="gemini"), odd)[0]
