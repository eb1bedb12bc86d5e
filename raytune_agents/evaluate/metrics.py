"""What an answer is worth: one number a row and metric, and the intervals of their means.

`score` reads an answer once and gives every per-row value; a value is None where the metric does
not apply to the row (it then leaves the mean, and `n` says over how many rows the mean is).
`METRICS` says what each is. Left out: how two arms compare (`compare`), whole trajectories with
tools that run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import norm

from raytune_agents.calls.fault import fault_parsed, forms_of, pair_calls, right_arguments
from raytune_agents.calls.gold import arguments_of, gold_calls
from raytune_agents.calls.match import BAD_GOLD, call_error, judge_parsed
from raytune_agents.calls.parse import Parsed, parse
from raytune_agents.calls.schema import find, shape
from raytune_agents.evaluate.instructions import followed
from raytune_agents.records import Trajectory

Value = float | str | None
Statistic = Literal["mean", "p50", "p95"]
QUANTILES: tuple[Statistic, ...] = ("p50", "p95")  # of the times
UNIT = (0.0, 1.0)
AMOUNT = (0.0, float("inf"))
COSTS = ("latency_s", "first_token_s", "input_tokens", "output_tokens", "tokens_per_s")
TIMES = ("latency_s", "first_token_s")  # given as p50 and p95 too
REFUSALS = ("nonexistent_tool", "invalid_parameter", "unsupported_action", "out_of_scope")
REACT_WORDS = ("Thought:", "Action:")
GENERAL_WORDS = (
    *(f"{who} {verb}" for who in ("i will", "i need to", "i should", "let me")
      for verb in ("use", "call")), "by calling the", "using the tool",
)  # fmt: skip
CELLS = 4_000_000  # numbers drawn at a time in a bootstrap: 32 MB


class Metric(NamedTuple):
    """One metric: its formula for one row, its range, and which way is good."""

    formula: str
    range: tuple[float, float]
    higher_is_better: bool


METRICS: dict[str, Metric] = {
    "exact_match": Metric("1 if all calls are right by BFCL's rules, matched greedily", UNIT, True),
    "exact_match_optimal": Metric("exact_match with optimal, not greedy, matching", UNIT, True),
    "function_accuracy": Metric("1 if the called names are gold's names, in any order", UNIT, True),
    "multi_function_accuracy": Metric("function_accuracy of two or more gold calls", UNIT, True),
    "parameter_accuracy": Metric("names right: right / (given + missing) arguments", UNIT, True),
    "call_precision": Metric("right calls / calls made", UNIT, True),
    "call_recall": Metric("right calls / gold calls", UNIT, True),
    "argument_precision": Metric("right arguments / arguments given", UNIT, True),
    "argument_recall": Metric("right arguments / arguments that gold needs", UNIT, True),
    "call_precision_optimal": Metric("call_precision with optimal matching", UNIT, True),
    "call_recall_optimal": Metric("call_recall with optimal matching", UNIT, True),
    "argument_precision_optimal": Metric("argument_precision, optimal matching", UNIT, True),
    "argument_recall_optimal": Metric("argument_recall with optimal matching", UNIT, True),
    "order_accuracy": Metric("1 if the right calls come in gold's order (two or more)", UNIT, True),
    "format_adherence": Metric("1 if the answer is prose or decodes to calls", UNIT, True),
    "hallucination_rate": Metric("1 if a tool or argument does not exist", UNIT, False),
    "hallucinated_tool": Metric("1 if a tool is called that the row does not offer", UNIT, False),
    "hallucinated_argument": Metric("1 if an argument is given that the tool lacks", UNIT, False),
    "irrelevance": Metric("gold is []: 1 if no call was made", UNIT, True),
    **{f"hallucination.{kind}": Metric(f"asked for {kind}: 1 if a call was made", UNIT, False)
       for kind in REFUSALS},
    "relevance": Metric("a call is right: 1 if any was made", UNIT, True),
    "over_refusal": Metric("a call is right: 1 if the answer is prose without a call", UNIT, False),
    "follow_up": Metric("a required value is missing: 1 if it asks and calls nothing", UNIT, True),
    "h_score": Metric("gold is []: 1 - (ReAct words + tool phrases) / 2 (Agent-H)", UNIT, True),
    "instruction_following": Metric("instructions followed / instructions (IFEval)", UNIT, True),
    "instructions_all": Metric("1 if every instruction of the request is followed", UNIT, True),
    "latency_s": Metric("seconds from request to whole answer", AMOUNT, False),
    "first_token_s": Metric("seconds from request to the first token", AMOUNT, False),
    "input_tokens": Metric("tokens of the prompt", AMOUNT, False),
    "output_tokens": Metric("tokens of the answer", AMOUNT, False),
    "tokens_per_s": Metric("answer tokens a second of the whole batch", AMOUNT, True),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a model to one row. Costs are None where they were not measured."""

    row_id: str
    text: str
    latency_s: float | None = None
    output_tokens: int | None = None
    input_tokens: int | None = None
    first_token_s: float | None = None
    tokens_per_s: float | None = None


# --- one row ---


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _hallucinations(parsed: Parsed, row: Trajectory) -> dict[str, Value]:
    """None where the answer does not decode: what was called is not known."""
    tool = argument = False
    for call, given in zip(parsed.calls, arguments_of(parsed.calls)):
        spec = find(call.name, row.tools)
        tool |= spec is None
        form = shape(spec.parameters) if spec else None
        argument |= form is not None and not form.open and any(k not in form.kinds for k in given)
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


def _matched(pairs: Sequence[tuple[int | None, bool]], given: list, gold: list, forms: list):
    hits = needed = missing = 0
    for (index, _), (_, allowed), form in zip(pairs, gold, forms):
        mine = given[index] if index is not None else {}
        absent = sum("" not in values and key not in mine for key, values in allowed.items())
        hits += right_arguments(mine, allowed, form)
        needed += absent + sum(key in mine for key in allowed)
        missing += absent
    return _Matched(sum(ok for _, ok in pairs), hits, needed, missing)


def _optimal_pairs(calls: Sequence, given: list, gold: list, forms: list):
    """As `pair_calls`, but the assignment with most right calls, then most right arguments."""
    argument = len(gold) + 1  # a right argument is worth more than any number of mere pairs,
    whole = argument * (1 + sum(len(g) for g in given))  # a right call more than all arguments
    worth = np.zeros((len(gold), len(calls)))
    exact = np.zeros(worth.shape, dtype=bool)
    for i, (name, allowed) in enumerate(gold):
        for c, call in enumerate(calls):
            if call.name == name:
                exact[i, c] = not call_error(name, given[c], name, allowed, forms[i])[0]
                right = right_arguments(given[c], allowed, forms[i])
                worth[i, c] = 1 + argument * right + whole * exact[i, c]
    out: list[tuple[int | None, bool]] = [(None, False)] * len(gold)
    for i, c in zip(*linear_sum_assignment(worth, maximize=True)):
        if worth[i, c]:
            out[i] = (int(c), bool(exact[i, c]))
    return out


def _call_values(parsed: Parsed, row: Trajectory, gold: list, right: bool) -> dict[str, Value]:
    """Values of a row on which calls are right; an answer that does not decode made no call."""
    names = Counter(c.name for c in parsed.calls) == Counter(name for name, _ in gold)
    given, forms = arguments_of(parsed.calls), forms_of(gold, row)
    pairs = pair_calls(parsed.calls, given, gold, row)
    best = found = _matched(pairs, given, gold, forms)
    several, offered = len(gold) > 1, sum(len(g) for g in given)
    if several and parsed.calls and found.calls < len(gold):
        best = _matched(_optimal_pairs(parsed.calls, given, gold, forms), given, gold, forms)
    whole = offered + found.missing
    places = [c for c, _ in pairs if c is not None]
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
        "order_accuracy": float(places == sorted(places))
        if right and several and found.calls == len(gold) else None,
        "relevance": float(bool(parsed.calls)),
        "over_refusal": float(not parsed.calls and not parsed.error),
    }  # fmt: skip


def _no_call_values(parsed: Parsed, row: Trajectory, text: str) -> dict[str, Value]:
    """Values of a row on which no call is right; its meta `refuse` and `ask` say why."""
    react, general = h_row(text if isinstance(text, str) else "")
    made, why = float(bool(parsed.calls)), row.meta.get("refuse")
    out: dict[str, Value] = {"irrelevance": 1 - made, "h_score": 1 - (react + general) / 2}
    if why in REFUSALS:
        out[f"hallucination.{why}"] = made
    if row.meta.get("ask"):
        out["follow_up"] = float(not parsed.calls and not parsed.error and "?" in parsed.text)
    if asked := row.meta.get("instructions"):
        held = followed(text if isinstance(text, str) else "", asked)
        out["instruction_following"] = sum(held) / len(held)
        out["instructions_all"] = float(all(held))
    return out


def h_row(text: str) -> tuple[bool, bool]:
    """Agent-H's two hallucinations in an answer that should be plain text: ReAct words
    (`Thought:`, `Action:`) and phrases that announce a tool. The paper names two phrases; the list
    is ours.
    """
    low = text.lower()
    return any(w in text for w in REACT_WORDS), any(w in low for w in GENERAL_WORDS)


def h_score(texts: Sequence[str]) -> float | None:
    """HScore = 0.5 * ((1 - H_ReAct) + (1 - H_General)) over answers that should be plain text.

    In [0, 1], 1 is best; None without answers. Source: Agent-FLAN, arXiv 2403.12881 (Agent-H).
    """
    if not texts:
        return None
    react, general = np.mean([h_row(t) for t in texts], axis=0)
    return 0.5 * ((1 - float(react)) + (1 - float(general)))


def score(text: str, row: Trajectory) -> dict[str, Value]:
    """Every per-row value of an answer, and two labels: `error` (BFCL's) and `fault`, "" if right.

    Never raises for what a model wrote. A row whose gold cannot be used has exact_match None and
    error `bad_gold`; a row without gold (BFCL's relevance set) has only the conduct values.
    """
    parsed = parse(text, row.tools)
    verdict = judge_parsed(parsed, row)
    out: dict[str, Value] = dict.fromkeys(m for m in METRICS if m not in COSTS)
    out |= {"error": verdict.error, "fault": fault_parsed(parsed, row, verdict)}
    out |= {"format_adherence": float(not parsed.error)} | _hallucinations(parsed, row)
    if verdict.error == BAD_GOLD:
        open_row = not row.gold and row.target is None
        return out | ({"relevance": float(bool(parsed.calls))} if open_row else {})
    gold = gold_calls(row)
    out["exact_match"] = float(verdict.ok)
    several = len(gold) > 1 and not verdict.ok
    best = judge_parsed(parsed, row, "optimal") if several else verdict
    out["exact_match_optimal"] = float(best.ok)
    if gold:
        return out | _call_values(parsed, row, gold, verdict.ok)
    return out | _no_call_values(parsed, row, text)


def score_answer(answer: Answer, row: Trajectory) -> dict[str, Value]:
    """`score` and what the answer cost."""
    return score(answer.text, row) | {cost: getattr(answer, cost) for cost in COSTS}


# --- many rows ---


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a rate: (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n).

    Within [0, 1] and of non-zero width also for rates of 0 and 1. Source: Wilson, JASA 1927.
    """
    z, p = float(norm.ppf((1 + confidence) / 2)), successes / n
    middle, half = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))


def bootstrap(
    values: np.ndarray, resamples: int, confidence: float, seed: int, quantile: float | None = None
) -> tuple[float, float]:
    """Percentile interval of the mean (or of a quantile) of resampled `values` [n]."""
    rng, n, found = np.random.default_rng(seed), len(values), []
    for start in range(0, resamples, step := max(1, CELLS // n)):
        drawn = values[rng.integers(0, n, (min(step, resamples - start), n))]
        found.append(drawn.mean(1) if quantile is None else np.quantile(drawn, quantile, axis=1))
    low, high = np.quantile(np.concatenate(found), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def aggregate(
    values: Iterable[float | None],
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    statistic: Statistic = "mean",
) -> dict[str, Any]:
    """The statistic with its interval: {value, low, high, n}; None values are left out of n.

    Rates (all values 0 or 1) get Wilson's interval, because the bootstrap's has no width at 0 and
    1; all else a percentile bootstrap. Without values: value, low and high are None.
    """
    kept = np.array([v for v in values if v is not None], dtype=float)
    if not len(kept):
        return {"value": None, "low": None, "high": None, "n": 0}
    if not np.isfinite(kept).all():
        raise ValueError("a value is not finite; write None where a metric does not apply")
    quantile = {"mean": None, "p50": 0.5, "p95": 0.95}[statistic]
    if quantile is None and np.isin(kept, (0.0, 1.0)).all():
        low, high = wilson(int(kept.sum()), len(kept), confidence)
    else:
        low, high = bootstrap(kept, resamples, confidence, seed, quantile)
    value = kept.mean() if quantile is None else np.quantile(kept, quantile)
    return {"value": float(value), "low": low, "high": high, "n": len(kept)}


def summary(
    scored: Sequence[Mapping[str, Value]],
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Metric -> its cell, where it applies to at least one row.

    Times as p50 and p95 too; `fault.NAME` is the share of scored answers with that fault.
    """
    names: list[tuple[str, str, Statistic]] = [(m, m, "mean") for m in METRICS]
    names += [(f"{t[:-2]}_{q}_s", t, q) for t in TIMES for q in QUANTILES]
    columns: dict[str, list[Any]] = {m: [row.get(m) for row in scored] for m in METRICS}
    judged = [row for row in scored if row.get("exact_match") is not None]
    for fault in labels(judged, "fault"):
        columns[f"fault.{fault}"] = [float(row["fault"] == fault) for row in judged]
        names.append((f"fault.{fault}", f"fault.{fault}", "mean"))
    cells = {name: aggregate(columns[key], resamples, confidence, seed, how)
             for name, key, how in names}  # fmt: skip
    return {name: cell for name, cell in cells.items() if cell["n"]}


def labels(scored: Sequence[Mapping[str, Value]], key: Literal["error", "fault"]) -> dict[str, int]:
    """How many answers carry each label, the most frequent first; "" (right) is left out."""
    return dict(Counter(str(row[key]) for row in scored if row.get(key)).most_common())


# --- repeated trials ---


def _check_trials(successes: Sequence[int], n: int, k: int) -> None:
    if not 1 <= k <= n:
        raise ValueError(f"k={k} needs 1 <= k <= n={n} trials a task")
    if not successes or min(successes) < 0 or max(successes) > n:
        raise ValueError(f"successes={list(successes)} must be counts from 0 to n={n}, one a task")


def pass_hat_k(successes: Sequence[int], n: int, k: int) -> float:
    """pass^k = mean over tasks of C(c, k) / C(n, k): all of k drawn trials succeed.

    `successes` c of `n` trials a task; in [0, 1]; k = 1 is the success rate. Source: tau-bench,
    arXiv 2406.12045. Raises ValueError where k > n.
    """
    _check_trials(successes, n, k)
    return sum(comb(c, k) for c in successes) / comb(n, k) / len(successes)


def pass_at_k(successes: Sequence[int], n: int, k: int) -> float:
    """pass@k = mean over tasks of 1 - C(n - c, k) / C(n, k): at least one of k trials succeeds.

    In [0, 1]; k = 1 is the success rate. Source: Chen et al., arXiv 2107.03374. Raises as pass^k.
    """
    _check_trials(successes, n, k)
    return 1 - sum(comb(n - c, k) for c in successes) / comb(n, k) / len(successes)
