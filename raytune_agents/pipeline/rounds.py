"""Arms of method rounds: the policy answers training tasks, its failures say what is drawn, a
method trains on what is neither too hard nor too easy, and again from there. The rules: `rounds`.

    answer   tasks of the arm, and of rounds before    -> ROUND/answered
    draw     new tasks where it fails, verified        -> ROUND/{drawn, new}, answers in ROUND/tried
    train    tasks in the success band, and failures   -> ROUND/{columns, adapter}
    decide   val, and what the gate guards             -> ROUND/manifest.json: its record

ROUND is train/ARM/round-K, a step of its own: a killed one goes on. In every round the reference is
the policy at its start. With new_tasks: 0 and method: dpo this is ETO (arXiv 2403.02502). Asked are
single answers; no val or test row is answered for training. The good round with the best val
score, or the start, becomes train/ARM/adapter; rounds.json has all records.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from raytune_agents import mix, rounds
from raytune_agents.config import Config, ConfigError, TrainConfig
from raytune_agents.evaluate import gate
from raytune_agents.evaluate.baselines import Arm
from raytune_agents.evaluate.estimates import DEFAULT
from raytune_agents.evaluate.harness import Asker, answer_shard, with_answer_limit
from raytune_agents.evaluate.instructions import instruction_rows
from raytune_agents.evaluate.measured import values_by_row
from raytune_agents.evaluate.paired import LEAST_PAIRS
from raytune_agents.evaluate.scoreboard import over_common_rows
from raytune_agents.mix import RowKind
from raytune_agents.pipeline import round_tasks, train_arm
from raytune_agents.pipeline.context import Context
from raytune_agents.pipeline.round_tasks import ArmProgress, Round
from raytune_agents.pipeline.rows import answered_val_rows
from raytune_agents.records import Trajectory
from raytune_agents.rounds import RoundRecord
from raytune_agents.runs import BadLoss, Counts, OutOfMemory, Step
from raytune_agents.storage import read_json, read_rows, write_json
from raytune_agents.train.methods import Recipe, method_named
from raytune_agents.train.tokenized import Tokenized, tokenize_part, validate_mixed

Values = dict[str, dict[str, float]]  # metric -> row id -> value
CALLS = "calls"  # the pool of a round's rows, short of mix.NO_CALL
VALUES, RETIRED = "values.json", "retired.json"  # files of a round


def validate_rounds(config: Config) -> None:
    """Rounds go on from adapters, and stop by val rows. Raises ConfigError."""
    for name, arm in config.train.arms.items():
        own, key = config.train.of(arm), f"train.arms.{name}"
        if arm.method != "rounds":
            continue
        if own.parameters == "full":
            raise ConfigError(f"{key}: a round goes on from an adapter; write parameters: lora")
        if own.grpo.turns > 1:
            raise ConfigError(f"{key}: rounds measure single answers; write grpo.turns: 1")
        how = method_named(own.rounds.method)
        if how.samples_answers:  # of other methods it is the rows that can be wrong
            try:
                how.validate_data((), own)
            except ConfigError as error:
                raise ConfigError(f"{key} (rounds.method {own.rounds.method}): {error}") from None


def train_rounds(
    context: Context, step: Step, name: str, config: TrainConfig, rows: list[Trajectory]
) -> None:
    """All rounds of one arm. Writes step.folder/{adapter, rounds.json}. Raises ConfigError where
    there is nothing to learn from and no start."""
    options, started = config.rounds, bool(config.lora.start)
    now = ArmProgress(name, config, {r.id: r for r in rows}, config.lora.start or "")
    # The start is asked once, also by a run that goes on.
    if not (step.folder / VALUES).is_file():
        write_json(step.folder / VALUES, policy_values(context, now.adapter, now))
    first = last = read_json(step.folder / VALUES)
    start = RoundRecord(0, mean(first["exact_match"]), notes=unproven(first, started))
    tell(context, name, start)
    records, key = [start], step.key
    stopped = f"all {options.max} rounds are done"
    for k in range(1, options.max + 1):
        # The key of a round has that of the one before: made anew, that makes this one anew.
        folder, inputs = step.folder / f"round-{k}", step.inputs | {"start": key}
        own = Step(f"{step.name}/round-{k}", folder, step.config, inputs, step.seed)
        if not own.done:
            record = RoundRecord(k, mean(last["exact_match"]))
            run_round(Round(context, own, now, record), first, last)
        manifest = own.manifest
        assert manifest  # done before, or just now
        record = RoundRecord(**manifest.notes["record"])
        records.append(record)
        tell(context, name, record)
        now.spent += record.tokens
        step.log(step=k, val_exact_match=record.val, num_tokens=now.spent)
        if not record.rows:
            stopped = record.notes[-1]
        elif record.worse:
            stopped = f"round {k} made things worse ({record.worse}) and was thrown away"
        if not record.rows or record.worse:
            break
        now.adapter, key, last = str(folder / "adapter"), own.key, read_json(folder / VALUES)
        now.tasks |= {r.id: r for r in read_rows(folder / round_tasks.NEW)}
        now.retired |= set(read_json(folder / RETIRED))
        if rounds.stalled([r.val for r in records], options.patience):
            stopped = f"val was no better for {options.patience} rounds"
            break
    # By val, not the last one: a later round can be worse without being bad.
    kept = rounds.best_round(records, started)
    context.display.say(f"train     {name}: {stopped}; kept is round {kept}")
    if kept is None:
        raise ConfigError(
            f"train.arms.{name}: {stopped}; write start: an arm above it, to fall back on"
        )
    summary = {"select": options.select, "stopped": stopped, "kept": kept}
    write_json(step.folder / "rounds.json", summary | {"rounds": [asdict(r) for r in records]})
    source = step.folder / f"round-{kept}" / "adapter" if kept else Path(config.lora.start or "")
    # A copy: the rounds stay as they were, for the report and for going on.
    shutil.copytree(source, step.folder / "adapter", dirs_exist_ok=True)


def tell(context: Context, name: str, record: RoundRecord) -> None:
    """A round, and what a reader should know of it."""
    where = f"train     {name} round {record.round}"
    if record.round:  # of the start only val is known
        context.display.say(f"{where}: {record.line()}")
    for line in record.notes:
        context.display.say(f"{where}: {line}", "yellow")


# --- one round ---


def run_round(this: Round, first: Values, last: Values) -> None:
    """Answer, draw, choose, train, decide; the record stands in the manifest. One without rows:
    nothing was left to learn from, as its last line says."""
    step, record, before = this.step, this.record, this.record.val
    step.begin()
    counts = learn_from_failures(this)
    if record.rows and not record.worse:
        after = policy_values(this.context, step.folder / "adapter", this.arm)
        write_json(step.folder / VALUES, after)
        record.val = mean(after["exact_match"])
        # Against the start, not the round before: small losses would add up unseen.
        lost = lost_metrics(first, after, bool(this.arm.config.lora.start))
        high = over_common_rows(last["exact_match"], after["exact_match"], DEFAULT).high
        record.worse = rounds.is_worse(before, record.val, high, lost)
    step.finish(counts, record=asdict(record))


def learn_from_failures(this: Round) -> Counts:
    """The round up to its adapter; fills in the record."""
    options, now, record = this.options, this.arm, this.record
    seed = f"{this.step.seed}/{record.round}"
    # Tokens that earlier rounds left over are shared by those to come.
    left = rounds.round_budget(options.tokens, now.spent, options.max - record.round + 1)
    if left == 0:
        record.notes.append(f"train.rounds.tokens={options.tokens} are spent; write more")
        return Counts()
    waiting = [r for i, r in now.tasks.items() if i not in now.retired]
    sampled = rounds.sample_tasks(waiting, options.tasks, seed)
    answered = round_tasks.answer_tasks(this, "answered", sampled)
    new = round_tasks.sample_new_tasks(this, answered.failures)
    tried = round_tasks.answer_tasks(this, "tried", new)
    failures = [*answered.failures, *tried.failures]
    record.faults = dict(answered.faults + tried.faults)
    record.answers = options.samples * (len(answered.right) + len(tried.right))
    rates = rounds.success_rates(answered.right | tried.right, options.samples)
    banded = rounds.by_band(rates, options.band, options.retire)
    record.occupy(banded)
    write_json(this.step.folder / RETIRED, list(banded.retired))
    if few := rounds.few_in_band(record, options.band):
        record.notes.append(few)
    if not failures:
        right = sum((answered.right | tried.right).values())
        record.notes.append(rounds.no_failures(right, answered.lost + tried.lost))
        return Counts()
    tasks = {r.id: r for r in (*sampled, *new) if r.id in rates}
    kept = set(banded.kept)
    if options.select == "random":  # as many tasks, whatever their rate
        kept = set(random.Random(f"{seed}/random").sample(sorted(tasks), len(banded.kept)))
    good = [row for i, row in tasks.items() if i in kept]
    bad = [row for row in failures if row.parents[0] in kept]
    return train_round(this, good, bad, left)


def train_round(
    this: Round, good: list[Trajectory], bad: list[Trajectory], budget: int | None
) -> Counts:
    """Train from the last good adapter on what the method takes of the rows, at the budget."""
    context, step, now, record = this.context, this.step, this.arm, this.record
    config, method = now.config, this.options.method
    pool = {r.id: r for r in (*good, *([] if method == "sft" else bad))}
    recipe, columns = Recipe(method, config, context.chat), step.folder / "columns"
    tokenize_part(columns, 0, pool.values(), recipe, recipe.pairs(pool))
    rows = Tokenized.load(columns)
    record.lose(Counter(why for why in rows.facts["refused"].to_pylist() if why))
    mixed = context.config.mix.of(context.config.train.arms[now.name])
    by_row, weights = rows_by_pool(rows, mixed.no_call)
    total = sum(n for _, _, n in by_row)
    if not any(pool == CALLS for _, pool, _ in by_row):
        record.notes.append(
            f"no task with a call in the success band {list(config.rounds.band)} gives {method} a "
            "row; write a wider band, more rounds.tasks or rounds.samples"
        )
        return Counts()
    # One pool of calls: what is too hard or too easy went before, tokens alone decide here.
    chosen = mix.choose_rows(by_row, weights, budget or total, mixed.max_epochs, step.seed)
    positions = rows.positions(chosen.ids)
    if wrong := cannot_train(method, [rows.kinds[k] for k in positions], config):
        record.notes.append(wrong)
        return Counts()
    record.rows, record.tokens = len(set(chosen.ids)), sum(chosen.tokens.values())
    # The engine that answered has its GPU until here.
    context.free_gpu(config.span[1])
    if now.adapter:
        config = config.starting_at(Path(now.adapter))
    recipe = Recipe(method, config, context.chat)
    validate_mixed(recipe, rows, positions, lambda ids: pool)
    name = f"{now.name} round {record.round}"
    try:
        train_arm.train_arm(context, step, name, method, config, columns, rows.numbers(positions))
    except OutOfMemory:
        raise
    except BadLoss as error:
        # It costs this round alone: the rounds before it stand.
        record.worse = str(error)
    return Counts(rows_in=len(positions), rows_out=len(positions))


def cannot_train(method: str, kinds: Sequence[RowKind], config: TrainConfig) -> str:
    """Why a round's method takes no such rows, and what to write; "" where it takes them. It ends
    the rounds, not the run: the other arms are no worse for it."""
    try:
        method_named(method).validate_data(kinds, config)
    except ConfigError as error:
        why = str(error).partition(";")[0]  # what it says of the mix's weights is of no use here
        write = "write more rounds.tasks or rounds.samples, or rounds.method: sft"
        return f"{method} cannot train on the rows of this round: {why}; {write}"
    return ""


def rows_by_pool(
    rows: Tokenized, no_call: float
) -> tuple[list[tuple[str, str, int]], dict[str, float]]:
    """(id, pool, loss tokens) of what is trained on, and the pools' weights. Tasks without a call
    are easier, so that the band holds too many: they get the share of the mix, or the policy
    forgets to call."""
    called = [(i, replace(kind, pool=CALLS), n) for i, kind, n in rows.counted if n]
    return mix.with_no_call(called, {CALLS: 1.0}, no_call)


# --- what decides ---


def mean(values: dict[str, float]) -> float:
    return sum(values.values()) / len(values) if values else 0.0


def policy_values(context: Context, adapter: str | Path, now: ArmProgress) -> Values:
    """Values of val rows and of the gate's instructions under a policy, greedily; an answer that
    was lost to the engine has none."""
    options, config = now.config.rounds, context.config
    rows = answered_val_rows(context.run.folder)
    others = config.seed + 1  # not the instructions of the evaluation
    prompts = [*rows[: options.val_rows], *instruction_rows(options.instruction_rows, others)]
    context.start_engine()
    limits = with_answer_limit(prompts, context.chat, config.evaluate, config.engine)
    policy = Arm(now.name, str(adapter), now.marker)
    found = answer_shard(prompts, Asker.of(policy, context.chat, limits, config.engine))
    of_val = [a for a in found if a.split == "val"]
    out = {name: values_by_row(found, name) for name in gate.GUARDED}
    return out | {name: values_by_row(of_val, name) for name in ("exact_match", "relevance")}


def unproven(first: Values, started: bool) -> list[str]:
    """What to say where the gate cannot tell whether the policy loses something: too few rows at
    the start measure it, or nothing is guarded."""
    if not started and mean(first["relevance"]) < gate.LEAST_RELEVANCE:
        text = "the base hardly ever calls, so nothing that a round loses stops it; write start: "
        return [f"{text}an arm above this one"]
    rows = {"relevance": "val rows with a call (read.split.val, train.rounds.val_rows)"}
    rows["irrelevance"] = "val rows without a call (read.split.val, train.rounds.val_rows)"
    rows["instruction_following"] = "train.rounds.instruction_rows"
    return [
        f"that {name.replace('_', ' ')} is kept will not be proven: {len(first[name])} rows "
        f"measure it, at least {LEAST_PAIRS} must; write more {more}"
        for name, more in rows.items()
        if len(first[name]) < LEAST_PAIRS
    ]


def lost_metrics(first: Values, after: Values, started: bool) -> list[str]:
    """What the gate guards, and calls where one is due, that the policy has lost since the start. A
    base that hardly calls is right about every no-call row for nothing: it is no reference."""
    if not started and mean(first["relevance"]) < gate.LEAST_RELEVANCE:
        return []
    names = (*gate.GUARDED, "relevance")  # one that refuses everything loses nothing else
    found = {n: over_common_rows(first[n], after[n], DEFAULT) for n in names}
    return [n for n, difference in found.items() if gate.guarded(difference) == "lost"]
