"""Good steps of failed runs, by hand and on real ones."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from method_rows import small_chat

from raytune_agents.chat import IGNORE
from raytune_agents.config import LabelConfig
from raytune_agents.filters import active_rules, first_reason
from raytune_agents.negatives.good_steps import good_step_rows, good_steps, with_good_steps
from raytune_agents.readers import fireact
from raytune_agents.records import Message, ToolCall, Trajectory, finish

REAL = Path(__file__).parents[3] / "shared" / "data" / "fireact"


def step(name: str, value: str, seen: str, **more: object) -> tuple[Message, Message]:
    call = ToolCall.of(name, input=value)
    return Message("assistant", tool_calls=(call,), **more), Message("tool", seen, name=name)


def run(*steps: tuple[Message, ...], end: str = "", outcome: float = 0.0) -> Trajectory:
    last = Message("assistant", tool_calls=(ToolCall.of("finish", input=end),))
    turns = (m for pair in steps for m in pair)
    return finish(Trajectory((Message("user", "Who?"), *turns, last), source="t", outcome=outcome))


WON = run(step("search", "show", "It is American Dad."), step("look", "creator", "By MacFarlane."),
          end="Seth MacFarlane", outcome=1.0)  # fmt: skip


def test_a_step_is_good_by_a_success_or_by_what_it_saw() -> None:
    failed = run(
        step("search", "nothing", "No such page."),  # 1: bad
        step("search", "SHOW", "It is American Dad."),  # 3: the success made it
        step("search", "cast", "Voices: seth macfarlane and others."),  # 5: saw the success's end
        step("look", "creator", '{"error": "no page is open"}'),  # 7: an error
        end="Seth MacFarlane",  # 9: how a failure ends is never good
    )
    assert good_steps(failed, [WON]) == [3, 5]
    assert good_steps(failed, []) == []
    made = with_good_steps(failed, [WON])
    assert made is not None
    assert [m.loss for m in made.messages] == [None, False, None, None, None, None]
    assert (made.pool, made.failed, made.parents) == ("positive.eef", False, (failed.id, WON.id))
    (example,) = small_chat().encode(made)
    said = small_chat().tokenizer.decode([t for t in example.labels if t != IGNORE])
    assert ("SHOW" in said, "cast" in said, "nothing" in said) == (True, True, False)


def test_what_the_success_shows_itself_and_what_is_without_one_gives_no_row() -> None:
    same = run(step("search", "show", "It is American Dad."), end="Matt Groening")
    assert good_steps(same, [WON]) == [1]
    assert with_good_steps(same, [WON]) is None
    other = replace(run(step("search", "x", "y"), end="z"), messages=(Message("user", "What?"),))
    late = run(step("search", "x", "y"), step("search", "show", "American Dad"), end="z")
    rows, refused = good_step_rows([same, WON, other, late])
    assert [row.parents[0] for row in rows] == [late.id]
    assert refused == Counter({"no_good_step": 1, "no_success": 1})


def test_a_step_whose_source_gave_it_no_loss_stays_without() -> None:
    failed = run(step("search", "show", "American Dad", loss=False),
                 step("look", "creator", "By MacFarlane."), end="x")  # fmt: skip
    assert good_steps(failed, [WON]) == [3]


@pytest.mark.skipif(not REAL.is_dir(), reason="the runs of FireAct are not at hand")
def test_real_failures_give_rows_that_pass_the_rules() -> None:
    rows = []
    for name in ("gpt35", "llama2_13b", "llama2_7b"):
        with gzip.open(REAL / f"runs_{name}.json.gz", "rt", encoding="utf-8") as file:
            runs = [(i, one) for i, one in json.load(file).items() if int(i) % 2]
        rows += [finish(replace(fireact.read(one | {"id": i}), source=name)) for i, one in runs]
    made, refused = good_step_rows(rows)
    assert len(made) + refused.total() == sum(row.failed for row in rows)
    assert len(made) >= 15
    rules = active_rules(LabelConfig())
    reasons = Counter(first_reason(row, rules) for row in made)
    assert reasons[""] >= 0.8 * len(made), reasons
    assert all(row.trained_calls and row.answer.trained for row in made)
    assert all(len(row.trained_calls) <= len(row.calls) for row in made)
