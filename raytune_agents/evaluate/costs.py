"""What an arm cost to make and to ask, from what the steps wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from raytune_agents.evaluate.paired import Difference
from raytune_agents.evaluate.scoreboard import Differences
from raytune_agents.runs import METRICS, Manifest
from raytune_agents.storage import read_jsonl

Costs = dict[str, float | None]  # cost metric -> number, None where a machine does not tell it


def training_costs(run: Path, arm: str) -> Costs:
    """What the train step says of an arm: rows, tokens, seconds, peak memory, and joules (None
    where its machine did not tell); {} for the base."""
    folder = run / "train" / arm
    manifest = Manifest.load(folder)
    if manifest is None:
        return {}
    out: Costs = {
        "train_rows": float(manifest.rows.rows_out),
        "train_seconds": manifest.seconds,
    }
    lines = read_jsonl(folder / METRICS)
    for name, key in (("train_tokens", "num_tokens"), ("train_peak_memory_mib", "peak_memory_mib")):
        if found := [line[key] for line in lines if line.get(key) is not None]:
            out[name] = float(max(found))
    # A line has those of its own step; a step that was run again counts once.
    joules = [line["energy_j"] for line in lines if "energy_j" in line]
    return out | {"train_energy_j": float(sum(joules)) if joules else None}


def gain_per_100_rows(gains: Differences, costs: Mapping[str, Costs]) -> Differences:
    """{arm: {split: {gain_per_100_rows}}}: the difference to base in exact match for 100 training
    rows (sample efficiency), with its interval."""
    out: Differences = {}
    for arm, by in gains.items():
        rows = costs.get(arm, {}).get("train_rows")
        for split, cells in by.items():
            gain = cells.get("exact_match")
            if gain and rows and gain.value is not None:
                value, low, high = (
                    None if x is None else x * 100 / rows for x in (gain.value, gain.low, gain.high)
                )
                made = Difference(value, low, high, gain.n)
                out.setdefault(arm, {})[split] = {"gain_per_100_rows": made}
    return out
