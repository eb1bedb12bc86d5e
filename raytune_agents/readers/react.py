"""ReAct text <-> structured turns: Thought / Action / Observation in the spellings sources use.

`Action: search[x]`, `Action: f(a, b)`, `Action: f` + `Action Input: {...}`, a fenced block, or a
bare command become a tool call; the turn after it becomes a tool turn. BeeAI writes `Function
Name`, `Function Input` and `Function Output`, others `Tool` for `Function`. What is needed to write
the very same text again is kept in `meta["react"]`; a turn that would not come back letter for
letter stays plain text, so `write` is exact for every row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from raytune_agents.records import JsonObject, Message, ToolCall, Trajectory

THOUGHT = r"(?:Thought|THOUGHT|Think|Thoughts)(?: ?\d+)?:\s*+"
ACTION = r"(?:Action|ACTION|Act|(?:Function|Tool) Name)(?: ?\d+)?:\s*+"
OBSERVED = r"(?:Observation|(?:Function|Tool|Action) (?:Output|Result))(?: ?\d+)?:"
HEAD = re.compile(THOUGHT)
CALLED = re.compile(rf"(?<!\S){ACTION}")
FINAL_ANSWER = re.compile(r"(?<!\S)Final Answer:")
ACTION_INPUT = re.compile(r"(?:Action|Function|Tool) Input(?: ?\d+)?:\s*+")
NAME = r"[A-Za-z_][\w.-]*"
BRACKET = re.compile(rf"({NAME})\[(.*)\]", re.DOTALL)
PAREN = re.compile(rf"({NAME})\((.*)\)", re.DOTALL)
FENCE = re.compile(rf"({NAME})(\s*\n)```(\w*)\n(.*)\n```", re.DOTALL)
SEEN = re.compile(rf"{OBSERVED}\s*|The output of the OS:\s*")
GOES_ON = re.compile(rf"{ACTION}|Final Answer:")  # with what stands before it
CUT = re.compile(
    rf"\n(?={OBSERVED}|(?:Thought|Action|(?:Function|Tool) Name)(?: ?\d+)?:|Final Answer:)"
)
_ACTS, _OBSERVES = re.compile(rf"(?m)^{ACTION}"), re.compile(rf"\n{OBSERVED}")
FENCE_GAP = "\n"
LAST_CALLS = ("finish", "answer", "submit", "Finish")  # what comes after is a new request
DEFAULT = {"action": "Action: ", "input": "\nAction Input: ", "observation": "Observation: "}


# --- one turn ---------------------------------------------------------------------------------


def _headed(text: str, label: re.Pattern[str]) -> tuple[str, str, str, str, str] | None:
    """(thought's label, thought, gap, label, rest) of a text in which `label` stands first, or on
    a line of its own after a thought; None for any other. Linear, whatever the text."""
    head = HEAD.match(text)
    if not head:
        found = label.match(text)
        return ("", "", "", found[0], text[found.end() :]) if found else None
    for found in label.finditer(text, head.end()):
        before = text[: found.start()]
        thought = before.rstrip()
        gap = before[len(thought) :]
        if "\n" in gap and len(thought) >= head.end():
            return head[0], thought[head.end() :], gap, found[0], text[found.end() :]
    return None


def _action_and_input(body: str) -> tuple[str, str, str] | None:
    """(name, label, input) of `name` and `Action Input: input` on the next line."""
    name = body.partition("\n")[0].rstrip()
    rest = body[len(name) :]
    gap = rest[: len(rest) - len(rest.lstrip())]
    found = ACTION_INPUT.match(rest, len(gap)) if name and gap.endswith("\n") else None
    return (name, gap + found[0], rest[found.end() :]) if found else None


def _call(body: str, style: dict[str, str]) -> ToolCall:
    """The call that stands after the action label; the form is told by the argument's key."""
    if found := _action_and_input(body):
        style["input"] = found[1]
        return ToolCall(found[0], _object(found[2]))
    if found := BRACKET.fullmatch(body):
        return ToolCall.of(found[1], input=found[2])
    if found := FENCE.fullmatch(body):
        style["fence"] = found[2]
        return ToolCall.of(found[1], lang=found[3], code=found[4])
    if found := PAREN.fullmatch(body):
        return ToolCall.of(found[1], args=found[2])
    if re.fullmatch(NAME, body):
        return ToolCall(body)
    return ToolCall.of("act", command=body)


def _object(text: str) -> str:
    with suppress(ValueError, RecursionError):
        if isinstance(json.loads(text), dict):
            return text
    return json.dumps({"action_input": text}, ensure_ascii=False)


def _body(call: ToolCall, style: dict[str, str]) -> str:
    """What stands after the action label."""
    try:
        args = call.args
    except ValueError:
        args = {"": call.arguments}
    keys = list(args)
    if "input" in style:
        arguments = args["action_input"] if keys == ["action_input"] else call.arguments
        return f"{call.name}{style['input']}{arguments}"
    if keys == ["input"]:
        return f"{call.name}[{args['input']}]"
    if keys == ["args"]:
        return f"{call.name}({args['args']})"
    if keys == ["lang", "code"]:
        return f"{call.name}{style.get('fence', FENCE_GAP)}```{args['lang']}\n{args['code']}\n```"
    if keys == ["command"]:
        return str(args["command"])
    return f"{call.name}[{call.arguments}]" if args else call.name


def turn_text(message: Message, style: dict[str, str]) -> str:
    """The text of an assistant or tool turn in this spelling."""
    if message.role == "tool":
        return style.get("observation", "") + message.content
    thought = style.get("thought", "Thought: ") + message.thought + style.get("gap", "\n")
    calls = "\n".join(style.get("action", "Action: ") + _body(c, style) for c in message.tool_calls)
    return (thought if message.thought else "") + (calls or message.content)


def _structured(message: Message) -> tuple[Message, dict[str, str]]:
    """The turn with thought and call apart, and its spelling; as it was, and {}, else."""
    style: dict[str, str] = {}
    text = message.content
    if (found := _headed(text, CALLED)) and found[4] and "\nAnswer:" not in found[1]:
        call = _call(found[4], style)
        made = replace(message, content="", thought=found[1], tool_calls=(call,))
        style["action"] = found[3]
    elif (found := _headed(text, FINAL_ANSWER)) and found[1]:
        made = replace(message, content=found[3] + found[4], thought=found[1])
    else:
        return message, {}
    if found[0]:
        style |= {"thought": found[0], "gap": found[2]}
    return (made, style) if turn_text(made, style) == text else (message, {})


# --- a conversation ---------------------------------------------------------------------------


def structure(messages: Iterable[Message]) -> tuple[list[Message], JsonObject]:
    """ReAct text of assistant turns -> thoughts, calls, tool turns; and meta to write it back.

    Returns the turns unchanged and {} where no assistant turn is ReAct text. The first spelling
    seen is the row's; a turn that spells otherwise is listed under "turns".
    """
    turns = list(messages)
    style: JsonObject = {}
    spelt: dict[int, dict[str, str]] = {}
    for i, m in enumerate(turns):
        if m.role == "assistant" and not m.tool_calls:
            turns[i], spelt[i] = _structured(m)
            style = spelt[i] | style
    odd = {
        str(i): own
        for i, own in spelt.items()
        if ("input" in style and "input" not in own) or any(style[k] != v for k, v in own.items())
    }
    if not any(m.tool_calls for m in turns):
        return list(messages), {}
    end = max(i for i, m in enumerate(turns) if m.role == "assistant")
    for i in range(1, end):
        calls = turns[i - 1].tool_calls
        if turns[i].role == "user" and calls and calls[-1].name not in LAST_CALLS:
            found = SEEN.match(turns[i].content)
            prefix = found[0] if found else ""
            text = turns[i].content[len(prefix) :]
            turns[i] = replace(turns[i], role="tool", content=text, name=calls[-1].name)
            if style.setdefault("observation", prefix) != prefix:
                odd[str(i)] = {"observation": prefix}
    return turns, {"react": style | ({"turns": odd} if odd else {})}


def conversation(row: Trajectory) -> list[dict[str, str]]:
    """The {role, content} turns that the row's ReAct text was read from, letter for letter."""
    style = row.meta.get("react", DEFAULT)
    odd = style.get("turns", {})
    out = []
    for i, m in enumerate(row.messages):
        text = m.content
        if m.role in ("assistant", "tool"):
            text = turn_text(m, odd.get(str(i), style))
        out.append({"role": "user" if m.role == "tool" else m.role, "content": text})
    return out + [{"role": "user", "content": text} for text in row.meta.get("after", [])]


# --- a whole trajectory in one text -----------------------------------------------------------


def split_text(text: str) -> tuple[list[Message], dict[str, str]]:
    """Thought, Action and Observation lines of one text -> turns, and what stands around them."""
    body = text.strip("\n")
    front = text[: len(text) - len(text.lstrip("\n"))]
    parts = CUT.split(body)
    agents = re.compile(rf"{THOUGHT}|{ACTION}|{SEEN.pattern}")
    lead = parts.pop(0) if len(parts) > 1 and not agents.match(parts[0]) else ""
    turns: list[Message] = []
    for part in parts:
        role = "user" if SEEN.match(part) else "assistant"
        last = turns[-1] if turns else None
        if last is not None and last.role == role and (role == "user" or GOES_ON.match(part)):
            turns[-1] = replace(last, content=f"{last.content}\n{part}")
        else:
            turns.append(Message(role, part))
    around = {"front": front, "lead": lead, "tail": text[len(front) + len(body) :]}
    return turns, {k: v for k, v in around.items() if v}


def steps_of(message: Message) -> list[Message]:
    """An assistant turn that holds several steps of a run, with what was observed between them, as
    turns of their own: what the environment said is not to be learned."""
    text = message.content
    acts = _ACTS.search(text) if message.role == "assistant" else None
    if not acts or message.tool_calls or not _OBSERVES.search(text, acts.end()):
        return [message]
    turns, around = split_text(text)
    if "lead" in around:
        turns[0] = replace(turns[0], content=f"{around['lead']}\n{turns[0].content}")
    # the first has what stood beside the text, each what was said of its loss
    own = [replace(message, content=t.content) if t is turns[0] else t for t in turns]
    return [replace(t, loss=message.loss) if t.role == "assistant" else t for t in own]
