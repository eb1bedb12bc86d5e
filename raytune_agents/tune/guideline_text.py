"""The guideline in plain words: `guideline.jinja` says it, this makes the numbers in it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from raytune_agents.evaluate.gate import Outcome
from raytune_agents.storage import filled
from raytune_agents.tune.guideline import Guideline
from raytune_agents.tune.trials import APART

TEMPLATE = Path(__file__).with_name("guideline.jinja")
OUTCOMES: dict[Outcome, str] = {
    "kept": "kept it",
    "lost": "lost it",
    "not proven": "did not prove it",
}
ORDERS = 0.7  # from this rank correlation on, short trials order the mixes well enough to be cut


def guideline_markdown(guide: Guideline) -> str:
    """`guide.md`: two paragraphs in plain words, then the tables behind them."""
    count = Counter(guide.gate.outcomes.values()) if guide.gate else Counter()
    text = filled(
        TEMPLATE,
        FILTERS,
        g=guide,
        apart=APART,
        orders=ORDERS,
        outcomes=", ".join(f"{count[v]} {what}" for v, what in OUTCOMES.items() if count[v]),
        gain=least_gain(guide),
        seeds=seeds_to_confirm(guide),
    )
    return text.strip() + "\n"


def guideline_line(guide: Guideline) -> str:
    """One line for the terminal: the verdict, start-up a trial, how well short runs order."""
    times, parts = guide.times, [guide.verdict.replace("_", " ")]
    for name, what in (("cold", "a new"), ("warm", "a kept")):
        if times.get(f"startup_s_{name}") is not None:
            parts.append(f"start-up {times[f'startup_s_{name}']:.1f} s in {what} process")
    if times.get("busy_share") is not None:
        parts.append(f"busy {times['busy_share']:.0%}")
    levels = [x for x in guide.levels if x.rank_to_last is not None]
    parts += [f"report {x.report} orders as the last: {x.rank_to_last:.2f}" for x in levels]
    return ", ".join(parts)


def least_gain(guide: Guideline) -> float:
    """The smallest predicted gain over a plain mix."""
    return min((b.gain for b in guide.baselines.values()), default=0.0)


def seeds_to_confirm(guide: Guideline) -> int:
    """Seeds an arm to see the smallest gain: 2 * ((1.96 + 0.84) * noise / gain)^2, at least 3; 0
    where that is not known.

    That is a two-sided test at 5 % with a power of 80 % for two means of equal variance.
    """
    gain = least_gain(guide)
    if guide.noise is None or gain <= 0:
        return 0
    return max(3, math.ceil(2 * (2.8 * guide.noise / gain) ** 2))


def mix_words(weights: Mapping[str, float]) -> str:
    """For example "60% positive and 40% negative", the largest share first."""
    named = [f"{w:.0%} {p}" for p, w in sorted(weights.items(), key=lambda item: -item[1])]
    return ", ".join(named[:-1]) + f" and {named[-1]}" if len(named) > 1 else "".join(named)


def span_words(pair: Sequence[float], digits: int = 2) -> str:
    return f"{pair[0]:.{digits}f} to {pair[1]:.{digits}f}"


FILTERS = {
    "mix": mix_words,
    "paragraph": lambda text: " ".join(text.split()),
    "plain": lambda name: name.replace("_", " "),
    "signed": "{:+.3f}".format,
    "span": span_words,
    "three": "{:.3f}".format,
}
