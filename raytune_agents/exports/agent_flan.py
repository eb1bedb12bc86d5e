"""Agent-FLAN rows: conversation of system, user and assistant turns, each with its loss flag.

The format is text alone: tools stand as <tools>[...]</tools> in the system turn, calls as
<tool_call>, observations as <tool_response> in user turns. A row that was read from ReAct text is
written back as that very text. Beside the turns stand the agent that a row was made for, its type
(tflan, react or negative where it is one of the preset's), and what is wrong with a wrong answer.
"""

from __future__ import annotations

from raytune_agents.calls import render_calls
from raytune_agents.calls.results import in_call_order
from raytune_agents.exports.splits import kind
from raytune_agents.exports.xlam import behind_thought, tools_text
from raytune_agents.readers import react
from raytune_agents.records import JsonObject, Message, RecordError, Trajectory


def _text(m: Message) -> str:
    calls = render_calls(m.tool_calls) if m.tool_calls else ""
    return behind_thought(m.thought, "\n".join(p for p in (m.content, calls) if p))


def _labelled(row: Trajectory, conversation: list[JsonObject]) -> JsonObject:
    where, _, agent = row.source.partition("/")
    return {
        "id": row.source_id,
        "agent": agent if where == "agent" else "",
        "type": kind(row) or row.pool,
        "hallucination_type": row.fault,
        "conversation": conversation,
    }


def write(row: Trajectory) -> JsonObject:
    if "react" in row.meta:
        return write_react(row)
    messages, tools = list(in_call_order(row.messages)), tools_text(row) if row.tools else ""
    out: list[JsonObject] = []
    if tools:
        first = messages.pop(0).content if messages[0].role == "system" else ""
        text = f"{first}\n\n<tools>{tools}</tools>" if first else f"<tools>{tools}</tools>"
        out.append({"role": "system", "content": text, "loss": False})
    for m in messages:
        if m.role == "tool":
            content = f"<tool_response>\n{m.content}\n</tool_response>"
            out.append({"role": "user", "content": content, "loss": False})
        else:
            content = _text(m) if m.role == "assistant" else m.content
            out.append({"role": m.role, "content": content, "loss": m.trained})
    return _labelled(row, out)


def write_react(row: Trajectory) -> JsonObject:
    """Thought / Action / Observation text in every turn, in the spelling that the row was read in.

    Raises RecordError for a turn of several calls or of text beside a call.
    """
    if any(len(m.tool_calls) > 1 or (m.tool_calls and m.content) for m in row.messages):
        raise RecordError("ReAct text holds one call a turn and no text beside it")
    turns = react.conversation(row)
    loss = [m.trained for m in row.messages] + [False] * (len(turns) - len(row.messages))
    return _labelled(row, [t | {"loss": flag} for t, flag in zip(turns, loss)])
