"""The tune step: the search of mix and hyper-parameters in stages, and its guideline."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from raytune_agents.config import ConfigError, TrainConfig, set_dotted
from raytune_agents.evaluate import harness, metrics
from raytune_agents.pipeline.answering import arm_answers
from raytune_agents.pipeline.rows import token_counts, training_rows
from raytune_agents.pipeline.training import job_of
from raytune_agents.records import Trajectory
from raytune_agents.redact import redact
from raytune_agents.runs import Counts, Step, read_rows, write_json

if TYPE_CHECKING:
    from raytune_agents.pipeline.context import Context
    from raytune_agents.tune.search import Place
    from raytune_agents.tune.space import Space
    from raytune_agents.tune.trial import Given

LONGEST = 512  # tokens of a scored row: one forward pass of many rows


def tune(context: Context, step: Step) -> tuple[Counts, dict[str, Any]]:
    """Noise, search, leaders, guideline, confirming runs; trials, tables and the best config."""
    from raytune_agents.tune import confirm, guideline, guideline_text, search, tables, trials

    config, section = context.config, context.config.tune
    if not section.trials:
        return Counts(), {"note": "tune.trials=0: no search"}
    given = prepare(context, step)
    context.free_gpu(section.num_workers)
    with context.display.step("tune", section.trials) as bar:
        place = place_of(context, step, bar)
        found = explore(context, given, place)
        known = guideline.recommend(
            [t for t in found if t["stage"] != "generated"],
            given.space,
            metric=trials.metric_of(section.objective),
            seed=config.seed,
        )
        best = next((t for t in found if t["score"] is not None), None)
        if section.confirm and best:
            points = confirm.points(known, best, given.space, section.confirm, config.seed + 1000)
            runs = search.run(search.Plan("confirm", points), given, place)
            known["confirmed"] = confirm.judge(runs, known, config.seed, config.evaluate.confidence)
            found = found + runs
    known |= {"ended": place.budget.reason, "spent": place.budget.spent()}
    searched = [t for t in found if t["stage"] == "search"]
    known["times"] = tables.times(searched, context.placement.trials)
    known["front"] = trials.front(found, section.objective) if section.pareto else []
    if section.generate:
        known["generated"] = written_scores(context, step, given, found)
    context.display.say(f"tune      {guideline_text.line(known)}")
    write_json(step.folder / "trials.json", found)
    tables.write(found, step.folder)
    write_json(step.folder / "guide.json", known)
    (step.folder / "guide.md").write_text(guideline_text.markdown(known), encoding="utf-8")
    if best:
        text = guideline.best_config_yaml(best, config)
        (step.folder / "best.yaml").write_text(redact(text), encoding="utf-8")
    counts = Counts(rows_in=len(found), rows_out=sum(t["status"] != "failed" for t in found))
    counts.failed.update(t["error"].partition(":")[0] for t in found if t["status"] == "failed")
    note = {k: known[k] for k in ("verdict", "ended", "spent", "times")}
    return counts, {"best": best and {k: best[k] for k in ("trial_id", "score", "weights")}, **note}


def place_of(context: Context, step: Step, bar: Any) -> Place:
    """Where the search runs, what it may spend, and how it says how far it is."""
    from raytune_agents.tune import search, spend

    placed, section = context.placement, context.config.tune
    needs: dict[str, float] = {"CPU": placed.trial_cpus, "GPU": min(1, placed.have.gpus)}
    if section.num_workers > 1:  # these have the CPUs and GPUs; a trial needs something of its own
        placed.check(section.num_workers, "tune.num_workers")
        needs = {"memory": 1}
    ledger = step.folder / "metrics.jsonl"
    budget = spend.Budget(context.config.budget, ledger, spend.before(context.run.folder))
    return search.Place(
        step.folder,
        budget,
        needs=needs,
        tell=lambda done, total, note: bar.update(done - bar.done, total=total, note=note),
    )


def explore(context: Context, given: Given, place: Place) -> list[dict[str, Any]]:
    """Noise floor, search and more seeds for the leaders; all trials, best first."""
    from raytune_agents.tune import search, trials

    section, seed = context.config.tune, context.config.seed
    points = given.space.baseline_samples(context.config)
    repeats = [points[0] | {"seed": seed + k} for k in range(section.noise)]
    noise = search.run(search.Plan("noise", repeats), given, place)
    scores = [t["objective"] for t in noise if t["objective"] is not None]
    stage = search.Plan(
        "search",
        points[1:] if scores else points,
        section.trials,
        [(points[0], sum(scores) / len(scores))] if scores else [],
        trials.noise_by_report(noise),
    )
    found = noise + search.run(stage, given, place)
    again = [
        leader["sample"] | {"seed": seed + k}
        for leader in trials.leaders(found, section.leaders)
        for k in range(1, section.seeds)
        if not (leader["stage"] == "noise" and k < section.noise)
    ]
    found += search.run(search.Plan("leaders", again), given, place)
    return sorted(found, key=lambda t: (t["objective"] is None, -(t["objective"] or 0.0)))


def prepare(context: Context, step: Step) -> Given:
    """The pool and the scored rows, tokenised once for every searched way to write a row; a method
    without a use for failures has none in its pool, and its mix is that of the others."""
    from raytune_agents.train import nat
    from raytune_agents.train.methods import METHODS, build
    from raytune_agents.tune.space import parse
    from raytune_agents.tune.trial import Given

    config, section = context.config, context.config.tune
    rows = training_rows(context.run.folder)
    cost, _ = token_counts(context, list(rows.values()))
    sizes = pool_sizes(rows, cost)
    space = parse(section.space, sizes, section.tokens, config, section.preset)
    train = team(config.train, section.num_workers).model_copy(update={"num_train_epochs": 1.0})
    read = [r for r in read_rows(context.run.folder / "read") if not r.reject_reason and r.calls]
    val = sorted((r for r in read if r.split == "val"), key=lambda r: r.id)
    test = sorted((r for r in read if r.split == "test_unseen"), key=lambda r: r.id)
    test = test[: config.evaluate.limit] if section.confirm else []
    made: dict[str, dict[str, Any]] = {"pools": {}, "val": {}, "test": {}, "prompts": {}}
    for key, options in texts(space, context).items():
        method = options.get("tune.method", section.method)
        own = with_options(train, options)
        how = METHODS[method]
        twins = how.twins(rows, own) if how.twins else None
        takes = nat.good if method == "sft" else how.takes  # never learn a failure as right
        pool = [rows[i] for i in cost if takes(rows[i])]
        how.check(pool, own)
        made["pools"][key], _ = build(method, pool, context.chat, own, twins)
        marker, scored_as = how.asked(own), method if how.asked(own) else "sft"
        for name, part, most in (("val", val, section.rows), ("test", test, None)):
            columns, _ = build(scored_as, part, context.chat, own, None)
            made[name][key] = [c for c in columns if len(c["input_ids"]) <= LONGEST][:most]
        kept = {c["row_id"] for c in made["val"][key]}
        written = [r for r in val if r.id in kept] if section.score == "generate" else []
        made["prompts"][key] = [(r, context.chat.prompt_ids(r, marker)) for r in written]
    job = job_of(context, train, section.method, None, step.folder)
    return Given(
        space=space,
        **made,
        job=replace(job, threads=max(1, job.threads // context.placement.trials)),
        tune=section.model_copy(update={"concurrent": context.placement.trials}),
        weights=config.mix.weights,
        max_epochs=config.mix.max_epochs,
        full_tokens=config.mix.tokens,
    )


def team(train: TrainConfig, workers: int) -> TrainConfig:
    """The train options for so many workers of a trial; copies (ddp) unless the config says."""
    if workers == 1:
        return train.model_copy(update={"num_workers": 1, "sharding": "none", "offload": False})
    shared = "ddp" if train.sharding == "none" else train.sharding
    return train.model_copy(update={"num_workers": workers, "sharding": shared})


def with_options(train: TrainConfig, options: dict[str, Any]) -> TrainConfig:
    """The train options with the searched ones that change the tokens of a row."""
    tree = train.model_dump()
    for key, value in options.items():
        if key.startswith("train."):
            set_dotted(tree, key.removeprefix("train."), value)
    return TrainConfig(**tree)


def texts(space: Space, context: Context) -> dict[str, dict[str, Any]]:
    """Name of a tokenised pool -> the searched text options that made it."""
    from raytune_agents.tune.space import is_text
    from raytune_agents.tune.trial import text_key

    sample, found = space.baseline_samples(context.config)[0], {}
    by_key = {axis.key: axis for axis in space.axes}
    for options in space.texts():
        for key, value in options.items():
            sample = sample | (by_key[key].invert(value) or {})
        resolved = {k: v for k, v in space.resolve(sample).items() if is_text(k)}
        found[text_key(resolved)] = resolved
    return found


def written_scores(
    context: Context, step: Step, given: Given, found: list[dict[str, Any]]
) -> dict[str, Any]:
    """The leaders answer the val rows on the shared engine: {trial_id: {metric: {value, ...}}}."""
    from raytune_agents.train.methods import METHODS
    from raytune_agents.tune import trials

    section = context.config.tune
    kept = {c["row_id"] for c in next(iter(given.val.values()))}
    rows = [r for r in read_rows(context.run.folder / "read") if r.id in kept]
    out: dict[str, Any] = {}
    for t in trials.leaders(found, max(1, section.leaders)):
        marker = METHODS[t["method"]].asked(with_options(context.config.train, t["config"]))
        arm = harness.Arm(t["trial_id"], t["checkpoint"], marker)
        answers = arm_answers(context, step, rows, arm)
        good = [a for a in answers if not a["failed"]]
        if good:
            resamples, confidence = (
                context.config.evaluate.resamples, context.config.evaluate.confidence)  # fmt: skip
            cells = metrics.summary(good, resamples, confidence, context.config.seed)
            out[t["trial_id"]] = {m: cells[m] for m in harness.SHOWN if m in cells}
    return out


def check(context_config: Any) -> None:
    """What of the search can be refused before Ray starts. Raises ConfigError."""
    from raytune_agents.tune import schedulers, space
    from raytune_agents.tune.trial import FORCED

    section = context_config.tune
    schedulers.check(
        section, space.parse(section.space, base=context_config, preset=section.preset)
    )
    known = [*FORCED, *(metrics.METRICS if section.score == "generate" else ())]
    wrong = [m for m in section.objective if m not in known]
    if wrong:
        more = ", or set tune.score=generate" if set(wrong) <= set(metrics.METRICS) else ""
        raise ConfigError(f"tune.objective: {wrong} is not scored; write some of {known}{more}")
    if section.noise == 1:
        raise ConfigError("tune.noise=1: one run has no spread; write 0 or at least 2, better 3")


def pool_sizes(rows: dict[str, Trajectory], cost: dict[str, int]) -> dict[str, int]:
    """Trained tokens of every pool, under its dotted name and each of its heads."""
    out: dict[str, int] = {}
    for row_id, tokens in cost.items():
        parts = rows[row_id].pool.split(".")
        for k in range(1, len(parts) + 1):
            name = ".".join(parts[:k])
            out[name] = out.get(name, 0) + tokens
    return out
