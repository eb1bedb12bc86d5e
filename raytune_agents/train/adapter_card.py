"""The card beside an adapter, or the weights it was merged into (README.md): base, data, options,
scores where known, licences.

It is made of the run's files only, so it can be written again when scores come.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from raytune_agents.exports.card import markdown_table
from raytune_agents.models import EMBEDDED, ORIGIN
from raytune_agents.redact import redact
from raytune_agents.runs import Manifest
from raytune_agents.storage import filled, read_json

TEMPLATE = Path(__file__).with_suffix(".jinja")
MOST = 5  # metrics of the table of scores


def write_adapter_card(run: Path, arm: str) -> Path:
    """Write the card of an arm of a run that has been trained. Raises FileNotFoundError."""
    path = run / "train" / arm / "adapter" / "README.md"
    path.write_text(redact(text(run, arm)), encoding="utf-8")
    return path


def text(run: Path, arm: str, command: str = "") -> str:
    """The card: Hub metadata, then what a reader must know to trust or rebuild the adapter.
    `command` serves merged weights from their folder; the card is then theirs."""
    import pyarrow.parquet as pq

    manifest = Manifest.load(run / "train" / arm)
    if manifest is None:
        raise FileNotFoundError(f"{run} has no trained arm {arm!r}")
    config, model = manifest.config["train"], manifest.config["model"]
    method = config["arms"]["this"]["method"]
    pools = Counter(pq.read_table(run / "mix" / f"{arm}.parquet")["pool"].to_pylist())
    start = next((k for k in manifest.inputs if k.startswith("arm ")), "")
    kind = "adapter" if config["parameters"] == "lora" else "full weights"
    kind = "merged weights" if command else kind
    head: dict[str, Any] = {"pipeline_tag": "text-generation"}
    if base := hub_id(model["name"]):
        head = {"base_model": base} | head
    if kind == "adapter":
        head["library_name"] = "peft"
    head["tags"] = ["agents", "tool-calling", method]
    if results := hub_results(run, arm):
        head["model-index"] = [{"name": f"{run.name}/{arm}", "results": results}]
    return filled(
        TEMPLATE,
        head=head,
        name=f"{run.name}/{arm}",
        kind=kind,
        model=model,
        start=start,
        method=method,
        pools=pools,
        manifest=manifest,
        command=command,
        scores=score_text(run / "evaluate", arm),
        sources=[f"`{source}`" for source in sources(run)],
        config=config,
        yaml=partial(yaml.safe_dump, sort_keys=False),
        table=markdown_table,
    )


def hub_id(name: str) -> str:
    """The base's name on the hub, "" for a folder: a card that names a path is refused there."""
    if name == EMBEDDED:
        return ORIGIN
    known = re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not Path(name).is_dir()
    return name if known and not name.startswith(".") else ""


def sources(run: Path) -> list[str]:
    """The sources of the run's rows, as configured; [] where the run's read step is not there."""
    manifest = Manifest.load(run / "read")
    if manifest is None:
        return ["unknown"]
    return sorted({source["path"] for source in manifest.config["read"]["sources"]})


def hub_results(run: Path, arm: str) -> list[Any]:
    """The arm's headline scores as the Hub's `model-index` holds them; [] before evaluation."""
    names, metrics, found = headline_scores(run / "evaluate", arm)
    return [
        {
            "task": {"type": "text-generation", "name": "tool calling"},
            "dataset": {"type": run.name, "name": f"{run.name}, {split}", "split": split},
            "metrics": [
                {"type": n, "name": metrics[n]["label"], "value": round(by[n]["value"], 4)}
                for n in names
                if by.get(n) and by[n].get("value") is not None
            ],
        }
        for split, by in found.items()
        if any(by.get(n) for n in names)
    ]


def headline_scores(folder: Path, arm: str) -> tuple[list[str], Any, Any]:
    """(names, what each metric is, split -> metric -> cell); nothing before evaluation."""
    files = [folder / f"{n}.json" for n in ("scores", "metrics")]
    if not all(path.is_file() for path in files):
        return [], {}, {}
    scores, metrics = (read_json(path) for path in files)
    found = scores.get(arm, {})
    known = {name for by in found.values() for name in by}
    return [n for n, m in metrics.items() if m["headline"] and n in known][:MOST], metrics, found


def score_text(folder: Path, arm: str) -> str:
    """The arm's headline scores by split, and what the gate says it lost; "" before evaluation. The
    evaluation's own metrics.json says what a metric is called and which ones come first."""
    names, metrics, found = headline_scores(folder, arm)
    if not names or not (folder / "gate.json").is_file():
        return ""
    gates = read_json(folder / "gate.json")
    rows = [(split, *(interval(by.get(n)) for n in names)) for split, by in found.items()]
    text = markdown_table(("split", *(metrics[n]["label"] for n in names)), rows)
    if gate := gates.get(arm):
        lost = ", ".join(
            f"{metrics[n]['label']} {cell['outcome']} ({interval(cell)})"
            for n, cell in gate["metrics"].items()
        )
        text += f"\n\nNo-regression gate against {gate['reference'] or 'nothing'}: {lost}."
    return text


def interval(cell: dict[str, Any] | None) -> str:
    """`0.310 [0.240, 0.390]`, or a dash."""
    if not cell or cell.get("value") is None or cell.get("low") is None:
        return "-"
    return f"{cell['value']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]"
