"""`raytune-agents export CONFIG --hub DIR`: folders that can be pushed as they are.

Nothing is sent; what pushes them is printed.

    DIR/models/ARM    adapter (or weights), tokenizer, chat template, card
    DIR/dataset       train and validation rows in the configured format, card
    DIR/space         the run's report as a static page
"""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from raytune_agents.config import Config, ConfigError
from raytune_agents.exports.files import write_files
from raytune_agents.mirror import local_folder
from raytune_agents.redact import redact
from raytune_agents.runs import StoredRows


def write_hub(config: Config, rows: StoredRows, out: Path) -> list[str]:
    """Write the folders; returns the commands that push them. Raises ConfigError where no arm is
    trained, no report was made, or DIR is taken."""
    run = local_folder(config.runs_dir) / config.name
    arms = sorted(p.parent.name for p in run.glob("train/*/adapter") if (p / "README.md").is_file())
    if not arms or not (run / "report.html").is_file():
        missing = "trained arm" if not arms else "report.html"
        raise ConfigError(f"{run} has no {missing}: run `raytune-agents run` to its end first")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--hub {out} is not empty; write a new folder")
    for arm in arms:
        shutil.copytree(run / "train" / arm / "adapter", out / "models" / arm)
    write_files(rows, out / "dataset", config.export, config.seed)
    space = out / "space"
    space.mkdir()
    shutil.copy(run / "report.html", space / "index.html")
    head = {"title": config.name, "sdk": "static", "app_file": "index.html", "pinned": False}
    text = f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\nThe report of run {config.name}.\n"
    (space / "README.md").write_text(redact(text), encoding="utf-8")
    name = f"YOU/{config.name}"
    return [
        *(f"hf upload {name}-{arm} {out / 'models' / arm} --repo-type model" for arm in arms),
        f"hf upload {name}-rows {out / 'dataset'} --repo-type dataset",
        f"hf upload {name}-report {space} --repo-type space",
    ]
