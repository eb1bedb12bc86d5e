"""What one answer is worth: every value of one row.

`score_answer` reads an answer once; a value is None where the metric does not apply to the row (it
then leaves the mean). `metrics` says what each is. Left out: means with intervals (`estimates`),
how two arms compare (`paired`), whole trajectories with tools that run (`rollouts`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from raytune_agents.calls.fault import fault_parsed, pair_calls, right_arguments
from raytune_agents.calls.gold import Allowed, arguments_of, gold_calls
from raytune_agents.calls.match import BAD_GOLD, Verdict, call_error, forms_of, judge_parsed
from raytune_agents.calls.parse import CUT, Parsed, parse
from raytune_agents.calls.schema import Shape, find, shape
from raytune_agents.evaluate.instructions import instructions_followed
from raytune_agents.evaluate.metrics import ANSWER_METRICS, REFUSALS
from raytune_agents.records import Arguments, ToolCall, Trajectory

Values = dict[str, float | None]
# known of a reply, not of its text
REPLY_VALUES = ("input_tokens", "output_tokens", "confidence", "server_parsable")
SCORED = tuple(m.name for m in ANSWER_METRICS if m.name not in REPLY_VALUES)
REACT_WORDS = ("Thought:", "Action:")
GENERAL_WORDS = (
    *(
        f"{who} {verb}"
        for who in ("i will", "i need to", "i should", "let me")
        for verb in ("use", "call")
    ),
    "by calling the",
    "using the tool",
)


@dataclass(frozen=True, slots=True)
class Scored:
    """The values of one answer and its two labels, "" where it is right: `error` is BFCL's, `fault`
    names what is wrong; an answer that is wrong and ended at the limit has the fault `cut`."""

    values: Values
    error: str
    fault: str


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _hallucinations(parsed: Parsed, row: Trajectory) -> Values:
    """None where the answer does not decode: what was called is not known."""
    tool = argument = False
    for call, arguments in zip(parsed.calls, arguments_of(parsed.calls)):
        spec = find(call.name, row.tools)
        tool |= spec is None
        form = shape(spec.parameters) if spec else None
        # A schema that allows other names has none that do not exist.
        argument |= (
            form is not None and not form.open and any(k not in form.kinds for k in arguments)
        )
    known = not parsed.error
    return {
        "hallucination_rate": float(tool or argument) if known else None,
        "hallucinated_tool": float(tool) if known else None,
        "hallucinated_argument": float(argument) if known else None,
    }


class _Matched(NamedTuple):
    """What a matching of calls to gold calls found right; `needed` and `missing` are gold's."""

    calls: int
    arguments: int
    needed: int
    missing: int


def _matched(
    pairs: Sequence[tuple[int | None, bool]],
    arguments: list[Arguments],
    gold: Sequence[tuple[str, Allowed]],
    forms: Sequence[Shape | None],
) -> _Matched:
    hits = needed = missing = 0
    for (index, _), (_, allowed), form in zip(pairs, gold, forms):
        mine = arguments[index] if index is not None else {}
        absent = sum("" not in values and key not in mine for key, values in allowed.items())
        hits += right_arguments(mine, allowed, form)
        needed += absent + sum(key in mine for key in allowed)
        missing += absent
    return _Matched(sum(ok for _, ok in pairs), hits, needed, missing)


def _optimal_pairs(
    calls: Sequence[ToolCall],
    arguments: list[Arguments],
    gold: Sequence[tuple[str, Allowed]],
    forms: Sequence[Shape | None],
) -> list[tuple[int | None, bool]]:
    """As `pair_calls`, but the assignment with most right calls, then most right arguments."""
    from scipy.optimize import linear_sum_assignment  # half a second that `compare` need not wait

    argument = len(gold) + 1  # a right argument is worth more than any number of mere pairs,
    whole = argument * (1 + sum(len(g) for g in arguments))  # a right call more than all arguments
    worth = np.zeros((len(gold), len(calls)))
    exact = np.zeros(worth.shape, dtype=bool)
    for i, (name, allowed) in enumerate(gold):
        for c, call in enumerate(calls):
            if call.name == name:
                exact[i, c] = not call_error(name, arguments[c], name, allowed, forms[i])[0]
                right = right_arguments(arguments[c], allowed, forms[i])
                worth[i, c] = 1 + argument * right + whole * exact[i, c]
    out: list[tuple[int | None, bool]] = [(None, False)] * len(gold)
    for i, c in zip(*linear_sum_assignment(worth, maximize=True)):
        if worth[i, c]:
            out[i] = (int(c), bool(exact[i, c]))
    return out


def _call_values(
    parsed: Parsed, row: Trajectory, gold: Sequence[tuple[str, Allowed]], right: bool
) -> Values:
    """Values of a row on which calls are right; an answer that does not decode made no call."""
    names = Counter(c.name for c in parsed.calls) == Counter(name for name, _ in gold)
    arguments, forms = arguments_of(parsed.calls), forms_of(gold, row.tools)
    pairs = pair_calls(parsed.calls, arguments, gold, row)
    best = found = _matched(pairs, arguments, gold, forms)
    several, offered = len(gold) > 1, sum(len(g) for g in arguments)
    # Greedy found all, or there is one call: no other matching can be better.
    if several and parsed.calls and found.calls < len(gold):
        best = _matched(
            _optimal_pairs(parsed.calls, arguments, gold, forms), arguments, gold, forms
        )
    whole = offered + found.missing
    places = [c for c, _ in pairs if c is not None]
    # Of wrong calls an order says nothing.
    ordered = right and several and found.calls == len(gold)
    return {
        "function_accuracy": float(names),
        "multi_function_accuracy": float(names) if several else None,
        "parameter_accuracy": (found.arguments / whole if whole else 1.0) if names else None,
        "call_precision": _share(found.calls, len(parsed.calls)),
        "call_recall": found.calls / len(gold),
        "argument_precision": _share(found.arguments, offered),
        "argument_recall": _share(found.arguments, found.needed),
        "call_precision_optimal": _share(best.calls, len(parsed.calls)),
        "call_recall_optimal": best.calls / len(gold),
        "argument_precision_optimal": _share(best.arguments, offered),
        "argument_recall_optimal": _share(best.arguments, best.needed),
        "order_accuracy": float(places == sorted(places)) if ordered else None,
        "relevance": float(bool(parsed.calls)),
        "over_refusal": float(not parsed.calls and not parsed.error),
    }


def _no_call_values(parsed: Parsed, row: Trajectory, text: str) -> Values:
    """Values of a row on which no call is right; its meta `refuse` and `ask` say why."""
    react, general = h_row(text if isinstance(text, str) else "")
    made, why = float(bool(parsed.calls)), row.meta.get("refuse")
    out: Values = {"h_score": 1 - (react + general) / 2}
    if row.tools:  # without tools there is nothing to be tempted by
        out["irrelevance"] = 1 - made
    if why in REFUSALS:
        out[f"hallucination.{why}"] = made
    if row.meta.get("ask"):
        out["follow_up"] = float(not parsed.calls and not parsed.error and "?" in parsed.text)
    if instructions := row.meta.get("instructions"):
        held = instructions_followed(text if isinstance(text, str) else "", instructions)
        out["instruction_following"] = sum(held) / len(held)
        out["instructions_all"] = float(all(held))
    return out


def h_row(text: str) -> tuple[bool, bool]:
    """Agent-H's two hallucinations in an answer that should be plain text: ReAct words
    (`Thought:`, `Action:`) and phrases that announce a tool. The paper (Agent-FLAN, arXiv
    2403.12881) names two phrases; the list is ours.
    """
    low = text.lower()
    return any(w in text for w in REACT_WORDS), any(w in low for w in GENERAL_WORDS)


def score_answer(text: str, row: Trajectory, cut: bool = False) -> Scored:
    """Every value of an answer; `cut`: it ended at the limit of its length.

    Never raises for what a model wrote. A row whose gold cannot be used has exact_match None and
    error `bad_gold`; a row without gold (BFCL's relevance set) has only the conduct values.
    """
    parsed = parse(text, row.tools)
    verdict = judge_parsed(parsed, row)
    fault = fault_parsed(parsed, row, verdict)
    wrong = bool(fault) and verdict.error != BAD_GOLD
    return Scored(
        dict.fromkeys(SCORED) | {"cut_rate": float(cut)} | _values(parsed, verdict, row, text),
        verdict.error,
        CUT if cut and wrong else fault,
    )


def _values(parsed: Parsed, verdict: Verdict, row: Trajectory, text: str) -> Values:
    """The values that apply to the row."""
    out: Values = {"format_adherence": float(not parsed.error), **_hallucinations(parsed, row)}
    if verdict.error == BAD_GOLD:
        # BFCL's relevance set says that a call is due, but not which.
        open_row = not row.gold and row.target is None
        return out | ({"relevance": float(bool(parsed.calls))} if open_row else {})
    gold = gold_calls(row)
    out["exact_match"] = float(verdict.ok)
    # With one gold call, or a right answer, both matchings agree.
    several = len(gold) > 1 and not verdict.ok
    best = judge_parsed(parsed, row, "optimal") if several else verdict
    out["exact_match_optimal"] = float(best.ok)
    if gold:
        return out | _call_values(parsed, row, gold, verdict.ok)
    return out | _no_call_values(parsed, row, text)
