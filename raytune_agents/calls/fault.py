"""Name what is wrong with an answer, in the words of the negative taxonomy (FAULTS of `negatives`).

One name an answer, the first that applies: malformed_json, wrong_format, answered_directly,
unneeded_call, hallucinated_function, wrong_function, missing_call, repeated_call, extra_call, then
for the first wrong call missing_required, wrong_argument_name, missing_optional_needed,
extra_argument, wrong_type, swapped_values, wrong_value. Faults of whole trajectories (loops, no
recovery) are not seen here.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from raytune_agents.calls.match import (
    BAD_GOLD,
    argument_error,
    arguments_of,
    call_error,
    gold_calls,
    judge_parsed,
)
from raytune_agents.calls.parse import DECODER_FAILED, WRONG_FORMAT, Parsed, parse
from raytune_agents.calls.schema import ANY, Shape, find, shape
from raytune_agents.records import Trajectory, canonical

_DECODE = {DECODER_FAILED: "malformed_json", WRONG_FORMAT: "wrong_format"}


def _argument_fault(given: dict[str, Any], gold: dict[str, list[Any]], form: Shape | None) -> str:
    """The fault of one call of the right name."""
    kinds = form.kinds if form else {}
    required = set(form.required) if form else set()
    lost = [k for k in gold if k not in given and "" not in gold[k]]
    lost += [k for k in required if k not in given and k not in lost]
    extra = [k for k in given if k not in gold or (form and k not in kinds)]
    if lost and extra:
        renamed = any(
            not argument_error(given[e], gold.get(k, []), kinds.get(k, ANY))
            for k in lost
            for e in extra
        )
        return "wrong_argument_name" if renamed else "missing_required"
    if lost:
        return "missing_required" if required.intersection(lost) else "missing_optional_needed"
    if extra:
        return "extra_argument"
    errors = {k: argument_error(v, gold[k], kinds.get(k, ANY)) for k, v in given.items()}
    wrong = [k for k, label in errors.items() if label]
    if any(errors[k].startswith("type_error") for k in wrong):
        return "wrong_type"
    for k in wrong:
        for other in wrong:
            if k != other and not argument_error(given[other], gold[k], kinds.get(k, ANY)):
                return "swapped_values"
    return "wrong_value"


def _count_fault(names: Counter[str], wanted: Counter[str], parsed: Parsed) -> str:
    """The fault that the names and the number of calls alone show, or ""."""
    n, gold_n = names.total(), wanted.total()
    if n < gold_n:
        return "missing_call" if not names - wanted else "wrong_function"
    if n > gold_n:
        texts = Counter(
            canonical([c.name, a]) for c, a in zip(parsed.calls, arguments_of(parsed.calls))
        )
        return (
            "repeated_call"
            if max(texts.values()) > 1 and not (set(names) - set(wanted))
            else "extra_call"
        )
    return "wrong_function" if names - wanted else ""


def fault_of(text: str, row: Trajectory) -> str:
    """The fault's name; "" where the answer is right, `bad_gold` where the row cannot be scored."""
    parsed = parse(text)
    verdict = judge_parsed(parsed, row)
    if verdict.ok:
        return ""
    if verdict.error == BAD_GOLD or parsed.error:
        return _DECODE.get(verdict.error, verdict.error)
    pairs = gold_calls(row)
    if not parsed.calls:
        return "answered_directly"
    if not pairs:
        return "unneeded_call"
    if any(find(c.name, row.tools) is None for c in parsed.calls):
        return "hallucinated_function"
    names, wanted = Counter(c.name for c in parsed.calls), Counter(name for name, _ in pairs)
    if fault := _count_fault(names, wanted, parsed):
        return fault
    given = arguments_of(parsed.calls)
    free = set(range(len(given)))
    for (
        name,
        gold,
    ) in pairs:  # gold calls that some call serves are set aside; the first other one is named
        tool = find(name, row.tools)
        form = shape(tool.parameters) if tool else None
        same = [c for c in sorted(free) if parsed.calls[c].name == name]
        hit = next((c for c in same if not call_error(name, given[c], name, gold, form)[0]), None)
        if hit is None:
            near = max(same, key=lambda c: _likeness(given[c], gold, form))
            return _argument_fault(given[near], gold, form)
        free.discard(hit)
    return "wrong_value"


def _likeness(given: dict[str, Any], gold: dict[str, list[Any]], form: Shape | None) -> int:
    """How many arguments are right: the likest call is what a missed gold call was meant to be."""
    kinds = form.kinds if form else {}
    return sum(
        k in gold and not argument_error(v, gold[k], kinds.get(k, ANY)) for k, v in given.items()
    )
