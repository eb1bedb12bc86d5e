"""The steps in order and the files between them: read this first.

    read      sources            -> read/rows-*.parquet, quarantine.jsonl   (split by tool name)
    generate  agents + train     -> generate/{synthetic,mined,edited}/rows-*.parquet
    label     read + generate    -> label/rows-*.parquet, leaks.jsonl       (nothing dropped)
    mix       label              -> columns/KEY/*, mix/ARM.parquet          (the rows of every arm)
    train     mix + label        -> train/ARM/adapter
    evaluate  read + train       -> evaluate/{scores,differences}.json, answers.parquet, ...
    tune      label              -> tune/trials.{json,csv,parquet}, guide.{json,md}, best.yaml
    report    all of them        -> report.html

A step that is done (same config, files, inputs and code, see `keys`; its outputs whole) is skipped;
a killed one goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec

from raytune_agents import mix, models, readers
from raytune_agents.chat import Chat
from raytune_agents.config import Config, ConfigError
from raytune_agents.config.method_options import READ_BY, unread
from raytune_agents.inference.options import validate_engine_options
from raytune_agents.infra import cluster, telemetry
from raytune_agents.infra.nodes import other_versions
from raytune_agents.infra.placement import plan_placement
from raytune_agents.infra.provenance import versions
from raytune_agents.infra.watchdog import Watchdog
from raytune_agents.pipeline.context import Context
from raytune_agents.pipeline.row_lengths import sampled_rows, with_kept_length, with_max_length
from raytune_agents.progress import Display
from raytune_agents.records import JsonObject
from raytune_agents.runs import Counts, Step

log = logging.getLogger(__name__)
ENGINE_STEPS = ("train", "evaluate", "tune")
LOOKED_AT = 32  # rows of each source whose gold is put through the template
SHOWN_REASONS = 6  # of rejected, and of failed rows
StepFunction = Callable[[Context, Step], tuple[Counts, JsonObject]]


def step_function(name: str) -> StepFunction:
    """The function of a step, in the file of its name: it writes into the step's folder, and
    returns its counts and what its manifest says besides. Its modules are loaded only here."""
    module = import_module(f"raytune_agents.pipeline.{name}")
    return module.mix_arms if name == "mix" else getattr(module, name)


def preflight(config: Config) -> None:
    """What can be refused before Ray starts: sources, agents, model, its template, search space.
    Raises ConfigError (or SourceError) naming key, value and what to write."""
    from raytune_agents.evaluate import suites
    from raytune_agents.pipeline import generate, label, read, rounds
    from raytune_agents.train import methods, validate_config, validate_data
    from raytune_agents.tune import schedulers

    read.units(config.read.sources)
    label.validate_label(config)
    generate.validate_generate(config)
    rounds.validate_rounds(config)
    suites.validate_evaluation(config)
    validate_engine_options(config)
    space = schedulers.validate_tune(config) if config.tune.num_samples else None
    # A user's reader or fault may give rows of any pool: their weights are not refused.
    named = [*(s.format for s in config.read.sources), *config.negatives.faults]
    own = any(":" in name for name in named)
    mix.validate_weights(config.mix.weights, "mix.weights", own)
    if space and (simplex := space.simplex()):
        pools = dict.fromkeys(simplex.pools, 1.0)
        mix.validate_weights(pools, "tune.space.mix.weights.simplex", own)
    for name, arm in config.train.arms.items():
        mix.validate_weights(arm.weights or {}, f"train.arms.{name}.weights", own)
    model = models.resolve(config.model)
    for arm in config.train.arms.values():
        methods.method_named(arm.method)
        validate_config.validate_start(model, config.model.name, config.train.of(arm))
    trained = [arm.method for arm in config.train.arms.values()]
    for section in READ_BY if not space else ():
        given = getattr(config.train, section)
        if (why := unread(section, trained)) and given != type(given)():
            log.warning("train.%s: %s", section, why)
    # On a cluster only Ray knows what there is, and it is not started yet.
    if have := cluster.local_machine(config.resources):
        placed = plan_placement(have, config, models.weights_gib(model))
        for arm in config.train.arms.values():
            placed.train(config.train.of(arm))
    chat = Chat.of(model, config.model)
    if chat.instead:
        log.warning("model.template=auto: %s; our own is used", chat.instead)
    # Last, as the dearest: it tokenises the first rows of what is there without a download.
    here = [s for s in config.read.sources if not readers.is_hub(s.path) and "://" not in s.path]
    rows = (row for source in here for row in sampled_rows(source, LOOKED_AT, LOOKED_AT))
    validate_data.gold_comes_back(rows, chat, config.read.max_error_share)


def require_engine_packages(steps: Sequence[str]) -> None:
    """The packages of the extras cpu and gpu must be there for the steps that load a model. Raises
    ConfigError."""
    needs = [name for name in steps if name in ENGINE_STEPS]
    missing = [name for name in ("torch", "trl", "peft") if find_spec(name) is None]
    if needs and missing:
        raise ConfigError(
            f"{needs[0]} needs {', '.join(missing)}: pip install '.[cpu]' or '.[gpu]' in the "
            "clone; without them write --steps read,generate,label,report with generate.rows=0 and "
            "negatives.mined_tasks=0"
        )


def run_steps(
    config: Config,
    names: Sequence[str],
    display: Display,
    announce: Callable[[Config, Sequence[str]], None] | None = None,
) -> Context:
    """Run the named steps in order, skipping those that are done. `announce` is told the config
    and the steps that are left, before the first begins. Ray ends with the last one; where all are
    done, nothing is started."""
    cluster.set_environment(config.resources)
    context = Context(with_kept_length(config), display)
    display.run, display.json = config.name, config.resources.log == "json"
    try:
        left = steps_left(context, names)
        if left:
            require_engine_packages(left)
            preflight(config)
            # rows that changed may have other lengths, and then more steps are left
            config, lengths = with_max_length(config)
            context.settle(config)
            left = steps_left(context, names)
        for name in names[: len(names) - len(left)]:
            say_done(display, context.step(name))
        if not left:
            return context
        display.say(lengths.describe(config.model.max_length), style="dim")
        # only now: what cannot run is not announced
        if announce:
            announce(config, left)
        limit_s = config.resources.stall_timeout_s
        watched = Watchdog(context.run.folder, display, limit_s, cluster.waiting_demand)
        with display.live(), watched:
            for number, name in enumerate(left, 1 + len(names) - len(left)):
                step = context.step(name)
                if step.done:  # its inputs were made again, and came out as before
                    say_done(display, step)
                    continue
                display.current, display.step_number = name, f"[{number}/{len(names)}]"
                run_step(context, step)
    finally:
        context.close()
    return context


def say_done(display: Display, step: Step) -> None:
    """That a step is skipped; and where other libraries are installed now than made it, which of
    them: they are no part of its key, or a patch release would train everything again."""
    made = step.manifest
    other = other_versions(versions(), made.versions) if made else ""
    text = f"{step.name:<9} done before, nothing to do"
    if other:
        text += f"; its packages were others ({other}): remove {step.folder} to do it again"
    display.say(text, style="yellow" if other else "dim")


def steps_left(context: Context, names: Sequence[str]) -> list[str]:
    """The steps from the first one that is not done. Raises FileNotFoundError where it needs a step
    that is neither named nor done."""
    for number, name in enumerate(names):
        if not context.step(name).done:
            # All after it too: their inputs are about to be written again.
            return list(names[number:])
    return []


def run_step(context: Context, step: Step) -> None:
    """One step from its start to its manifest."""
    display, name = context.display, step.name
    log.info("%s: begins, key %s", name, step.key)
    # Other jobs may have come or gone while the step before ran.
    context.replan_placement()
    # Arms are steps of their own in its folder: those that are done stay.
    step.begin(clear=name != "train")
    counts, notes = step_function(name)(context, step)
    manifest = step.finish(counts, **notes)
    telemetry.finished(context.config.name, name, manifest)
    log.info("%s: %s, %.1f s", name, counts.line(), manifest.seconds)
    display.say(f"{name:<9} {counts.line()}  ({manifest.seconds:.0f} s)")
    for kind, found in (("rejected", counts.rejected), ("failed", counts.failed)):
        for reason, count in found.most_common(SHOWN_REASONS):
            # on one line, whatever a row calls its tool
            display.say(f"{'':<9}   {kind} {count} {' '.join(reason.split())}", style="dim")
