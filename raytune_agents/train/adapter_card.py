"""The card beside an adapter (README.md): base, data, options, scores where known, licences.

It is made of the run's files only, so it can be written again when scores come.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from raytune_agents.redact import redact
from raytune_agents.runs import Manifest
from raytune_agents.storage import read_json

SHOWN = ("exact_match", "function_accuracy", "parameter_accuracy", "hallucination_rate")


def write(run: Path, arm: str) -> Path:
    """Write the card of an arm of a run that has been trained. Raises FileNotFoundError."""
    path = run / "train" / arm / "adapter" / "README.md"
    path.write_text(redact(text(run, arm)), encoding="utf-8")
    return path


def text(run: Path, arm: str) -> str:
    """The card: Hub metadata, then what a reader must know to trust or rebuild the adapter."""
    import pyarrow.parquet as pq

    manifest = Manifest.load(run / "train" / arm)
    if manifest is None:
        raise FileNotFoundError(f"{run} has no trained arm {arm!r}")
    section, model = manifest.config["train"], manifest.config["model"]
    method = section["arms"]["this"]["method"]
    pools = Counter(pq.read_table(run / "mix" / f"{arm}.parquet")["pool"].to_pylist())
    kind = "adapter" if section["parameters"] == "lora" else "full weights"
    head: dict[str, Any] = {"base_model": model["name"], "pipeline_tag": "text-generation"}
    if kind == "adapter":
        head["library_name"] = "peft"
    head["tags"] = ["agents", "tool-calling", method]
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---",
        f"# {run.name}/{arm}",
        f"{kind.capitalize()} of `{model['name']}`"
        + (f" (revision {model['revision']})" if model["revision"] else "")
        + f", trained with method `{method}` on {sum(pools.values())} rows, seed "
        f"{manifest.seed}. The chat template beside it renders the prompts that it was "
        "trained on.",
        "## Data\n\n" + table(("pool", "rows"), sorted(pools.items())),
        "\n".join(f"- hash of {k}: `{v}`" for k, v in manifest.inputs.items())
        + f"\n- code: `{manifest.revision}`, commit `{manifest.commit or 'unknown'}`",
        "## Licences\n\nThe licence of the base model holds for what is made of it, and the "
        "licence of each source for its rows: "
        + ", ".join(f"`{s}`" for s in sources(run))
        + ". Check both before you share this.",
        "## Options\n\n```yaml\n"
        + yaml.safe_dump({"model": model, "train": section}, sort_keys=False)
        + "```",
    ]
    scores = run / "evaluate" / "scores.json"
    found = read_json(scores).get(arm, {}) if scores.is_file() else {}
    if found:
        parts.insert(5, "## Scores\n\n" + score_table(found))
    return "\n\n".join(parts) + "\n"


def sources(run: Path) -> list[str]:
    """The sources of the run's rows, as configured; [] where the run's read step is not there."""
    manifest = Manifest.load(run / "read")
    if manifest is None:
        return ["unknown"]
    return sorted({source["path"] for source in manifest.config["read"]["sources"]})


def score_table(found: dict[str, Any]) -> str:
    """A row a split: value and interval of the main metrics."""
    rows = []
    for split, metrics in found.items():
        cells = [metrics.get(name) or {} for name in SHOWN]
        rows.append(
            (
                split,
                *(
                    f"{c['value']:.3f} [{c['low']:.3f}, {c['high']:.3f}]"
                    if c.get("value") is not None
                    else "-"
                    for c in cells
                ),
            )
        )
    return table(("split", *SHOWN), rows)


def table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(str(c) for c in line) + " |" for line in lines)
