"""Software-engineering runs: nebius/SWE-agent-trajectories, SWE-agent's own .traj files,
mini-swe-agent's .traj.json.

The command of a turn stands in its last fenced block, or in its one block of the language that the
prompt asks for, as these programs find it; it becomes a call of `bash`, what is around it the
thought. nebius says `target`: the tests passed. A .traj says only that a patch was
submitted, which is not success: its outcome stays unknown. mini-swe-agent's trajectories are chat
turns, Responses objects or text with one block, by the model it ran. (SWE-Gym's OpenHands rows are
plain messages, SWE-smith's too: `openai`.)
"""

from __future__ import annotations

import re
from typing import Any

from raytune_agents.readers.fields import as_list
from raytune_agents.readers.outcomes import outcome_score
from raytune_agents.readers.responses import item_messages
from raytune_agents.readers.shapes import rest_of
from raytune_agents.readers.spans import seen_tools
from raytune_agents.readers.strict import as_text, objects_of
from raytune_agents.readers.turns import episode, message_of
from raytune_agents.records import JsonObject, Message, ToolCall, Trajectory

OWN = ("thought", "action", "agent", "is_demo", "tool_call_ids", "message_type")  # read below


# as SWE-agent's parser and mini-swe-agent's releases find them
FENCE = re.compile(r"^```(\S*)\s*\n|^```\s*$", re.M)
ASKED_BLOCK = re.compile(r"```(?:mswea_bash_command|bash)\s*\n(.*?)\n```", re.S)


def _command(text: str) -> Message:
    """`thought ```command``` ` as thought and call; the text as it is where it has none. A block
    inside another is a part of that."""
    opened: list[re.Match[str]] = []
    start, end = 0, 0
    command = None
    for fence in FENCE.finditer(text):
        if opened and not fence[1]:
            first = opened.pop()
            if not opened:
                start, end = first.start(), fence.end()
                command = text[first.end() : fence.start()].removesuffix("\n")
        elif fence[1] is not None:
            opened.append(fence)
    return _ran(text, start, end, command)


def _asked_command(text: str) -> Message:
    """The same of mini-swe-agent, which runs nothing where there are two such blocks."""
    blocks = list(ASKED_BLOCK.finditer(text))
    if len(blocks) != 1:
        return Message("assistant", text)
    return _ran(text, *blocks[0].span(), blocks[0][1])


def _ran(text: str, start: int, end: int, command: str | None) -> Message:
    """A turn whose text from `start` to `end` is a command, the rest its thought."""
    if command is None:
        return Message("assistant", text)
    thought = "\n".join(filter(None, (text[:start].rstrip(), text[end:].strip())))
    return Message("assistant", thought=thought, tool_calls=(_bash(command),))


def _bash(command: str) -> ToolCall:
    return ToolCall.of("bash", command=command)


def _observed(messages: list[Message], text: str) -> Message:
    """A user turn: an observation after a call, else the user's own."""
    calls = messages[-1].tool_calls if messages else ()
    return Message("tool", text, name=calls[-1].name) if calls else Message("user", text)


def nebius(row: JsonObject) -> Trajectory:
    messages: list[Message] = []
    for turn in row["trajectory"]:
        text = as_text(turn.get("text"))
        if turn["role"] == "system":
            messages.append(Message("system", as_text(turn.get("system_prompt")) or text))
        elif turn["role"] == "ai":
            messages.append(_command(text))
        else:
            messages.append(_observed(messages, text))
    return episode(
        messages,
        seen_tools(messages),
        source_id=as_text(row.get("instance_id")),
        outcome=outcome_score(row.get("target")),
        outcome_word=f"target={row.get('target')}, {row.get('exit_status')}",
        meta=rest_of(row, "trajectory", "target", "instance_id"),
    )


def swe_agent(row: JsonObject) -> Trajectory:
    messages: list[Message] = []
    for turn in row["history"]:
        made = message_of({k: v for k, v in turn.items() if k not in OWN})
        if made.role == "assistant":
            thought = as_text(turn.get("thought")).rstrip()
            action = as_text(turn.get("action")).rstrip("\n")
            calls = made.tool_calls or ((_bash(action),) if action else ())
            made = Message("assistant", "" if calls else made.content, thought, calls)
            if not calls:
                made = _command(made.content)
        elif made.role == "user" and not turn.get("is_demo"):
            made = _observed(messages, made.content)
        elif made.role == "tool":
            calls = messages[-1].tool_calls if messages else ()
            ids = turn.get("tool_call_ids") or [made.tool_call_id]
            name = made.name or (calls[0].name if calls else "")
            made = Message("tool", made.content, name=name, tool_call_id=as_text(ids[0]))
        messages.append(made)
    info = row.get("info") or {}
    return episode(
        messages,
        seen_tools(messages),
        outcome=outcome_score(info.get("resolved")),
        outcome_word=as_text(info.get("exit_status")),
        meta=rest_of(row, "trajectory", "history"),
    )


def _texts_of(turns: Any, role: str) -> list[str]:
    """What turns of a role say, of a list of turns alone: the text of a list is not read for it."""
    said = (t.get("content") for t in objects_of(as_list(turns)) if t.get("role") == role)
    return [text for text in said if isinstance(text, str)]


def _has_asked_blocks(turns: Any) -> bool:
    return any(ASKED_BLOCK.search(text) for text in _texts_of(turns, "assistant"))


def is_mini_swe(row: JsonObject) -> bool:
    """Whether turns are of mini-swe-agent: commands, and what its template says that came back."""
    turns = row["messages"]
    came_back = any(text.startswith("<returncode>") for text in _texts_of(turns, "user"))
    return came_back and _has_asked_blocks(turns)


def is_history(row: JsonObject) -> bool:
    """Whether turns are SWE-agent's, with the agent and the type of a message."""
    turns = objects_of(as_list(row["history"]))
    return any({"agent", "message_type"} <= turn.keys() for turn in turns)


def mini_swe(row: JsonObject) -> Trajectory:
    """{messages, info, trajectory_format}, or {messages} of which one holds a command's block; the
    first releases wrote the list alone."""
    turns: list[Message] = []
    # a user may have told it to look for other blocks
    command_of = _asked_command if _has_asked_blocks(row["messages"]) else _command
    for turn in row["messages"]:
        about = turn.get("extra") if isinstance(turn.get("extra"), dict) else {}
        if turn.get("role") == "exit":
            continue
        if isinstance(turn.get("output"), list):  # a Responses object
            turns += item_messages(turn["output"])
        elif turn.get("type") == "function_call_output":
            turns += item_messages([{k: v for k, v in turn.items() if k != "extra"}])
        else:
            made = message_of({k: v for k, v in turn.items() if k not in ("extra", "type")})
            seen = "returncode" in about or (not about and turns[2:])
            if made.role == "assistant" and not made.tool_calls:
                made = command_of(made.content)
            turns.append(_observed(turns, made.content) if seen and made.role == "user" else made)
    info = row.get("info") or {}
    about = rest_of(row, "messages", "info", "trajectory_format", "instance_id")
    return episode(
        turns,
        seen_tools(turns),
        source_id=as_text(row.get("instance_id")),
        outcome=outcome_score(info.get("resolved")),
        outcome_word=as_text(info.get("exit_status")),
        meta=about | {k: info[k] for k in ("submission", "model_stats") if info.get(k)},
    )
