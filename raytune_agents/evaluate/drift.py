"""Do answers in use look like the evaluation's? Three shares per arm, without any gold.

Counted are answers to a user's turn, as an evaluation asks for: an answer after a tool's result
may well hold no call. Of an evaluation the run's own test rows count, where it has some: suites
like BFCL ask other things. The shares differ where Fisher's exact test says so at ALPHA, by Holm
over all of them. Pure: rows in, findings out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from raytune_agents.calls import parse
from raytune_agents.calls.schema import find
from raytune_agents.evaluate.measured import AnswerRow, grouped_rows
from raytune_agents.evaluate.paired import holm
from raytune_agents.records import Message, ToolSpec, Trajectory

ALPHA = 0.05
UNPARSABLE, UNKNOWN_TOOL, NO_CALL = "unparsable", "unknown tool", "no call"
SIGNS = (UNPARSABLE, UNKNOWN_TOOL, NO_CALL)
Signs = Mapping[str, bool | None]  # None where it cannot be said


@dataclass(frozen=True, slots=True)
class ShareDrift:
    """How often `arm` showed `sign`: (answers with it, answers) in the evaluation and in use."""

    arm: str
    sign: str
    evaluated: tuple[int, int]
    used: tuple[int, int]
    p_holm: float = 1.0

    @property
    def drifted(self) -> bool:
        return self.p_holm < ALPHA


def signs_in_use(turn: Message, tools: tuple[ToolSpec, ...]) -> Signs:
    """Of a recorded answer. A call that stands in its text was not read by its server."""
    said = None if turn.tool_calls else parse(turn.content, tools)
    unparsable = bool(said and (said.error or said.calls))
    unknown = any(find(c.name, tools) is None for c in turn.tool_calls)
    return {
        UNPARSABLE: unparsable,
        UNKNOWN_TOOL: None if unparsable or not tools else unknown,
        NO_CALL: not turn.tool_calls,
    }


def signs_evaluated(answer: AnswerRow) -> Signs:
    """The same of an evaluation's answer, by its metrics."""
    value = answer.values.get
    form, unknown, relevance = (
        value(k) for k in ("format_adherence", "hallucinated_tool", "relevance")
    )
    none = value("irrelevance") if relevance is None else 1 - relevance
    return {
        UNPARSABLE: None if form is None else form < 1,
        UNKNOWN_TOOL: None if unknown is None else unknown > 0,
        NO_CALL: None if none is None else none > 0,
    }


def first_answers(row: Trajectory) -> list[Message]:
    """The assistant turns that follow a user's."""
    pairs = zip(row.messages, row.messages[1:])
    return [b for a, b in pairs if (a.role, b.role) == ("user", "assistant")]


def arm_in_use(row: Trajectory, otherwise: str | None = None) -> str:
    """The arm that the router named, else `otherwise`; "" for none, or several."""
    arm = row.meta.get("arm", otherwise)
    return arm if isinstance(arm, str) else ""


def share_drifts(
    answers: Iterable[AnswerRow], rows: Iterable[Trajectory], otherwise: str | None = None
) -> list[ShareDrift]:
    """Every sign of every arm that has answers on both sides."""
    kept = [a for a in answers if not a.failed and a.split != "val"]
    own = [a for a in kept if a.split.startswith("test")] or kept
    before = grouped_rows(own, lambda answer: answer.arm)
    after = grouped_rows(rows, lambda row: arm_in_use(row, otherwise))
    found = {}
    for arm in (arm for arm in before if arm in after):
        evaluated = [signs_evaluated(answer) for answer in before[arm]]
        used = [signs_in_use(turn, r.tools) for r in after[arm] for turn in first_answers(r)]
        for sign in SIGNS:
            drift = ShareDrift(arm, sign, _share(evaluated, sign), _share(used, sign))
            found[f"{arm}/{sign}"] = drift
    adjusted = holm({k: _p_value(d) for k, d in found.items() if d.evaluated[1] and d.used[1]})
    return [replace(d, p_holm=adjusted.get(k, 1.0)) for k, d in found.items()]


def _share(signs: Iterable[Signs], sign: str) -> tuple[int, int]:
    known = [s[sign] for s in signs if s[sign] is not None]
    return sum(map(bool, known)), len(known)


def _p_value(drift: ShareDrift) -> float:
    from scipy.stats import fisher_exact  # half a second that `compare` of runs need not wait

    table = [[with_it, of - with_it] for with_it, of in (drift.evaluated, drift.used)]
    return float(fisher_exact(table).pvalue)


def rows_to_train_on(
    rows: Iterable[Trajectory], drifts: Iterable[ShareDrift], otherwise: str | None = None
) -> list[tuple[str, Trajectory]]:
    """(why, row) of what to train on next, the surest reason first: the user called it a failure,
    an answer has no readable call or calls an unknown tool, or it shows what drifted."""
    more = {(d.arm, d.sign) for d in drifts if d.drifted and _rate(d.used) > _rate(d.evaluated)}
    found = []
    for row in rows:
        arm = arm_in_use(row, otherwise)
        shown = [signs_in_use(turn, row.tools) for turn in first_answers(row)]
        wanted = [UNPARSABLE, UNKNOWN_TOOL] + ([NO_CALL] if (arm, NO_CALL) in more else [])
        why = ["failed"] if row.failed else []
        why += [sign for sign in wanted if any(s[sign] for s in shown)]
        if why:
            found.append((why[0], row))
    order = ("failed", *SIGNS)
    return sorted(found, key=lambda pair: order.index(pair[0]))


def _rate(share: tuple[int, int]) -> float:
    return share[0] / share[1] if share[1] else 0.0
