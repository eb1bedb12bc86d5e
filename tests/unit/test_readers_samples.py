"""Real files of every format, from shared/data where that folder is there; BFCL's package."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from raytune_agents import readers
from raytune_agents.config import SourceConfig
from raytune_agents.readers import bfcl
from raytune_agents.records import Trajectory, from_row, to_row

DATA = Path(__file__).parents[2].parent / "shared/data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="shared/data is not here")


# file -> (format, rows, trajectories, successes, failures)
SAMPLES = {
    "xlam.jsonl": ("xlam", 100, 100, 0, 0),
    "xlam_model_failures.jsonl": ("model_failures", 100, 100, 10, 90),
    "agenttuning.jsonl": ("agenttuning", 30, 30, 0, 0),
    "agentflan_reshaped.jsonl": ("agent_flan", 30, 30, 0, 0),
    "sharegpt_toolcalls.jsonl": ("sharegpt", 100, 100, 0, 0),
    "fireact_alpaca.jsonl": ("fireact", 100, 100, 99, 1),
    "fireact_gpt.jsonl": ("fireact", 60, 60, 57, 3),
    "fireact_trajs.jsonl": ("fireact", 100, 100, 40, 60),
    "tau_bench.jsonl": ("tau_bench", 20, 20, 10, 10),
    "tau2.jsonl": ("tau2", 14, 14, 8, 6),
    "openai_tools.jsonl": ("openai", 20, 20, 0, 0),
    "swe_gym.jsonl": ("swe_gym", 5, 5, 5, 0),
    "nebius_swe_agent.jsonl": ("nebius", 5, 5, 5, 0),
    "swe_agent_traj.jsonl": ("swe_agent", 10, 10, 0, 0),
    "mind2web_agenttuning.jsonl": ("agenttuning", 5, 5, 0, 0),
    "toolbench_dfs.jsonl": ("toolbench", 12, 78, 7, 71),
    "toolbench_cot_runs.jsonl": ("toolbench_runs", 60, 60, 27, 33),
    "toolalpaca.jsonl": ("toolalpaca", 21, 214, 0, 0),
    "toolalpaca_instances.jsonl": ("toolalpaca", 36, 306, 0, 298),
    "when2call_test.jsonl": ("when2call", 100, 100, 0, 0),
    "when2call_pref.jsonl": ("when2call_pref", 200, 400, 200, 200),
    "bfcl.jsonl": ("bfcl", 100, 100, 0, 0),
    "mint.jsonl": ("mint", 64, 64, 32, 32),
    "api_bank.jsonl": ("api_bank", 60, 60, 0, 0),
    "seal_tools.jsonl": ("seal_tools", 60, 60, 0, 0),
    "nestful.jsonl": ("nestful", 60, 60, 0, 0),
    "tooltalk.jsonl": ("tooltalk", 30, 30, 0, 0),
    "nemo_gym_rollouts.jsonl": ("responses", 10, 10, 7, 3),
}


def trajectories(path: Path | str) -> list[Trajectory]:
    out: list[Trajectory] = []
    for where, raw in readers.list_raw(SourceConfig(path=str(path))):
        assert isinstance(raw, dict), raw
        out += readers.read_row(raw, where)
    return out


@needs_data
@pytest.mark.parametrize("name", SAMPLES)
def test_samples(name: str) -> None:
    format, n_raw, n, successes, failures = SAMPLES[name]
    path = DATA / "samples" / name
    raw = list(readers.list_raw(SourceConfig(path=str(path))))
    assert len(raw) == n_raw
    assert {readers.detect(r) for _, r in raw} == {format}
    rows = trajectories(path)
    assert len(rows) == n
    outcomes = Counter(None if r.outcome is None else r.outcome >= 0.5 for r in rows)
    assert (outcomes[True], outcomes[False]) == (successes, failures)
    assert len({r.id for r in rows}) == n
    for row in rows:
        assert row.pool.startswith("negative.") == (row.outcome is not None and row.outcome < 0.5)
        assert row.source == f"{format}/{name}"
        assert not any(m.trained for m in row.messages if m.role != "assistant")
        assert from_row(to_row(row)) == row  # also: everything in it can be stored
        for tool in row.tools:
            assert tool.schema["type"] == "object"


@needs_data
def test_every_sample_file_is_listed() -> None:
    assert {p.name for p in (DATA / "samples").glob("*.jsonl")} == SAMPLES.keys()


@needs_data
def test_fireact_runs() -> None:
    folder = DATA / "fireact"
    for name, n, right in [("runs_gpt35", 465, 200), ("runs_llama2_13b", 499, 172),
                           ("runs_llama2_7b", 500, 131)]:  # fmt: skip
        rows = trajectories(folder / f"{name}.json.gz")
        assert (len(rows), sum(r.outcome == 1.0 for r in rows)) == (n, right)
        assert all(r.outcome == float(r.meta["em"]) for r in rows)
    assert len(trajectories(folder / "sft_alpaca_format_hotpotqa.json.gz")) == 500
    assert len(trajectories(folder / "sft_gpt_format_multitask.jsonl.gz")) == 1_344


@needs_data
def test_prepared_rows_keep_their_bytes() -> None:
    path = DATA / "prepared" / "val.jsonl.gz"
    for where, raw in readers.list_raw(SourceConfig(path=str(path))):
        [row] = readers.read_row(raw, where)
        for tool in row.tools:
            assert f'"parameters": {tool.parameters}' in raw["tools"]
        for call in row.calls:
            assert f'"arguments": {call.arguments}' in raw["answers"]
        assert len(row.calls) == len(json.loads(raw["answers"]))


def test_bfcl_package() -> None:
    pytest.importorskip("bfcl_eval")
    rows = trajectories("bfcl")
    counts = Counter(r.source for r in rows)
    assert counts == {
        "bfcl/simple_python": 400, "bfcl/multiple": 200, "bfcl/parallel": 200,
        "bfcl/parallel_multiple": 200, "bfcl/live_simple": 258, "bfcl/live_multiple": 1053,
        "bfcl/irrelevance": 240,
    }  # fmt: skip
    for row in rows:
        quiet = row.source == "bfcl/irrelevance"
        assert (row.gold == "[]") == quiet == (row.target is None)
    with pytest.raises(readers.SourceError, match="multi_turn_base"):
        list(bfcl.bfcl_rows(["multi_turn_base"]))


@needs_data
def test_toolbench_dead_branches_point_to_the_answer() -> None:
    rows = trajectories(DATA / "samples/toolbench_dfs.jsonl")
    best = {r.id for r in rows if r.outcome == 1.0}
    dead = [r for r in rows if r.pool == "negative.dead_branch"]
    wins = {r.source_id for r in rows if r.outcome == 1.0}
    for row in dead:
        twin = row.source_id.partition("#")[0] in wins
        assert set(row.parents) <= best
        assert bool(row.parents) == twin
    assert all(r.calls[-1].name == "Finish" for r in rows if r.outcome == 1.0)


def test_explain_names_where_fields_go() -> None:
    from rich.console import Console

    from raytune_agents.readers.mapping import source_report

    if not DATA.is_dir():
        pytest.skip("shared/data is not here")
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(source_report(SourceConfig(path=str(DATA / "samples/xlam.jsonl"))))
    text = console.export_text()
    assert "xlam" in text
    assert [w for w in ("messages (user)", "tool_calls, gold", "source_id") if w not in text] == []
