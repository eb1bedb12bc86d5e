"""Naming what is wrong: a single answer by the checker, a whole trajectory by running it again.

`trajectory_fault` knows no edit: it replays the calls, compares observations, state and facts, and
reads the turns. A good trajectory has no name.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from itertools import groupby

from raytune_agents.agents.word_banks import leaves
from raytune_agents.agents.wording import survives
from raytune_agents.agents.worlds import Episode, completed, failed_observation, task_of
from raytune_agents.calls import fault_of, render_calls
from raytune_agents.calls.gold import key_without_defaults, tolerant_gold
from raytune_agents.records import Message, Trajectory

LOOP = 3  # identical calls in a row that count as a loop (AgentTuning, arXiv 2310.12823)
TOKEN = re.compile(r"[\w.\-/]*\d[\w.\-/]*")  # what a fact with digits looks like


def answer_text(message: Message) -> str:
    """What a model would have written for this turn: prose, then its calls."""
    return "\n".join(part for part in (message.content, render_calls(message.tool_calls)) if part)


def tolerant(row: Trajectory) -> Trajectory:
    """The row, where its source wrote the gold with defaults said or left out too; gold that
    cannot be read stays."""
    try:
        return replace(row, gold=tolerant_gold(row)) if row.gold else row
    except ValueError:
        return row


def answer_fault(text: str, row: Trajectory) -> str:
    """`calls.fault_of`, told apart where no call is right: the row's meta says whether the right
    answer was a question (`ask`) or a refusal (`refuse`)."""
    fault = fault_of(text, row)
    right = next((word for word in ("ask", "refuse") if row.meta.get(word)), "")
    return f"should_{right}_violated" if fault == "unneeded_call" and right else fault


def _keys(row: Trajectory) -> list[str]:
    """The row's calls in order, defaults said or left out being one."""
    return [key_without_defaults(c, row.tools) for c in row.calls]


def _runs(keys: list[str]) -> int:
    """The longest run of equal neighbours."""
    return max((len([*run]) for _, run in groupby(keys)), default=0)


def _real(row: Trajectory) -> bool:
    """Whether every observation is what the world says to the call before it."""
    task = task_of(row)
    if task is None:
        return False
    episode = Episode(task, row.tools)
    made = [episode.call(c) for m in row.messages for c in m.tool_calls]
    seen = [m.content for m in row.messages if m.role == "tool"]
    return seen == made[: len(seen)]


def _too_early(row: Trajectory) -> bool:
    """Whether a call uses a value that only a later observation gives."""
    for i, message in enumerate(row.messages):
        before = " ".join(m.content for m in row.messages[:i])
        after = " ".join(m.content for m in row.messages[i + 2 :] if m.role == "tool")
        values = [str(v) for c in message.tool_calls for v in leaves(c.args)]
        if any(not survives(v, before) and survives(v, after) for v in values):
            return True
    return False


def _contradicts(row: Trajectory) -> bool:
    """Whether a thought names a candidate that is not called, and not the one that is."""
    for message in row.messages:
        called = {c.name for c in message.tool_calls}
        if message.thought and called:
            named = {t.name for t in row.tools if survives(t.name, message.thought)}
            if named and not named & called:
                return True
    return False


def _repeats_error(row: Trajectory) -> bool:
    """Whether a call that has just failed is made again unchanged."""
    keys = _keys(row)
    seen = [m.content for m in row.messages if m.role == "tool"]
    return any(failed_observation(text) and a == b for text, a, b in zip(seen, keys, keys[1:]))


def _invents(row: Trajectory) -> bool:
    """Whether the last turn has a number or id that nobody said before."""
    prompt = " ".join(m.content for m in row.prompt)
    tokens = [t.strip(".-/") for t in TOKEN.findall(row.answer.content)]
    return any(not survives(t, prompt) for t in tokens)


def trajectory_fault(row: Trajectory, reference: Trajectory) -> str:
    """The fault of a run in a world; "" where right, "unreal" where an observation is made up.

    `reference` is a run known to be good: it tells what a right order and the needed steps are.
    """
    if not _real(row):
        return "unreal"
    calls, needed = _keys(row), _keys(reference)
    done = completed(row)
    if _runs(calls) >= LOOP:
        return "looping"
    if _repeats_error(row) and not done:
        return "no_recovery_after_error"
    if row.target is None or row.target.tool_calls:
        return "no_termination" if calls[: len(needed)] == needed else "unfinished"
    if calls != needed and Counter(calls) == Counter(needed) and (not done or _too_early(row)):
        return "wrong_order"
    if not done and calls == needed:
        return "fabricated_output" if _invents(row) else "ignore_observation"
    if not done:
        return "premature_finish" if calls == needed[: len(calls)] else "goal_missed"
    return "bad_thought" if _contradicts(row) else ""
