"""A trial of a search as a record, and the records that summarise trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from raytune_agents.records import Options
from raytune_agents.storage import read_json
from raytune_agents.tune.axes import Sample

HITS = "hits.json"  # in a checkpoint
APART = 1.96 * math.sqrt(2)  # standard deviations by which two runs differ, at 95 %
Hits = dict[str, dict[str, float]]  # metric -> row id -> 1.0 or 0.0
Report = dict[str, float]


@dataclass(frozen=True)
class Trial:
    """One trial of a search; one with an error has no score.

    `reports`: [{report, step, tokens, objective, metrics ...}]; `score`: the exact match at the
    last of them; `starts`: when its stage was started, in seconds since 1970, once per session.
    """

    trial_id: str
    stage: str = "search"
    arm: str = ""
    status: str = "finished"  # finished, stopped, failed
    sample: Sample = field(default_factory=dict)
    config: Options = field(default_factory=dict)  # dotted option -> value
    weights: dict[str, float] = field(default_factory=dict)  # pool -> share
    method: str = ""
    seed: int = 0
    reports: list[Report] = field(default_factory=list)
    score: float | None = None
    objective: float | None = None
    tokens: float = 0
    seconds: float = 0.0
    error: str = ""
    checkpoint: str = ""
    starts: list[float] = field(default_factory=list)

    @property
    def mix(self) -> dict[str, float]:
        """Its mix by pool; {} where it does not say."""
        return dict(self.weights or self.config.get("mix.weights") or {})

    def has_mix(self, mix: Mapping[str, float]) -> bool:
        """Whether its shares are these, to half a percent."""
        return all(abs(self.mix.get(p, 0.0) - w) < 5e-3 for p, w in mix.items())

    def hits(self) -> Hits:
        """What it answered right at its last report; {} without a checkpoint."""
        path = Path(self.checkpoint) / HITS
        return read_json(path) if self.checkpoint and path.is_file() else {}


Scored = tuple[Trial, float]


@dataclass(frozen=True)
class Level:
    """A report: how many trials have a score there, and how well it orders those that went on."""

    report: int
    runs: int
    rank_to_last: float | None


@dataclass(frozen=True)
class BestRun:
    """The configuration with the best mean score over its seeds."""

    trial_id: str
    score: float
    seeds: int
    weights: dict[str, float]
    config: Options


def finished_scores(trials: Sequence[Trial]) -> list[Scored]:
    """(trial, objective) of those that went to the end and have one."""
    return [(t, t.objective) for t in trials if t.status == "finished" and t.objective is not None]


def best_first(trials: Sequence[Trial]) -> list[Trial]:
    """By objective; those without one last."""
    return sorted(trials, key=lambda t: (t.objective is None, -(t.objective or 0.0)))


def last_of_runs(reports: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
    """The last report of each process run of the trial (a killed trial has several)."""
    # One `began` per process; a later report of it replaces the earlier one.
    return list({r["began"]: r for r in reports}.values())
