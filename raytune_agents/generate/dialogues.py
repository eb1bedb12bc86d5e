"""Rows beyond one request and one call: several calls, a question back, a plain answer, a refusal.

`parallel` joins wishes, `followup` leaves a needed value out, `notool` fills Agent-FLAN's grid
(asks for a tool or not x tools given or not; arXiv 2403.12881, 3.4) and the four ways to ask
for what the tools cannot do, with a refusal that names them and offers one. The pool holds ordinary
calls too, so that refusing does not spread.
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from raytune_agents import agents
from raytune_agents.agents import AgentSpec, ToolConfig
from raytune_agents.agents.analyse import mixed
from raytune_agents.agents.script import listed
from raytune_agents.agents.wording import slots
from raytune_agents.generate.tasks import (
    generic_request,
    make_call,
    phrase,
    pick_tool,
    shuffled_tools,
    styled,
)
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish

# --- shared ---------------------------------------------------------------------------------------


def _row(spec: AgentSpec, pool: str, index: int, seed: int, messages: list[Message],
         tools: tuple[ToolSpec, ...], gold: str = "", **meta: Any) -> Trajectory:  # fmt: skip
    return finish(
        Trajectory(
            messages=tuple(messages), tools=tools, outcome=1.0, seed=seed, gold=gold,
            source=f"agent/{spec.name}", source_id=f"{spec.name}-{pool}-{seed}-{index}",
            pool=f"synthetic.{pool}", split="train", step=f"generate.{pool}",
            meta={"wording": "template"} | meta,
        )
    )  # fmt: skip


def distinct(make, n: int, tries: int = 20) -> list[Trajectory]:
    """`n` rows `make(index, attempt)` with different requests; fewer where they run out."""
    out: list[Trajectory] = []
    seen: set[tuple[str, ...]] = set()
    for index in range(n):
        for attempt in range(tries):
            row = make(index, attempt)
            said = tuple(m.content for m in row.messages if m.role == "user") if row else ()
            if row is not None and said not in seen:
                seen.add(said)
                out.append(row)
                break
    return out


# --- several calls --------------------------------------------------------------------------------

JOINS = ["{0}. Also, {1}.", "First {0}, then {1}.", "{0} and then {1}.", "Please {0}, and {1}.",
         "Two things: {0}; {1}.", "{0}. After that, {1}."]  # fmt: skip
JOINS3 = ["{0}. Then {1}. Finally, {2}.", "Three things: {0}; {1}; {2}.",
          "Please {0}, {1}, and {2}."]  # fmt: skip


def parallel_row(spec: AgentSpec, index: int, seed: int, attempt: int = 0) -> Trajectory | None:
    """Two or three independent calls, of one tool or of several, in the order of the request."""
    rng = random.Random(f"{seed}/{spec.name}/parallel/{index}/{attempt}")
    count = rng.choices([2, 3], mixed(["2", "3"], spec.habits.calls))[0]
    if rng.random() < 0.5 or len(spec.tools) < count:
        chosen = [pick_tool(spec, rng)] * count
    else:
        chosen = rng.sample(spec.tools, count)
    made = [make_call(tool, rng, spec.habits) for tool in chosen]
    if len({(c.name, c.arguments) for _, c, _ in made}) < count:
        return None
    text = rng.choice(JOINS if count == 2 else JOINS3).format(*(wish for wish, _, _ in made))
    said = {f"{i}.{k}": v for i, (_, _, known) in enumerate(made) for k, v in known.items()}
    target = Message("assistant", tool_calls=tuple(call for _, call, _ in made))
    request = Message("user", text[:1].upper() + text[1:])
    return _row(spec, "parallel", index, seed, [request, target], shuffled_tools(spec, rng),
                anchors=said)  # fmt: skip


def parallel(spec: AgentSpec, n: int, seed: int) -> list[Trajectory]:
    """`n` rows with several independent calls."""
    return distinct(lambda i, a: parallel_row(spec, i, seed, a), n)


# --- a question back ------------------------------------------------------------------------------

QUESTIONS = ["Which {words} do you mean?", "Could you tell me the {words}?",
             "I need one more detail: the {words}. What is it?",
             "Before I can use {tool}, please give me the {words}."]  # fmt: skip
CHOICES = ["Which {words} would you like: {choices}?", "Please choose the {words}: {choices}."]
ANSWERS = ["{value}", "It is {value}.", "Use {value}.", "{value}, please.", "Sorry, {value}."]


def question(tool: ToolConfig, arg: str, rng: random.Random) -> str:
    """What to ask when `arg` is missing; an enum is offered as a choice."""
    enum = [str(v) for v in tool.parameters["properties"][arg].get("enum", [])]
    choices = f"{', '.join(enum[:-1])} or {enum[-1]}" if enum else ""
    words = arg.replace("_", " ")
    template = rng.choice(CHOICES if enum else QUESTIONS)
    return template.format(words=words, tool=tool.name, choices=choices)


def followup_row(spec: AgentSpec, index: int, seed: int, attempt: int = 0) -> Trajectory | None:
    """A required value is missing, so the right turn asks for it; odd rows go on to the call."""
    rng = random.Random(f"{seed}/{spec.name}/followup/{index}/{attempt}")
    tool = pick_tool(spec, rng)
    known = spec.habits.arguments.get(tool.name, {})
    open_args = sorted(tool.incomplete) or tool.parameters.get("required", [])
    if not open_args:
        return None
    arg = rng.choice(open_args)
    template = tool.incomplete.get(arg) or generic_request(tool, without=[arg])
    wish, args, said = phrase(tool, template, rng, known=known)
    style, text = styled(wish, rng, wanted=spec.habits.styles)
    messages = [Message("user", text), Message("assistant", question(tool, arg, rng))]
    tools = shuffled_tools(spec, rng)
    if index % 2 == 0:
        return _row(spec, "followup", index, seed, messages, tools, gold="[]", style=style,
                    ask=arg, near=tool.name, anchors=said)  # fmt: skip
    word, missing, anchor = phrase(tool, f"{{{arg}}}", rng, known=known)
    args |= missing
    ordered = {k: args[k] for k in tool.parameters["properties"] if k in args}
    messages.append(Message("user", rng.choice(ANSWERS).format(value=word)))
    messages.append(Message("assistant", tool_calls=(ToolCall.of(tool.name, **ordered),)))
    return _row(spec, "followup", index, seed, messages, tools, style=style, anchors=anchor)


def followup(spec: AgentSpec, n: int, seed: int) -> list[Trajectory]:
    """`n` rows with a missing value; even ones end on the question, odd ones on the call."""
    return distinct(lambda i, a: followup_row(spec, i, seed, a), n)


def gradual_row(spec: AgentSpec, index: int, seed: int, attempt: int = 0) -> Trajectory | None:
    """A goal that comes out bit by bit: two required values are told one by one, when asked."""
    rng = random.Random(f"{seed}/{spec.name}/gradual/{index}/{attempt}")
    tool = pick_tool(spec, rng)
    required = tool.parameters.get("required", [])
    if len(required) < 2:
        return None
    later, known = rng.sample(required, 2), spec.habits.arguments.get(tool.name, {})
    wish, args, first = phrase(tool, generic_request(tool, without=later), rng, known=known)
    messages = [Message("user", styled(wish, rng, wanted=spec.habits.styles)[1])]
    said = {"0": first}
    for arg in later:
        word, told, anchor = phrase(tool, f"{{{arg}}}", rng, known=known)
        args |= told
        messages.append(Message("assistant", question(tool, arg, rng)))
        said[str(len(messages))] = anchor
        messages.append(Message("user", rng.choice(ANSWERS).format(value=word)))
    ordered = {k: args[k] for k in tool.parameters["properties"] if k in args}
    messages.append(Message("assistant", tool_calls=(ToolCall.of(tool.name, **ordered),)))
    everything = {k: v for anchor in said.values() for k, v in anchor.items()}
    return _row(spec, "gradual", index, seed, messages, shuffled_tools(spec, rng),
                anchors=everything, said=said)  # fmt: skip


def gradual(spec: AgentSpec, n: int, seed: int) -> list[Trajectory]:
    """`n` rows in which the user tells two values only when asked."""
    return distinct(lambda i, a: gradual_row(spec, i, seed, a), n)


# --- no tool fits ---------------------------------------------------------------------------------

FOREIGN = {
    "action": ["archive", "duplicate", "rename", "hand over"], "chart": ["radar", "treemap"],
    "browser": ["safari", "opera"], "operation": ["kurtosis", "mode"], "platform": ["TikTok"],
    "database": ["weather", "payroll"], "format": ["docx", "svg"], "report_format": ["pdf"],
    "jurisdiction": ["Brazil", "India"], "clause_type": ["arbitration", "insurance"],
    "output_format": ["latex", "braille"], "template": ["wedding", "obituary"],
    "kind": ["podcast", "novel"], "scan_type": ["memory", "radiation"], "protocol": ["icmp"],
    "algorithm": ["DES", "Caesar"], "channel": ["telegram", "pager"], "language": ["latin"],
}  # fmt: skip
SETTINGS = [("colour scheme", "dark"), ("retry count", "5"), ("encoding", "utf-16"),
            ("time zone", "CET"), ("cost centre", "4711"), ("accent", "British")]  # fmt: skip
CELLS = ("tool_tools", "chat_tools", "tool_none", "chat_none", "nonexistent_tool",
         "invalid_parameter", "unsupported_action", "out_of_scope")  # fmt: skip


@cache
def small_talk() -> list[list[str]]:
    """Questions that need no tool, with right answers."""
    path = Path(agents.__file__).parent / "data/chat.yaml"
    return yaml.safe_load(path.read_text("utf-8"))


def _offer(tool: ToolConfig) -> str:
    text = tool.description.rstrip(".")
    return text[:1].lower() + text[1:]


def _other(spec: AgentSpec, rng: random.Random) -> tuple[str, ToolConfig]:
    """A wish that only another shipped agent could serve, and that agent's tool."""
    names = {t.name for t in spec.tools}
    others = [t for s in agents.shipped() if s != spec.name for t in agents.load(s).tools]
    tool = rng.choice([t for t in others if t.name not in names])
    return make_call(tool, rng)[0], tool


def _foreign(tool: ToolConfig, rng: random.Random) -> tuple[str, str, str] | None:
    """A wish with a value that an enum of the tool does not have: (wish, argument, value)."""
    enums = {k: p["enum"] for k, p in tool.parameters["properties"].items() if p.get("enum")}
    texts = tool.requests or [generic_request(tool)]
    usable = [(k, t) for k in enums for t in texts if k in {s.arg for s in slots(t)}]
    if not usable:
        return None
    arg, template = rng.choice(usable)
    strange = [v for v in FOREIGN.get(arg, ["unusual", "custom"]) if v not in enums[arg]]
    chosen = rng.choice(strange)
    return phrase(tool, template, rng, {arg: chosen})[0], arg, chosen


def _refusal(
    spec: AgentSpec, cell: str, rng: random.Random
) -> tuple[str, str, dict[str, Any]] | None:
    """Request, refusal and meta of one of the four things tools cannot do."""
    names = listed([t.name for t in spec.tools])
    tool = rng.choice(spec.tools)
    if cell == "nonexistent_tool":
        known = {t.name for t in spec.tools}
        fake = rng.choice([f"{tool.name}_pro", f"smart_{tool.name}", f"{tool.name}_cloud"])
        if fake in known:
            return None
        wish = f"use the {fake} tool to {make_call(tool, rng)[0]}"
        answer = f"There is no tool called {fake}. I have {names}. Shall I use {tool.name} instead?"
        return wish, answer, {"near": fake}
    if cell == "invalid_parameter":
        setting, value = rng.choice(SETTINGS)
        if setting.replace(" ", "_") in tool.parameters["properties"]:
            return None
        wish = f"{make_call(tool, rng)[0]}, with the {setting} set to {value}"
        takes = listed([k.replace("_", " ") for k in tool.parameters["properties"]])
        answer = f"{tool.name} has no {setting}; it takes {takes}. My tools are {names}. "
        answer += f"Shall I use {tool.name} without it?"
        return wish, answer, {"near": tool.name}
    if cell == "unsupported_action":
        found = _foreign(tool, rng)
        if found is None:
            return None
        wish, arg, value = found
        allowed = listed([str(v) for v in tool.parameters["properties"][arg]["enum"]])
        answer = f"{tool.name} cannot do {value}; its {arg.replace('_', ' ')} can be {allowed}. "
        answer += f"My tools are {names}. Shall I use one of these?"
        return wish, answer, {"near": tool.name}
    wish, _ = _other(spec, rng)
    offer = f"I could {_offer(tool)} with {tool.name}, if that helps."
    answer = f"I have no tool for that. I have {names}. {offer}"
    return wish, answer, {"near": tool.name}


def notool_row(spec: AgentSpec, index: int, seed: int, attempt: int = 0) -> Trajectory | None:
    """One cell of the grid; `meta.cell` names it, `meta.refuse` is set where tools fall short."""
    rng = random.Random(f"{seed}/{spec.name}/notool/{index}/{attempt}")
    cell = CELLS[index % len(CELLS)]
    tools = () if cell.endswith("_none") else shuffled_tools(spec, rng)
    meta: dict[str, Any] = {"cell": cell}
    if cell.startswith("chat"):
        text, answer = rng.choice(small_talk())
    elif cell == "tool_tools":
        wish, call, known = make_call(pick_tool(spec, rng), rng, spec.habits)
        said = Message("user", styled(wish, rng, wanted=spec.habits.styles)[1])
        messages = [said, Message("assistant", tool_calls=(call,))]
        return _row(spec, "notool", index, seed, messages, tools, anchors=known, **meta)
    elif cell == "tool_none":
        text = styled(make_call(rng.choice(spec.tools), rng)[0], rng)[1]
        answer = rng.choice([
            "I have no tools here, so I cannot do that for you. I can explain how you could do it.",
            "That needs a tool and none is available to me. I can tell you the steps, if you like.",
        ])  # fmt: skip
    else:
        refusal = _refusal(spec, cell, rng)
        if refusal is None:
            return None
        text, answer, extra = styled(refusal[0], rng)[1], refusal[1], refusal[2]
        meta |= {"refuse": cell} | extra
    messages = [Message("user", text), Message("assistant", answer)]
    return _row(spec, "notool", index, seed, messages, tools, gold="[]", anchors={}, **meta)


def notool(spec: AgentSpec, n: int, seed: int) -> list[Trajectory]:
    """`n` rows over the cells in turn; fewer once the ordinary questions run out."""
    return distinct(lambda i, a: notool_row(spec, i, seed, a), n)
