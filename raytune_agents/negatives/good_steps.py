"""Good actions kept out of failed runs (Exploring Expert Failures, EEF, arXiv 2504.13145): a failed
run up to its last good step, whose bad steps carry no loss.

EEF finds good steps by playing on from them. Runs that are only recorded cannot be played, so a
step is good here by what successes at the same task tell: one of them made the same calls, or what
the step saw says what one of them ended on. How a failed run ends is never good. Left out: runs
without a success at their task, and steps that the success shows itself in the same place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import takewhile

from raytune_agents.agents.word_banks import leaves
from raytune_agents.agents.wording import survives
from raytune_agents.agents.worlds import failed_observation
from raytune_agents.negatives.preference_pairs import first_request, shared_prompt
from raytune_agents.records import Message, Trajectory, derive

POOL = "positive.eef"
LEAST_CHARS = 4  # of a value that tells something where it stands; "yes" stands anywhere


def final_values(run: Trajectory) -> set[str]:
    """The values of a run's last calls, or its last words."""
    last = run.answer if run.target else Message("assistant")
    try:
        found = [v for call in last.tool_calls for v in leaves(call.args)] or [last.content]
    except ValueError:
        return set()
    texts = {str(v).strip() for v in found if not isinstance(v, bool)}
    return {text for text in texts if len(text) >= LEAST_CHARS}


def good_steps(failed: Trajectory, successes: Sequence[Trajectory]) -> list[int]:
    """The places in `messages` of a failed run's good steps, by successes at its task: turns with
    calls whose observations are no errors, and that one of them also made, or that saw what one of
    them ended on."""
    # in any case of letters: what is written anew is the same call
    made = {call.key.casefold() for run in successes for call in run.trained_calls}
    ends = set().union(*map(final_values, successes))
    out = []
    for i, turn in enumerate(failed.messages):
        after = takewhile(lambda m: m.role == "tool", failed.messages[i + 1 :])
        seen = [m.content for m in after]
        if not turn.trained or not turn.tool_calls or not any(seen):
            continue  # it ended the run, which failed
        known = all(call.key.casefold() in made for call in turn.tool_calls)
        found = any(survives(value, text) for value in ends for text in seen)
        if (known or found) and not any(map(failed_observation, seen)):
            out.append(i)
    return out


def with_good_steps(failed: Trajectory, successes: Sequence[Trajectory]) -> Trajectory | None:
    """The failed run up to its last good step, without loss on what is not good; None where no good
    step stands where every success does otherwise."""
    good = good_steps(failed, successes)
    shown = max((shared_prompt(failed, run) for run in successes), default=0)
    if not good or good[-1] < shown:
        return None
    messages = tuple(
        replace(m, loss=False) if m.role == "assistant" and i not in good else m
        for i, m in enumerate(failed.messages[: good[-1] + 1])
    )
    # It is no run that reached, or missed, its goal any more.
    meta = {k: v for k, v in failed.meta.items() if k not in ("goal", "world", "after", "grade")}
    changes = {"pool": POOL, "fault": "", "gold": "", "step": "negatives.good_steps"}
    return derive(failed, *successes[:1], messages=messages, meta=meta, **changes)


def good_step_rows(rows: Iterable[Trajectory]) -> tuple[list[Trajectory], Counter[str]]:
    """What failed runs give beside successes at their task (the same first request), and how many
    gave nothing, by reason."""
    tasks: dict[str, list[Trajectory]] = {}
    for row in rows:
        tasks.setdefault(first_request(row), []).append(row)
    out, refused = [], Counter[str]()
    for runs in tasks.values():
        successes = [run for run in runs if not run.failed]
        for failed in (run for run in runs if run.failed):
            if made := with_good_steps(failed, successes):
                out.append(made)
            else:
                refused["no_good_step" if successes else "no_success"] += 1
    return out, refused
