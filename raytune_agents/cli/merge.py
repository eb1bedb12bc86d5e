"""raytune-agents merge RUN ARM OUT: one folder of safetensors that any engine loads."""

from __future__ import annotations

from pathlib import Path

from raytune_agents.config import Config, ConfigError
from raytune_agents.runs import read_json


def merge(run: str, arm: str, out: str) -> Path:
    """Merge the arm's adapter into its base. `run`: a run folder, or a name under runs/.

    Raises ConfigError: no such run or arm, or OUT is taken."""
    folder = next(
        (p for p in (Path(run), Path("runs") / run) if (p / "config.json").is_file()), None
    )
    if folder is None:
        raise ConfigError(f"RUN={run!r} is no run folder; write its path, for example runs/demo")
    trained = sorted(p.parent.name for p in folder.glob("train/*/adapter"))
    if arm not in trained:
        raise ConfigError(f"ARM={arm!r}: {folder} has {trained}; write one of them")
    target = Path(out)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"OUT={out!r} is not empty; write a new folder")
    from raytune_agents import models

    config = Config.model_validate(read_json(folder / "config.json"))
    adapter = folder / "train" / arm / "adapter"
    models.save_merged(models.resolve(config.model), adapter, config.model.dtype, target)
    return target
