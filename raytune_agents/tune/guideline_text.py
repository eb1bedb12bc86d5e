"""The guideline in plain words: two paragraphs made from its numbers, then their tables."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from raytune_agents.evaluate.gate import Outcome
from raytune_agents.evaluate.paired import Difference
from raytune_agents.exports.card import markdown_table
from raytune_agents.tune.confirm import confirmed_sentence
from raytune_agents.tune.guideline import Guideline

OUTCOMES: dict[Outcome, str] = {
    "kept": "kept it",
    "lost": "lost it",
    "not proven": "did not prove it",
}
ORDERS = 0.7  # from this rank correlation on, short trials order the mixes well enough to be cut


def guideline_markdown(guide: Guideline) -> str:
    """`guide.md`: two paragraphs in plain words, then the tables behind them."""
    parts = ["# Guideline", _which(guide), " ".join(_next(guide))]
    if guide.recommended:
        shares, spans = guide.recommended, guide.interval
        rows = [(p, f"{share:.2f}", _span(spans[p])) for p, share in shares.items()]
        parts.append(markdown_table(("pool", "share", "interval"), rows))
        rows = [
            (_plain(k), f"{b.gain:+.3f}", _span(b.interval, 3), _score(b.measured))
            for k, b in guide.baselines.items()
        ]
        parts.append(
            markdown_table(("against", "predicted gain", "interval", "measured score"), rows)
        )
        ranked = sorted(guide.importance.items(), key=lambda item: -item[1])
        rows = [(axis, f"{share:.0%}") for axis, share in ranked]
        parts.append(markdown_table(("axis", "variance it explains alone"), rows))
    parts += _measured(guide)
    if guide.failed:
        lines = [(t["trial_id"], " ".join(t["error"].split())[:200]) for t in guide.failed]
        rows = [(name, error.replace("|", "/")) for name, error in lines]
        parts.append(markdown_table(("failed trial", "error"), rows))
    return "\n\n".join(parts) + "\n"


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


def _which(guide: Guideline) -> str:
    """Paragraph 1: which mix, and how sure."""
    name = _plain(guide.metric)
    if guide.refused:
        so_far = _best_so_far(guide, name)
        measured = confirmed_sentence(guide.confirmed)
        return f"There is no recommendation: {guide.refused}.{so_far} {measured}".rstrip()
    fit = (
        f"A {guide.model} fit over {guide.runs} scored runs puts runs it has not seen in "
        f"order with a rank correlation of {guide.rank_correlation:.2f}."
    )
    others = " and ".join(
        f"{b.gain:+.3f} over the {_plain(k)} mix (interval {_span(b.interval, 3)})"
        for k, b in guide.baselines.items()
    )
    mix = _mix(guide.recommended)
    chosen = ", ".join(f"{k} {v}" for k, v in guide.config.items())
    chosen = f" The other options that go with it: {chosen}." if chosen else ""
    if guide.verdict == "gain":
        return (
            f"Train on {mix} of the trained tokens. The predicted {name} is {guide.score:.3f}, "
            f"{others}.{chosen} {fit} {_confirmed(guide)}"
        )
    return (
        f"There is no evidence that another mix beats the plain ones. The best guess is {mix}, "
        f"with a predicted {name} of {guide.score:.3f}, {others}; where an interval reaches 0, "
        f"the difference may be none.{chosen} {fit} {_confirmed(guide)}".rstrip()
    )


def _confirmed(guide: Guideline) -> str:
    """What the confirming runs say; without them, that a gain is only predicted."""
    sentence = confirmed_sentence(guide.confirmed)
    if sentence:
        return sentence
    return "The gain is predicted, not yet measured." if guide.verdict == "gain" else ""


def _best_so_far(guide: Guideline, name: str) -> str:
    best = guide.best
    if not best:
        return ""
    runs = "one run" if best.seeds == 1 else f"mean of {best.seeds} runs"
    mix = f" with {_mix(best.weights)}" if best.weights else ""
    return (
        f" The best configuration so far scored {best.score:.3f} ({name}, {runs}){mix}; the "
        f"best of {guide.runs} noisy runs looks better than it is, so this alone is no evidence."
    )


def _next(guide: Guideline) -> list[str]:
    """Paragraph 2, a sentence each: how far apart equal runs land, and what to try next."""
    noise, spread, sentences = guide.noise, guide.spread, []
    if noise is not None and spread is not None:
        sentences.append(
            f"Runs of one configuration differ by a standard deviation of {noise:.3f} and all runs "
            f"by {spread:.3f}, so two single runs that are less than "
            f"{1.96 * math.sqrt(2) * noise:.3f} apart cannot be told apart."
        )
    elif guide.runs:
        sentences.append(
            "No configuration was run twice, so it is not known how far apart two equal runs land: "
            "run the best one with three seeds."
        )
    if guide.ended:
        sentences.append(f"The search ended early, {guide.ended}; this is what was known then.")
    sentences += [*guide.notes, *_gate(guide), *_fidelity(guide)]
    if guide.failed:
        count = len(guide.failed)
        sentences.append(
            f"{count} failed {'trial is' if count == 1 else 'trials are'} listed below and not "
            "counted as scores: mend the cause before adding more."
        )
    if guide.missing:
        sentences.append(
            f"Add at least {guide.missing} different configurations (tune.num_samples)."
        )
    elif guide.refused and noise is not None and spread is not None and spread < 1.5 * noise:
        sentences.append(
            "More trials will not help while the noise is as large as the differences: score more "
            "rows (tune.rows) or train longer (tune.tokens)."
        )
    elif guide.refused:
        sentences.append(
            "Add trials that differ in their mix, or widen the options that are searched."
        )
    sentences += [_unsettled(guide, item) for item in guide.open]
    done = guide.confirmed and guide.confirmed.arms
    return sentences + ([_confirm(guide)] if guide.recommended and not done else [])


def _gate(guide: Guideline) -> list[str]:
    """What the mixes lost, or that none was held against anything."""
    gate = guide.gate
    if gate is None:
        return []
    if not gate.outcomes:
        return ["No val row wants no call, so nothing says whether a mix calls too much."]
    count = Counter(gate.outcomes.values())
    counts = ", ".join(f"{count[v]} {what}" for v, what in OUTCOMES.items() if count[v])
    return [
        f"Irrelevance of the reference ({_plain(gate.reference)}) is {gate.value:.2f} on "
        f"{gate.rows} rows that want no call; of {len(gate.outcomes)} whole trials {counts}. A mix "
        "that loses it is never recommended."
    ]


def _fidelity(guide: Guideline) -> list[str]:
    """How well the first report orders the trials that went on, and the search the full runs."""
    ranks = [(x.report, x.rank_to_last) for x in guide.levels if x.rank_to_last is not None]
    sentences = []
    if ranks:
        report, rank = ranks[0]
        meaning = "so weak trials can be stopped there" if rank >= ORDERS else "which is too little"
        more = "" if rank >= ORDERS else " to stop them there (raise tune.grace_period)"
        sentences.append(
            f"At report {report} the trials stand in an order with a rank correlation of "
            f"{rank:.2f} to that at the last one, {meaning}{more}."
        )
    full = guide.confirmed.rank_to_full if guide.confirmed else None
    if full is not None:
        sentences.append(
            f"The search's order of the confirmed mixes has a rank correlation of {full:.2f} to "
            "that at the full budget."
        )
    return sentences


def _measured(guide: Guideline) -> list[str]:
    """Tables of the confirming runs, the gate, the reports, and of what it cost."""
    parts, confirmed = [], guide.confirmed
    if confirmed and confirmed.arms:
        rows = []
        for name, arm in confirmed.arms.items():
            gain = confirmed.gains.get(name)
            difference, span = ("the base", "") if gain is None else _gain(gain)
            rows.append((_plain(name), f"{arm.score:.3f}", str(arm.seeds), difference, span))
        head = ("confirmed at the full budget", "exact match", "seeds", "difference", "interval")
        parts.append(markdown_table(head, rows))
    if guide.front:
        parts.append(
            markdown_table(("trials that none beats in every metric",), [(t,) for t in guide.front])
        )
    rows = [
        (str(x.report), str(x.runs), _score(x.rank_to_last).replace("not run", "-"))
        for x in guide.levels
    ]
    if len(rows) > 1:
        parts.append(
            markdown_table(("report", "trials scored", "rank correlation to the last"), rows)
        )
    times, spent = guide.times, guide.spent
    if spent:
        rows = [("tokens generated and trained", f"{spent['tokens']:.0f}")]
        rows += [("hours", f"{spent['hours']:.2f}"), ("US dollars", f"{spent['cost']:.2f}")]
        names = ("busy_share", "startup_s_cold", "startup_s_warm")
        rows += [(_plain(k), f"{times[k]:.2f}") for k in names if times.get(k) is not None]
        parts.append(markdown_table(("cost", ""), rows))
    return parts


def _unsettled(guide: Guideline, item: dict[str, str]) -> str:
    if "pool" in item:
        span = _span(guide.interval[item["pool"]])
        return f"The share of {item['pool']} is not settled ({span}): add trials in that range."
    value = guide.config[item["end"]]
    return f"The best {item['end']} ({value}) is near an end of what was tried: widen its range."


def _confirm(guide: Guideline) -> str:
    """Seeds an arm to see the smallest gain: 2 * ((1.96 + 0.84) * noise / gain)^2, at least 3.

    That is a two-sided test at 5 % with a power of 80 % for two means of equal variance.
    """
    plain = "Confirm on held-out tools: train this mix and the plain ones at the full budget"
    gain = min((b.gain for b in guide.baselines.values()), default=0.0)
    if guide.noise is None or gain <= 0:
        return f"{plain}, with at least three seeds each."
    seeds = max(3, math.ceil(2 * (2.8 * guide.noise / gain) ** 2))
    if seeds > 30:
        return (
            f"A gain of {gain:.3f} would need about {seeds} seeds per arm to be seen above the "
            "noise: treat the mixes as equal and look for a larger effect."
        )
    return f"{plain}, with {seeds} seeds each: that many show a gain of {gain:.3f} above the noise."


def _mix(weights: dict[str, float]) -> str:
    named = [f"{w:.0%} {p}" for p, w in sorted(weights.items(), key=lambda item: -item[1])]
    return ", ".join(named[:-1]) + f" and {named[-1]}" if len(named) > 1 else "".join(named)


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _span(pair: Sequence[float], digits: int = 2) -> str:
    return f"{pair[0]:.{digits}f} to {pair[1]:.{digits}f}"


def _gain(gain: Difference) -> tuple[str, str]:
    """A difference and its interval; "-" where there were no rows to compare."""
    if gain.value is None or gain.low is None or gain.high is None:
        return "-", "-"
    return f"{gain.value:+.3f}", _span((gain.low, gain.high), 3)


def _score(value: float | None) -> str:
    return "not run" if value is None else f"{value:.3f}"
