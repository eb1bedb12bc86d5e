"""What the evaluate step leaves behind: suites, roll-outs, robustness; scored again without
engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import ROOT, TINY, cli, own_task

from raytune_agents import models
from raytune_agents.agents.worlds import completed
from raytune_agents.config import ConfigError, load_config
from raytune_agents.evaluate import general, rollouts
from raytune_agents.evaluate.baselines import Arm
from raytune_agents.infra import cluster
from raytune_agents.records import from_row
from raytune_agents.storage import read_json

ARMS = {"base", "nat", "dpo"}
SPLITS = {"test_unseen", "unseen_agents", "instructions", "irrelevance", "bfcl_irrelevance"}


def lines(folder: Path, name: str) -> list[dict]:
    return pq.read_table(folder / "evaluate" / f"{name}.parquet").to_pylist()


def test_every_suite_is_scored_for_every_arm(tiny) -> None:
    folder, _ = tiny
    scores = read_json(folder / "evaluate" / "scores.json")
    costs = read_json(folder / "evaluate" / "costs.json")
    for arm in ARMS:
        assert set(scores[arm]) == SPLITS | {"trajectories", "val"}
        assert scores[arm]["instructions"]["instruction_following"]["n"] == 2
        assert costs[arm]["engine_peak_memory_mib"] > 100
        assert scores[arm]["trajectories"]["task_completion"]["n"] == 2
        assert "pass_hat_2" in scores[arm]["trajectories"]
    assert "train_seconds" not in costs["base"]
    assert costs["nat"]["train_tokens"] > 100
    timed = read_json(folder / "evaluate" / "latency.json")
    assert {load for arm in timed.values() for load in arm} == {"1", "2"}
    assert all(cell["value"] > 0 for cell in timed["base"]["1"].values())
    rows = [from_row(r) for r in lines(folder, "rows")]
    kinds = {r.source for r in rows if r.split == "unseen_agents"}
    assert kinds == {"agent/support"}


def test_rollouts_are_real_conversations_with_the_world(tiny) -> None:
    folder, _ = tiny
    stored = lines(folder, "rollouts")
    assert len(stored) == 3 * 2 * 2  # arms, tasks, trials
    for line in stored:
        row = from_row(json.loads(line["row"]))
        assert line["end"] in rollouts.ENDS
        assert line["task_completion"] == float(line["end"] == "answered" and completed(row))
        assert 1 <= line["steps"] <= 2
        asked = [m for m in row.messages if m.role == "assistant"]
        assert len(asked) == line["steps"]


def test_energy_is_told_or_null_and_said(tiny) -> None:
    folder, printed = tiny
    costs = read_json(folder / "evaluate" / "costs.json")
    told = read_json(folder / "evaluate" / "manifest.json")["energy"]
    if told == "measured":
        assert all(costs[arm]["energy_j"] > 0 for arm in ARMS)
    else:
        assert {costs[arm]["energy_j"] for arm in ARMS} == {None}
        assert "energy is not known" in " ".join(printed.split())
        assert "no energy" in told


def test_a_judge_compared_every_arm_with_the_base_in_both_orders(tiny) -> None:
    folder, _ = tiny
    judged = lines(folder, "judged")
    assert {x["arm"] for x in judged} == ARMS - {"base"}
    assert {x["split"] for x in judged} == SPLITS
    for line in judged:
        both = [t and json.loads(t) for t in json.loads(line["verdicts"])]
        if line["failed"]:
            assert line["judge_score"] is None
            continue
        assert 1 <= line["judge_score"] <= 5
        assert all(set(v) == {"first", "second"} for v in both)
    assert [x for x in judged if not x["failed"]]


@pytest.mark.slow
def test_talks_with_the_classes_of_bfcl_and_general_ability(tiny, tmp_path) -> None:
    """More questions to a trained run: the base and one arm talk to BFCL's classes; lm-eval where
    an interpreter has it."""
    folder = copy(tiny, tmp_path, adapters=True)
    options = [
        f"runs_dir={folder.parent}",
        "evaluate.multi_turn.rows=3",
        "engine.max_model_len=4096",
        "evaluate.trajectories.tasks=0",
        "evaluate.perturbations=[]",
    ]
    tasks = tmp_path / "tasks"
    if general.has_lm_eval(general.python()):
        own_task(tasks)
        options += ["evaluate.general.tasks=[our_sums]", f"evaluate.general.include_path={tasks}"]
    done = cli("run", "--steps", "evaluate", str(TINY), *options, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    talks = lines(folder, "multi_turn")
    assert len(talks) == 3 * len(ARMS)
    assert sum(not line["failed"] for line in talks) >= 2 * len(ARMS)
    for line in talks:
        assert line["failed"] in ("", "tool_crashed", "prompt_too_long")
        row = from_row(json.loads(line["row"]))
        made = [c for turn in json.loads(line["turns"]) for step in turn for c in step]
        assert len(made) == len(row.calls) == sum(m.role == "tool" for m in row.messages)
    scores = read_json(folder / "evaluate" / "scores.json")
    if tasks.is_dir():
        assert {scores[arm]["general"]["our_sums.acc"]["n"] for arm in ARMS} == {4}
        gains = read_json(folder / "evaluate" / "differences.json")
        assert gains["nat"]["general"]["our_sums.acc"]["n"] == 4
    done = cli("report", str(TINY), *options, "--rescore", timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_json(folder / "evaluate" / "scores.json") == scores


@pytest.mark.slow
def test_shards_under_way_are_at_most_max_concurrency(tmp_path: Path) -> None:
    import time

    from raytune_agents.pipeline.context import Context
    from raytune_agents.pipeline.shards import ShardReport, map_shards
    from raytune_agents.progress import Display

    def work(number: int, rows: list) -> ShardReport:
        began = time.time()
        time.sleep(2)  # the second task begins about a second after the first
        return ShardReport(notes={"began": began, "ended": time.time()})

    context = Context(load_config(TINY, [f"runs_dir={tmp_path}"]), Display())
    parts = {k: [k] for k in range(9)}
    try:
        for most in (1, 3, 8):  # 8: more than there are CPUs
            found = map_shards(context, "sleep", parts, work, at_once=most)
            done = [report.notes | {"heard": time.time()} for _, report in found]
            at = [sum(x["began"] <= y["began"] < x["ended"] for x in done) for y in done]
            assert most / 2 < max(at) <= most
            # As each ends, not with the last of its block.
            assert done[0]["heard"] < max(x["ended"] for x in done)
    finally:
        cluster.disconnect()


@pytest.mark.slow
def test_arms_that_are_asked_together_keep_their_answers_apart(tmp_path: Path) -> None:
    """Two arms in one stream, a part of one of them lost: each has its lines, in order, in files of
    its own; the second time only what was lost is asked."""
    from raytune_agents.inference.client import EngineDown
    from raytune_agents.pipeline.context import Context
    from raytune_agents.pipeline.shards import Questions, in_shards
    from raytune_agents.progress import Display

    asked = tmp_path / "asked"

    def questions(arm: str, down: bool) -> Questions:
        def ask(part: list) -> list:
            with asked.open("a") as file:
                file.write(f"{arm}{part[0]['id']} ")
            if down and part[0]["id"] == 2:
                raise EngineDown("gone")
            return [{"id": row["id"], "arm": arm, "output_tokens": 1} for row in part]

        parts = [[{"id": k}, {"id": k + 1}] for k in (0, 2, 4)]
        lost = [{"arm": arm, "failed": "infra_failed"}]
        return Questions(f"ask {arm}", parts, ask, lambda row: [row | lost[0]], [arm])

    context = Context(load_config(TINY, [f"runs_dir={tmp_path}"]), Display())
    context.start_engine = lambda: setattr(context, "slots", 4)  # none is asked
    step = context.run.step("evaluate", {})
    step.begin()
    try:
        a, b = in_shards(context, step, [questions("a", False), questions("b", True)])
        assert [(x["arm"], x["id"]) for x in a] == [("a", k) for k in range(6)]
        assert [(x["id"], x.get("failed", "")) for x in b] == [
            (0, ""), (1, ""), (2, "infra_failed"), (3, "infra_failed"), (4, ""), (5, "")
        ]  # fmt: skip
        assert sorted(asked.read_text().split()) == ["a0", "a2", "a4", "b0", "b2", "b4"]
        asked.unlink()
        again = in_shards(context, step, [questions("a", False), questions("b", False)])
        assert again[0] == a
        assert [x["id"] for x in again[1]] == list(range(6))
        assert asked.read_text().split() == ["b2"]
        assert len(list((tmp_path / "tiny" / "answers").glob("ask-?-*/rows-*.parquet"))) == 6
    finally:
        context.close()


def test_perturbed_rows_point_to_their_clean_ones(tiny) -> None:
    folder, _ = tiny
    clean = {a["id"] for a in lines(folder, "answers")}
    noisy = lines(folder, "perturbed")
    assert {a["perturbation"] for a in noisy} <= {"names_masked", "typos"}
    assert all(a["of"] in clean and a["id"] not in clean for a in noisy)
    found = read_json(folder / "evaluate" / "robustness.json")
    assert set(found) == ARMS


def copy(tiny, tmp_path: Path, adapters: bool = False) -> Path:
    folder = tmp_path / "runs" / "tiny"
    left_out = ("ray",) if adapters else ("adapter", "ray")
    shutil.copytree(tiny[0], folder, ignore=shutil.ignore_patterns(*left_out))
    return folder


def test_stored_answers_are_scored_again_without_the_engine(tiny, tmp_path) -> None:
    folder = copy(tiny, tmp_path)
    before = read_json(folder / "evaluate" / "scores.json")
    where = f"runs_dir={folder.parent}"
    took = read_json(folder / "evaluate" / "manifest.json")["seconds"]
    (folder / "evaluate" / "scores.json").unlink()
    done = cli("report", str(TINY), where, "--rescore", timeout=120)
    assert read_json(folder / "evaluate" / "manifest.json")["seconds"] == took
    assert done.returncode == 0, done.stdout + done.stderr
    assert "starting Ray" not in done.stdout
    assert read_json(folder / "evaluate" / "scores.json") == before
    done = cli("report", str(TINY), where, "evaluate.limit=3", "--rescore", timeout=120)
    assert done.returncode == 2
    assert "made with other options" in done.stderr
    done = cli("run", "--steps", "evaluate", str(TINY), where, timeout=120)
    assert "done before" in done.stdout


def test_two_arms_are_compared_and_a_row_is_traced(tiny) -> None:
    folder, _ = tiny
    done = cli("compare", str(folder), str(folder), "--arm-a", "nat", "--arm-b", "dpo")
    assert done.returncode == 0, done.stderr
    assert "too few to show a difference" in " ".join(done.stdout.split())
    noisy = lines(folder, "perturbed")[0]
    done = cli("trace", noisy["id"], str(folder))
    assert f"from {noisy['of']}" in done.stdout
    assert f"step evaluate.{noisy['perturbation']}" in done.stdout


def test_official_score_files(tiny, tmp_path) -> None:
    python = os.environ.get("BFCL_PYTHON")
    if not python:
        pytest.skip("BFCL_PYTHON names no interpreter with bfcl-eval")
    folder = copy(tiny, tmp_path)
    done = cli("report", str(TINY), f"runs_dir={folder.parent}", "--official", timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    answers = [a for a in lines(folder, "answers") if a["source"].startswith("bfcl/")]
    right = {arm: sum(a["exact_match"] for a in answers if a["arm"] == arm) for arm in ARMS}
    for arm in ARMS:
        files = (folder / "evaluate/official/score" / arm).rglob("BFCL_v4_*_score.json")
        heads = [json.loads(f.read_text().splitlines()[0]) for f in files]
        assert sum(h["correct_count"] for h in heads) == right[arm]
        assert sum(h["total_count"] for h in heads) == 4


def test_without_the_official_package_the_message_says_what_to_do(tiny, tmp_path) -> None:
    folder = copy(tiny, tmp_path)
    env = os.environ | {"BFCL_PYTHON": "/no/such/python"}
    command = [sys.executable, "-m", "raytune_agents", "report", str(TINY)]
    done = subprocess.run(
        [*command, f"runs_dir={folder.parent}", "--official"],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "/no/such/python" in done.stderr
    assert "BFCL_PYTHON=" in done.stderr


@pytest.mark.parametrize("name", ["report", "search"])
def test_a_notebook_reads_a_real_run(name, tiny, monkeypatch, capsys) -> None:
    monkeypatch.setenv("RAYTUNE_RUN", str(tiny[0]))
    path = ROOT / "jobs" / "examples" / f"{name}.ipynb"
    space: dict = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), path.name, "exec"), space)
    assert {"report": "base", "search": " trials, 0 failed"}[name] in capsys.readouterr().out


@pytest.mark.slow
def test_lm_eval_runs_a_task_of_our_own(tmp_path, monkeypatch) -> None:
    if not general.has_lm_eval(general.python()):
        pytest.skip("needs lm-eval; set LM_EVAL_PYTHON")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    own_task(tmp_path / "tasks")
    config = load_config(None, ["evaluate.general.tasks=[our_sums]", "evaluate.general.limit=3"])
    options = config.evaluate.general.model_copy(update={"include_path": str(tmp_path / "tasks")})
    model, base = models.resolve(config.model), Arm("base")
    found = general.run_lm_eval(model, "float32", base, options, 1, False)
    assert [x["id"] for x in found] == [f"our_sums/{k}" for k in range(3)]
    assert {x["our_sums.acc"] for x in found} <= {0.0, 1.0}
    wrong = options.model_copy(update={"tasks": ["no_such_task"]})
    with pytest.raises(ConfigError, match=r"lm-eval said: .*no_such_task"):
        general.run_lm_eval(model, "float32", base, wrong, 1, False)
