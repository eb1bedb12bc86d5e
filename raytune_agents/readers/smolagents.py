"""smolagents' memory: the steps of `agent.memory`, `RunResult.dict()` or one step a line.

A task asks, a plan is said, an action calls: a tool, or `python_interpreter` with the code that the
agent wrote. What the model was shown of an action is its observation, or the error. The system
prompt, which says how calls are written as text, is left out; the tools that it lists are kept. A
run that ended at its limit of steps failed. Samples: smolagents 1.26.0, run for the tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from raytune_agents.readers.conversations import chat_turn, read_as_chat
from raytune_agents.readers.fields import names_of, note_rest, words_of
from raytune_agents.readers.parts import flat_text
from raytune_agents.readers.sessions import EVENTS
from raytune_agents.readers.spans import model_calls
from raytune_agents.readers.strict import as_text
from raytune_agents.records import JsonObject, Trajectory

CODE = "python_interpreter"
CODE_BEGINS = re.compile(r"<code>|```")
LISTED = re.compile(r"^(?:- )?(\w+): (.*)\n\s+Takes inputs: (\{.*\})\n", re.MULTILINE)
GOES_ON = "Now proceed and carry out this plan."  # what the program says after a plan
READ, OF_RUN = names_of("smolagents_step"), words_of("smolagents_run")


def read(row: JsonObject) -> Trajectory:
    """{steps, output, state}, or gathered steps. Raises RecordError."""
    steps = row[EVENTS] if EVENTS in row else row["steps"]
    turns = [turn for step in steps for turn in _turns(step)]
    about = model_calls((None, s.get("token_usage")) for s in steps)
    kept = {k: v for k, v in row.items() if k not in OF_RUN}
    found = read_as_chat(kept | {"tools": _tools(steps)}, turns, about)
    if row.get("state") == "max_steps_error":
        return replace(found, outcome=0.0, outcome_word="state=max_steps_error")
    return found


def _tools(steps: list[JsonObject]) -> list[JsonObject]:
    """The tools that a system prompt lists in smolagents' own form."""
    shown = next((s["model_input_messages"] for s in steps if s.get("model_input_messages")), [])
    text = flat_text(shown[0].get("content")) if shown else ""
    return [
        {"name": name, "description": about, "parameters": inputs}
        for name, about, inputs in LISTED.findall(text)
    ]


def _turns(step: JsonObject) -> Iterator[JsonObject]:
    note_rest(step, "step", READ)
    if step.get("task") is not None:
        yield chat_turn("user", step["task"])
    elif step.get("plan") is not None:
        yield chat_turn("assistant", as_text(step["plan"]).strip())
        yield chat_turn("user", GOES_ON)
    elif "step_number" in step:
        yield from _acted(step)


def _acted(step: JsonObject) -> Iterator[JsonObject]:
    """The calls of an action and what came of them."""
    output, code, calls = step.get("model_output"), step.get("code_action"), step.get("tool_calls")
    turn = chat_turn("assistant", output, tool_calls=calls or [])
    if code and calls:
        thought = CODE_BEGINS.split(as_text(output))[0].removeprefix("Thought:").strip()
        ran = {"name": CODE, "arguments": {"code": code}, "id": calls[0].get("id")}
        turn |= {"content": "", "reasoning_content": thought, "tool_calls": [ran]}
    elif calls:  # a model without tool calls of its own writes them after "Action:"
        turn["content"] = flat_text(output or "").partition("Action:")[0].strip()
    if output or calls:
        yield turn
    seen, error = step.get("observations"), step.get("error")
    if isinstance(error, dict):
        seen = "\n".join(filter(None, (seen, f"Error: {as_text(error.get('message'))}")))
    if seen is not None:
        yield from _seen(as_text(seen), turn["tool_calls"])


def _seen(text: str, calls: list[Any]) -> Iterator[JsonObject]:
    """One observation; where it has a line for each of several calls, theirs."""
    lines = text.split("\n")
    texts = lines if len(lines) == len(calls) else [text]
    if not calls:
        yield chat_turn("user", text)
    for call, one in zip(calls, texts):
        yield chat_turn("tool", one, tool_call_id=call.get("id"))
