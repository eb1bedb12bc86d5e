"""Compare calls with gold by the AST rules of the Berkeley Function Calling Leaderboard (BFCL v4).

Gold is BFCL's: `[{name: {argument: [allowed, ...]}}]`, where "" among the allowed values means that
the argument may be left out. The rules, in their order: number of calls; name; required arguments;
every given argument is in the schema and in gold; its type (exact Python type, int -> float is the
one promotion, list items one level deep, a gold value of another type than the schema's is compared
as it is); its value (text without space and `,./-_*^`, lower case; lists in order; dicts flat);
every other gold argument may be left out. Several calls are matched in any order, greedily as BFCL
does, or optimally.

Source: Patil et al., ICML 2025 (PMLR 267), and the rules of the package bfcl-eval 2026.3.23.
Differences: where the official checker stops with an exception (gold that is not a list of allowed
values, `array` without `items`), this one gives a verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from raytune_agents.calls.gold import (
    Allowed,
    arguments_of,
    beginning_of,
    gold_calls,
    gold_pairs,
    key_without_defaults,
)
from raytune_agents.calls.parse import CUT, DECODER_FAILED, Parsed, parse
from raytune_agents.calls.schema import ANY, ParameterType, Shape, find, shape
from raytune_agents.records import Arguments, JsonObject, ToolCall, ToolSpec, Trajectory

BAD_GOLD = "bad_gold"  # the row cannot be scored: its gold has no usable shape
SCALARS = (str, int, float, bool)  # a value of the right type that is allowed as it is, is right
_DROP = str.maketrans({**dict.fromkeys(" ,./-_*^"), "'": '"'})


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the calls are right; else BFCL's error label and where it lies."""

    ok: bool
    error: str = ""
    detail: str = ""


RIGHT = Verdict(True)


def standardize(text: str) -> str:
    """Text as BFCL compares it: no space or `,./-_*^`, lower case, single quotes as double ones."""
    return text.translate(_DROP).lower()


def _plain(value: Any) -> Any:
    return standardize(value) if type(value) is str else value


def _first_type(allowed: list[Any]) -> type | None:
    """The type of the first allowed value that is not the "may be left out" mark."""
    return next((type(option) for option in allowed if option != ""), None)


def _type_error(value: Any, allowed: list[Any], kind: ParameterType) -> tuple[str, bool]:
    """The label, or "" and whether the value counts as a variable (compared as it is)."""
    actual = type(value)
    gold = _first_type(allowed)
    if actual is kind.type:
        variable = gold is not None and gold is not kind.type
        if kind.items is None:
            return "", variable
        for option in allowed:
            if type(option) is not list:
                return "", variable
            inner = _first_type(option)
            if all(
                type(v) is kind.items or (inner is not None and type(v) is inner) for v in value
            ):
                return "", variable
        return ("type_error:nested" if gold is actual else "type_error:simple"), False
    if gold is actual:
        return "", True
    return "type_error:simple", False


def _dict_option(value: JsonObject, option: Any) -> str:
    if not isinstance(option, dict):
        return "value_error:dict_value"
    for key, several in option.items():
        if key not in value and not (isinstance(several, list) and "" in several):
            return "value_error:dict_key"
    for key, item in value.items():
        if key not in option:
            return "value_error:dict_key"
        several = option[key] if isinstance(option[key], list) else [option[key]]
        if _plain(item) not in [_plain(v) for v in several]:
            return "value_error:dict_value"
    return ""


def _nearest(labels: Iterable[str]) -> str:
    """ "" where one of the allowed values has no error, else the label of the last one."""
    label = "value_error:unclear"
    for label in labels:
        if not label:
            break
    return label


def _dict_error(value: JsonObject, allowed: list[Any]) -> str:
    return _nearest(_dict_option(value, option) for option in allowed if option != "")


def _dicts_option(value: list[Any], option: Any) -> str:
    """A list of dicts against one allowed list: same length and order."""
    option = option if isinstance(option, list) else []
    if len(value) != len(option):
        return "value_error:list_dict_count"
    labels = (
        _dict_error(item, [wanted]) if isinstance(item, dict) else "value_error:dict_value"
        for item, wanted in zip(value, option)
    )
    return next(filter(None, labels), "")


def _list_error(value: list[Any], allowed: list[Any]) -> str:
    mine = [*map(_plain, value)]  # "" counts as the empty list, as in BFCL
    right = any(isinstance(o, list | str) and mine == [*map(_plain, o)] for o in allowed)
    return "" if right else "value_error:list/tuple"


def _value_error(value: Any, allowed: list[Any], kind: ParameterType) -> str:
    """The label of a value of type `kind` that is not allowed, or ""."""
    if kind.type is str:
        if value in allowed:
            return ""
        mine = standardize(value)
        right = any(type(a) is str and standardize(a) == mine for a in allowed)
        return "" if right else "value_error:string"
    if kind.type is dict:
        return _dict_error(value, allowed)
    if kind.type is list and kind.items is dict:
        return _nearest(_dicts_option(value, option) for option in allowed)
    if kind.type is list:
        return _list_error(value, allowed)
    return "" if value in allowed else "value_error:others"


def argument_error(value: Any, allowed: list[Any], kind: ParameterType) -> str:
    """BFCL's label for one argument (type first, then value), or ""."""
    if kind.promote and type(value) is int:
        try:
            value = float(value)
        except OverflowError:
            return "value_error:others"
    if type(value) is kind.type and kind.type in SCALARS and value in allowed:
        return ""
    label, variable = _type_error(value, allowed, kind)
    if label:
        return label
    if variable:
        return "" if value in allowed else "value_error:others"
    return _value_error(value, allowed, kind)


def call_error(
    name: str, arguments: Arguments, gold_name: str, gold: dict[str, list[Any]], form: Shape | None
) -> tuple[str, str]:
    """BFCL's label and the detail of one call against one gold call; ("", "") where it is right.

    `form` None (the gold tool is not among the tools): gold's own arguments are the schema.
    """
    if name != gold_name:
        return "wrong_func_name", f"{name!r} instead of {gold_name!r}"
    for key in form.required if form else ():
        if key not in arguments:
            return "missing_required", key
    for key, value in arguments.items():
        if key not in gold or (form and key not in form.kinds):
            return "unexpected_param", key
        label = argument_error(value, gold[key], form.kinds[key] if form else ANY)
        if label:
            return label, f"{key}={beginning_of(value)}, allowed {beginning_of(gold[key])}"
    for key, allowed in gold.items():
        if key not in arguments and "" not in allowed:
            return "missing_optional", key
    return "", ""


def forms_of(gold: Sequence[tuple[str, Allowed]], tools: Sequence[ToolSpec]) -> list[Shape | None]:
    """The parsed schema of every gold call's tool; None where the tool is not among `tools`."""
    return [shape(t.parameters) if (t := find(name, tools)) else None for name, _ in gold]


# --- several calls ---


def greedy_hits(rows: int, columns: int, fits: Callable[[int, int], bool]) -> Iterator[int | None]:
    """BFCL's way: each gold call in order takes the first free call that fits it; None without.
    Lazy: who asks for the first miss only has nothing compared after it."""
    free = list(range(columns))
    for row in range(rows):
        hit = next((c for c in free if fits(row, c)), None)
        free = [c for c in free if c != hit]
        yield hit


def _optimal_hits(rows: int, columns: int, fits: Callable[[int, int], bool]) -> list[int | None]:
    """The call of each gold call, such that most of them have one that fits."""
    from scipy.optimize import linear_sum_assignment  # half a second that no reader need wait

    table = [[fits(row, column) for column in range(columns)] for row in range(rows)]
    return [c if table[row][c] else None for row, c in zip(*linear_sum_assignment(table, True))]


def _compare_pairs(
    calls: Sequence[ToolCall],
    pairs: Sequence[tuple[str, Allowed]],
    tools: Sequence[ToolSpec],
    matching: str,
) -> Verdict:
    if not pairs:
        why = f"{len(calls)} calls, none is right"
        return Verdict(False, "irrelevance_error", why) if calls else RIGHT
    if len(calls) != len(pairs):
        return Verdict(False, "wrong_count", f"{len(calls)} calls, expected {len(pairs)}")
    try:
        arguments = arguments_of(calls)
    except ValueError as error:
        return Verdict(False, DECODER_FAILED, str(error))
    forms = forms_of(pairs, tools)

    def check(row: int, column: int) -> tuple[str, str]:
        name, gold = pairs[row]
        return call_error(calls[column].name, arguments[column], name, gold, forms[row])

    if len(pairs) == 1:
        label, detail = check(0, 0)
        return Verdict(False, label, detail) if label else RIGHT

    def fits(row: int, column: int) -> bool:
        return not check(row, column)[0]

    hits = (greedy_hits if matching == "greedy" else _optimal_hits)(len(pairs), len(calls), fits)
    lost = next((row for row, hit in enumerate(hits) if hit is None), None)
    if lost is None:
        return RIGHT
    near = [check(lost, c) for c in range(len(calls)) if calls[c].name == pairs[lost][0]]
    why = next((f": {label} {detail}" for label, detail in near if label), "")
    return Verdict(False, "cannot_find_match", f"gold call {lost}, {pairs[lost][0]!r}{why}")


def compare(
    calls: Sequence[ToolCall],
    gold: list[JsonObject],
    tools: Sequence[ToolSpec],
    matching: Literal["greedy", "optimal"] = "greedy",
) -> Verdict:
    """Calls against gold. Empty gold means no call is right. Never raises for what a model wrote.

    `greedy` is BFCL's; it can refuse a right set (gold a in {1, 2}, then a = 1; calls 1, 2), which
    `optimal` (maximum bipartite matching) accepts. Gold of no usable shape is labelled `bad_gold`.
    """
    try:
        pairs = gold_pairs(gold)
    except ValueError as error:
        return Verdict(False, BAD_GOLD, str(error))
    return _compare_pairs(calls, pairs, tools, matching)


# --- rows ---


def _signature(calls: Sequence[ToolCall], tools: Sequence[ToolSpec]) -> list[str]:
    """The calls without their defaults, in any order. Raises ValueError."""
    arguments_of(calls)  # strictly
    return sorted(key_without_defaults(c, tools) for c in calls)


def judge_parsed(parsed: Parsed, row: Trajectory, matching: str = "greedy") -> Verdict:
    """`judge` for an answer that is parsed already."""
    try:
        pairs = gold_calls(row)
    except (ValueError, RecursionError) as error:
        return Verdict(False, BAD_GOLD, str(error))
    if parsed.error == CUT:
        return Verdict(False, CUT, "the text ends within a thought")
    if parsed.error:  # BFCL: text that does not decode to a call is right where no call is
        return Verdict(False, parsed.error, beginning_of(parsed.text)) if pairs else RIGHT
    verdict = _compare_pairs(parsed.calls, pairs, row.tools, matching)
    own = not verdict.ok and not row.gold and len(parsed.calls) == len(pairs)
    # BFCL refuses [1.5, 2] for itself in a list of floats, and does not look for defaults deep
    # inside; the target itself is right by definition
    target = row.answer.tool_calls if own else ()
    try:
        same = own and _signature(parsed.calls, row.tools) == _signature(target, row.tools)
    except (ValueError, RecursionError):
        same = False
    return RIGHT if same else verdict


def judge(text: str, row: Trajectory) -> Verdict:
    """An answer against its row's gold. Never raises; a row that cannot be scored is `bad_gold`."""
    return judge_parsed(parse(text, row.tools), row)
