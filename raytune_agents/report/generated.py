"""How close the generated requests come to what people write, as the generate step measured it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from raytune_agents.report.safe_text import clip, finite, format_number, whole

SOURCES = {
    "real": "your own rows",
    "own": "your requests, other values",
    "model": "reworded by a model",
    "wording": "wordings of the spec",
    "template": "templates",
}
# (key, what it says, which end is good)
SHARES = (
    ("named_tool_share", "requests that name a tool", "0 is best: nobody says get_weather"),
    ("misfit_share", "values that do not fit their parameter", "0 is best"),
    ("grounded_share", "values that the request (or an observation) holds", "100 is best"),
)


@dataclass
class GeneratedQuality:
    """Lines (measure, value, how to read it), and requests side by side by who worded them."""

    rows: int
    lines: list[tuple[str, str, str]]
    misfits: list[str] = field(default_factory=list)
    samples: list[tuple[str, list[str]]] = field(default_factory=list)


def generated_quality(manifests: Mapping[str, Mapping[str, Any]]) -> GeneratedQuality | None:
    """None where the run generated nothing, or by older code."""
    found = manifests.get("generate", {}).get("realism")
    if not isinstance(found, Mapping) or not finite(found.get("rows")):
        return None
    lines = [
        (what, f"{value * 100:.1f} %", how)
        for key, what, how in SHARES
        if (value := finite(found.get(key))) is not None
    ]
    if (auc := finite(found.get("auc_real"))) is not None:
        real = format_number(found.get("real_rows"))
        how = f"AUC of a classifier against {real} rows of yours: 0.5 cannot tell, 1 always can"
        lines.append(("told apart from your own rows", f"{auc:.2f}", how))
    if (distinct := finite(found.get("distinct_2"))) is not None:
        lines.append(
            ("distinct pairs of words", f"{distinct:.2f}", "of all pairs; 1 never repeats")
        )
    covered = found.get("coverage")
    for key, what in (("tools", "tools that are called"), ("parameters", "parameters given")):
        value = finite(covered.get(key)) if isinstance(covered, Mapping) else None
        if value is not None:
            lines.append((what, f"{value * 100:.0f} %", "of the catalogue"))
    samples = found.get("samples")
    by_pool: Mapping[str, Any] = samples if isinstance(samples, Mapping) else {}
    order = {name: i for i, name in enumerate(SOURCES)}
    return GeneratedQuality(
        whole(found.get("rows")),
        lines,
        [clip(str(m), 120) for m in found.get("misfits") or []],
        [
            (SOURCES.get(name, name), [clip(str(t), 240) for t in texts])
            for name, texts in sorted(by_pool.items(), key=lambda kv: order.get(kv[0], 99))
            if texts
        ],
    )
