"""What decides the output of each step: sections of the config, earlier steps, and files outside
the run (sources, agent specs, tool modules, functions of one's own, the model's folder).

Light: no Ray, no torch, so that a finished run is recognised at once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

from raytune_agents.agents.worlds.process import locate
from raytune_agents.config import (
    Config,
    GeneralConfig,
    LoraConfig,
    ModelConfig,
    SourceConfig,
    TuneConfig,
)
from raytune_agents.config.base import BaseConfig, ConfigError
from raytune_agents.config.loading import parse_yaml
from raytune_agents.infra.provenance import code_files, local_files, marks, module_files
from raytune_agents.readers import bfcl, sources
from raytune_agents.records import Options
from raytune_agents.runs import STEPS

FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")  # module:function, module:Class
SPECS = (".yaml", ".yml", ".json")
MODEL_FILES = ("*.safetensors", "*.json", "*.jinja", "*/*.jinja", "*.model", "*.txt")
AFTER: dict[str, tuple[str, ...]] = {
    "read": (),
    "generate": ("read",),
    "label": ("read", "generate"),
    "mix": ("label",),
    "train": ("label", "mix"),
    "evaluate": ("read", "generate", "train"),
    "tune": ("label",),
    "report": STEPS[:-1],
}


# What a step is given whatever its options say.
SECTIONS: dict[str, tuple[str, ...]] = {
    "read": ("read",),
    "generate": ("generate", "negatives", "model", "engine"),
    "label": ("label", "evaluate.sources"),
    "mix": ("mix", "train.arms", "train.dpo", "train.grpo", "model"),
    "train": ("train", "model"),
    "evaluate": (
        "evaluate",
        "model",
        "engine",
        "train.nat",
        "train.arms",
        "mix.weights",
        "generate.agents",
    ),
    "tune": ("tune", "budget", "mix", "train", "model", "evaluate.confidence"),
    "report": (),
}


def sections(config: Config, step: str) -> Options:
    """The sections of the config that a step is given, by the last part of their names."""
    # An option that a step does not read must not be part of its key: it would run again.
    turns = [config.train.grpo.turns] if step in ("train", "tune") else []
    if step == "train":
        turns += [arm.options.get("grpo.turns", 1) for arm in config.train.arms.values()]
    reads = {
        "model": step == "label" and config.label.difficulty,
        "generate.agents": any(n > 1 for n in turns),
        "generate.teacher": step == "evaluate" and config.evaluate.judge.rows > 0,
        "evaluate.limit": step == "tune" and config.tune.confirm > 0,
    }
    names = [*SECTIONS[step], *(name for name, is_read in reads.items() if is_read)]
    found = {name.rpartition(".")[2]: attrgetter(name)(config) for name in names}
    if step == "tune":
        # A search trains none of the arms, so they may change without it.
        found["train"] = config.train.model_copy(update={"arms": {}, "curve": []})
    if step == "train" and any(arm.method == "rounds" for arm in config.train.arms.values()):
        found |= decides_rounds(config)
    return found


def decides_rounds(config: Config) -> Options:
    """What besides its own options decides an arm that answers, draws tasks and trains in turns."""
    limits = [config.evaluate.max_tokens, config.mix.max_epochs, config.mix.no_call]
    return {"generate": config.generate, "engine": config.engine, "limits": limits}


# --- files outside the run ---


def outside(config: Config, step: str) -> list[Path]:
    """The files outside the run that a step's sections name: data, agent specs with their tools,
    modules of functions, models, adapters. Hub sets and URLs are known by their name (write a
    revision), shipped files by the code's hash. Raises SourceError."""
    named: list[Any] = [sections(config, step)]
    if step == "train":  # whose options may name an adapter
        named += [config.train.of(arm) for arm in config.train.arms.values()]
    return files_named(named)


def contents(*values: Any) -> list[str]:
    """What the files that options name hold now."""
    return [mark.content for mark in marks(files_named(values)).values()]


def files_named(values: Any) -> list[Path]:
    """The files that options name, as in `outside`. Raises SourceError."""
    found: set[Path] = set()
    for value in nodes(values):
        match value:
            case SourceConfig():
                found.update(source_files(value))
            case ModelConfig(name=name):
                found.update(p for kind in MODEL_FILES for p in Path(name).expanduser().glob(kind))
            case LoraConfig(start=str(folder)):
                found.update(p for p in Path(folder).expanduser().glob("*") if p.is_file())
            case GeneralConfig(include_path=str(folder)):
                found.update(p for p in Path(folder).rglob("*") if p.is_file())
            case TuneConfig(from_run=str(run)) if run:
                folder = Path(run).expanduser() / "tune"
                found.update((*folder.glob("trials.json"), *folder.glob("stages/*.json")))
            case str() if FUNCTION.fullmatch(value):
                found.update(module_files(value))
            case str() if value.endswith(SPECS) and os.path.isfile(value):
                found.update(spec_files(Path(value)))
            case str() if os.path.isfile(value):  # of an engine's option, say
                found.add(Path(value))
    return sorted(found)


def nodes(value: Any) -> Iterator[Any]:
    """A section, and all that is in it."""
    yield value
    if isinstance(value, BaseConfig):
        # The fields of the model, still as models: `model_dump` would lose their types.
        value = dict(value)
    if isinstance(value, dict | list | tuple):
        for inside in value.values() if isinstance(value, dict) else value:
            yield from nodes(inside)


def source_files(source: SourceConfig) -> list[Path]:
    """The local data files of a source; [] for a hub set or a URL. Raises SourceError."""
    if source.path == "bfcl":
        return sorted(bfcl.data_folder().rglob("BFCL_*.json")) if bfcl.installed() else []
    remote = "://" in source.path or sources.is_hub(source.path)
    return [] if remote else [Path(p) for p in sources.files(source.path)]


def world_files(world: str, folder: Path) -> list[Path]:
    """The files of an agent's world that lie outside installed packages."""
    try:
        places = locate(world, folder).files
    except ConfigError:
        return []
    return [file for path in places for file in code_files(path)]


def spec_files(path: Path) -> list[Path]:
    """An agent's spec, and the code that it names: its tools' file; modules beside it, or installed
    ones. A spec that cannot be read is only its file: whoever loads it says what is wrong."""
    try:
        tree = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except (ConfigError, OSError, ValueError):
        tree = None
    found = [path]
    if isinstance(tree, dict):
        if isinstance(tree.get("module"), str):
            found += local_files(path.parent / tree["module"])
        if isinstance(tree.get("world"), str):
            found += world_files(tree["world"], path.parent)
        for name in (v for v in nodes(tree) if isinstance(v, str) and FUNCTION.fullmatch(v)):
            beside = path.parent / name.partition(":")[0].split(".")[0]
            found += [*local_files(beside.with_suffix(".py")), *beside.rglob("*.py")]
            found += module_files(name)
    return found
