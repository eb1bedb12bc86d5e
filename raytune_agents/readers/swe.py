"""Software-engineering runs: nebius/SWE-agent-trajectories, SWE-agent's own .traj files,
mini-swe-agent's .traj.json.

The command of a turn stands in its last fenced block; it becomes a call of `bash`, what is before
it the thought. nebius says `target`: the tests passed. A .traj says only that a patch was
submitted, which is not success: its outcome stays unknown. mini-swe-agent's trajectories are chat
turns, Responses objects or text with one block, by the model it ran. (SWE-Gym's OpenHands rows are
plain messages, SWE-smith's too: `openai`.)
"""

from __future__ import annotations

from raytune_agents.readers.outcomes import outcome_score
from raytune_agents.readers.responses import item_messages
from raytune_agents.readers.shapes import rest_of
from raytune_agents.readers.spans import seen_tools
from raytune_agents.readers.strict import as_text
from raytune_agents.readers.turns import episode, message_of
from raytune_agents.records import JsonObject, Message, ToolCall, Trajectory

OWN = ("thought", "action", "agent", "is_demo", "tool_call_ids", "message_type")  # read below


def _command(text: str) -> Message:
    """`thought ```command``` ` as thought and call; the text as it is where it has none."""
    before, *fenced = text.split("```")
    if len(fenced) != 2 or fenced[1].strip():
        return Message("assistant", text)
    word, line, command = fenced[0].partition("\n")
    if not line or (word and not word.isidentifier()):
        return Message("assistant", text)
    call = _bash(command.removesuffix("\n"))
    return Message("assistant", thought=before.rstrip(), tool_calls=(call,))


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


def mini_swe(row: JsonObject) -> Trajectory:
    """{messages, info, trajectory_format}, or {messages} of which one holds a command's block."""
    turns: list[Message] = []
    for turn in row["messages"]:
        about = turn.get("extra") if isinstance(turn.get("extra"), dict) else {}
        if turn.get("role") == "exit":
            continue
        if isinstance(turn.get("output"), list):  # a Responses object
            turns += item_messages(turn["output"], ())
        elif turn.get("type") == "function_call_output":
            turns += item_messages([{k: v for k, v in turn.items() if k != "extra"}], ())
        else:
            made = message_of({k: v for k, v in turn.items() if k not in ("extra", "type")})
            seen = "returncode" in about or (not about and turns[2:])
            if made.role == "assistant" and not made.tool_calls:
                made = _command(made.content)
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
