"""Rules that label rows: each writes a reject reason, none drops a row.

A rule takes a Trajectory and returns None, or its reason: the rule's own name, then ":detail". The
part before the first colon is what the funnel counts. Rows of the pool `negative.*` are wrong on
purpose, so only the rules in ON_NEGATIVES look at them. What needs other rows is in `dedup`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from raytune_agents.calls import parse, schema_errors
from raytune_agents.config import ConfigError, LabelSection
from raytune_agents.records import Trajectory, from_row

if TYPE_CHECKING:
    import pyarrow

Rule = Callable[..., "str | None"]


def parses(row: Trajectory) -> str | None:
    """Every call's arguments are a JSON object; call markup left in the target's text parses."""
    for call in row.calls:
        try:
            call.args  # noqa: B018  (the property raises)
        except ValueError:
            return f"parses:arguments of {call.name}"
    target = row.target
    if target and not target.tool_calls and "<tool_call>" in target.content:
        error = parse(target.content).error
        return f"parses:{error}" if error else None
    return None


def tool_exists(row: Trajectory) -> str | None:
    """Every called name is a tool of the row. Rows without a tool list (text agents) pass."""
    names = {tool.name for tool in row.tools}
    missing = next((c.name for c in row.calls if c.name not in names), None) if names else None
    return None if missing is None else f"tool_exists:{missing}"


def arguments_valid(row: Trajectory) -> str | None:
    """Calls of known tools validate against the tool's JSON Schema; the first error is named."""
    names = {tool.name for tool in row.tools}
    for call in row.calls:
        errors = schema_errors(call, row.tools) if call.name in names else []
        if errors:
            return f"arguments_valid:{errors[0]}"
    return None


def empty_target(row: Trajectory) -> str | None:
    """The last turn is an assistant turn that says or calls something."""
    target = row.target
    if target is None:
        return "empty_target:no final answer"
    return None if target.tool_calls or target.content.strip() else "empty_target"


def too_long(row: Trajectory, max_chars: int = 20_000) -> str | None:
    """Characters of all turns (text, thoughts, calls) and tool schemas are at most `max_chars`."""
    size = sum(len(m.content) + len(m.thought) for m in row.messages)
    size += sum(len(c.name) + len(c.arguments) for m in row.messages for c in m.tool_calls)
    size += sum(len(t.name) + len(t.description) + len(t.parameters) for t in row.tools)
    return f"too_long:{size}" if size > max_chars else None


def outcome(row: Trajectory, min_outcome: float = 0.5) -> str | None:
    """A known outcome is at least `min_outcome`; an unknown one passes."""
    return None if row.outcome is None or row.outcome >= min_outcome else f"outcome:{row.outcome:g}"


RULES: dict[str, Rule] = {
    "empty_target": empty_target,
    "too_long": too_long,
    "parses": parses,
    "tool_exists": tool_exists,
    "arguments_valid": arguments_valid,
    "outcome": outcome,
}
ON_NEGATIVES = {"empty_target", "too_long"}
OPTIONS = {"too_long": ("max_chars",), "outcome": ("min_outcome",)}  # rule -> options it takes


def family(row: Trajectory) -> str:
    """The pool's first word: positive, synthetic or negative."""
    return row.pool.split(".", 1)[0]


def rule_named(name: str) -> Rule:
    """A rule of RULES, or a user's own as "module:function". Raises ConfigError."""
    if name in RULES:
        return RULES[name]
    module, _, function = name.partition(":")
    try:
        return getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"label.rules: {name!r} is no rule ({error}); write module:function or one of "
            f"{', '.join(RULES)}"
        ) from None


def active_rules(section: LabelSection) -> dict[str, Rule]:
    """Name -> rule with its options bound, in the order of RULES; a user's own rules come last."""
    names = section.rules or list(RULES)
    ordered = [n for n in RULES if n in names] + [n for n in names if n not in RULES]
    return {
        n: partial(rule_named(n), **{o: getattr(section, o) for o in OPTIONS.get(n, ())})
        for n in ordered
    }


def first_reason(row: Trajectory, rules: dict[str, Rule]) -> str:
    """The first reason that a rule gives, or ''. A negative is shown to ON_NEGATIVES only."""
    negative = family(row) == "negative"
    for name, rule in rules.items():
        if negative and name not in ON_NEGATIVES:
            continue
        reason = rule(row)
        if reason:
            return reason
    return ""


def label(row: Trajectory, section: LabelSection) -> Trajectory:
    """The row with the first reject reason written; a row that already has one keeps it."""
    if row.reject_reason:
        return row
    return replace(row, reject_reason=first_reason(row, active_rules(section)))


def label_batch(batch: pyarrow.Table, section: LabelSection) -> pyarrow.Table:
    """`label` for `map_batches(..., batch_format="pyarrow")`; one column changes."""
    import pyarrow as pa

    rules = active_rules(section)
    reasons = []
    for flat in batch.to_pylist():
        row = from_row(flat)
        reasons.append(row.reject_reason or first_reason(row, rules))
    column = pa.array(reasons, pa.string())
    return batch.set_column(batch.schema.get_field_index("reject_reason"), "reject_reason", column)
