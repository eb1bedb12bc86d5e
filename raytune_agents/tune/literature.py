"""The preset `literature`: axes with published effects (`literature.yaml`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from raytune_agents.records import Options

AXES: Options = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))


def axes(preset: str, own: Mapping[str, Any]) -> Options:
    """The axes of a preset under the `own` ones; those of a method that is not searched are left
    out."""
    if preset == "none":
        return dict(own)
    method = own.get("tune.method", AXES["tune.method"])
    methods = method.get("choice") if isinstance(method, Mapping) else None

    def kept(axis: Mapping[str, Any]) -> bool:
        return axis.get("when", {}).get("tune.method") in (None, *(methods or ()))

    return {key: axis for key, axis in AXES.items() if kept(axis)} | dict(own)
