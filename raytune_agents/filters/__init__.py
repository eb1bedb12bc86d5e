"""Rules that label rows: each writes a reject reason, none drops a row.

A rule takes a Trajectory and returns None, or its reason: the rule's own name, then ":detail". The
part before the first colon is what the funnel counts. `shape` has the rules on form, `text` those
on words, `grounding` the one on argument values, `quality` the score. What needs other rows is in
`dedup`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from raytune_agents.config import ConfigError, LabelConfig
from raytune_agents.config.lookup import user_object
from raytune_agents.filters import shape, text_rules
from raytune_agents.filters.grounding import ungrounded
from raytune_agents.filters.quality import quality, quality_parts
from raytune_agents.filters.shape import is_held_out, row_family
from raytune_agents.records import OWN_CODE, Trajectory

Rule = Callable[..., "str | None"]

RULES: dict[str, Rule] = {
    "empty_target": shape.empty_target,
    "too_long": shape.too_long,
    "mojibake": text_rules.mojibake,
    "parses": shape.parses,
    "tool_exists": shape.tool_exists,
    "arguments_valid": shape.arguments_valid,
    "outcome": shape.outcome_reached,
    "dead_loop": shape.dead_loop,
    "observation_leak": text_rules.observation_leak,
    "needless_refusal": text_rules.needless_refusal,
    "language": text_rules.language,
    "ungrounded": ungrounded,
    "pii": text_rules.pii,
}
LONGEST_REASON = 200
LABEL_ERROR = "label_error"  # the reason of a row on which a rule, or the score, fails
# Off unless named in label.rules: tool data is full of made-up addresses and numbers.
ON_REQUEST = {"pii"}
# Rows of negative.* are wrong on purpose: only these rules look at them.
ON_NEGATIVES = {"empty_target", "too_long", "mojibake", "language", "pii"}
# A test is not made easier by taste: only what makes a row useless as a question with an answer.
ON_HELD_OUT = {"empty_target", "too_long", "parses", "tool_exists", "arguments_valid"}
# rule -> options of `label` that it takes
OPTIONS = {"too_long": ("max_chars",), "outcome": ("min_outcome",), "language": ("languages",)}


def rule_named(name: str) -> Rule:
    """A rule of RULES, or a user's own as "module:function". Raises ConfigError."""
    if name in RULES:
        return RULES[name]
    return user_object(name, "label.rules", f"default or one of {', '.join(RULES)}")


def active_rules(config: LabelConfig) -> dict[str, Rule]:
    """Name -> rule with its options bound, in the order of RULES; a user's own rules come last."""
    for code in config.languages:
        if code not in text_rules.LANGUAGES:
            known = ", ".join(text_rules.LANGUAGES)
            raise ConfigError(f"label.languages={code!r} is not told apart; write some of {known}")
    usual = [n for n in RULES if n not in ON_REQUEST]
    configured = config.rules or ["default"]
    names = list(dict.fromkeys(n for g in configured for n in (usual if g == "default" else [g])))
    ordered = [n for n in RULES if n in names] + [n for n in names if n not in RULES]
    return {
        n: partial(rule_named(n), **{o: getattr(config, o) for o in OPTIONS.get(n, ())})
        for n in ordered
    }


def first_reason(row: Trajectory, rules: dict[str, Rule]) -> str:
    """The first reason that a rule gives, or ''; ON_NEGATIVES and ON_HELD_OUT narrow the rules."""
    names = set(rules)
    if row_family(row) == "negative":
        names &= ON_NEGATIVES
    if is_held_out(row):
        names &= ON_HELD_OUT
    for name, rule in rules.items():
        try:
            reason = rule(row) if name in names else None
            if reason and not isinstance(reason, str):
                raise TypeError("a rule gives its reason as text, or None")
        except OWN_CODE as error:  # the boundary: whatever a strange row does to a rule
            return label_error(name, error)
        if reason:
            return reason[:LONGEST_REASON]
    return ""


def label_error(where: str, error: BaseException) -> str:
    """The reason of a row that cannot be labelled, and so cannot be trusted."""
    return f"{LABEL_ERROR}:{where}:{type(error).__name__}"


def scored_parts(row: Trajectory) -> tuple[Trajectory, tuple[float, float, float]]:
    """The row and its `quality.parts`; with a reject reason where these cannot be told."""
    try:
        return row, quality_parts(row, row.meta.get("nll"))
    except Exception as error:  # the same boundary, for the score
        return replace(row, reject_reason=label_error("quality", error)), (0.0, 0.0, 0.0)


def reasoned(row: Trajectory, rules: dict[str, Rule]) -> Trajectory:
    """The row with its first reject reason; an earlier one stays."""
    reason = row.reject_reason or first_reason(row, rules)
    return replace(row, reject_reason=reason) if reason != row.reject_reason else row


def label(row: Trajectory, config: LabelConfig) -> Trajectory:
    """The row with its first reject reason (an earlier one stays) and the quality that it tells by
    itself: `meta["nll"]` counts, diversity needs the other rows."""
    row, parts = scored_parts(reasoned(row, active_rules(config)))
    return replace(row, quality=float(quality(*parts)))


def label_funnel(counts: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """Rows by (source, reject reason) -> source -> {"in", reasons by first word..., "kept"}.

    For every source `in` is the sum of the others; the source "" holds the totals.
    """
    found: dict[str, Counter[str]] = {"": Counter()}
    for (source, reason), n in counts.items():
        word = reason.split(":", 1)[0] or "kept"
        for key in (source, ""):
            found.setdefault(key, Counter()).update({"in": n, word: n})
    return {
        source: {
            "in": n["in"],
            **{k: v for k, v in n.most_common() if k not in ("in", "kept")},
            "kept": n["kept"],
        }
        for source, n in found.items()
    }
