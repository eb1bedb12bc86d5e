"""The rows that may be trained on, and what each costs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from raytune_agents.pipeline.context import Context
from raytune_agents.records import RecordError, Trajectory
from raytune_agents.runs import read_rows


def training_rows(folder: Path) -> dict[str, Trajectory]:
    """Accepted rows of the train split, by id."""
    return {
        r.id: r for r in read_rows(folder / "label") if r.split == "train" and not r.reject_reason
    }


def held_out_rows(folder: Path, split: str) -> list[Trajectory]:
    """Accepted rows of a split that is not trained on, by id: real rows, and those that the
    generate step keeps back."""
    rows = [*read_rows(folder / "read"), *read_rows(folder / "generate" / "held")]
    return sorted((r for r in rows if r.split == split and not r.reject_reason), key=lambda r: r.id)


def token_counts(context: Context, rows: list[Trajectory]) -> tuple[dict[str, int], Counter]:
    """Trained (answer) tokens of every row, and the reasons of rows that cannot be trained on."""
    counts, refused = {}, Counter()
    with context.display.step("tokens", len(rows)) as bar:
        for row in rows:
            try:
                counts[row.id] = sum(e.trained_tokens for e in context.chat.encode(row))
            except RecordError as error:
                refused[str(error)] += 1
            bar.update(1)
    return counts, refused
