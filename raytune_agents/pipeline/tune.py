"""The tune step: the search of mix and hyper-parameters in stages, and its guideline.

base            the untrained model: what the gate's reference can do
learning_rate   a few rates at the natural mix; the best is settled before the mix is searched
noise           one configuration with several seeds: how far equal runs differ
search          mixes (and what else the space holds), stopped early outside the noise
leaders         the best of them with more seeds
confirm         the recommended and the plain mixes at the full budget on test_unseen
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate
from typing import Any

from raytune_agents import mix
from raytune_agents.config import Config, ConfigError
from raytune_agents.evaluate.estimates import Resampling
from raytune_agents.pipeline.context import Context
from raytune_agents.pipeline.rows import MOST_SPLIT_ROWS, answered_val_rows, held_out_rows
from raytune_agents.pipeline.tokenize import tokenize
from raytune_agents.pipeline.train_arm import job_of
from raytune_agents.progress import Bar
from raytune_agents.records import Trajectory
from raytune_agents.redact import redact
from raytune_agents.runs import METRICS, Counts, Step
from raytune_agents.storage import first_by_id, write_json
from raytune_agents.train.job import LONGER
from raytune_agents.train.methods import build_columns, method_named
from raytune_agents.tune import (
    guideline,
    guideline_text,
    reuse,
    search_gate,
    surrogate,
    trial_stats,
    trial_tables,
)
from raytune_agents.tune.axes import Axis
from raytune_agents.tune.confirm import confirming_samples, judge_confirmed
from raytune_agents.tune.guideline import Guideline
from raytune_agents.tune.ledger import SearchBudget, spent_before
from raytune_agents.tune.search import SearchContext, StageSpec, run_stage
from raytune_agents.tune.search_space import Space, empty_pools, is_text, parse_space
from raytune_agents.tune.trial_spec import (
    UNTRAINED,
    Prompt,
    TrialInputs,
    text_key,
    with_options,
    with_workers,
)
from raytune_agents.tune.trials import Trial, best_first

LONGEST = 512  # tokens of a scored row: one forward pass of many rows
RATE = "train.learning_rate"


def tune(context: Context, step: Step) -> tuple[Counts, dict[str, Any]]:
    """Settle the rate, measure the noise, search, confirm; trials, tables and the best config."""
    config, options = context.config, context.config.tune
    if not options.num_samples:
        return Counts(), {"note": "tune.num_samples=0: no search"}
    if why := no_default_search(context, step):
        context.display.say(f"tune      {why}", "yellow")
        return Counts(), {"note": why}
    inputs, notes = prepare(context, step)
    context.free_gpu(options.num_workers)
    with context.display.step("tune", options.num_samples) as bar:
        search = search_context(context, step, bar)
        found = explore(context, inputs, search)
        known = conclude(context, found, search, notes)
    whole = [t for t in found.trials if t.stage == "search"]
    known = replace(
        known,
        times=trial_tables.search_times(whole, context.placement.trials),
        ended=search.budget.reason,
        spent=search.budget.spent(),
    )
    context.display.say(f"tune      {guideline_text.guideline_line(known)}")
    write_json(step.folder / "trials.json", [asdict(t) for t in found.trials])
    trial_tables.write_tables(found.trials, step.folder)
    write_json(step.folder / "guide.json", asdict(known))
    page = guideline_text.guideline_markdown(known)
    (step.folder / "guide.md").write_text(page, encoding="utf-8")
    best = best_allowed(found.trials, known)
    if best:
        text = guideline.best_config_yaml(best, config)
        (step.folder / "best.yaml").write_text(redact(text), encoding="utf-8")
    failed = [t for t in found.trials if t.status == "failed"]
    counts = Counts(rows_in=len(found.trials), rows_out=len(found.trials) - len(failed))
    counts.failed.update(t.error.partition(":")[0] for t in failed)
    top = {k: getattr(best, k) for k in ("trial_id", "score", "weights")} if best else None
    facts = {k: getattr(known, k) for k in ("verdict", "ended", "spent", "times")}
    return counts, {"best": top, **facts}


def no_default_search(context: Context, step: Step) -> str:
    """Why a run whose config asks for no search in particular has none: it lacks a pool of the
    default one. "" where it has all, or where pools were asked for, which is then refused."""
    options = context.config.tune
    if "space" in options.model_fields_set:
        return ""
    sizes = pool_sizes(tokenize(context, step, "sft", context.config.train).costs())
    empty = empty_pools(options.space["mix.weights"]["simplex"], sizes)
    text = f"no search: the run has no {' or '.join(empty)} rows, which the default one mixes"
    return f"{text}; write tune.space with pools of {sorted(sizes)}" if empty else ""


def search_context(context: Context, step: Step, bar: Bar) -> SearchContext:
    """Where the search runs, what it may spend, and how it says how far it is."""
    placed, options = context.placement, context.config.tune
    resources: dict[str, float] = {"CPU": placed.trial_cpus, "GPU": min(1, placed.have.gpus)}
    if options.num_workers > 1:  # these have the CPUs and GPUs; a trial needs something of its own
        placed.check(options.num_workers, "tune.num_workers")
        resources = {"memory": 1}
    return SearchContext(
        step.folder,
        SearchBudget(
            context.config.budget, step.folder / METRICS, spent_before(context.run.folder)
        ),
        resources,
        context.config.train.label_selector,
        lambda done, total, note: bar.update(done - bar.done, total=total, note=note),
    )


# --- the stages ---


@dataclass
class Explored:
    """What the stages found. `inputs` have the space without what was settled."""

    inputs: TrialInputs
    trials: list[Trial] = field(default_factory=list)  # best first
    base: Trial | None = None
    positives: list[Trial] = field(default_factory=list)
    earlier: list[Trial] = field(default_factory=list)
    settled: dict[str, Any] = field(default_factory=dict)


def explore(context: Context, inputs: TrialInputs, search: SearchContext) -> Explored:
    """Base, learning rate, noise floor, search, and more seeds for the leaders."""
    config, options, seed = context.config, context.config.tune, context.config.seed
    found = Explored(inputs)
    natural = inputs.space.baseline_samples(config)[0]
    untrained = StageSpec("base", [natural | {UNTRAINED: True, "arm": "base"}])
    base = run_stage(untrained, inputs, search)
    found.base = base[0] if base and base[0].score is not None else None
    settle_rate(config, found, search)
    inputs = found.inputs
    points = inputs.space.baseline_samples(config)
    repeats = [points[0] | {"seed": seed + k} for k in range(options.noise)]
    noise = run_stage(StageSpec("noise", repeats), inputs, search)
    scores = [t.objective for t in noise if t.objective is not None]
    if options.from_run:
        natural_mix = noise[0].mix if noise else {}
        last = trial_tables.load_trials(options.from_run)
        found.earlier = reuse.shifted_trials(last, inputs.space, natural_mix, noise)
    known = reuse.as_samples(found.earlier, inputs.space)
    stage = StageSpec(
        "search",
        points[1:] if scores else points,
        options.num_samples,
        [*known, *([(points[0], sum(scores) / len(scores))] if scores else [])],
        trial_stats.noise_by_report(noise),
    )
    trials = noise + run_stage(stage, inputs, search)
    again = [
        leader.sample | {"seed": seed + k}
        for leader in trial_stats.leaders(trials, options.leaders)
        for k in range(1, options.seeds)
        # Seeds that the noise stage has run are not run again.
        if not (leader.stage == "noise" and k < options.noise)
    ]
    trials += run_stage(StageSpec("leaders", again), inputs, search)
    found.trials = best_first(trials)
    found.positives = [t for t in found.trials if positives_only(t)]
    return found


def positives_only(trial: Trial) -> bool:
    """Whether the mix is the plain one of positives alone."""
    return bool(trial.mix) and all(
        w < 5e-3 for p, w in trial.mix.items() if p.split(".")[0] != "positive"
    )


def settle_rate(config: Config, found: Explored, search: SearchContext) -> None:
    """A searched learning rate is settled at the natural mix: quantiles of its axis, the best of
    which leaves the space. Searched with the mix it eats the budget, and alone can pass the rank
    gate: a fit may then order the runs by their rate and say nothing about the mix."""
    inputs, count = found.inputs, config.tune.settle_learning_rate
    axis = next((a for a in inputs.space.axes if isinstance(a, Axis) and a.key == RATE), None)
    if axis is None or count < 2:
        return
    natural = inputs.space.baseline_samples(config)[0]
    rates = [axis.quantile((k + 0.5) / count) for k in range(count)]
    trials = run_stage(StageSpec("learning_rate", [natural | r for r in rates]), inputs, search)
    best = next((t for t in trials if t.objective is not None), None)
    if best is None:
        return
    tried = sorted(t.config[RATE] for t in trials if t.objective is not None)
    found.settled = {RATE: best.config[RATE], "tried": tried}
    found.inputs = replace(inputs, space=inputs.space.fixed(RATE, best.config[RATE]))


def conclude(
    context: Context, found: Explored, search: SearchContext, notes: Sequence[str]
) -> Guideline:
    """The guideline over all trials, held against the gate, and the confirming runs."""
    config, options = context.config, context.config.tune
    how = Resampling(confidence=config.evaluate.confidence, seed=config.seed)
    gate = search_gate.judge_search(found.trials, found.base, found.positives, how)
    floor = None
    if gate.least is not None:
        values = {t.trial_id: t.reports[-1].get(gate.metric) for t in found.trials if t.reports}
        kept = {i: v for i, v in values.items() if i in gate.outcomes and v is not None}
        floor = guideline.Floor(kept, gate.least)
    known = guideline.recommend(
        [*found.trials, *found.earlier],
        found.inputs.space,
        metric=trial_stats.guideline_metric(options.objective),
        how=replace(how, resamples=surrogate.DRAWN.resamples),
        floor=floor,
    )
    known = replace(
        known, gate=gate, settled=found.settled, reused=len(found.earlier), notes=list(notes)
    )
    best = best_allowed(found.trials, known)
    if options.confirm and best:
        points = confirming_samples(
            known.recommended,
            known.config,
            best,
            found.inputs.space,
            options.confirm,
            config.seed + 1000,
        )
        runs = run_stage(StageSpec("confirm", points), found.inputs, search)
        predicted = {name: b.measured for name, b in known.baselines.items()}
        predicted |= {"recommended": known.score, "best_trial": best.score}
        known = replace(known, confirmed=judge_confirmed(runs, predicted, how))
        found.trials += runs
    return known


def best_allowed(trials: Sequence[Trial], known: Guideline) -> Trial | None:
    """The best trial that the gate did not find to have lost anything."""
    outcomes = known.gate.outcomes if known.gate else {}
    scored = (t for t in trials if t.score is not None and t.stage != "confirm")
    return next((t for t in scored if outcomes.get(t.trial_id) != "lost"), None)


# --- what the trials share ---


def prepare(context: Context, step: Step) -> tuple[TrialInputs, list[str]]:
    """The pool and the scored rows, tokenised once for every searched way to write a row, and notes
    for the guideline. A method without a use for failures has none in its pool, and its mix is that
    of the others."""
    config, options = context.config, context.config.tune
    natural = tokenize(context, step, "sft", config.train).costs()
    sizes = pool_sizes(natural)
    space = parse_space(options.space, sizes, options.tokens, config, options.preset)
    train = with_workers(config.train, options.num_workers)
    train = train.model_copy(update={"num_train_epochs": 1.0})
    val, test = scored_rows(context)
    made: dict[str, dict[str, Any]] = {"pools": {}, "val": {}, "test": {}, "prompts": {}}
    for key, searched in texts_of(space, context).items():
        method = searched.get("tune.method", options.method)
        method = "vanilla" if method == "sft" else method  # never learn a failure as right
        own = with_options(train, searched)
        how = method_named(method)
        made["pools"][key] = rows = tokenize(context, step, method, own)
        how.validate_data([kind for kind, n in zip(rows.kinds, rows.tokens) if n], own)
        marker = how.inference_marker(own)
        scored_as = method if marker else "sft"
        for name, part, most in (("val", val, options.rows), ("test", test, None)):
            columns, _ = build_columns(scored_as, part, context.chat, own, None)
            calls = {r.id: bool(r.calls) for r in part}
            short = [c for c in columns if len(c["input_ids"]) <= LONGEST][:most]
            made[name][key] = [c | {"calls": calls[c["row_id"]]} for c in short]
            by_id, limits = {r.id: r for r in part}, Counter[str]()  # tokens of the gold answer
            for c in short:
                limits[c["row_id"]] += c["trained_tokens"]
            made["prompts"][key if name == "val" else f"{key}/test"] = [
                Prompt(by_id[i], context.chat.prompt_ids(by_id[i], marker), most + LONGER)
                for i, most in limits.items()
                if options.score == "generate"
            ]
    objective, notes = usable_objective(options.objective, made["val"])
    job = job_of(context, train, options.method, None, step.folder)
    inputs = TrialInputs(
        space=space,
        **made,
        job=replace(job, threads=max(1, job.threads // context.placement.trials)),
        tune=options.model_copy(
            update={"max_concurrent_trials": context.placement.trials, "objective": objective}
        ),
        weights=config.mix.weights,
        max_epochs=config.mix.max_epochs,
        no_call=config.mix.no_call,
        full_tokens=config.mix.tokens or mix.auto_tokens(natural, config.mix.weights),
    )
    return inputs, notes


def scored_rows(context: Context) -> tuple[list[Trajectory], list[Trajectory]]:
    """(val, test) rows that end in an answer, by id; those that want no call are among them. The
    rows a report can hold are drawn evenly, so `rows` of val have their share of both."""
    config, folder = context.config, context.run.folder
    val = interleaved(answered_val_rows(folder))
    if not config.tune.confirm:
        return val, []
    for split in ("test_unseen", "test_seen"):
        found = (row for row in held_out_rows(folder, split) if row.target)
        if test := first_by_id(found, MOST_SPLIT_ROWS):
            break
    return val, interleaved(test)[: config.evaluate.limit]


def interleaved(rows: Sequence[Trajectory]) -> list[Trajectory]:
    """The rows by id, those without a call spread evenly among those with one, so that any first
    part has its share of both."""
    by_id = sorted(rows, key=lambda r: r.id)
    parts = [[r for r in by_id if r.calls], [r for r in by_id if not r.calls]]
    placed = [((k + 0.5) / len(part), row) for part in parts for k, row in enumerate(part)]
    return [row for _, row in sorted(placed, key=lambda item: (item[0], item[1].id))]


def usable_objective(
    objective: dict[str, float], val: dict[str, list[dict[str, Any]]]
) -> tuple[dict[str, float], list[str]]:
    """The objective without irrelevance where no val row wants no call, and a note that says so.
    Raises ConfigError where nothing is left."""
    silent = all(any(not c["calls"] for c in part) for part in val.values())
    if silent or "irrelevance" not in objective:
        return objective, []
    left = {k: w for k, w in objective.items() if k != "irrelevance"}
    if not left:
        raise ConfigError(
            f"tune.objective={objective}: no val row wants no call; add such rows to read.sources"
        )
    return left, ["No val row wants no call, so irrelevance is left out of the objective."]


def texts_of(space: Space, context: Context) -> dict[str, dict[str, Any]]:
    """Name of a tokenised pool -> the searched text options that made it."""
    sample, found = space.baseline_samples(context.config)[0], {}
    by_key = {axis.key: axis for axis in space.axes}
    for options in space.texts():
        for key, value in options.items():
            sample = sample | (by_key[key].invert(value) or {})
        resolved = {k: v for k, v in space.resolve(sample).items() if is_text(k)}
        found[text_key(resolved)] = resolved
    return found


def pool_sizes(costs: Sequence[tuple[str, str, int]]) -> dict[str, int]:
    """Loss tokens of every pool, under its dotted name and each of its heads, of rows (id, pool,
    loss tokens)."""
    out = Counter[str]()
    for _, pool, tokens in costs:
        for name in accumulate(pool.split("."), "{}.{}".format):
            out[name] += tokens
    return out
