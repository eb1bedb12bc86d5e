"""Rule rewards for GRPO and RLOO: pure functions of an answer's text and its row, or of a roll-out.

`toolrl`      correctness in [-3, 3], 6 S / Smax - 3 (ToolRL, arXiv 2504.13958, section 3.2)
`format`      0 or 1: a call exactly where gold has one, in a form that can be read (ToolRL)
`tooln1`      0 or 1: the same calls in any order, each argument's JSON equal (Tool-N1, 2505.00024)
`irrelevance` 0 or 1 where no call is right: 1 = none was made; None elsewhere. To be reported: RL
              for calls alone lowers it
`progress`    0 to 1, calls right so far: of an answer's gold calls, in any order; of a roll-out, of
              the known run's calls in their order, up to the first that it lacks
`goal`        0 to 1: how far a roll-out reached its goal, by last words that say the facts
`executed`    share of a roll-out's calls that the tools ran without an error; 0 without a call

Two differences to the papers: `<think>` is asked for only where the config says so, and a gold
value may be any of BFCL's allowed ones. Gold calls are matched one by one, as ToolRL's code does.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Sequence
from math import isfinite, isnan
from typing import Any

from raytune_agents.agents.worlds import WorldDown, failed_observation, goal_score
from raytune_agents.calls import compare, gold_of, parse
from raytune_agents.calls.fault import pair_calls
from raytune_agents.calls.gold import arguments_of, defaults_of, gold_calls, with_defaults
from raytune_agents.calls.schema import find
from raytune_agents.config import ConfigError
from raytune_agents.config.lookup import user_object
from raytune_agents.negatives.grades import answer_grade
from raytune_agents.negatives.naming import tolerant
from raytune_agents.records import (
    OWN_CODE,
    Message,
    ToolCall,
    Trajectory,
    canonical,
    from_row,
    row_reason,
)

log = logging.getLogger(__name__)
THINK = re.compile(r"\s*<think>(?:(?!</?think>).)+</think>\s*", re.DOTALL)
NO_CALL = "no_call"  # in metrics.jsonl: `no_call_share`
SAME = 1e-6  # rewards that differ by no more are equal
Reward = Callable[[str, Trajectory, bool], float | None]


def after_thought(text: str, think: bool) -> str | None:
    """The answer after its thought; None where one is asked for and there is none, or a tag is
    left over."""
    found = THINK.match(text)
    if think and not found:
        return None
    rest = text[found.end() :] if found else text
    return None if "<think>" in rest or "</think>" in rest else rest


def toolrl(text: str, row: Trajectory, think: bool = False) -> float:
    """Correctness in [-3, 3]; where gold has no call 0: not calling is `format`'s to reward."""
    if not gold_calls(row):
        return 0.0
    # The grade is in [0, 1]; the paper spreads it over [-3, 3].
    return 6.0 * answer_grade(text, row) - 3.0


def format_reward(text: str, row: Trajectory, think: bool = False) -> float:
    """1 where the answer has readable calls and gold has calls, or words and no call where not."""
    body = after_thought(text, think)
    if not body:
        return 0.0
    parsed = parse(body, row.tools)
    if gold_calls(row):
        return float(bool(parsed.calls) and not parsed.error)
    return float(parsed.dialect == "text" and bool(parsed.text))


def _equal(call: ToolCall, name: str, allowed: dict[str, list[Any]]) -> bool:
    """Whether a call is a gold call, values compared as JSON text: 1 is not 1.0."""
    arguments = call.args
    return (
        call.name == name
        and all(
            canonical(arguments[key]) in {canonical(v) for v in values}
            if key in arguments
            else "" in values
            for key, values in allowed.items()
        )
        and not set(arguments) - set(allowed)
    )


def _matched(calls: list[ToolCall], gold: list[tuple[str, dict[str, list[Any]]]]) -> bool:
    """Whether calls and gold pair up one to one, in any order."""
    if not calls or not gold:
        return not calls and not gold
    return any(
        _equal(calls[0], *pair) and _matched(calls[1:], gold[:i] + gold[i + 1 :])
        for i, pair in enumerate(gold)
    )


def _answered(row: Trajectory) -> list[tuple[str, dict[str, list[Any]]]]:
    """The answer's own calls as gold, of rows that came without."""
    found = []
    for call in row.answer.tool_calls:
        exact = {key: [value] for key, value in call.args.items()}
        defaults = defaults_of(find(call.name, row.tools))
        found.append((call.name, with_defaults(exact, defaults)))
    return found


def tooln1(text: str, row: Trajectory, think: bool = False) -> float:
    """1 where the calls are gold's, in any order of calls and arguments; none and none is right."""
    body = after_thought(text, think)
    if body is None:
        return 0.0
    parsed = parse(body, row.tools)
    gold = gold_calls(row) if row.gold else _answered(row)
    return float(not parsed.error and _matched(list(parsed.calls), gold))


def irrelevance(text: str, row: Trajectory, think: bool = False) -> float | None:
    """1 = no call where none is right; None where a call is due."""
    return None if gold_calls(row) else float(not parse(text, row.tools).calls)


def calls_right(text: str, row: Trajectory, think: bool = False) -> float | None:
    """Gold calls that are made right, over as many as gold has or were made, whichever is more;
    None where no call is right."""
    gold = gold_calls(row)
    if not gold:
        return None
    calls = parse(text, row.tools).calls
    try:
        pairs = pair_calls(calls, arguments_of(calls), gold, row)
    except ValueError:
        return 0.0
    return sum(right for _, right in pairs) / max(len(gold), len(calls))


REWARDS: dict[str, Reward] = {
    "toolrl": toolrl,
    "format": format_reward,
    "tooln1": tooln1,
    "irrelevance": irrelevance,
    "progress": calls_right,
}


def goal(rollout: Trajectory, known: Trajectory) -> float | None:
    """How far the goal is reached, 0 to 1, by an answer that says its facts; None where the world
    broke down."""
    try:
        return goal_score(rollout)
    except WorldDown:
        return None


def ran_without_error(rollout: Trajectory, known: Trajectory) -> float:
    """Share of the calls that the tools ran without an error; 0 without a call."""
    ran = [not failed_observation(m.content) for m in rollout.messages if m.role == "tool"]
    return sum(ran) / len(ran) if ran else 0.0


def calls_in_order(rollout: Trajectory, known: Trajectory) -> float | None:
    """Share of the known run's calls, from its first on, that the roll-out made in that order,
    whatever it called in between; None where the known run has none. Mistakes that the known run
    shows before their repair are not asked for."""
    wanted, reached = known.trained_calls, 0
    for call in rollout.calls:
        if reached == len(wanted):
            break
        one_call = Trajectory((Message("assistant", tool_calls=(wanted[reached],)),), known.tools)
        reached += compare([call], gold_of(one_call), known.tools).ok
    return reached / len(wanted) if wanted else None


RolloutReward = Callable[[Trajectory, Trajectory], float | None]  # roll-out, the row it is of
ROLLOUT_REWARDS: dict[str, RolloutReward] = {
    "goal": goal,
    "executed": ran_without_error,
    "progress": calls_in_order,
}


# --- of a batch ---


def equal_groups(rewards: Sequence[float], size: int) -> list[bool]:
    """For each group of `size` rewards whether all are the same, so that no answer has an
    advantage; NaN (nothing could score the answer) is like any other."""
    groups = (rewards[i : i + size] for i in range(0, len(rewards), size))
    known = ([r for r in group if not isnan(r)] for group in groups)
    return [not group or max(group) - min(group) <= SAME for group in known]


def no_call_share(
    answers: Sequence[str], rows: Sequence[str], rollouts: Sequence[str]
) -> float | None:
    """Share of answers (of roll-outs, where they are not "") without a call that can be read, of
    those where one is due; None where none is. Rows and roll-outs are JSON."""
    silent = []
    for text, row, rollout in zip(answers, rows, rollouts, strict=True):
        known = from_row(json.loads(row))
        if rollout:
            silent.append(not from_row(json.loads(rollout)).calls)
        elif gold_calls(known):
            silent.append(not parse(text, known.tools).calls)
    return sum(silent) / len(silent) if silent else None


class OwnReward:
    """A user's reward, asked answer by answer: one that it cannot score has none, and is told once
    for each kind of error. Raises ConfigError where it scores none of the first PATIENCE."""

    PATIENCE = 32

    def __init__(self, name: str) -> None:
        self.name, self.function = name, user_object(name, "train.grpo.rewards")
        self.scored, self.reasons = 0, Counter[str]()

    def __call__(self, text: str, row: Trajectory) -> float | None:
        try:
            value = self.function(text, row)
            if value is None or isfinite(number := float(value)):
                self.scored += 1
                return None if value is None else number
            kind, why = "number", f"it returned {value}"
        except OWN_CODE as error:
            kind, why = type(error).__name__, row_reason(error)
        if kind not in self.reasons:
            log.warning("reward %s: %s; such an answer has none", self.name, why)
        self.reasons[kind] += 1
        if not self.scored and self.reasons.total() >= self.PATIENCE:
            raise ConfigError(
                f"train.grpo.rewards={self.name!r} gives no number for {self.PATIENCE} answers "
                f"({why}); return a number, or None where it does not apply"
            )
        return None


def functions(names: Sequence[str], think: bool) -> list[Callable[..., list[float | None]]]:
    """TRL's reward functions: (completions, row = JSON of a trajectory each, rollout = JSON of
    what came of it, "" where it was one answer) -> one value each; None where it does not apply.
    The first one also logs NO_CALL, where TRL gives it `log_metric`.

    A user's own, "module:function", is called with (answer, row): of a roll-out the last words and
    the run with its observations. Raises ConfigError where it cannot be loaded."""
    own = {name: OwnReward(name) for name in names if ":" in name}

    def worth(name: str, text: str, row: str, rollout: str) -> float | None:
        if name in own:
            ended = from_row(json.loads(rollout or row))
            return own[name](ended.answer.content if rollout else text, ended)
        known = from_row(json.loads(row))
        if rollout:  # rules of one answer have no gold for a run of several
            of_rollout = ROLLOUT_REWARDS.get(name)
            return of_rollout(from_row(json.loads(rollout)), known) if of_rollout else None
        return REWARDS[name](text, tolerant(known), think) if name in REWARDS else None

    def made(name: str) -> Callable[..., list[float | None]]:
        def reward(
            completions: list[str],
            row: list[str],
            rollout: Sequence[str] = (),
            log_metric: Callable[[str, float], None] | None = None,
            **rest: Any,
        ) -> list[float | None]:
            # TRL passes the column only where a roll-out function made one.
            ends = rollout or [""] * len(row)
            share = no_call_share(completions, row, ends) if name == names[0] else None
            if log_metric and share is not None:
                log_metric(NO_CALL, share)
            return [worth(name, *one) for one in zip(completions, row, ends, strict=True)]

        reward.__name__ = name.rpartition(":")[2]  # what metrics.jsonl calls it
        return reward

    return [made(name) for name in names]
