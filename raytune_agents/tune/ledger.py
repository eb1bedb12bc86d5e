"""The ledger of a search: every report is one line of the step's metrics.jsonl, written in the
driver, so a search that was killed knows what it did and what it spent."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from ray.tune import Stopper

from raytune_agents.config import BudgetConfig
from raytune_agents.records import JsonObject
from raytune_agents.runs import Manifest
from raytune_agents.storage import read_jsonl

SESSION = time.time()  # this process; a restored search is another session


def reports_of(ledger: Path, stage: str = "") -> list[JsonObject]:
    """The reports that were written down, of one stage or all."""
    return [line for line in read_jsonl(ledger) if not stage or line["stage"] == stage]


def spent_before(run: Path) -> dict[str, float]:
    """What generation spent: {tokens, hours, cost}; tokens and cost are a hosted teacher's. Zeros
    where it has not run."""
    manifest = Manifest.load(run / "generate")
    teacher = (manifest.notes.get("teacher") if manifest else None) or {}
    return {
        "tokens": float(teacher.get("tokens") or 0),
        "hours": manifest.seconds / 3600 if manifest else 0.0,
        "cost": float(teacher.get("usd") or 0),
    }


@dataclass
class SearchBudget(Stopper):
    """Ends the whole search when a limit is reached; `reason` says which, '' before."""

    limits: BudgetConfig
    ledger: Path
    earlier: dict[str, float]
    size: int = -1
    counted: dict[str, float] = field(default_factory=dict)

    def spent(self) -> dict[str, float]:
        """{tokens, hours, cost}: generation's, and the search's over all its sessions."""
        size = self.ledger.stat().st_size if self.ledger.is_file() else 0
        # Tune asks before every decision; the file is read again only when it has grown.
        if size != self.size:
            self.size, tokens, walls = size, {}, {}
            for line in reports_of(self.ledger):
                # A report holds all tokens of its trial so far: the last one counts.
                tokens[line["stage"], line["trial_id"]] = line["tokens"]
                walls[line["session"]] = line["wall"]
            # This session goes on: its time is taken from the clock below.
            walls.pop(SESSION, None)
            self.counted = {"tokens": sum(tokens.values()), "seconds": sum(walls.values())}
        now = self.counted["seconds"] + time.time() - SESSION
        hours = self.earlier["hours"] + now / 3600
        tokens = self.earlier["tokens"] + self.counted["tokens"]
        cost = self.earlier["cost"] + hours * self.limits.usd_per_hour
        return {"tokens": tokens, "hours": hours, "cost": cost}

    @property
    def reason(self) -> str:
        for name, value in self.spent().items():
            limit = getattr(self.limits, f"max_{name}")
            if limit is not None and value >= limit:
                return f"budget.max_{name}={limit:g} is spent ({value:.4g})"
        return ""

    # Ray asks of each trial and of the whole; a budget ends the whole only.
    def __call__(self, trial_id: str, result: JsonObject) -> bool:
        return False

    def stop_all(self) -> bool:
        return bool(self.reason)
