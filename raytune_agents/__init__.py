"""raytune-agents: from a few good trajectories and a tool catalogue to a better tool-calling
model.

    import raytune_agents as rt
    config = rt.load_config("jobs/configs/smoke_cpu.yaml", ["name=mine"])
    rows = rt.label(config)        # a Ray Dataset
    rt.run(config)

The functions are those of `raytune_agents.api`, loaded at their first use. Six of them have the
name of a room of the package (`rt.train` is the folder `train/`, too): such a room can be called.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

_ROOMS = frozenset({"generate", "mix", "train", "evaluate", "tune", "report"})
_OTHERS = frozenset({"load_config", "run", "read", "label", "Config", "ConfigError"})

__all__ = sorted(_ROOMS | _OTHERS)


class _Room(ModuleType):
    """A room of the package that is also the step of its name."""

    def __call__(self, *given: Any, **named: Any) -> Any:
        return getattr(import_module("raytune_agents.api"), self.__name__.split(".")[-1])(
            *given, **named
        )


class _Package(ModuleType):
    # importlib sets a submodule on its package when it was loaded: there a room becomes callable
    def __setattr__(self, name: str, value: Any) -> None:
        if name in _ROOMS and type(value) is ModuleType:
            value.__class__ = _Room
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name in _ROOMS:
            return import_module(f"raytune_agents.{name}")
        if name in _OTHERS:
            return getattr(import_module("raytune_agents.api"), name)
        raise AttributeError(f"module 'raytune_agents' has no attribute {name!r}")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _Package
