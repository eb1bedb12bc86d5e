"""When2Call: multiple-choice test rows and preference rows. (Its SFT rows are `openai`.)

A test row gives the right answer, the other kinds stay in `meta["answers"]`. A preference row
gives two: the chosen answer, and the rejected one (pool "negative.rejected") with the chosen as
its parent.
"""

from __future__ import annotations

from dataclasses import replace

from raytune_agents.calls.gold import exact_gold
from raytune_agents.readers.shapes import read_calls, read_tools, rest_of
from raytune_agents.readers.strict import as_text, dump
from raytune_agents.readers.turns import message_of, messages_of
from raytune_agents.records import JsonObject, Message, Trajectory


def test(row: JsonObject) -> Trajectory:
    kind = row["correct_answer"]
    target = _answer(as_text(row["answers"][kind]), kind)
    return Trajectory(
        (Message("user", as_text(row["question"])), target),
        read_tools(row["tools"]),
        source_id=as_text(row["uuid"]),
        gold="" if target.tool_calls else "[]",
        meta=rest_of(row, "uuid", "question", "tools"),
    )


def pref(row: JsonObject) -> list[Trajectory]:
    prompt, tools = messages_of(row["messages"]), read_tools(row["tools"])
    key, better, worse = as_text(row["uuid"]), row["chosen_type"], row["rejected_type"]
    meta = rest_of(row, "uuid", "messages", "tools", "chosen_response", "rejected_response")
    chosen = _answer(message_of(row["chosen_response"]).content, better)
    rejected = _answer(message_of(row["rejected_response"]).content, worse)
    own = "" if chosen.tool_calls else "[]"
    gold = dump(exact_gold(chosen.tool_calls))
    row = Trajectory(tools=tools, source_id=f"{key}.{worse}", meta=meta)
    word, wrong = f"chosen, {better}", f"rejected, {worse}"
    good = replace(row, messages=(*prompt, chosen), gold=own, outcome=1.0, outcome_word=word)
    bad = replace(row, messages=(*prompt, rejected), gold=gold, outcome=0.0, outcome_word=wrong)
    return [good, replace(bad, pool="negative.rejected", parents=("@0",))]


def _answer(text: str, kind: str) -> Message:
    """The answer as a turn; of kind tool_call it is JSON text of one call or several."""
    if kind == "tool_call":
        body = text.strip().removeprefix("<TOOLCALL>").removesuffix("</TOOLCALL>")
        return Message("assistant", tool_calls=read_calls(body))
    return Message("assistant", text)
