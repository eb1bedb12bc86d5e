"""What a run will take, before it starts: tokens, memory, time, disk and money.

A scaled-down copy of the run (SAMPLE rows of each source at most, and as many drawn ones) is read,
split, drawn, edited, mixed and tokenised by the steps' own functions, and what it counts is scaled
up; each drawn row stands for as many as the run draws beyond that. No engine is asked: how long
answers get is guessed (WRITTEN of max_tokens for an untrained model, the gold answer's length for a
trained one), rejected rows are not foreseen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from math import ceil
from statistics import fmean
from typing import Any

from raytune_agents import mix, models, readers, split
from raytune_agents.chat import Chat
from raytune_agents.config import ArmConfig, Config, ConfigError, TrainConfig
from raytune_agents.evaluate.harness import answer_limit, gold_lengths
from raytune_agents.generate import paraphrase, sampling
from raytune_agents.infra import estimate
from raytune_agents.infra.estimate import GIB, SMALLEST_STEP, START_S, DecoderShape, Speed
from raytune_agents.infra.placement import Placement, plan_placement
from raytune_agents.negatives import choice
from raytune_agents.pipeline.read import catalogue_of, with_catalogue, with_fewer_tools
from raytune_agents.pipeline.row_lengths import with_max_length
from raytune_agents.records import Trajectory, content_hash, to_row
from raytune_agents.train.batches import micro_batch
from raytune_agents.train.column_files import columns_table, padded_lengths
from raytune_agents.train.job import LONGER
from raytune_agents.train.methods import Recipe
from raytune_agents.train.tokenized import tokenize_rows

SAMPLE = 2000  # rows parsed of each source, rows drawn
COUNTED = 200_000  # rows counted of each source
MEASURED = 200  # rows whose prompts and answers are tokenised for a mean
WRITTEN = 0.65  # of max_tokens, by a model that was not trained to stop
SHOT_SHARE = 0.5  # of a prompt's tokens, that an example shown before it has
STOPPED = 0.75  # of a trial's tokens, on average, where a scheduler stops weak ones


@dataclass
class Sample:
    """The scaled-down copy: rows by id, how many of the run each stands for, and what is asked."""

    rows: dict[str, Trajectory] = field(default_factory=dict)
    copies: dict[str, int] = field(default_factory=dict)  # of a row, where it is not one
    scale: float = 1.0
    total: int = 0
    row_bytes: float = 0.0
    more: bool = False  # sources were not counted to their end

    def split(self, name: str) -> list[Trajectory]:
        return [r for r in self.rows.values() if r.split == name and not r.reject_reason]

    def count(self, rows: Iterable[Trajectory]) -> float:
        """Rows of the run that these stand for."""
        return self.scale * sum(self.copies.get(row.id, 1) for row in rows)


@dataclass
class Work:
    """Tokens of one step: trained, read as prompts, written as answers; seconds besides them."""

    train: float = 0
    read: float = 0
    write: float = 0
    score: float = 0  # written by trials, which have no engine
    start_s: float = 0
    longest: int = 0  # padded tokens of the longest trained row
    rows: int = 0
    trained: float = 0  # tokens that carry loss
    columns: float = 0  # bytes of all rows that can be trained on, tokenised
    recipe: str = ""  # arms of one recipe share them

    @property
    def answers(self) -> float:
        """Share of the trained tokens that carry loss."""
        return self.trained / self.train if self.train else 0.0


@dataclass
class Plan:
    """The figures, by name and step; `lines` says them."""

    placement: Placement
    sample: Sample
    speed: Speed
    work: dict[str, Work]
    seconds: dict[str, float]
    memory: dict[str, dict[str, float]]  # process -> GiB by what holds them
    disk: dict[str, float]
    usd: float
    priced: str
    shape: DecoderShape
    kv_gib: float
    lengths: str  # what model.max_length costs

    @property
    def hours(self) -> float:
        return sum(self.seconds.values()) / 3600

    @property
    def unit_hours(self) -> float:
        """GPU-hours, or CPU-hours where there is no GPU."""
        return self.hours * (self.placement.have.gpus or self.placement.have.cpus)

    def lines(self) -> list[str]:
        """What a terminal shows."""
        kind = "GPU" if self.placement.have.gpus else "CPU"
        out = [*self.placement.lines(), f"speed: {self.speed.source}"]
        about, scale = "at least " if self.sample.more else "", self.sample.scale
        part = f", estimated from one in {scale:.1f}" if scale > 1 else ""
        out.append(f"rows {about}{self.sample.total}{part}")
        out.append(self.lengths)
        for name, w in self.work.items():
            counts = {"trained": w.train, "read": w.read, "written": w.write}
            tokens = ", ".join(f"{n:,.0f} tokens {word}" for word, n in counts.items() if n)
            out.append(f"{name:<15} {self.seconds[name]:>7,.0f} s   {tokens}".rstrip())
        times = f"time {self.hours:.2f} h, {kind}-hours {self.unit_hours:.2f}"
        out.append(f"{times}, {self.usd:.2f} USD ({self.priced})")
        tokens = f"{self.kv_gib * GIB / self.shape.kv_bytes():,.0f} tokens"
        kept = f"KV cache {self.kv_gib:.1f} GiB an engine: {tokens}"
        held = [f"memory of {name}: {gib_text(parts)}" for name, parts in self.memory.items()]
        return [*out, *held, kept, f"disk {gib_text(self.disk)}"]


def gib_text(parts: dict[str, float]) -> str:
    """The sum of GiB, and what it is made of."""
    return f"{sum(parts.values()):.2f} GiB ({', '.join(f'{k} {v:.2f}' for k, v in parts.items())})"


def read_sample(config: Config, most: int = SAMPLE) -> Sample:
    """At most `most` rows of each source with their splits. Raises ConfigError where none can be
    read."""
    options, out, size, parsed = config.read, Sample(), 0, 0
    found: dict[str, Trajectory] = {}
    for source in options.sources:
        hub, limit = readers.is_hub(source.path), source.limit or COUNTED
        count, catalogue = 0, catalogue_of(source)
        for where, raw in islice(readers.list_raw(source), most if hub else limit):
            count += 1
            if count <= most:
                for made in readers.read_raw(raw, where, source).rows:
                    row = with_fewer_tools(with_catalogue(made, catalogue), options.tools)
                    found[row.id] = row
                    size += sum(len(str(v)) for v in to_row(row).values())
        parsed += min(count, most)
        out.total += source.limit if hub and source.limit else count
        out.more |= count == (most if hub and not source.limit else COUNTED)
    if options.sources and not found:
        raise ConfigError("read.sources: no row can be read; see `raytune-agents read --explain`")
    out.rows = {r.id: r for r in split.split_rows(found.values(), options.split, config.seed)}
    out.scale = out.total / parsed if parsed else 1.0
    out.row_bytes = size / max(1, len(out.rows))
    return out


def add_generated(sample: Sample, config: Config, most: int = SAMPLE) -> list[Trajectory]:
    """Adds drawn positives, `most` at most, and edited negatives; returns the drawn ones."""
    # which of the candidates stay says nothing about time and tokens
    negatives = config.negatives.model_copy(update={"candidates": 1.0})
    wanted = max(1, ceil(config.generate.rows / sample.scale))
    few = min(wanted, most)
    drawn = config.generate.model_copy(update={"rows": few})
    sampled = sampling.sample_rows(drawn, config.seed, sample.split("train")).rows
    for k, row in enumerate(sampled):
        sample.copies[row.id] = (k + 1) * wanted // few - k * wanted // few
    train = [*sample.split("train"), *sampled]
    edited, _ = choice.edited(train, Counter(), negatives, config.seed)
    # a negative is made of each copy of its good twin
    sample.copies |= {row.id: sample.copies.get(row.parents[0], 1) for row in edited}
    sample.rows |= {row.id: row for row in (*sampled, *edited)}
    return sampled


def mean_prompt(chat: Chat, rows: Iterable[Trajectory]) -> float:
    """Mean tokens of the first rows' prompts, without those that the template refuses."""
    lengths = (chat.prompt_length(row) for row in islice(rows, MEASURED))
    return fmean([n for n in lengths if n is not None] or [0])


def arm_work(config: Config, arm: ArmConfig, own: TrainConfig, sample: Sample, chat: Chat) -> Work:
    """What one arm trains on: rows chosen as the mix step does, tokens as its method makes them.
    `own`: its options."""
    rows, mixed = {r.id: r for r in sample.split("train")}, config.mix.of(arm)
    recipe = Recipe(arm.method, own, chat)
    how = recipe.how
    made, facts = tokenize_rows(rows.values(), recipe, recipe.pairs(rows))
    counted = zip(rows, map(mix.RowKind.of, rows.values()), facts["tokens"].to_pylist())
    copied = [
        (f"{i} {k}", kind, n) for i, kind, n in counted for k in range(sample.copies.get(i, 1))
    ]
    pool, share = mix.with_no_call(copied, mixed.weights, mixed.no_call)
    budget = mixed.tokens / sample.scale if mixed.tokens else mix.auto_tokens(pool, share)
    chosen = mix.choose_rows(pool, share, max(1, round(budget)), mixed.max_epochs, config.seed)
    times = Counter(copy.partition(" ")[0] for copy in chosen.ids)
    out, table = Work(start_s=START_S["arm"]), columns_table(made)
    out.recipe = content_hash(recipe.decided_by())
    lengths = padded_lengths(table).tolist() if made else []
    all_copies = sum(n * sample.copies.get(c["row_id"], 1) for c, n in zip(made, lengths))
    out.columns = sample.scale * table.nbytes * all_copies / max(1, sum(lengths))
    for column, length in zip(made, lengths):
        count = times[column["row_id"]] * own.num_train_epochs * sample.scale
        out.train += length * count
        out.trained += column["trained_tokens"] * count
        out.longest = max(out.longest, length if count else 0)
    out.rows = round(len(chosen.ids) * sample.scale)
    if how.reference_pass:
        out.read = out.train
    if how.explores:
        # Every round trains on about as many rows, or on its part of the tokens.
        r = own.rounds
        out.train = out.train * r.max * min(1.0, (r.tasks + r.new_tasks) / max(1, out.rows))
        wanted = r.max * (r.tasks + r.new_tasks) * r.samples
        out.write, out.read = wanted * r.max_tokens * WRITTEN, wanted * out.longest
    if how.samples_answers:
        sampled = out.rows * own.num_train_epochs * own.grpo.num_generations
        out.write = sampled * own.grpo.max_tokens * WRITTEN
        out.train, out.read = out.train + out.write, out.read + out.train
    return out


def generate_work(config: Config, sample: Sample, sampled: list[Trajectory], chat: Chat) -> Work:
    """Wordings and mined answers."""
    out, g, n = Work(start_s=START_S["engine"]), config.generate, config.negatives
    for row in sampled:
        for turn in paraphrase.turns(row):
            times = sample.count([row])
            out.read += len(chat.chat_ids(paraphrase.messages(row, turn))) * times
            out.write += g.candidates * g.max_tokens * WRITTEN * times
    called = [r for r in sample.split("train")[:MEASURED] if r.calls]
    limit = n.max_tokens or answer_limit(gold_lengths(called, chat), config.engine.max_model_len)
    tasks = min(n.mined_tasks, round(sample.count(sample.split("train"))))
    out.read += tasks * mean_prompt(chat, called)
    out.write += tasks * n.mined_samples * limit * WRITTEN
    return out


def evaluate_work(config: Config, sample: Sample, chat: Chat) -> Work:
    """Every arm answers every split and suite, once more each perturbed row, rolls out the tasks
    and converses; val rows are measured; a judge compares its answers with the base's, twice."""
    options, arms = config.evaluate, config.train.arms.values()
    runs, talks, timing = options.trajectories, options.multi_turn, options.latency
    most = options.limit or COUNTED
    known = [row for name in options.splits for row in sample.split(name)]
    sizes = [min(round(sample.count(sample.split(n))), most) for n in options.splits]
    sizes += [min(source.limit or 100, most) for source in options.sources.values()]
    if options.unseen_agents:
        sizes.append(options.unseen_rows)
    perturbed = sum(min(options.perturbed_rows, n) for n in sizes) * len(options.perturbations)
    called = sum(sizes)  # rows on which a call is right
    sizes += [options.instruction_rows, options.irrelevance_rows, options.irrelevance_rows]
    val = min(options.val_rows, round(sample.count(sample.split("val"))))
    single = sum(sizes) + perturbed + val
    rollouts, conversations = runs.tasks * runs.trials, talks.rows * len(talks.categories)
    # About half of the answers that one may have.
    answers = single + ceil((rollouts * runs.max_steps + conversations * talks.max_steps) / 2)
    trained = len(arms) + sum(a.ask_unmarked for a in arms)
    judged = trained * sum(min(options.judge.rows, n) for n in sizes)
    gold = gold_lengths(known[:MEASURED], chat)
    limit = options.max_tokens or answer_limit(gold, config.engine.max_model_len)
    short = min(limit, 2 + fmean(gold or [0]))
    shown = sum(sizes) * bool(options.few_shot)
    baselines = shown + called * options.constrained
    waves = {load: ceil(timing.rows / load) for load in timing.loads}
    timed = sum(n * max(load, SMALLEST_STEP) for load, n in waves.items())
    timed += SMALLEST_STEP * len(options.quantized.kinds) * options.quantized.rows
    read = (answers + options.perplexity_rows) * (1 + trained) + 2 * judged
    read += baselines + shown * options.few_shot * SHOT_SHARE
    read += 2 * sum(load * n for load, n in waves.items())
    write = (answers + timed) * limit * WRITTEN + (answers * trained + timed) * short
    write += baselines * limit * WRITTEN**2  # examples and grammar end an answer sooner
    write += 2 * judged * options.judge.max_tokens * WRITTEN
    rows = (single + rollouts + conversations + options.perplexity_rows) * (1 + trained)
    return Work(
        read=read * mean_prompt(chat, known),
        write=write,
        start_s=START_S["engine"] + trained * START_S["merge"],
        rows=rows + baselines + judged,
    )


def tune_work(config: Config, arms: list[Work], sample: Sample, chat: Chat) -> Work:
    """Trials at their budget of trained tokens, each scored at its rungs."""
    t = config.tune
    if not t.num_samples:
        return Work()
    padded = sum(w.train for w in arms) / max(1.0, sum(w.trained for w in arms))
    extra = t.whole_trials - 1  # the base is scored once and trains nothing
    stopped = STOPPED if t.scheduler != "none" and t.num_rungs > t.grace_period else 1.0
    trials = t.num_samples * stopped + extra
    tokens = t.tokens * trials + 2 * t.confirm * config.mix.tokens
    val = sample.split("val")
    prompt, rows = mean_prompt(chat, (r for r in val if r.calls)), min(t.rows, len(val))
    whole = prompt / (1 - arms[0].answers)
    written = (whole - prompt + LONGER) * (t.score == "generate")
    stages = 2 + sum(map(bool, (t.settle_learning_rate, t.noise, t.leaders, t.confirm)))
    return Work(
        train=tokens * padded,
        read=rows * whole * (t.num_rungs * trials + 1),
        score=rows * written * (trials + 1),
        start_s=START_S["trial"] * (t.num_samples + extra + 1) + START_S["stage"] * stages,
    )


def plan(config: Config, have: Any, most: int = SAMPLE) -> Plan:
    """The plan of a run on `have` (placement.Resources), from at most `most` rows of each source
    and as many drawn ones. Raises ConfigError."""
    config, lengths = with_max_length(config)
    path = models.resolve(config.model)
    chat, shape = Chat.of(path, config.model), DecoderShape.of(path)
    placed, sample = plan_placement(have, config, shape.weights_gib), read_sample(config, most)
    sampled, named = add_generated(sample, config, most), config.train.arms
    own = [placed.train(config.train.of(arm)) for arm in named.values()]
    arms = [arm_work(config, a, o, sample, chat) for a, o in zip(named.values(), own)]
    work = {"read": Work(), "label": Work()}
    work["generate"] = generate_work(config, sample, sampled, chat)
    work |= {f"train {name}": arm for name, arm in zip(named, arms)}
    work["evaluate"] = evaluate_work(config, sample, chat)
    work["tune"] = tune_work(config, arms, sample, chat)
    speed = estimate.speed(have.gpus, have.gpu_type, have.node_cpus, config.model.dtype)
    seconds = {
        k: START_S["step"]
        + w.start_s
        + speed.seconds(shape, train=w.train, read=w.read, write=w.write, score=w.score)
        for k, w in work.items()
    }
    rows = sample.total * estimate.ROW_S / have.cpus
    seconds["read"] += START_S["ray"] + rows
    seconds["label"] += 2 * rows
    usd, priced = estimate.money(config, sum(seconds.values()) / 3600, placed)
    kv = estimate.kv_gib(config, placed, shape)
    gpu, kind, t = have.gpus > 0, config.model.dtype, config.tune
    width = 2 if (gpu and kind != "float32") or models.bf16(kind) else 4
    workers = []
    for options, arm in zip(own, arms):
        tokens = arm.longest * micro_batch(max(1, arm.longest), options)
        workers.append(estimate.training_gib(shape, options, width, tokens, arm.answers, gpu))
    held = {"a training worker": max(workers, key=lambda parts: sum(parts.values()))}
    held |= {} if gpu else {"the engine": estimate.engine_gib(shape, width, kv)}
    texts = ("tokenizer*", "vocab*", "merges*", "*.jinja")
    extras = sum(f.stat().st_size for kind in texts for f in path.glob(kind))
    trials = t.num_samples + t.whole_trials if t.num_samples else 0
    left = stored_gib(sample, arms) | estimate.disk_gib(shape, own, trials, extras)
    note = lengths.describe(config.model.max_length)
    return Plan(placed, sample, speed, work, seconds, held, left, usd, priced, shape, kv, note)


def stored_gib(sample: Sample, arms: list[Work]) -> dict[str, float]:
    """GiB of all rows, and tokenised once for the arms of one recipe; without the columns of trials
    that search how rows are written."""
    rows = sample.count(sample.rows.values()) * sample.row_bytes
    columns = sum({work.recipe: work.columns for work in arms}.values())
    return {"rows": rows / GIB, "columns": columns / GIB}
