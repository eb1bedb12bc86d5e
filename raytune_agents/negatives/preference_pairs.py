"""Pairs for preference methods, as two rows of which the rejected one has the chosen one as
parent.

Three kinds: `minimal` (a negative and the positive it was edited from), `outcome` (success and
failure at one task, the rules of ETO, arXiv 2403.02502, section 3.2) and `step` (the first turn on
which a failure leaves a success; Step-level DPO as in IPR, arXiv 2406.11176). What a method does
with a pair is `train.dpo`'s part.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import takewhile

from raytune_agents.calls import judge
from raytune_agents.calls.gold import tolerant_gold
from raytune_agents.negatives.naming import answer_text, tolerant
from raytune_agents.records import Message, Trajectory, derive

MORE_ROUNDS = 5  # rounds by which a rejected run may be longer than the chosen one (ETO)


@dataclass(frozen=True)
class Pair:
    """`shared` is the number of messages both rows begin with: the prompt."""

    chosen: Trajectory
    rejected: Trajectory
    kind: str
    shared: int


def _identity(message: Message) -> tuple[str, str, str]:
    # Without the ids of calls, which two runs of one task give differently.
    return message.role, message.thought, answer_text(message)


def shared_prompt(a: Trajectory, b: Trajectory) -> int:
    """How many messages two rows begin with in common."""
    same = (_identity(x) == _identity(y) for x, y in zip(a.messages, b.messages))
    return sum(1 for _ in takewhile(bool, same))


def ended(row: Trajectory, rounds: int | None = None) -> Trajectory | None:
    """The row cut after at most `rounds` assistant turns and before trailing environment turns;
    None where no assistant turn is left."""
    turns = [i for i, m in enumerate(row.messages) if m.role == "assistant"][:rounds]
    return replace(row, messages=row.messages[: turns[-1] + 1]) if turns else None


def both_right(pair: Pair) -> bool:
    """Whether the sides part at their last turns and only in how they spell one right answer: one
    says a default that the other leaves out."""
    chosen, rejected = pair.chosen, pair.rejected
    if not pair.shared == len(chosen.messages) - 1 == len(rejected.messages) - 1:
        return False
    good, bad = chosen.messages[-1], rejected.messages[-1]
    if not good.tool_calls or (good.thought, good.content) != (bad.thought, bad.content):
        return False
    return judge(answer_text(bad), tolerant(chosen)).ok


def _pair(chosen: Trajectory, rejected: Trajectory, kind: str) -> Pair | None:
    """The pair with its link; None where the sides agree, are both right or share no
    request."""
    shared = shared_prompt(chosen, rejected)
    if not any(m.role == "user" for m in chosen.messages[:shared]):
        return None
    if shared == min(len(chosen.messages), len(rejected.messages)):
        return None  # equal, or one is the start of the other: nothing to prefer
    if any(row.messages[shared].role != "assistant" for row in (chosen, rejected)):
        return None  # the environment differs, not the agent
    if chosen.id not in rejected.parents:
        rejected = replace(rejected, parents=(chosen.id, *rejected.parents))
    pair = Pair(chosen, rejected, kind, shared)
    return None if both_right(pair) else pair


def minimal_pairs(rows: Iterable[Trajectory]) -> list[Pair]:
    """Every failure with the parent it was made from (or read beside), where that is among the
    rows."""
    rows = list(rows)
    by_id = {r.id: r for r in rows}
    made = ((by_id[p], r) for r in rows if r.failed for p in r.parents[:1] if p in by_id)
    pairs = (_pair(good, bad, "minimal") for good, bad in made if not good.failed)
    return [p for p in pairs if p is not None]


def outcome_pair(a: Trajectory, b: Trajectory) -> Pair | None:
    """The better of two runs of one task against the worse; None where they tie or a reward is
    unknown.

    Both ends are assistant turns, and the rejected run is at most five rounds longer.
    """
    if a.outcome is None or b.outcome is None or a.outcome == b.outcome:
        return None
    good, bad = (a, b) if a.outcome > b.outcome else (b, a)
    rounds = sum(m.role == "assistant" for m in good.messages)
    chosen, rejected = ended(good), ended(bad, rounds + MORE_ROUNDS)
    return _pair(chosen, rejected, "outcome") if chosen and rejected else None


def first_request(row: Trajectory) -> str:
    """What both rows of any pair have in common (`_pair`): rows of other requests need not meet."""
    return next((m.content for m in row.messages if m.role == "user"), "")


def outcome_pairs(rows: Iterable[Trajectory]) -> list[Pair]:
    """Every failure of a task with its best run (ETO): ties and unknown rewards give none. Runs of
    one source with the same first request are of one task."""
    tasks: dict[object, list[Trajectory]] = {}
    for row in rows:
        tasks.setdefault((row.source, first_request(row)), []).append(row)
    out = []
    for runs in tasks.values():
        known = [r for r in runs if r.outcome is not None]
        if known:
            # ETO pairs each failure with the best run only: worse successes teach less.
            best = max(known, key=lambda r: r.outcome or 0.0)
            pairs = (outcome_pair(best, r) for r in known if r is not best)
            out += [p for p in pairs if p is not None]
    return out


def step_pair(pair: Pair) -> Pair:
    """The pair cut to the first turn on which its sides differ, with the common turns as prompt."""

    def cut(row: Trajectory, parents: tuple[str, ...], gold: str) -> Trajectory:
        before = [
            replace(m, loss=False) if m.role == "assistant" else m
            for m in row.messages[: pair.shared]
        ]
        # One step reaches no goal; with it the row would be taken for a task to be rolled out.
        meta = {k: v for k, v in row.meta.items() if k not in ("goal", "world")}
        messages = (*before, row.messages[pair.shared])
        return derive(
            row, messages=messages, parents=parents, meta=meta, gold=gold, outcome=row.outcome
        )

    chosen = cut(pair.chosen, (pair.chosen.id,), "")
    rejected = cut(pair.rejected, (chosen.id, pair.rejected.id), tolerant_gold(chosen))
    return Pair(chosen, rejected, "step", pair.shared)
