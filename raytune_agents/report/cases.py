"""The stored answers as cases: one test row with every arm's answer; and rows and roll-outs that
the page shows whole."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from raytune_agents.calls import parse
from raytune_agents.evaluate.estimates import DEFAULT, Estimate, mean_of
from raytune_agents.evaluate.measured import grouped_rows
from raytune_agents.evaluate.verdict import ordered_splits
from raytune_agents.records import Trajectory
from raytune_agents.report import findings, lineage
from raytune_agents.report.folder import RunContents, ShownAnswer, ShownRollout

NO_CALL = "(no call)"
UNREADABLE = "(unreadable)"


@dataclass
class Case:
    """One test row: `names` are its gold tools, `answers` those of every arm that was asked."""

    split: str
    id: str
    query: str
    gold: str
    names: list[str]
    answers: dict[str, ShownAnswer] = field(default_factory=dict)

    @property
    def tool(self) -> str:
        """The first gold tool, or NO_CALL."""
        return self.names[0] if self.names else NO_CALL

    @property
    def calls(self) -> str:
        """How many calls are right: "0 calls" .. "3 calls", "4+ calls"."""
        n = len(self.names)
        return "4+ calls" if n > 3 else f"{n} call" + ("" if n == 1 else "s")

    @property
    def source(self) -> str:
        return next((a.source for a in self.answers.values()), "")

    def right(self, arm: str) -> bool | None:
        """Whether the arm's answer is an exact match; None where the arm was not asked."""
        answer = self.answers.get(arm)
        return None if answer is None else answer.right

    def fault_of(self, arm: str) -> str:
        """What is wrong in the arm's answer, "" where it is right or was not asked; the checker's
        error where no fault is named."""
        answer = self.answers.get(arm)
        if answer is None or answer.right:
            return ""
        return answer.fault or answer.error or "unnamed"

    @property
    def faults(self) -> list[str]:
        """What is wrong in the answers of any arm, by name."""
        return sorted({fault for arm in self.answers if (fault := self.fault_of(arm))})


def gold_names(gold: str) -> list[str]:
    """Names of the gold calls of BFCL text `[{name: {arg: [allowed]}}]`; [] = no call is right."""
    try:
        return [name for call in json.loads(gold) or [] for name in call]
    except (ValueError, TypeError):
        return []


def group_cases(answers: Sequence[ShownAnswer]) -> list[Case]:
    """Answers of all arms -> one case per test row, in the order of splits and rows."""
    found: dict[tuple[str, str], Case] = {}
    for row in answers:
        key = (row.split, row.id)
        if key not in found:
            found[key] = Case(row.split, row.id, row.query, row.gold, gold_names(row.gold))
        found[key].answers[row.arm] = row
    rank = {s: i for i, s in enumerate(ordered_splits({s for s, _ in found}))}
    return sorted(found.values(), key=lambda c: rank[c.split])


def change_counts(cases: Sequence[Case], arm: str, split: str) -> dict[str, int]:
    """How many rows of the split the arm fixed and broke against base, and where both agree."""
    pairs = Counter((c.right("base"), c.right(arm)) for c in cases if c.split == split)
    return {
        "fixed": pairs[False, True],
        "broken": pairs[True, False],
        "both_right": pairs[True, True],
        "both_wrong": pairs[False, False],
    }


def telling_cases(cases: Sequence[Case], arm: str, split: str, most: int = 5) -> list[Case]:
    """Cases to read before / after: three that the arm fixed, two it broke, then more of those."""
    own = (c for c in cases if c.split == split)
    kinds = grouped_rows(own, lambda c: (c.right("base"), c.right(arm)))
    pairs = ((False, True), (True, False), (False, False), (True, True))
    fixed, broken, wrong, right = (kinds.get(pair, []) for pair in pairs)
    first = [*fixed[:3], *broken[:2], *fixed[3:], *broken[2:], *wrong, *right][:most]
    chosen = {id(c) for c in first}
    return [c for c in (*fixed, *broken, *wrong, *right) if id(c) in chosen]


def fault_tally(cases: Sequence[Case], arm: str) -> Counter[str]:
    """How often an arm has each fault."""
    return Counter(fault for case in cases if (fault := case.fault_of(arm)))


def wrong_cases(cases: Sequence[Case], most: int) -> list[Case]:
    """At most `most` cases that some arm got wrong; kinds (split, faults) are taken in turn."""
    kinds = grouped_rows((c for c in cases if c.faults), lambda c: (c.split, *c.faults))
    turns = [(i, len(kind), case) for kind in kinds.values() for i, case in enumerate(kind)]
    turns.sort(key=lambda turn: turn[:2])
    chosen = {id(case) for *_, case in turns[:most]}
    return [c for c in cases if id(c) in chosen]


@dataclass
class ShareLine:
    """Exact match of every arm on the `n` cases that share a property, with Wilson's interval."""

    name: str
    n: int
    cells: dict[str, Estimate] = field(default_factory=dict)


def shares_by(
    cases: Sequence[Case], arms: Sequence[str], key: Callable[[Case], str]
) -> list[ShareLine]:
    """Exact match by a property of the case, over all splits: a line per value, most rows first."""
    groups, lines = grouped_rows(cases, key), []
    for name, part in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        rates = {arm: mean_of((c.right(arm) for c in part), DEFAULT) for arm in arms}
        cells = {arm: rate for arm, rate in rates.items() if rate.n}
        lines.append(ShareLine(name, len(part), cells))
    return lines


def tool_choices(cases: Sequence[Case], arm: str) -> Mapping[tuple[str, str], int]:
    """How often (gold tool, chosen tool) occurs in one arm's answers; only first calls count."""
    pairs: Counter[tuple[str, str]] = Counter()
    for case in cases:
        if answer := case.answers.get(arm):
            found = parse(answer.answer)
            none = UNREADABLE if found.error else NO_CALL
            pairs[case.tool, found.calls[0].name if found.calls else none] += 1
    return pairs


# --- shown whole ---


def example_rows(run: RunContents, each: int = 3) -> dict[str, list[Trajectory]]:
    """Up to `each` rows of every pool family, of negatives one of every pool and fault at least:
    accepted ones and different kinds first."""
    chosen: dict[str, list[str]] = {}
    for family in findings.by_family(findings.pool_family(g.pool) for g in run.groups):
        groups = [g for g in run.groups if findings.pool_family(g.pool) == family]
        groups.sort(key=lambda g: (bool(g.reject_reason), -g.n, g.first))
        kinds: dict[tuple[str, str], str] = {}
        for g in groups:
            kinds.setdefault((g.pool, g.fault), g.first)
        most = max(each, len(kinds)) if family == "negative" else each
        rest = (i for g in groups for i in (g.first, g.last))
        chosen[family] = list(dict.fromkeys((*kinds.values(), *rest)))[:most]
    whole = lineage.rows_of(run.path, [i for ids in chosen.values() for i in ids])
    return {family: [whole[i] for i in ids if i in whole] for family, ids in chosen.items()}


def shown_rollouts(run: RunContents, best: str) -> list[ShownRollout]:
    """Roll-outs to read: of base and of the best arm one that reached its goal and one that did
    not, of different tasks where there are some."""
    found, seen = [], set()
    for arm in dict.fromkeys(("base", best or next(iter(run.scores), ""))):
        for done in (True, False):
            mine = [p for p in run.rollouts if p.arm == arm and p.done == done]
            shown = next((p for p in mine if p.task not in seen), next(iter(mine), None))
            if shown is not None:
                seen.add(shown.task)
                found.append(shown)
    return found
