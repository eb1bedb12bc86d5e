"""The steps in order and the files between them: read this first.

    read      sources            -> read/rows-*.parquet, quarantine.jsonl   (split by tool name)
    generate  agents + train     -> generate/{synthetic,mined,edited}/rows-*.parquet
    label     read + generate    -> label/rows-*.parquet, leaks.jsonl       (nothing dropped)
    mix       label              -> mix/ARM.parquet                         (the rows of every arm)
    train     mix + label        -> train/ARM/adapter
    evaluate  read + train       -> evaluate/{scores,differences}.json, answers.parquet, ...
    tune      label              -> tune/trials.{json,csv,parquet}, guide.{json,md}, best.yaml
    report    all of them        -> report.html

A step whose manifest matches (config section, inputs, code) is skipped; a killed one goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from raytune_agents import models
from raytune_agents.config import Config
from raytune_agents.infra import telemetry
from raytune_agents.infra.watchdog import Watchdog
from raytune_agents.pipeline.context import Context, plain
from raytune_agents.progress import Display
from raytune_agents.runs import Counts, Step

StepFunction = Callable[[Context, Step], tuple[Counts, dict[str, Any]]]


def steps() -> dict[str, tuple[StepFunction, Callable[[Config], Any], tuple[str, ...]]]:
    """Step -> (function, the part of the config that decides its output, the steps it reads)."""
    from raytune_agents.pipeline import evaluate, generate, label, mix, read, report, train, tune

    return {
        "read": (read.read, lambda c: c.read, ()),
        "generate": (
            generate.generate,
            lambda c: [c.generate, c.negatives, c.model, c.engine],
            ("read",),
        ),
        "label": (label.label, label.section_of, ("read", "generate")),
        "mix": (
            mix.mix_arms,
            lambda c: [c.mix, c.train.arms, c.train.dpo, c.train.grpo, c.model],
            ("label",),
        ),
        "train": (train.train, lambda c: [c.train, c.model], ("label", "mix")),
        "evaluate": (
            evaluate.evaluate,
            evaluate.section_of,
            ("read", "train"),
        ),
        "tune": (tune.tune, lambda c: [c.tune, c.budget, c.mix, c.train, c.model], ("label",)),
        "report": (
            report.report,
            lambda c: None,
            ("read", "generate", "label", "mix", "train", "evaluate", "tune"),
        ),
    }


def preflight(config: Config) -> None:
    """What can be refused before Ray starts: sources, agents, model, search space.
    Raises ConfigError (or SourceError) naming key, value and what to write."""
    from raytune_agents.evaluate import suites
    from raytune_agents.pipeline import eto, generate, label, read, tune
    from raytune_agents.train import ready

    read.units(config.read.sources)
    label.check(config)
    generate.check(config)
    eto.check(config)
    suites.check(config)
    if config.tune.trials:
        tune.check(config)
    model = models.resolve(config.model)
    for arm in config.train.arms.values():
        ready.check(model, config.model.name, config.train.of(arm))


def run_steps(config: Config, names: Iterable[str], display: Display) -> Context:
    """Run the named steps in order, skipping those that are done. Ray ends with the last one."""
    preflight(config)
    context = Context(config, display)
    display.run, display.json = config.name, config.resources.log == "json"
    table = steps()
    try:
        watched = Watchdog(context.run.folder, display, config.resources.stall_timeout_s)
        with display.live(), watched:
            for name in names:
                function, section, after = table[name]
                step = context.run.step(name, plain(section(config)), after)
                if step.done:
                    display.say(f"{name:<9} done before, nothing to do", style="dim")
                    continue
                display.current = name
                step.begin(clear=name != "train")
                counts, extra = function(context, step)
                manifest = step.finish(counts, **extra)
                telemetry.finished(config.name, name, manifest)
                display.say(f"{name:<9} {counts.line()}  ({manifest['seconds']:.0f} s)")
                for kind in ("rejected", "failed"):
                    for reason, count in sorted(
                        manifest["rows"][kind].items(), key=lambda x: -x[1]
                    )[:6]:
                        display.say(f"{'':<9}   {kind} {count} {reason}", style="dim")
    finally:
        context.close()
    return context
