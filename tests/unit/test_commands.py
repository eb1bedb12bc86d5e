"""The commands on data by their command line, in this process, on rows in files."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from finished import finish_step
from typer.testing import CliRunner

from raytune_agents.cli.app import app
from raytune_agents.cli.shared_options import console, load_tree
from raytune_agents.cli.summary import funnel_table
from raytune_agents.config import ConfigError, load_config
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish
from raytune_agents.storage import read_json, write_json, write_rows
from raytune_agents.tune.trials import Trial

TOOL = ToolSpec("add", "adds", '{"type": "object", "properties": {"a": {"type": "integer"}}}')


def sample(i: int, **changes) -> Trajectory:
    turns = (
        Message("user", f"add {i}"),
        Message("assistant", tool_calls=(ToolCall.of("add", a=i),)),
    )
    row = Trajectory(turns, (TOOL,), source="agent/qa", source_id=str(i), split="train")
    return finish(replace(row, **changes))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose label step is done: 20 good rows, a val row, a rejected and a negative one."""
    rows = [sample(i, pool="synthetic.tflan") for i in range(20)]
    rows += [sample(20, split="val"), sample(21, reject_reason="too_long:9")]
    rows += [sample(22, split="test_seen")]
    rows += [sample(23, pool="negative.wrong_value", fault="wrong_value", outcome=0.0)]
    write_rows(tmp_path / "demo" / "label" / "rows-00000.parquet", rows)
    finish_step(tmp_path / "demo" / "label")
    return tmp_path


def ask(*words: str) -> tuple[int, str]:
    with console.capture() as printed:
        done = CliRunner().invoke(app, list(words))
    return done.exit_code, printed.get() + done.output


def test_export_writes_files_and_accounts_for_every_row(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, said = ask("export", f"runs_dir={run}", "--format", "openai", "--out", str(out))
    assert code == 0, said
    assert "rows: in 24 = out 21 + left out 3" in said
    assert {p.name for p in out.iterdir()} >= {"train.jsonl", "val.jsonl", "README.md"}
    summary = read_json(out / "dataset_summary.json")
    assert summary["left_out"] == {
        "too_long": 1, "test row": 1, "a wrong answer, and no label or marker that says so": 1
    }  # fmt: skip
    first = json.loads((out / "train.jsonl").read_text().splitlines()[0])
    assert [m["role"] for m in first["messages"]] == ["user", "assistant"]


def test_a_runs_folder_stands_for_its_config(run: Path, tmp_path: Path, monkeypatch) -> None:
    config = load_config(None, ["name=other", "runs_dir=/elsewhere", "export.format=xlam"])
    write_json(run / "demo" / "config.json", config.model_dump(mode="json"))
    code, said = ask("export", str(run / "demo"), "--out", str(tmp_path / "out"))
    assert code == 0, said  # it is looked for where it lies, not where it was
    assert read_json(tmp_path / "out" / "dataset_summary.json")["format"] == "xlam"
    bucket = load_config(None, ["name=far", "runs_dir=s3://bucket/runs"])
    write_json(tmp_path / "copy" / "config.json", bucket.model_dump(mode="json"))
    assert load_tree(str(tmp_path / "copy"), None).runs_dir == "s3://bucket/runs"
    (tmp_path / "runs").symlink_to(run)
    monkeypatch.chdir(tmp_path)
    assert ask("export", "demo", "--out", str(tmp_path / "again"))[0] == 0


def test_export_of_the_preset_counts_what_is_missing(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("--preset", "agent_flan", "--format", "agent_flan", "--scale", "0.1", "--markers")
    code, said = ask("export", f"runs_dir={run}", *words, "--out", str(out))
    assert code == 0, said
    assert {p.name for p in out.glob("*.jsonl")} == {"qa_train.jsonl", "qa_val.jsonl"}
    assert "missing 30 qa.react" in said
    assert "missing 9 qa.negative" in said
    assert "rows: in 24 = out 21 + left out 3" in said


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ((), {"Generate a response that correctly answers the request.": 21,
              "Generate a response that incorrectly answers the request.": 1}),
        (("train.nat.template=good_bad",), {"[Good]": 21, "[Bad]": 1}),
        (("train.nat.positive=fine", "train.nat.negative=[worst, poor]", "train.nat.cuts=[0.5]"),
         {"fine": 21, "worst": 1}),
    ],
)  # fmt: skip
def test_export_marks_wrong_answers_as_nat_does(
    run: Path, tmp_path: Path, own: tuple, told: dict[str, int]
) -> None:
    out = tmp_path / "out"
    words = ("--format", "openai", "--markers", "--out", str(out))
    code, said = ask("export", f"runs_dir={run}", *own, *words)
    assert code == 0, said
    lines = [line for f in out.glob("*.jsonl") for line in f.read_text().splitlines()]
    asked = [json.loads(line)["messages"][0]["content"].split("\n")[1] for line in lines]
    assert Counter(asked) == told


def test_plan_prints_tokens_price_and_time(run: Path) -> None:
    code, said = ask("plan", f"runs_dir={run}", "--provider", "openai")
    assert code == 0, said
    assert "openai: gpt-4.1-mini, 20 rows" in said
    assert "table of 2025-10" in said
    assert "left out: 1 too_long" in said
    assert "left out: 1 a wrong answer" in said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("export", "--format", "nothing"), "export.format='nothing' is unknown"),
        (("export", "--preset", "none_such"), "export.preset"),
        (("plan", "--provider", "nobody"), "provider 'nobody'"),
        (("read", "--explain", "/nowhere.jsonl"), "/nowhere.jsonl"),
        (("read", "--explain", ""), "read.sources.0.path: '' names no source"),
    ],
)
def test_a_wrong_word_names_what_to_write(run: Path, words: tuple, told: str, capsys) -> None:
    code, said = ask(words[0], *(() if "--explain" in words else (f"runs_dir={run}",)), *words[1:])
    assert code == 2
    assert told in said + capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("init", "--tools", "my.py", "--only", "a"), "--only a chooses of --mcp"),
        (("init", "--mcp", ""), "--mcp ''"),
        (("init", "--schema", "--tools", "my.py"), "--tools is not used by --schema"),
        (("export", "--model", "sft", "--serve", "app"), "write one of them"),
        (("export", "--model", "nat", "--push", "ME"), "write --hub DIR"),
        (("export", "--push", "ME"), "write --hub DIR"),
        (("export", "--model", "nat", "--format", "xlam"), "--format is of rows; write it without"),
        (("export", "--model", "nat", "--markers"), "--markers is of rows; write it without --mod"),
        (("export", "--format", "opnai"), "export.format='opnai' is unknown"),
        (("export", "--serve", "app", "--scale", "0"), "--scale is of rows; write it without --se"),
        (("export", "--serve", "app", "--out", "X"), "--serve names the folder; leave --out out"),
        (("export", "--hub", "h", "--out", "X"), "--hub names the folder; leave --out out"),
        (("export", "--hub", "h", "--gguf"), "write --model ARM"),
        (("export", "--gguf"), "write --model ARM"),
        (("report", "demo", "--port", "8"), "--port is of --serve"),
        (("report", "demo", "--serve", "--json"), "write one of them"),
        (("read", "cfg.yaml", "--explain", "f"), "'cfg.yaml' is not used beside a look at 'f'"),
        (("read", "seed=3", "--profile", "f"), "'seed=3' is not used"),
        (("read", "--explain", "f", "--profile", "f"), "write one of them"),
        (("read", "--explain", "f", "--json"), "--json is of --profile"),
        (("plan", "--provider", "openai", "--preview", "3"), "write one of them"),
        (("export", "--model", ""), "--model ''"),
        (("capture", "--upstream", "http://"), "'http://' is no URL"),
        (("capture", "--upstream", "http://127.0.0.1:bad"), "is no URL; write http://HOST:PORT"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(words: tuple, told: str, capsys) -> None:
    code, said = ask(*words)
    assert code == 2
    assert told in said + capsys.readouterr().err


def test_what_was_written_for_the_hub_takes_no_options_of_rows(tmp_path: Path) -> None:
    from raytune_agents.cli.take_away import export_hub

    (tmp_path / "hub").mkdir()
    with pytest.raises(ConfigError, match=r"export\.format=gemini: .* is sent as it is"):
        export_hub(load_config(None), tmp_path / "hub", "me", ["export.format=gemini"])


def test_a_recording_is_compared_without_the_options_of_two_runs(tmp_path: Path, capsys) -> None:
    (tmp_path / "used.jsonl").write_text("{}\n")
    words = ("compare", "demo", str(tmp_path / "used.jsonl"))
    code, said = ask(*words, "--arm-a", "nat")
    assert code == 2
    assert "--arm-a is of two runs, and" in said + capsys.readouterr().err


def test_a_filter_that_no_trial_fits_gives_an_empty_table(tmp_path: Path) -> None:
    import pandas as pd

    (tmp_path / "tune").mkdir()
    trials = [asdict(Trial(f"t{n}", score=n / 9, objective=n / 9)) for n in range(3)]
    (tmp_path / "tune" / "trials.json").write_text(json.dumps(trials))
    for ending, load in (("csv", pd.read_csv), ("parquet", pd.read_parquet)):
        files = [tmp_path / f"{name}.{ending}" for name in ("all", "none")]
        for file, least in zip(files, ("0", "9")):
            words = ("--filter", f"score>={least}", f"--{ending}", str(file))
            code, said = ask("trials", str(tmp_path), *words)
            assert code == 0, said
        assert "none of 3 fits" in said
        every, none = map(load, files)
        assert (len(every), len(none)) == (3, 0)
        assert list(none) == list(every)


@pytest.mark.parametrize(
    "content", ["{", "{}", "[3]", '[{"score": 1}]', '[{"trial_id": "t", "reports": [3]}]']
)
def test_trials_of_another_shape_are_damaged(tmp_path: Path, content: str, capsys) -> None:
    (tmp_path / "tune").mkdir()
    (tmp_path / "tune" / "trials.json").write_text(content)
    code, said = ask("trials", str(tmp_path))
    assert code == 2
    assert "trials.json is damaged: " in said + capsys.readouterr().err


def test_trials_go_to_a_new_folder_and_whole(tmp_path: Path) -> None:
    trials = [asdict(Trial("t", error="half a pair \ud800", weights={"negative.[/b]": 0.5}))]
    (tmp_path / "tune").mkdir()
    (tmp_path / "tune" / "trials.json").write_text(json.dumps(trials))
    for words in ((), ("--csv", str(tmp_path / "new" / "t.csv")), ("--failures",)):
        code, said = ask("trials", str(tmp_path), *words)
        assert code == 0, said
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["t.csv"]
    for wanted in ("[" * 100_000, "9" * 5_000):  # a text, as no number is read of it
        assert ask("trials", str(tmp_path), "--filter", f"seed={wanted}")[0] == 0


def test_a_folder_for_the_hub_is_whole_or_not_there(run: Path, tmp_path: Path, capsys) -> None:
    adapter = run / "demo" / "train" / "nat" / "adapter"
    adapter.mkdir(parents=True)
    for file in (adapter / "README.md", run / "demo" / "report.html"):
        file.write_text("x")
    words = ("export", f"runs_dir={run}", "name=demo", "--hub", str(tmp_path / "hub"))
    rows = run / "demo" / "label" / "rows-00000.parquet"
    whole = rows.read_bytes()
    rows.write_bytes(whole[:-40])
    code, said = ask(*words)
    assert code == 2
    assert "rows-00000.parquet is damaged" in said + capsys.readouterr().err
    assert not (tmp_path / "hub").exists()
    rows.write_bytes(whole)
    code, said = ask(*words)
    assert code == 0, said
    assert {p.name for p in (tmp_path / "hub").iterdir()} == {"models", "dataset", "space"}


@pytest.mark.parametrize("more", [(), ("--json",), ("--serve", "--port", "0")])
def test_figures_and_a_served_page_are_of_the_new_scores(run: Path, more: tuple, capsys) -> None:
    """Stored answers are scored again first: here there are none, and nothing old is shown."""
    config = load_config(None, [f"runs_dir={run}"])
    write_json(run / "demo" / "config.json", config.model_dump(mode="json"))
    code, said = ask("report", str(run / "demo"), "--rescore", *more)
    assert code == 2
    assert "step evaluate needs step read first" in said + capsys.readouterr().err


def test_a_run_without_labels_says_what_to_run(tmp_path: Path, capsys) -> None:
    code, said = ask("export", f"runs_dir={tmp_path}")
    assert code == 2
    assert "--steps read,generate,label" in said + capsys.readouterr().err


def test_explain_shows_format_mapping_and_counts(tmp_path: Path) -> None:
    row = {"id": 1, "query": "add one", "answers": "[]", "tools": "[]"}
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n{\n")
    code, said = ask("read", "--explain", str(path))
    assert code == 0, said
    for word in ("xlam", "read as xlam", "query", "messages (user)", "bad rows", "rows.jsonl:2"):
        assert word in said


def test_the_funnel_is_printed_by_source() -> None:
    counts = {"": {"in": 5, "parses": 2, "kept": 3}, "a": {"in": 4, "parses": 1, "kept": 3}}
    counts["b"] = {"in": 1, "parses": 1, "kept": 0}
    with console.capture() as printed:
        console.print(funnel_table(counts))
    lines = [" ".join(line.replace("│", " ").split()) for line in printed.get().splitlines()]
    assert "a 4 1 parses 3" in lines
    assert "b 1 1 parses 0" in lines
    assert "all 2 sources 5 2 parses 3" in lines


def test_the_table_of_a_split_shows_what_was_measured_on_it():
    from rich.console import Console

    from raytune_agents.cli.arms import arms_table
    from raytune_agents.evaluate.estimates import Estimate
    from raytune_agents.evaluate.metrics import METRICS
    from raytune_agents.evaluate.paired import Difference

    def shown(**cells: float) -> str:
        scores = {"s": {k: Estimate(v, v, v, 9) for k, v in cells.items()}}
        gains = {"s": {k: Difference(v, v, v, 9) for k, v in cells.items()}}
        console = Console(width=200)
        with console.capture() as text:
            table = arms_table("s", {"base": scores, "nat": scores}, {"nat": gains}, METRICS)
            console.print(table)
        return text.get()

    assert "valid format" in shown(exact_match=0.5, format_adherence=1.0)
    assert "exact match - base" in shown(exact_match=0.5, format_adherence=1.0)
    assert "tasks completed - base" in shown(task_completion=0.5)
    assert "instructions followed - base" in shown(instruction_following=0.5, exact_match=1.0)
    assert "negative log-likelihood - base" in shown(nll=0.5)
    assert "9 rows" in shown(**{"arc.acc": 0.25})
    assert "arc: acc - base" in shown(**{"arc.acc": 0.25})
    same = shown(exact_match=0.5, irrelevance=0.5)  # rows on which no call is right
    assert "irrelevance" in same
    assert "exact match" not in same.partition("- base")[0]


def test_a_table_has_no_more_columns_than_the_terminal_and_no_arm_without_answers():
    from raytune_agents.cli.arms import arms_table
    from raytune_agents.evaluate.estimates import Estimate
    from raytune_agents.evaluate.metrics import METRICS

    names = ("exact_match", "function_accuracy", "parameter_accuracy", "hallucination_rate")
    values = {name: Estimate(k / 9, 0.0, 1.0, 9) for k, name in enumerate(names)}
    scores = {"base": {"s": values}, "base_constrained": {"s": values}, "nat": {"t": values}}
    wide, console.width = console.width, 100
    try:
        with console.capture() as printed:
            console.print(arms_table("s", scores, {}, METRICS))
    finally:
        console.width = wide
    text = printed.get()
    assert "base_constrained" in text
    assert "nat" not in text
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 100
    assert "exact match" in text
    assert "hallucination" not in text


def test_a_run_says_first_what_it_will_do(monkeypatch):
    from raytune_agents.cli import summary
    from raytune_agents.pipeline import first_run

    elsewhere = "resources.address=10.0.0.1:6379"  # a cluster's speed is not measured
    config = load_config(None, ["name=mine", "tune.num_samples=0", elsewhere])
    assert summary.outline_lines(config, ["label", "train", "tune"]) == [
        "to do: label, train of sft (sft), nat (nat)",
        "in runs/mine; how long: see raytune-agents plan; stopped, the same command goes on",
    ]
    config = load_config(None, ["name=mine"])
    with monkeypatch.context() as patch:
        patch.setattr(first_run, "foreseen_minutes", lambda config, steps: 0.0)
        said = summary.outline_lines(config, ["report"])
    assert said == ["to do: report", "in runs/mine; stopped, the same command goes on"]
    assert first_run.duration_text(0.2).startswith("about a minute on")


def test_a_finished_run_says_what_to_type_next(tmp_path):
    from raytune_agents.cli.summary import next_lines

    assert next_lines(tmp_path) == []
    (tmp_path / "train" / "nat" / "adapter").mkdir(parents=True)
    (tmp_path / "tune").mkdir()
    (tmp_path / "tune" / "trials.json").write_text("[]")
    assert next_lines(tmp_path) == [
        f"raytune-agents trials {tmp_path} --best 5",
        f"raytune-agents export {tmp_path} --serve app",
        f"raytune-agents export {tmp_path} --model nat --out nat",
    ]
    (tmp_path / "train" / "sft" / "adapter").mkdir(parents=True)
    (tmp_path / "evaluate").mkdir()
    (tmp_path / "evaluate" / "verdict.json").write_text('{"arm": "sft"}')
    (tmp_path / "tune" / "guide.json").write_text('{"verdict": "refused"}')
    (tmp_path / "tune" / "best.yaml").write_text("")
    assert next_lines(tmp_path) == [
        f"raytune-agents trials {tmp_path} --best 5",
        f"raytune-agents export {tmp_path} --serve app",
        f"raytune-agents export {tmp_path} --model sft --out sft",
    ]
    (tmp_path / "tune" / "guide.json").write_text('{"verdict": "gain"}')
    assert f"raytune-agents run {tmp_path}/tune/best.yaml" in next_lines(tmp_path)
    moved = tmp_path.rename(tmp_path.with_name("my run; #2"))
    assert all(str(moved) in " ".join(shlex.split(line)) for line in next_lines(moved))
