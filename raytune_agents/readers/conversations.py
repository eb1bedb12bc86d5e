"""Chat rows: turns under `messages`, `conversations` or another usual name, in any usual words.

OpenAI (Orca AgentInstruct, When2Call SFT, SWE-Gym's OpenHands runs, axolotl), Anthropic,
LangChain, OLMo, ms-swift and LLaMA-Factory rows; AgentTuning / AgentInstruct, AgentBank,
AgentTraj-L (AgentGym), Agent-FLAN, NAT (`info.reward`), ETO's SFT rows, Glaive, Hermes, ToolACE
(tools in the system text), APIGen-MT. ReAct text becomes structured turns. A row with an answer
that was rejected is a preference pair: see `pairs`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from raytune_agents.readers import aliases
from raytune_agents.readers.exchanges import answer_turns
from raytune_agents.readers.fields import Fields, Names, objects_among, readable_start
from raytune_agents.readers.listed_tools import other_tools
from raytune_agents.readers.outcomes import mark_of_answer, metadata_fields, outcome_of
from raytune_agents.readers.shapes import known_role
from raytune_agents.readers.spans import seen_tools, unread_meta
from raytune_agents.readers.strict import as_text, value_of
from raytune_agents.readers.template_text import template_turns
from raytune_agents.readers.turns import episode, transcript, turns_of
from raytune_agents.records import JsonObject, RecordError, Trajectory

REQUEST = Names("prompt question query instruction task problem user_query")
TURN = aliases.ROLE + Names("type")  # a turn's role, or LangChain's word for it
# among what is about a row
SYSTEM = Names("system system_prompt system_message system_instruction")


def read(row: JsonObject) -> Trajectory:
    """One row. Raises RecordError."""
    fields = Fields(row)
    turns = fields(aliases.TURNS) if fields.have(aliases.TURNS) else fields("text")
    if turns is None:
        raise RecordError("conversations are null")  # AgentEval rows: tasks without trajectories
    listed = other_tools(fields) if not fields.have(aliases.TOOLS) else None
    about = metadata_fields(fields)
    tools = fields(aliases.TOOLS) or about.peek(aliases.TOOLS) or listed
    turns_read = _asked(_answered(turns, fields), fields)
    system = fields(aliases.SYSTEM) or (
        None if "system" in _roles(turns_read) else about.peek(SYSTEM)
    )
    made = transcript(turns_read, tools, system)
    outcome, word = outcome_of(fields)
    if outcome is None and made.messages and made.messages[-1].loss is False:
        outcome, word = mark_of_answer(turns)
    key = as_text(fields(aliases.ROW_ID))
    return made.trajectory(fields.rest(), source_id=key, outcome=outcome, outcome_word=word)


def chat_turn(role: str, content: Any = None, **more: Any) -> JsonObject:
    """A turn of a row's `turns`, for what a program keeps in another form."""
    return {"role": role, "content": content} | more


def read_as_chat(row: JsonObject, turns: list[JsonObject], about: JsonObject) -> Trajectory:
    """A row of a program's own messages, given as chat `turns`, with what else is known of them
    `about` it. Where nothing lists the tools, they are those that are called. Raises RecordError.
    It ends before a turn that cannot be read, as a picture."""

    def chat(start: list[JsonObject]) -> Trajectory | None:
        return read(row | {"messages": start}) if start else None

    read_row, error = readable_start(chat, turns, turns_of)
    if read_row is None or not any(m.role == "assistant" for m in read_row.messages):
        raise RecordError(error or "a conversation without an answer")
    tools = read_row.tools or seen_tools(read_row.messages)
    ended = episode(read_row.messages, tools)
    meta = about | read_row.meta | ended.meta | unread_meta(error)
    return replace(read_row, messages=ended.messages, tools=tools, meta=meta)


def _roles(turns: Any) -> list[str]:
    """The role of each turn that is an object, "" for one that is not known."""
    return [known_role(Fields(turn).peek(TURN)) for turn in objects_among(turns)]


def _asked(turns: Any, fields: Fields) -> Any:
    """The turns, with the request that a column of its own holds where none of them is a user's."""
    roles = _roles(turns)
    if not roles or {"user", ""} & {*roles}:
        return turns
    request = fields.peek(REQUEST)
    start = next((i for i, role in enumerate(roles) if role != "system"), len(roles))
    asked = [{"role": "user", "content": fields(REQUEST)}] if isinstance(request, str) else []
    return [*turns[:start], *asked, *turns[start:]]


def _answered(turns: Any, fields: Fields) -> Any:
    """The turns, with the answer that a column of its own gives to the last of them."""
    items = template_turns(turns) or value_of(turns)
    last = items[-1] if isinstance(items, list) and items else None
    role = Fields(last).peek(TURN) if isinstance(last, dict) else None
    if known_role(role) not in ("user", "tool"):
        return items
    answer = fields("response", "completion", "output")
    if answer is None and (choices := fields("choices")):
        answer = {"choices": choices}
    if isinstance(answer, dict):
        turns = answer_turns(answer)
        return [*items, *(turns if isinstance(turns, list) else [turns] if turns else [])]
    return [*items, {"role": "assistant", "content": answer}] if answer else items
