"""How close the generated requests come to what people write, as the generate step measured it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from raytune_agents.report.boards import Grid
from raytune_agents.report.safe_text import clip, finite, format_number, whole

SOURCES = {
    "real": "your own rows",
    "own": "your requests, other values",
    "model": "reworded by a model",
    "wording": "wordings of the spec",
    "template": "templates",
}
# (key, what it says, how it is to be read); shares and the coverage are shown in percent
MEASURES = (
    ("named_tool_share", "requests that name a tool", "0 is best: nobody says get_weather"),
    ("misfit_share", "values that do not fit their parameter", "0 is best"),
    ("grounded_share", "values that the request (or an observation) holds", "100 is best"),
    (
        "auc_real",
        "told apart from your own rows",
        "AUC of a classifier against {real} rows of yours: 0.5 cannot tell, 1 always can",
    ),
    ("distinct_2", "distinct pairs of words", "of all pairs; 1 never repeats"),
    ("tools", "tools that are called", "of the catalogue"),
    ("parameters", "parameters given", "of the catalogue"),
)
PLAIN = ("auc_real", "distinct_2")


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
    covered = found.get("coverage")
    told = {**found, **(covered if isinstance(covered, Mapping) else {})}
    real = format_number(found.get("real_rows"))
    lines = []
    for key, what, how in MEASURES:
        if (value := finite(told.get(key))) is not None:
            shown = f"{value:.2f}" if key in PLAIN else f"{value * 100:.1f} %"
            lines.append((what, [shown, how.format(real=real)]))
    title = f"How real the generated requests are: {whole(found.get('rows')):,} rows"
    head = ["measure", "value", "how to read it"]
    samples = found.get("samples")
    by_pool: Mapping[str, Any] = samples if isinstance(samples, Mapping) else {}
    order = {name: i for i, name in enumerate(SOURCES)}
    return GeneratedQuality(
        Grid(title, head, lines, words=["how to read it"]),
        [clip(str(m), 120) for m in found.get("misfits") or []],
        [
            (SOURCES.get(name, name), [clip(str(t), 240) for t in texts])
            for name, texts in sorted(by_pool.items(), key=lambda kv: order.get(kv[0], 99))
            if texts
        ],
    )
