"""How close the generated requests come to what people write, as the generate step measured it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from raytune_agents.report.boards import Grid
from raytune_agents.report.safe_text import clip, finite, format_number, whole

WORDS: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text("utf-8"))
MEASURES: dict[str, list[str]] = WORDS["measures"]
SOURCES: dict[str, str] = WORDS["sources"]


@dataclass
class GeneratedQuality:
    """What was measured, and requests side by side by who worded them."""

    grid: Grid
    misfits: list[str] = field(default_factory=list)
    samples: list[tuple[str, list[str]]] = field(default_factory=list)


def generated_quality(manifests: Mapping[str, Mapping[str, Any]]) -> GeneratedQuality | None:
    """None where the run generated nothing, or by older code."""
    found = manifests.get("generate", {}).get("realism")
    if not isinstance(found, Mapping) or not finite(found.get("rows")):
        return None
    told = {**found, **(found.get("coverage") or {})}
    real = format_number(found.get("real_rows"))
    lines = []
    for key, (what, how) in MEASURES.items():
        if (value := finite(told.get(key))) is not None:
            shown = f"{value:.2f}" if key in WORDS["plain"] else f"{value * 100:.1f} %"
            lines.append((what, [shown, how.format(real=real)]))
    title = f"How real the generated requests are: {whole(found.get('rows')):,} rows"
    head = ["measure", "value", "how to read it"]
    samples = found.get("samples") or {}
    return GeneratedQuality(
        Grid(title, head, lines, words=["how to read it"]),
        [clip(str(m), 120) for m in found.get("misfits") or []],
        [
            (SOURCES.get(name, name), [clip(str(t), 240) for t in samples[name]])
            for name in dict.fromkeys((*SOURCES, *samples))
            if samples.get(name)
        ],
    )
