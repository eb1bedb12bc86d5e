"""What a round of `pipeline.rounds` asks: the policy's answers to tasks, and new tasks drawn where
it fails, worded and verified like all synthetic rows."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import pyarrow.compute as pc

from raytune_agents import agents, rounds
from raytune_agents.agents import init
from raytune_agents.config import (
    ConfigError,
    GenerateConfig,
    LabelConfig,
    NegativesConfig,
    RoundsConfig,
    TrainConfig,
)
from raytune_agents.dedup.leaks import LeakIndex
from raytune_agents.generate import rewrite, sampling, validate_rows
from raytune_agents.pipeline import label
from raytune_agents.pipeline.context import Context
from raytune_agents.pipeline.rows import NEW
from raytune_agents.pipeline.shards import check_outage, make_shards
from raytune_agents.records import Trajectory
from raytune_agents.rounds import Cluster, RoundRecord
from raytune_agents.runs import Counts, Step
from raytune_agents.storage import StoredRows, read_rows, write_rows, write_text
from raytune_agents.train.methods import method_named

OVERDRAWN = 8  # candidates drawn for each task that is asked for
PLANTED = 8  # known-wrong rows that a judge is shown
ROWS_AGENT = "tools_of_rows"  # the agent of tools that no agent of the config has
ANY_KIND = Cluster("any")  # what the control asks for
Tasks = dict[str, Trajectory]  # by id


# --- answers ---


@dataclass
class ArmProgress:
    """What goes from one round to the next, and who answers: the base with an adapter."""

    name: str
    config: TrainConfig
    tasks: Tasks  # the arm's own good rows, and those drawn so far
    adapter: str  # the last good one; "" = the base
    retired: set[str] = field(default_factory=set)
    spent: int = 0  # trained tokens

    @property
    def marker(self) -> str:
        return method_named("rounds").inference_marker(self.config)


@dataclass
class Round:
    """One round of an arm: where it runs, what it goes on from, and its record."""

    context: Context
    step: Step
    arm: ArmProgress
    record: RoundRecord

    @property
    def options(self) -> RoundsConfig:
        return self.arm.config.rounds


@dataclass
class TaskAnswers:
    """Right answers by task, failures (each with its task as parent), wrong answers by fault, and
    by reason those that are neither."""

    right: dict[str, int] = field(default_factory=dict)
    failures: list[Trajectory] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)


def in_round(row: Trajectory, k: int) -> Trajectory:
    """The row with its round in its lineage."""
    return replace(row, split="train", meta=row.meta | {"round": k})


def answer_tasks(this: Round, name: str, tasks: list[Trajectory]) -> TaskAnswers:
    """The policy's sampled answers. Finished shards stay. Raises EngineDown where too many tasks
    were lost to the engine."""
    out, context, options, k = TaskAnswers(), this.context, this.options, this.record.round
    if not tasks:
        return out
    context.start_engine()
    own = {"max_tokens": options.max_tokens, "temperature": options.temperature}
    how = NegativesConfig(mined_samples=options.samples, **own)
    chat, engine, seed = context.chat, context.config.engine, this.step.seed + k
    adapter, marker = this.arm.adapter, this.arm.marker

    def work(part: Sequence[Trajectory]) -> rewrite.Shard:
        shard = rewrite.mine(part, chat, how, engine, seed, adapter, marker)
        shard.rows = [in_round(row, k) for row in shard.rows]
        return shard

    counts = Counts(rows_in=len(tasks) * options.samples)
    for shard in make_shards(context, this.step, name, tasks, work):
        counts.failed.update(shard["failed"])
        # Tasks of one shard are in no other one.
        out.right |= shard["right"]
        known = {"right_answer", "repeated"}
        out.lost.update({why: n for why, n in shard["rejected"].items() if why not in known})
        cut = {"cut_to_whole_sentences"}  # the one note that is no fault
        out.faults.update({f: n for f, n in shard["notes"].items() if f not in cut})
    check_outage(counts, context.config.read.max_error_share)
    out.lost.update(counts.failed)
    this.record.lose(out.lost)
    out.failures = read_rows(this.step.folder / name)
    return out


# --- new tasks ---


def sample_new_tasks(this: Round, failures: list[Trajectory]) -> list[Trajectory]:
    """Verified tasks that the arm has not, unlike any val or test row: about the tools and
    arguments that failed, or (control) of any kind. Fills in what was asked for and what came."""
    record = this.record
    clusters = rounds.failure_clusters(failures, this.arm.tasks)
    if not this.options.new_tasks or not clusters:
        return []
    wanted, found = draw_tasks(this, clusters, failures)
    cluster_of = {row.id: cluster for cluster, rows in found.items() for row in rows}
    chosen = [row for rows in found.values() for row in rows]
    rows = verified_tasks(this, chosen, failures)
    got = Counter(cluster_of[row.meta["drawn"]] for row in rows)
    record.asked_for = [
        c.record() | {"failures": clusters[c], "wanted": n, "got": got[c]}
        for c, n in wanted.items()
    ]
    record.new_tasks = len(rows)
    return rows


def draw_tasks(
    this: Round, clusters: Mapping[Cluster, int], failures: Sequence[Trajectory]
) -> tuple[dict[Cluster, int], dict[Cluster, list[Trajectory]]]:
    """How many new tasks are wanted, and those found, by cluster: the candidates most alike to what
    failed, or (control) as many of the same candidates at random."""
    count, config = this.options.new_tasks, this.context.config.generate
    file = this.step.folder / f"{ROWS_AGENT}.yaml"
    able = agents_with(config, clusters, failures, file, this.record)
    every = list(dict.fromkeys([*config.agents, *able]))
    # So many that those of the able agents would do, however many others there are.
    drawn = OVERDRAWN * count * len(every) // (len(able) or len(every))
    # A prime apart: no two rounds, nor those of the next seed, draw the same tasks.
    seed = this.step.seed + 1009 * this.record.round
    config = config.model_copy(update={"agents": every})
    candidates = fresh_tasks(config, drawn, seed, this.arm.tasks)
    wanted = rounds.allocate(clusters, count)
    found = rounds.match_tasks(wanted, candidates)
    if this.options.select == "failure":
        return wanted, found
    # Not `count`: where few candidates are about what failed, the control has no more either.
    as_many, rng = sum(map(len, found.values())), random.Random(f"{seed}/random")
    return {ANY_KIND: as_many}, {ANY_KIND: rng.sample(candidates, as_many)}


def agents_with(
    config: GenerateConfig,
    clusters: Collection[Cluster],
    failures: Sequence[Trajectory],
    file: Path,
    record: RoundRecord,
) -> list[str]:
    """The agents that have one of the clusters' tools. Tools of none of them, as of rows that were
    read, become an agent of their own in `file`; says which tools make none."""
    owned = {name: {t.name for t in agents.load_spec(name).toolspecs} for name in config.agents}
    tools = {c.tool for c in clusters} - {""}
    able = [name for name in config.agents if owned[name] & tools]
    lacking = tools - set().union(*owned.values())
    shown = {f.tools: f for f in failures if lacking & {t.name for t in f.tools}}
    rows = [row for row in shown.values() if _makes_agent(row)]
    if rows:
        spec = init.spec_from_rows(rows, ROWS_AGENT)
        write_text(file, init.to_yaml(spec))
        able.append(str(file))
        lacking -= {t.name for t in spec.tools}
    if lacking:
        some = ", ".join(sorted(lacking)[:5])
        record.notes.append(
            f"failures at {len(lacking)} tools ({some}) bring no new tasks: no agent has them, and "
            "their rows make none; write an agent that has them into generate.agents"
        )
    return able


def _makes_agent(row: Trajectory) -> bool:
    """Whether its tools can stand in a spec under the names that its calls use."""
    try:
        spec = init.spec_from_rows([row], ROWS_AGENT)
    except ConfigError:
        return False
    return [t.name for t in spec.tools] == [t.name for t in row.tools]


def fresh_tasks(config: GenerateConfig, count: int, seed: int, tasks: Tasks) -> list[Trajectory]:
    """Sampled rows whose request no task has."""
    real = [row for row in tasks.values() if row.pool == "positive"]
    known = {row.query for row in tasks.values()}
    sampled = sampling.sample_rows(config.model_copy(update={"rows": count}), seed, real)
    return [row for row in sampled.rows if row.query not in known]


def verified_tasks(
    this: Round, chosen: list[Trajectory], failures: list[Trajectory]
) -> list[Trajectory]:
    """The tasks, worded and checked (format, execution, judge), without those that show a row which
    is not trained on; in the round's NEW, each with the id it was `drawn` with."""
    context, step, k = this.context, this.step, this.record.round
    seed, folder, options = step.seed, context.run.folder, context.config.generate
    client, executor = context.chat_client(), validate_rows.executor(options)
    # The run's own engine words and judges; a teacher needs none.
    if not client.use_teacher:
        context.start_engine()
    config = with_tried_judge(options, client, failures[:PLANTED], seed, this.record)

    def work(part: Sequence[Trajectory]) -> rewrite.Shard:
        # Wording gives a row another id: this one finds its cluster again.
        named = [replace(row, meta=row.meta | {"drawn": row.id}) for row in part]
        shard = rewrite.positives(named, client, executor, config, seed)
        shard.rows = [in_round(row, k) for row in shard.rows]
        return shard

    counts = Counts(rows_in=len(chosen))
    for shard in make_shards(context, step, "drawn", chosen, work):
        counts.failed.update(shard["failed"])
        for reason, count in shard["rejected"].items():  # POOL:STAGE
            this.record.lose({reason.rpartition(":")[2]: count})
    this.record.lose(counts.failed)
    check_outage(counts, context.config.read.max_error_share)
    files = sorted((folder / "read").glob("*.parquet"))
    # New tasks come after the label step, so its comparison with held-out rows is made here.
    held = StoredRows(folder / "generate" / "held", lambda t: pc.not_equal(t["split"], "train"))
    compared = chain(label.evaluation_rows(context, files, Counter(), {}), held)
    marked = LeakIndex(compared, LabelConfig()).marked(read_rows(step.folder / "drawn"))
    rows = [row for row in marked if not row.reject_reason]
    this.record.lose({"leak": len(marked) - len(rows)})
    write_rows(step.folder / NEW / "rows-00000.parquet", rows)
    return rows


def with_tried_judge(
    config: GenerateConfig,
    client: rewrite.ChatClient,
    planted: list[Trajectory],
    seed: int,
    record: RoundRecord,
) -> GenerateConfig:
    """The config, without its judge where that calls known-wrong rows right; says so."""
    if not config.judge.samples or not planted:
        return config
    shard = rewrite.Shard(rows=list(planted))
    rewrite.judge_shard(shard, client, config, seed)
    accepted = len(shard.rows)
    if not rounds.believes_anything(accepted, len(planted)):
        return config
    record.notes.append(
        f"the judge called {accepted} of {len(planted)} planted wrong rows right, so it is not "
        "asked; write a stronger generate.teacher, or generate.judge.samples: 0"
    )
    judge = config.judge.model_copy(update={"samples": 0})
    return config.model_copy(update={"judge": judge})
