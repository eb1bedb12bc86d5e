"""FireAct: fine-tuning rows (alpaca with the whole trajectory in `output`, or messages) and its
runs.

A run has `traj`, a list of turns or one text; the prompt of the Llama runs is part of that text.
The last observation, "Episode finished, reward = True", is the outcome where the row has no own
field.
"""

from __future__ import annotations

import re
from dataclasses import replace

from raytune_agents.readers.outcomes import outcome_score
from raytune_agents.readers.react import split_text, steps_of, structure
from raytune_agents.readers.shapes import rest_of
from raytune_agents.readers.strict import as_text
from raytune_agents.readers.turns import episode, messages_of
from raytune_agents.records import JsonObject, Message, Trajectory

REWARD = re.compile(r"reward = (\w[\w.]*)")
ASKS, ANSWERS = "### Instruction:\n", "\n\n### Response:\n"  # of the Llama runs


def read(row: JsonObject) -> Trajectory:
    if "messages" in row:
        return _row(messages_of(row["messages"]), row, {}, "messages")
    if "output" in row:
        question = "\n".join(filter(None, (as_text(row["instruction"]), as_text(row.get("input")))))
        return _text(question, as_text(row["output"]), row, {}, "instruction", "input", "output")
    traj = row["traj"]
    if not isinstance(traj, str):
        return _row(messages_of(traj), row, {}, "traj")
    before, asks, rest = traj.rpartition(ASKS)
    question, answers, body = rest.partition(ANSWERS)
    found = asks and answers
    meta = {"head": before + asks + question + answers} if found else {}
    question, body = (question, body) if found else ("", traj)
    return _text(question, body, row, meta, "traj", "traj_by_line")


def _text(question: str, body: str, row: JsonObject, meta: JsonObject, *used: str) -> Trajectory:
    """What stands before the first Thought belongs to the question: it is not the agent's text."""
    turns, around = split_text(body)
    lead = around.get("lead", "")
    user = Message("user", f"{question}\n{lead}" if lead else question)
    return _row([user, *turns], row, meta | around, *used)


def _row(messages: list[Message], row: JsonObject, meta: JsonObject, *used: str) -> Trajectory:
    turns, style = structure([part for m in messages for part in steps_of(m)])
    made = episode(turns, meta=rest_of(row, "id", *used) | meta | style)
    after = made.meta.get("after", [""])[-1]
    reward = row["reward"] if "reward" in row else (REWARD.findall(after) or [None])[-1]
    word = "" if reward is None else f"reward = {reward}"
    source_id = str(row.get("id", ""))
    return replace(made, source_id=source_id, outcome=outcome_score(reward), outcome_word=word)
