"""What a trial trains, when a rung may cut, what a budget counts, and what the tables say."""

from __future__ import annotations

import csv
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from finished import finish_step
from ray.tune.schedulers import TrialScheduler

from raytune_agents import config
from raytune_agents.cli.look import chosen_trials as chosen
from raytune_agents.cli.look import trials_table
from raytune_agents.config import BudgetConfig, ConfigError, TrainConfig, TuneConfig
from raytune_agents.mix import choose_rows
from raytune_agents.runs import MANIFEST
from raytune_agents.storage import write_json
from raytune_agents.train.job import Job
from raytune_agents.train.tokenized import FACTS, Tokenized
from raytune_agents.tune import ledger, schedulers, search, trial_stats, trial_tables
from raytune_agents.tune import trial_spec as one
from raytune_agents.tune.search_space import parse_space
from raytune_agents.tune.trials import Trial

POOLS = ["positive", "synthetic", "negative"]
SPACE = {"mix.weights": {"simplex": POOLS}, "train.lora.r": {"choice": [4, 8]}}


def example(row: str, pool: str, tokens: int) -> dict:
    return {"row_id": row, "pool": pool, "trained_tokens": tokens}


ROWS = [
    example("p1", "positive", 10),
    example("p2", "positive", 30),
    example("s1", "synthetic.tflan", 20),
    example("n1", "negative.wrong_value", 8),
    example("n2", "negative.extra_call", 12),
]


def pool_of(rows: list[dict]) -> Tokenized:
    facts = {
        "id": [r["row_id"] for r in rows], "pool": [r["pool"] for r in rows],
        "tokens": [r["trained_tokens"] for r in rows], "examples": [1] * len(rows),
        **{name: [False] * len(rows) for name in ("failed", "no_call", "task")},
        **{name: [""] * len(rows) for name in ("refused", "fault")},
        "shared": [None] * len(rows),
    }  # fmt: skip
    return Tokenized(Path("columns"), pa.table(facts, FACTS), np.arange(len(rows)))


def inputs_of(space: dict, **more) -> one.TrialInputs:
    parsed = parse_space(space)
    keys = {one.text_key(t) for t in parsed.texts()} | {one.text_key({})}
    job = Job("m", "float32", "", "nat", TrainConfig(), {}, "", 17, 1)
    pools, rows = dict.fromkeys(keys, pool_of(ROWS)), dict.fromkeys(keys, ROWS)
    tune, weights = TuneConfig(tokens=100), more.pop("weights", {})
    return one.TrialInputs(parsed, pools, rows, rows, {}, job, tune, weights, 4.0, 0.3, 900)


def test_a_proposal_becomes_a_mix_and_train_options():
    shared = inputs_of(SPACE)
    sample = shared.space.simplex().invert({"positive": 0.5, "negative": 0.5}) | {"train.lora.r": 8}
    plan = one.specify(sample, shared)
    assert plan.options.lora.r == 8
    assert plan.weights == pytest.approx({"positive": 0.5, "synthetic": 0, "negative": 0.5})
    assert (plan.tokens, plan.seed, plan.method, plan.full) == (100, 17, "nat", False)
    assert plan.no_call == 0.3  # the mix step's own, unless it is searched
    full = one.specify(sample | {"seed": 3, "full": True}, shared)
    assert (full.tokens, full.seed, full.full) == (900, 3, True)


def test_the_share_of_rows_without_a_call_can_be_searched():
    shared = inputs_of(SPACE | {"mix.no_call": {"choice": [0.1, 0.45]}})
    sample = shared.space.simplex().invert({"positive": 0.5, "negative": 0.5})
    assert one.specify(sample | {"train.lora.r": 4, "mix.no_call": 0.45}, shared).no_call == 0.45


def test_negatives_per_positive_is_a_ratio_of_rows():
    """A positive row holds 20 tokens, a negative 10: two of these equal one of those."""
    costs = pool_of(ROWS).costs()
    assert one.with_ratio({"positive": 1.0}, 2.0, costs) == {"positive": 0.5, "negative": 0.5}
    three = one.with_ratio({"positive": 3.0, "synthetic": 1.0, "negative": 9.0}, 0.0, costs)
    assert three == {"positive": 0.75, "synthetic": 0.25, "negative": 0.0}
    shared = inputs_of(
        {"negatives.per_positive": {"choice": [0, 2]}}, weights={"positive": 1, "negative": 1}
    )
    plan = one.specify({"negatives.per_positive": 2}, shared)
    assert plan.weights == {"positive": 0.5, "negative": 0.5}


def test_a_method_has_its_own_tokens_and_only_pools_with_rows_count():
    space = SPACE | {"tune.method": {"choice": ["sft", "dpo"]}}
    shared = inputs_of(space)
    assert {one.text_key(t) for t in shared.space.texts()} == {
        '{"tune.method":"sft"}', '{"tune.method":"dpo"}'}  # fmt: skip
    sample = shared.space.simplex().invert(dict.fromkeys(POOLS, 1 / 3))
    pairs = dict(shared.pools) | {'{"tune.method":"dpo"}': pool_of(ROWS[3:])}
    plan = one.specify(
        sample | {"train.lora.r": 4, "tune.method": "dpo"},
        one.TrialInputs(**{**shared.__dict__, "pools": pairs}),
    )
    assert (plan.method, plan.weights) == ("dpo", {"negative": 1.0})


def test_the_objective_is_a_weighted_sum():
    score = {"exact_match": 0.5, "val_loss": 2.0, "hallucination_rate": 0.25}
    assert one.objective_of(score, {"exact_match": 1.0, "val_loss": -0.01}) == pytest.approx(0.48)
    assert one.objective_of(score, {"hallucination_rate": -2.0}) == pytest.approx(-0.5)
    with pytest.raises(ValueError, match="irrelevance"):
        one.objective_of(score, {"irrelevance": 1.0})
    assert trial_stats.guideline_metric({"exact_match": 1.0, "val_loss": -0.01}) == "exact_match"
    assert (
        trial_stats.guideline_metric({"exact_match": 1.0, "hallucination_rate": -1.0})
        == "objective"
    )


def test_leaders_are_different_configurations_that_went_to_the_end():
    same = {"config": {"train.lora.r": 8}, "weights": {"positive": 1.0}}
    other = same | {"config": {"train.lora.r": 4}}
    found = [
        Trial("a", objective=0.5, **same),
        Trial("b", objective=0.1, seed=18, **same),  # a and b: mean 0.3
        Trial("c", objective=0.4, **other),
        Trial("d", objective=0.9, status="stopped", **other),
    ]
    assert [t.trial_id for t in trial_stats.leaders(found, 2)] == ["c", "a"]


# --- rungs ---


def report(number: int, score: float) -> dict:
    tokens = 40 * number
    return {"report": number, "objective": score, "tokens": tokens, "training_iteration": number}


def rungs(tmp_path, noise: float, lines: list[dict] = ()):
    """ASHA of a search with rungs at 36 and 72 of 120 tokens, which knows the lines."""
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(line | {"stage": "search"}) + "\n" for line in lines))
    tune = TuneConfig(tokens=120, num_rungs=3)
    return schedulers.asha(tune, path, "search", {1: noise})


class Named(NamedTuple):
    trial_id: str


def feed(scheduler, name: str, result: dict) -> str:
    trial = Named(name)
    scheduler.on_trial_add(None, trial)
    return scheduler.on_trial_result(None, trial, result)


def test_a_rung_cuts_weak_trials_but_not_inside_the_noise(tmp_path):
    """Two runs differ by up to 1.96 * sqrt(2) * 0.05 = 0.139: 0.40 is spared beside 0.50, 0.35 is
    not."""
    plain, patient = rungs(tmp_path, 0.0), rungs(tmp_path, 0.05)
    for scheduler in (plain, patient):
        assert feed(scheduler, "a", report(1, 0.50)) == TrialScheduler.CONTINUE
    assert feed(plain, "b", report(1, 0.40)) == TrialScheduler.STOP
    assert feed(patient, "b", report(1, 0.40)) == TrialScheduler.CONTINUE
    assert feed(patient, "c", report(1, 0.35)) == TrialScheduler.STOP


def test_a_restored_search_keeps_its_rungs(tmp_path):
    lines = [{"trial_id": "a"} | report(1, 0.5), {"trial_id": "c"} | report(1, 0.6)]
    assert feed(rungs(tmp_path, 0.0), "b", report(1, 0.4)) == TrialScheduler.CONTINUE
    assert feed(rungs(tmp_path, 0.0, lines), "b", report(1, 0.4)) == TrialScheduler.STOP
    assert feed(rungs(tmp_path, 0.1, lines), "b", report(1, 0.4)) == TrialScheduler.CONTINUE


def test_the_noise_is_the_spread_of_equal_runs():
    """Scores 0.2, 0.4 and 0.6 have a standard deviation of 0.2."""
    found = [Trial("t", reports=[report(1, s), report(2, 0.5)]) for s in (0.2, 0.4, 0.6)]
    assert trial_stats.noise_by_report(found) == pytest.approx({1: 0.2, 2: 0.0})


# --- what is refused ---


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("tune.objective={hallucination_rate: -1}", "set tune.score=generate and tune.num_rungs=1"),
        ("tune.objective={beauty: 1}", "is not scored"),
        ("tune.objective={exact_match: 0}", "weigh nothing"),
        ("tune.noise=1", "has no spread"),
        ("budget.max_cost=3", "usd_per_hour"),
        ("tune.search_alg=grid", "tune.search_alg='grid'"),
        ("tune.space={}", "is empty"),
        ("train.global_batch_size=1 tune.num_workers=2", "write a multiple of 2"),
        ("tune.num_workers=2 tune.space={train.global_batch_size: {choice: [8, 3]}}", "size=3 can"),
    ],
)
def test_what_cannot_run_is_refused_before_ray(words, says):
    split = words.replace(" tune.", "|tune.").split("|")
    with pytest.raises(ConfigError, match=says):
        schedulers.validate_tune(config.load_config(None, split))


def test_every_search_algorithm_knows_the_space_and_earlier_scores():
    space = parse_space(SPACE | {"train.learning_rate": {"loguniform": [1e-4, 1e-3]}})
    points = space.baseline_samples()
    for name in ("random", "optuna", "optuna_gp"):
        tune = TuneConfig(search_alg=name, num_samples=6)
        made = schedulers.search_algorithm(tune, space, points, [(points[0], 0.3)], 5)
        if name != "random":
            assert set(made.suggest("t1")) == set(space.tune_space())
            assert made._ot_study.get_trials()[-2].value in (0.3, None)


def test_a_settled_option_leaves_the_space_and_stays_in_every_proposal():
    space = parse_space(SPACE | {"train.learning_rate": {"loguniform": [1e-4, 1e-2]}})
    axis = space.axes[-1]
    assert axis.quantile(0.5)["train.learning_rate"] == pytest.approx(1e-3)
    settled = space.fixed("train.learning_rate", 2e-3)
    assert "train.learning_rate" not in [axis.key for axis in settled.axes]
    sample = settled.baseline_samples()[0]
    assert settled.resolve(sample)["train.learning_rate"] == 2e-3


def test_an_untrained_trial_is_one_step_that_moves_nothing():
    shared = inputs_of(SPACE)
    sample = shared.space.baseline_samples()[0] | {one.UNTRAINED: True}
    plan = one.specify(sample, shared)
    assert (plan.options.learning_rate, plan.untrained, plan.reports) == (1e-12, True, False)
    # Of many small pools, too, it has rows for its step.
    shares = {f"negative.{k}": 0.1 for k in range(10)}
    rows = [(f"n{k}", f"negative.{k}", 5) for k in range(10)]
    chosen = choose_rows(rows, shares, plan.tokens, plan.max_epochs, plan.seed)
    assert set(chosen.ids) == {f"n{k}" for k in range(10)}


# --- budget ---


def test_the_budget_counts_all_sessions_and_generation(tmp_path):
    """Trial a went to 300 tokens, b to 120, generation took 80: 500; a session before took 7 s."""
    path = tmp_path / "metrics.jsonl"
    rows = [("a", 100, 2.0, 1.0), ("b", 120, 7.0, 1.0), ("a", 300, 1.5, ledger.SESSION)]
    lines = [
        {"stage": "search", "trial_id": t, "tokens": n, "wall": w, "session": s}
        for t, n, w, s in rows
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"cut')
    run = tmp_path / "run"
    (run / "generate").mkdir(parents=True)
    assert ledger.spent_before(run) == {"tokens": 0, "hours": 0, "cost": 0}
    step = finish_step(run / "generate", teacher={"tokens": 80, "usd": 3.0})
    write_json(step.folder / MANIFEST, step.manifest.model_dump(mode="json") | {"seconds": 1800})
    earlier = ledger.spent_before(run)
    budget = ledger.SearchBudget(BudgetConfig(max_tokens=501, usd_per_hour=2.0), path, earlier)
    spent = budget.spent()
    assert spent["tokens"] == 500
    now = (time.time() - ledger.SESSION) / 3600
    assert spent["hours"] == pytest.approx(0.5 + 7 / 3600 + now, abs=1e-3)
    assert spent["cost"] == pytest.approx(3 + 2 * spent["hours"], rel=1e-3)
    assert not budget.stop_all()
    budget.limits = BudgetConfig(max_tokens=500)
    assert budget.stop_all()
    assert budget.reason == "budget.max_tokens=500 is spent (500)"


# --- tables ---


def row(name: str, score: float | None, negative: float, stage="search", **more) -> Trial:
    last = {"report": 2.0, "step": 4.0, "tokens": 90.0, "objective": score, "val_loss": 1.5,
            "exact_match": score, "began": 10.0, "time": 14.0, "process": 1.0}  # fmt: skip
    return Trial(
        name, stage, status="finished" if score else "failed", config={"train.lora.r": 8},
        weights={"positive": 1 - negative, "negative": negative}, method="nat", seed=17,
        reports=[last | more] if score else [], score=score, objective=score, tokens=90,
        seconds=4.0, error="" if score else "Boom: 1", starts=[5.0],
    )  # fmt: skip


FOUND = [row("a", 0.3, 0.1), row("b", 0.5, 0.4), row("c", None, 0.2), row("d", 0.4, 0.3, "noise")]


def test_the_table_filters_ranks_and_lists_failures():
    rows = trial_tables.trial_rows(FOUND)
    assert [r["trial_id"] for r in chosen(rows, [], 2, False)] == ["b", "d"]
    kept = chosen(rows, ["mix.negative>0.15", "stage=search"], None, False)
    assert [(r["rank"], r["trial_id"]) for r in kept] == [(1, "b"), (4, "c")]
    assert [r["error"] for r in chosen(rows, [], None, True)] == ["Boom: 1"]
    assert [r["trial_id"] for r in chosen(rows, ["score!=0.5"], None, False)] == ["d", "a"]
    with_metrics = [r | {"call_recall": k, "train.lr": k} for k, r in enumerate(rows)]
    table = trials_table(chosen(with_metrics, [], None, True), True)
    heads = [str(c.header) for c in table.columns]
    assert heads[:4] == ["rank", "trial_id", "score", "objective"]
    assert {"stage", "lr", "mix.negative", "error"} <= {*heads}
    assert "call_recall" not in heads  # a score of this kind stands in the CSV file
    for wrong in ("score", "sc0re>1"):
        with pytest.raises(ConfigError, match="--filter"):
            chosen(rows, [wrong], None, False)


def test_tables_hold_resolved_options_and_mix(tmp_path):
    trial_tables.write_tables(FOUND, tmp_path)
    with (tmp_path / "trials.csv").open() as file:
        first = next(csv.DictReader(file))
    assert (first["train.lora.r"], first["mix.negative"], first["val_loss"]) == ("8", "0.1", "1.5")
    trial_tables.write_csv([{"error": "=cmd|x", "score": -1.0}], tmp_path / "odd.csv")
    assert (tmp_path / "odd.csv").read_text() == "error,score\n'=cmd|x,-1.0\n"
    back = pq.read_table(tmp_path / "trials.parquet").to_pylist()
    assert [r["score"] for r in back] == [0.3, 0.5, None, 0.4]
    assert len(list((tmp_path / "tensorboard").rglob("events*"))) == 4
    options, scores = hparams(tmp_path / "tensorboard" / "search-b")
    assert (options["train.lora.r"], options["mix.negative"], options["seed"]) == (8, 0.4, 17)
    assert options["tune.method"] == "nat"
    assert scores["final/exact_match"] == scores["exact_match"] == pytest.approx(0.5)
    assert scores["val_loss"] == pytest.approx(1.5)


def hparams(folder: Path) -> tuple[dict, dict]:
    """HParams and scalars of a TensorBoard run: records of length (8 bytes), its checksum (4), an
    event, its checksum (4)."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    options, scalars = {}, {}
    for path in folder.rglob("events*"):
        data = path.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            for value in Event.FromString(data[12 : 12 + size]).summary.value:
                plugin = HParamsPluginData.FromString(value.metadata.plugin_data.content)
                found = plugin.session_start_info.hparams
                options |= {k: getattr(v, v.WhichOneof("kind")) for k, v in found.items()}
                if value.HasField("simple_value"):
                    scalars[value.tag] = value.simple_value
            data = data[16 + size :]
    return options, scalars


def test_the_adapter_of_a_nested_run_lies_below_its_checkpoint():
    own, nested = {"checkpoint_path": "/runs/x"}, SimpleNamespace(path="/runs/y")
    assert search._checkpoint(SimpleNamespace(checkpoint=None, metrics=own)) == "/runs/x/checkpoint"
    assert search._checkpoint(SimpleNamespace(checkpoint=nested, metrics={})) == "/runs/y"
    assert search._checkpoint(SimpleNamespace(checkpoint=None, metrics=None)) == ""


def test_a_trial_of_several_workers_shares_its_model():
    team = one.with_workers
    base = TrainConfig(num_workers=4, sharding="zero2", offload=True)
    assert (team(base, 1).num_workers, team(base, 1).sharding, team(base, 1).offload) == (
        1, "none", False)  # fmt: skip
    assert (team(base, 2).num_workers, team(base, 2).sharding) == (2, "zero2")
    assert team(TrainConfig(), 2).sharding == "ddp"


def test_times_by_process_and_session():
    """Two runs in one process: 5 s to the first step, 1 s between; 8 of 14 s are busy. A second
    session starts at 100 and its first step is at 103: 4 of 7 s are busy."""
    second = row("b", 0.5, 0.4, began=15.0, time=19.0)
    third = row("e", 0.5, 0.4, began=103.0, time=107.0, process=2.0)
    both = [row("a", 0.3, 0.1), second]
    first = trial_tables.search_times(both)
    assert first == {
        "busy_share": pytest.approx(8 / 14), "startup_s_cold": 5.0, "startup_s_warm": 1.0,
        "wall_s": 14.0}  # fmt: skip
    restored = [replace(t, starts=[5.0, 100.0]) for t in [*both, third]]
    assert trial_tables.search_times(restored)["wall_s"] == 21.0
    assert trial_tables.search_times(restored)["startup_s_cold"] == 4.0
    assert trial_tables.search_times([row("c", None, 0.2)])["busy_share"] is None


def test_trials_of_a_killed_search_are_those_of_its_finished_stages(tmp_path):
    with pytest.raises(FileNotFoundError, match="raytune-agents run --steps tune"):
        trial_tables.load_trials(tmp_path)
    stages = tmp_path / "tune" / "stages"
    stages.mkdir(parents=True)
    (stages / "noise.json").write_text(json.dumps([asdict(t) for t in FOUND[3:]]))
    (stages / "noise.starts.json").write_text("[1.0]")
    assert [t.trial_id for t in trial_tables.load_trials(tmp_path)] == ["d"]
