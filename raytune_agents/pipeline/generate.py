"""The generate step: synthetic positives of every pool, the model's own failures, edited negatives.

Thin: what is drawn, said, checked and edited is decided in `generate` and `negatives`.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

from raytune_agents import agents, negatives, sandbox
from raytune_agents.chat import Chat
from raytune_agents.config import Config, ConfigError
from raytune_agents.config.lookup import user_object
from raytune_agents.evaluate.harness import answer_limit, gold_lengths
from raytune_agents.filters.shape import parses, too_long
from raytune_agents.generate import held, no_call, realism, rewrite, sampling, validate_rows
from raytune_agents.generate.known import own_rows
from raytune_agents.inference import endpoint
from raytune_agents.negatives import choice, good_steps
from raytune_agents.pipeline.context import Context
from raytune_agents.pipeline.rows import MOST_SPLIT_ROWS, accepted, drawn_rows, without_trained
from raytune_agents.pipeline.shards import check_outage, make_shards
from raytune_agents.records import JsonObject, Trajectory
from raytune_agents.runs import Counts, Step
from raytune_agents.storage import StoredRows, read_rows, write_rows

# Folders of the step whose rows are labelled.
PARTS = ("synthetic", "no_call", "mined", "edited", "good_steps")
SAMPLED = "sampled"  # folder of the model's own failures as they come, before their shares
HELD = "held"  # folder of rows that are kept back
LONGEST = 100_000  # characters of a row that is worked from: edits take more than linear time


def generate(context: Context, step: Step) -> tuple[Counts, JsonObject]:
    """Synthetic positives with reworded requests, the model's own failures, edited negatives."""
    config, seed, chat = context.config, context.config.seed, context.chat
    read, in_all = drawn_rows(context.run.folder, seed)
    for split, n in in_all.items():
        if n > MOST_SPLIT_ROWS:
            text = f"works from {MOST_SPLIT_ROWS:,} of {n:,} {split} rows, drawn evenly"
            context.display.say(f"generate  {text}")
    good = [r for r in read if not (parses(r) or too_long(r, LONGEST))]
    train = [r for r in good if r.split == "train"]
    sampled = sampling.sample_rows(config.generate, seed, train)
    for gap in sampled.gaps:
        context.display.say(f"no rows for {gap}", "yellow")
    with_calls, tasks = [row for row in train if row.calls], config.negatives.mined_tasks
    called = sample_fitting(with_calls, tasks, chat, f"{seed}/mined")
    limit = answer_limit(gold_lengths(called, chat), config.engine.max_model_len)
    own = {"max_tokens": config.negatives.max_tokens or limit}
    mining = config.negatives.model_copy(update=own)
    client, executor = context.chat_client(), validate_rows.executor(config.generate)
    # Otherwise a hosted model words the rows, or there is nothing to word.
    if called or (sampled.rows and not client.use_teacher):
        context.start_engine()

    def word(rows: Sequence[Trajectory]) -> rewrite.Shard:
        return rewrite.positives(rows, client, executor, config.generate, seed)

    def mine(rows: Sequence[Trajectory]) -> rewrite.Shard:
        return rewrite.mine(rows, chat, mining, config.engine, seed)

    counts, notes = Counts(), {}
    jobs = (("synthetic", sampled.rows, word, 1), (SAMPLED, called, mine, mining.mined_samples))
    for name, rows, work, per_row in jobs:
        notes[name] = Counter()
        counts.rows_in += len(rows) * per_row
        for summary in make_shards(context, step, name, rows, work):
            counts.rows_out += summary["rows"]
            counts.rejected.update({f"{name}:{k}": n for k, n in summary["rejected"].items()})
            counts.failed.update(summary["failed"])
            notes[name].update(summary["notes"])
    # Before anything is edited: with an outage the mined faults would be too few to go by.
    check_outage(counts, config.read.max_error_share)
    for stage, lost in (("similar", sampled.similar), ("named", sampled.named)):
        counts.rows_in += lost.total()
        counts.rejected.update({f"synthetic:{p}:{stage}": n for p, n in lost.items()})
    synthetic = read_rows(step.folder / "synthetic")
    synthetic += no_call_rows(context, step, good, synthetic, counts)
    write_held(context, step, train, in_all, executor, counts)
    notes["mined"] = notes.pop(SAMPLED)
    notes["edited"] = write_negatives(context, step, [*train, *synthetic], counts)
    if config.negatives.good_steps:  # of failed training runs; counted is why others give none
        rows, refused = good_steps.good_step_rows(train)
        store(step, "good_steps", rows)
        counts.add(len(rows), refused, "good_steps")
    extra: JsonObject = {name: dict(found) for name, found in notes.items()}
    extra |= {"funnel": funnel(sampled, counts, synthetic), "gaps": sampled.gaps}
    extra["realism"] = realism_of(config, synthetic, train)
    if config.generate.teacher.base_url:
        extra["teacher"] = endpoint.spent()
    return counts, extra


def store(step: Step, folder: str, rows: Iterable[Trajectory], file: int = 0) -> None:
    """Write rows that this step made into a folder of it."""
    made = [replace(row, config_hash=step.config_hash) for row in rows]
    write_rows(step.folder / folder / f"rows-{file:05d}.parquet", made)


def write_negatives(
    context: Context, step: Step, good: list[Trajectory], counts: Counts
) -> Counter[str]:
    """Edited negatives of good rows, and the model's own: of each fault as many as
    `negatives.max_fault_share` lets stay; what is beyond is kept with its reason. Returns the
    edited ones by fault."""
    config, seed = context.config.negatives, context.config.seed
    mined = list(read_rows(step.folder / SAMPLED))
    found = Counter(row.fault for row in mined)
    written = choice.in_our_form if context.chat.ours else context.chat.written_turn
    # Edits follow the faults that the model makes itself, so these are counted first.
    edited, refused = choice.edited(good, found, config, seed, written)
    counts.add(len(edited), refused, "edited")
    total = found + Counter(row.fault for row in edited)
    # Faults that the user names are what the user wants, however many.
    most = 1.0 if config.faults else config.max_fault_share
    over = choice.over_share([*edited, *mined], choice.within_share(total, most), seed)
    counts.rows_out -= len(over)
    counts.rejected.update({"negatives:above max_fault_share": len(over)} if over else {})
    for name, rows in (("edited", edited), ("mined", mined)):
        why = {row.id: "fault:above negatives.max_fault_share" for row in rows if row.id in over}
        store(step, name, (replace(r, reject_reason=why.get(r.id, "")) for r in rows))
    return Counter(row.fault for row in edited if row.id not in over)


def no_call_rows(
    context: Context,
    step: Step,
    read: Sequence[Trajectory],
    synthetic: Sequence[Trajectory],
    counts: Counts,
) -> list[Trajectory]:
    """Rows whose right tool is taken away, for train and for val, up to `generate.no_call` of the
    good rows there; returns those of train, which stand in NO_CALL, the others in HELD."""
    share, seed = context.config.generate.no_call, context.config.seed
    good = {s: [r for r in read if r.split == s and not r.failed] for s in ("train", "val")}
    # A share of all training rows, so the synthetic ones count too.
    good["train"] += synthetic
    made = {
        s: no_call.tool_taken_away(rows, no_call.no_call_rows_lacking(rows, share), seed)
        for s, rows in good.items()
    }
    for folder, split in (("no_call", "train"), (HELD, "val")):
        store(step, folder, made[split])
        counts.add(len(made[split]), {}, folder)
    return made["train"]


def write_held(
    context: Context,
    step: Step,
    real: Sequence[Trajectory],
    in_all: Counter[str],
    executor: validate_rows.Executor,
    counts: Counts,
) -> None:
    """Verified rows of the user's own agents into HELD; says how many, and counts why others were
    left out. `real`: training rows that were read; `in_all`: accepted rows of every split."""
    config = context.config
    wanted = held.held_counts(config.generate, in_all)
    if not wanted:
        return
    folders = [context.run.folder / "read", *(step.folder / name for name in PARTS[:2])]
    stored = (StoredRows(folder, lambda table: accepted(table, "train")) for folder in folders)
    trained, marked = chain.from_iterable(stored), partial(without_trained, context, folders)
    options, seed = config.generate, config.seed
    rows, refused = held.held_back(options, real, trained, marked, wanted, seed, executor.fault)
    store(step, HELD, rows, file=1)
    counts.add(len(rows), refused, "held")
    kept = Counter(row.split for row in rows)
    counted = ", ".join(f"{kept[name]} of {count} {name}" for name, count in wanted.items())
    context.display.say(f"generate  kept back, verified and unlike training: {counted} rows")


def realism_of(config: Config, synthetic: list[Trajectory], train: list[Trajectory]) -> JsonObject:
    """How close the kept rows come to what people write, beside the user's own rows of the same
    agents (`generate.realism`)."""
    specs = [agents.load_spec(name) for name in config.generate.agents]
    tools = [tool for spec in specs for tool in spec.toolspecs]
    real = {r.id: r for spec in specs for r in own_rows(spec, train)}
    return realism.realism_figures(synthetic, list(real.values()), tools)


def funnel(
    sampled: sampling.SampledRows, counts: Counts, kept: list[Trajectory]
) -> list[JsonObject]:
    """Of every pool: rows attempted, those that fell out at each stage, those kept; and `short`,
    the rows that the agents' specs could not give."""
    tried = Counter(sampling.pool_of(row) for row in sampled.rows) + sampled.similar + sampled.named
    left = Counter(sampling.pool_of(row) for row in kept)
    lines = []
    for pool in sorted(tried | sampled.short, key=lambda p: -tried[p]):
        fell = {s: counts.rejected[f"synthetic:{pool}:{s}"] for s in validate_rows.STAGES}
        counted = {"tried": tried[pool], **fell, "kept": left[pool], "short": sampled.short[pool]}
        lines.append({"pool": pool, **counted})
    return lines


def validate_generate(config: Config, needs_key: bool = True) -> None:
    """What can be refused before Ray starts: pools, faults, agents, tool modules, the teacher's
    key. Raises ConfigError."""
    sandbox.set_mode(config.sandbox)
    if not (config.read.sources or config.generate.rows):
        raise ConfigError("read.sources=[] with generate.rows=0 has no rows; write one of them")
    sampling.pool_shares(config.generate.pools)
    validate_rows.executor(config.generate)
    if needs_key:
        endpoint.key_from_env(config.generate.teacher)
    for name in config.negatives.faults:
        negatives.fault_named(name)
    if config.generate.teacher.client:
        user_object(config.generate.teacher.client, "generate.teacher.client")


def sample_fitting(rows: list[Trajectory], count: int, chat: Chat, seed: str) -> list[Trajectory]:
    """At most `count` random rows that are short enough to be trained on."""
    # Shuffled first, and looked at until there are enough: not every row is tokenised.
    order = random.Random(seed).sample(rows, len(rows))
    most = chat.max_length
    fitting = (row for row in order if (chat.prompt_length(row) or most) < most)
    return list(itertools.islice(fitting, count))
