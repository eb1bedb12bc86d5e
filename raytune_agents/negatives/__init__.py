"""Negatives: good rows with one fault put in, and the model's own failures named by their fault.

`FAULTS` is the table of faults, name -> edit. No edit is trusted: `edit` keeps a row only where
our checker calls its answer wrong and names the same fault. `meta.grade` in [0, 1) says how nearly
right a negative is (NAT-k). Left out: asking a model for answers (the generate step does),
choosing how many of each go into training (`mix`).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from raytune_agents.agents.worlds import WorldDown, ends_in_world
from raytune_agents.calls import judge, parse, render_calls
from raytune_agents.calls.gold import tolerant_gold
from raytune_agents.config import ConfigError
from raytune_agents.config.lookup import did_you_mean, user_object
from raytune_agents.negatives import answers, trajectories
from raytune_agents.negatives.answers import Fault
from raytune_agents.negatives.grades import answer_grade, run_grade
from raytune_agents.negatives.naming import answer_fault, answer_text, tolerant, trajectory_fault
from raytune_agents.negatives.wrong_values import SeenValues
from raytune_agents.records import OWN_CODE, ROW_FAULTS, Message, Trajectory, derive

TRAJECTORY_FAULTS: dict[str, Fault] = {  # they need a row that was run in a world
    "wrong_order": trajectories.wrong_order,
    "looping": trajectories.looping,
    "premature_finish": trajectories.premature_finish,
    "no_termination": trajectories.no_termination,
    "no_recovery_after_error": trajectories.no_recovery_after_error,
    "ignore_observation": trajectories.ignore_observation,
    "fabricated_output": trajectories.fabricated_output,
    "bad_thought": trajectories.bad_thought,
}
FAULTS: dict[str, Fault] = {
    "wrong_function": answers.wrong_function,
    "hallucinated_function": answers.hallucinated_function,
    "missing_required": answers.missing_required,
    "missing_optional_needed": answers.missing_optional_needed,
    "extra_argument": answers.extra_argument,
    "wrong_argument_name": answers.wrong_argument_name,
    "wrong_value": answers.wrong_value,
    "wrong_type": answers.wrong_type,
    "swapped_values": answers.swapped_values,
    "malformed_json": answers.malformed_json,
    "wrong_format": answers.wrong_format,
    "missing_call": answers.missing_call,
    "extra_call": answers.extra_call,
    "repeated_call": answers.repeated_call,
    "answered_directly": answers.answered_directly,
    "unneeded_call": answers.unneeded_call,
    "should_ask_violated": answers.should_ask_violated,
    "should_refuse_violated": answers.should_refuse_violated,
    **TRAJECTORY_FAULTS,
}
TRIES = 8  # draws of an edit before a row counts as unfit for the fault


def fault_named(name: str) -> Fault:
    """A fault of FAULTS, or a user's own as "module:function". Raises ConfigError."""
    if name in FAULTS:
        return FAULTS[name]
    if ":" in name:
        return user_object(name, "negatives.faults", "or a name in FAULTS")
    hint = did_you_mean(name, FAULTS, "faults are")
    raise ConfigError(f"negatives.faults: {name!r} is no fault; {hint}")


def editable(row: Trajectory) -> bool:
    """Whether a row can be made wrong: it has a call, or no call is right."""
    return bool(row.calls) or row.gold == "[]"


def suits(row: Trajectory, fault: str) -> bool:
    """Whether a row is of the kind that the fault is about; the edit may still find nothing."""
    if fault in TRAJECTORY_FAULTS:
        wants_error = fault == "no_recovery_after_error"
        return bool(trajectories.steps(row)) and not (wants_error and not trajectories.errors(row))
    if ends_in_world(row):
        return False
    kinds = {"should_ask_violated": "ask", "should_refuse_violated": "refuse"}
    if fault in kinds:
        return kinds[fault] in row.meta
    if fault == "unneeded_call":
        return row.gold == "[]" and not {"ask", "refuse"} & set(row.meta)
    calls = len(row.target.tool_calls) if row.target else 0
    return editable(row) if ":" in fault else calls > (fault == "missing_call")


def verified(row: Trajectory, bad: Trajectory, fault: str) -> str:
    """Why `bad` is no proper negative of `row`: still_right, named:OTHER; "" if it is one. A fault
    of a user's own has no name in the checker: that the answer is wrong is all that is asked."""
    if fault in TRAJECTORY_FAULTS:
        named = trajectory_fault(bad, row)
    else:
        text = answer_text(bad.answer)
        named = "" if judge(text, row).ok else answer_fault(text, row)
    if named == fault or (named and ":" in fault):
        return ""
    return f"named:{named}" if named else "still_right"


def _negative(
    row: Trajectory, messages: tuple[Message, ...], fault: str, step: str, seed: int = 0
) -> Trajectory:
    if fault in TRAJECTORY_FAULTS:
        grade = run_grade(replace(row, messages=messages), row)
    else:
        grade = answer_grade(answer_text(messages[-1]), row)
    return derive(
        row,
        messages=messages,
        pool=f"negative.{fault}",
        fault=fault,
        outcome=0.0,
        seed=seed,
        gold=tolerant_gold(row),
        step=step,
        meta=row.meta | {"grade": round(grade, 4)},
    )


@dataclass(frozen=True)
class Setting:
    """What edits know beyond their row: values of other rows, and how the model writes calls."""

    seen: SeenValues = field(default_factory=dict)
    written: answers.Written = answers.in_our_form

    def edit_of(self, fault: str) -> Fault:
        """The fault's edit, told what it needs."""
        if fault == "wrong_value":
            return partial(answers.wrong_value, seen=self.seen)
        if fault == "malformed_json":
            return partial(answers.malformed_json, written=self.written)
        if fault == "wrong_format":
            return partial(answers.wrong_format, written=self.written)
        return fault_named(fault)


PLAIN = Setting()


def edit(
    row: Trajectory, fault: str, seed: int, setting: Setting = PLAIN
) -> tuple[Trajectory | None, str]:
    """The row with one fault put in, or (None, reason).

    Reasons: not_a_positive (its own turn is not right), not_applicable, still_right (the edit
    landed on another allowed answer), named:OTHER (the checker sees another fault), world_down,
    edit_error:NAME (a strange row, or fault of a user's own). A row that was run in a world must be
    right as a whole.
    """
    # A default may be said or left out: an edit that only does so has made nothing wrong.
    row = tolerant(row)
    if row.target is None and row.gold == "[]":  # any answer without a call is right
        row = replace(row, messages=(*row.messages, Message("assistant")))
    if row.target is None or not judge(answer_text(row.target), row).ok:
        return None, "not_a_positive"
    rng = random.Random(f"{seed}/{row.id}/{fault}")
    put_in, reason = setting.edit_of(fault), "not_applicable"
    try:
        if ends_in_world(row) and trajectory_fault(row, row):
            return None, "not_a_positive"
        for _ in range(TRIES):
            bad = put_in(row, rng)
            if bad is None:
                continue
            reason = verified(row, bad, fault)
            if not reason:
                return _negative(row, bad.messages, fault, "negatives.edit", seed), ""
    except WorldDown:
        reason = "world_down"
    except OWN_CODE as error:
        if ":" not in fault and not isinstance(error, ROW_FAULTS):
            raise  # a fault of ours that breaks is no row's
        reason = f"edit_error:{type(error).__name__}"
    return None, reason


def mined(row: Trajectory, text: str) -> Trajectory | None:
    """The model's own answer to the row's prompt as a negative; None if it is right or empty.

    The turn keeps the model's text byte for byte where it is not our own rendering of its calls.
    """
    row = tolerant(row)
    fault = answer_fault(text, row)
    if not fault or fault == "bad_gold" or not text.strip():
        return None
    calls = parse(text, row.tools).calls
    ours = calls and render_calls(calls) == text
    turn = Message("assistant", tool_calls=calls) if ours else Message("assistant", text)
    return _negative(row, (*row.prompt, turn), fault, "negatives.mined")


def fault_shares(
    mined_counts: Mapping[str, int], floor: float, names: Sequence[str] = ()
) -> dict[str, float]:
    """The share of each fault: floor / k + (1 - floor) * its mined share; sums to 1.

    `names` empty = all of FAULTS. Without any mined failure of these names the shares are even.
    """
    chosen = list(names) or list(FAULTS)
    total = sum(mined_counts.get(name, 0) for name in chosen)
    floor = floor if total else 1.0
    seen = {name: mined_counts.get(name, 0) / total if total else 0.0 for name in chosen}
    return {name: floor / len(chosen) + (1 - floor) * seen[name] for name in chosen}


def choose_faults(
    mined_counts: Mapping[str, int],
    n: int,
    floor: float,
    rng: random.Random,
    names: Sequence[str] = (),
) -> list[str]:
    """`n` fault names, as close to `fault_shares` as whole numbers can be, in random order."""
    shares = fault_shares(mined_counts, floor, names)
    counts = {name: int(n * share) for name, share in shares.items()}
    rest = sorted(shares, key=lambda name: (counts[name] - n * shares[name], rng.random()))
    for name in rest[: n - sum(counts.values())]:
        counts[name] += 1
    out = [name for name, count in counts.items() for _ in range(count)]
    rng.shuffle(out)
    return out
