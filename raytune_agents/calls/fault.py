"""Name what is wrong with an answer, in the words of the negative taxonomy (FAULTS of `negatives`).

One name per answer, the first that applies: cut (within a thought), malformed_json, wrong_format,
answered_directly, unneeded_call, hallucinated_function, wrong_function, missing_call,
repeated_call, extra_call, then for the first wrong call missing_required, wrong_argument_name,
missing_optional_needed, extra_argument, wrong_type, swapped_values, wrong_value. Faults of whole
trajectories (loops, no recovery) are not seen here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import permutations, product

from raytune_agents.calls import match
from raytune_agents.calls.gold import Allowed, arguments_of, gold_calls
from raytune_agents.calls.match import argument_error
from raytune_agents.calls.parse import DECODER_FAILED, WRONG_FORMAT, Parsed, parse
from raytune_agents.calls.schema import ANY, Shape, find
from raytune_agents.records import Arguments, ToolCall, Trajectory

_DECODE = {DECODER_FAILED: "malformed_json", WRONG_FORMAT: "wrong_format"}


def _argument_fault(arguments: Arguments, gold: Allowed, form: Shape | None) -> str:
    """The fault of one call of the right name."""
    kinds = form.kinds if form else {}
    required = set(form.required) if form else set()
    lost = [k for k in gold if k not in arguments and "" not in gold[k]]
    lost += [k for k in required if k not in arguments and k not in lost]
    extra = [k for k in arguments if k not in gold or (form and k not in kinds)]

    def fits(key: str, other: str) -> bool:
        return not argument_error(arguments[key], gold.get(other, []), kinds.get(other, ANY))

    if lost and extra:
        renamed = any(fits(key, other) for key, other in product(extra, lost))
        return "wrong_argument_name" if renamed else "missing_required"
    if lost:
        return "missing_required" if required.intersection(lost) else "missing_optional_needed"
    if extra:
        return "extra_argument"
    errors = {k: argument_error(v, gold[k], kinds.get(k, ANY)) for k, v in arguments.items()}
    wrong = [k for k, label in errors.items() if label]
    if any(errors[k].startswith("type_error") for k in wrong):
        return "wrong_type"
    swapped = any(fits(key, other) for key, other in permutations(wrong, 2))
    return "swapped_values" if swapped else "wrong_value"


def _count_fault(names: Counter[str], wanted: Counter[str], parsed: Parsed) -> str:
    """The fault that the names and the number of calls alone show, or ""."""
    n, gold_n = names.total(), wanted.total()
    if n < gold_n:
        return "missing_call" if not names - wanted else "wrong_function"
    if n > gold_n:
        times = Counter(call.key for call in parsed.calls)
        repeated = max(times.values()) > 1 and not (set(names) - set(wanted))
        return "repeated_call" if repeated else "extra_call"
    return "wrong_function" if names - wanted else ""


def right_arguments(arguments: Arguments, gold: Allowed, form: Shape | None) -> int:
    """How many of a call's arguments are right for that gold call."""
    kinds = form.kinds if form else {}
    return sum(
        k in gold and not argument_error(v, gold[k], kinds.get(k, ANY))
        for k, v in arguments.items()
    )


def pair_calls(
    calls: Sequence[ToolCall],
    arguments: list[Arguments],
    gold: Sequence[tuple[str, Allowed]],
    row: Trajectory,
) -> list[tuple[int | None, bool]]:
    """For each gold call the index of its call, and whether that is right: exact ones first
    (greedily, in gold's order), then of the same name the one with most right arguments."""
    forms = match.forms_of(gold, row.tools)

    def fits(row: int, c: int) -> bool:
        return not match.call_error(calls[c].name, arguments[c], *gold[row], forms[row])[0]

    out = [(hit, hit is not None) for hit in match.greedy_hits(len(gold), len(calls), fits)]
    free = [c for c in range(len(calls)) if (c, True) not in out]
    for i, (name, allowed) in enumerate(gold):
        same = [c for c in free if calls[c].name == name]
        if out[i][0] is None and same:
            near = max(same, key=lambda c: right_arguments(arguments[c], allowed, forms[i]))
            out[i] = (near, False)
            free.remove(near)
    return out


def fault_of(text: str, row: Trajectory) -> str:
    """The fault's name; "" where the answer is right, `bad_gold` where the row cannot be scored."""
    parsed = parse(text, row.tools)
    return fault_parsed(parsed, row, match.judge_parsed(parsed, row))


def fault_parsed(parsed: Parsed, row: Trajectory, verdict: match.Verdict) -> str:
    """`fault_of` for an answer that is parsed and judged already."""
    if verdict.ok:
        return ""
    if verdict.error == match.BAD_GOLD or parsed.error:
        return _DECODE.get(verdict.error, verdict.error)
    gold = gold_calls(row)
    if not parsed.calls:
        return "answered_directly"
    if not gold:
        return "unneeded_call"
    if any(find(c.name, row.tools) is None for c in parsed.calls):
        return "hallucinated_function"
    names, wanted = Counter(c.name for c in parsed.calls), Counter(name for name, _ in gold)
    if fault := _count_fault(names, wanted, parsed):
        return fault
    arguments = arguments_of(parsed.calls)
    pairs, forms = pair_calls(parsed.calls, arguments, gold, row), match.forms_of(gold, row.tools)
    for i, (index, right) in enumerate(pairs):
        if not right and index is not None:
            return _argument_fault(arguments[index], gold[i][1], forms[i])
    return "wrong_value"  # every call fits some gold call, but greedy matching found no whole set
