"""How nearly right a failure is, in [0, 1): the grade that NAT-k groups negatives by.

A single answer: S / Smax of ToolRL (arXiv 2504.13958, section 3.2): names, argument names and
values that agree. A run in a world: the share of needed calls and of a right last answer. Right
answers are 1, wrong ones at most 0.99.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from raytune_agents.agents.wording import survives
from raytune_agents.agents.worlds import task_of
from raytune_agents.calls import judge, parse
from raytune_agents.calls.gold import LEFT_OUT, Allowed, gold_calls
from raytune_agents.records import Arguments, Trajectory

MOST = 0.99


def multiset_jaccard(a: Counter[str], b: Counter[str]) -> float:
    """Size of the intersection over size of the union of two multisets; 1 where both are empty."""
    union = (a | b).total()
    return (a & b).total() / union if union else 1.0


def _match(arguments: Arguments, allowed: dict[str, list[Any]]) -> float:
    """Argument names' Jaccard plus the number of allowed values, for one pair of calls."""
    keys = multiset_jaccard(Counter(list(arguments)), Counter(list(allowed)))
    return keys + sum(k in arguments and arguments[k] in values for k, values in allowed.items())


def _needed(arguments: Arguments, allowed: Allowed) -> Allowed:
    """The arguments that gold asks for, or that are given where it lets them."""
    return {k: v for k, v in allowed.items() if LEFT_OUT not in v or k in arguments}


def answer_grade(text: str, row: Trajectory) -> float:
    """S / Smax of an answer against the row's gold; Smax = 1 + sum over gold calls of 1 +
    #arguments.

    An unreadable answer, prose where a call is due and a call where none is due are 0. Gold calls
    take the best free call of their name, one after another. What may be left out, and is, counts
    nowhere.
    """
    if judge(text, row).ok:
        return 1.0
    gold = gold_calls(row)
    calls = parse(text, row.tools).calls
    if not gold or not calls:
        return 0.0
    names = multiset_jaccard(Counter(c.name for c in calls), Counter(name for name, _ in gold))
    score, most, free = names, 1.0, list(calls)
    for name, allowed in gold:
        same = [c for c in free if c.name == name]
        best = max(same, key=lambda c: _match(c.args, _needed(c.args, allowed)), default=None)
        args = best.args if best else {}
        most += 1 + len(_needed(args, allowed))
        if best:
            score += _match(args, _needed(args, allowed))
            free.remove(best)
    return min(MOST, score / most)


def run_grade(row: Trajectory, reference: Trajectory) -> float:
    """The share of calls that the twin made too (multisets, Jaccard), and of a last answer that
    says the twin's facts, the answer weighing as one call. At most 0.99: the run is known to be
    wrong."""
    made = Counter(c.key for c in row.calls)
    needed = Counter(c.key for c in reference.calls)
    last = row.target.content if row.target and not row.target.tool_calls else ""
    task = task_of(reference)
    facts_stated = bool(last) and all(survives(f, last) for f in (task and task.facts) or ())
    # The last answer weighs as one more call, hence the 1.
    union = (made | needed).total() + 1
    return min(MOST, ((made & needed).total() + facts_stated) / union)
