"""Rows in which no tool is right, and ordinary calls among them, so that refusing does not spread.

`notool` fills Agent-FLAN's grid (asks for a tool or not x tools given or not; arXiv 2403.12881,
3.4), asks what a tool can do, and asks in four ways for what the tools cannot do, with a refusal
that names them and offers one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

from raytune_agents import agents
from raytune_agents.agents import AgentSpec, ToolConfig
from raytune_agents.agents.script import listed
from raytune_agents.agents.wording import slots
from raytune_agents.generate import grammar
from raytune_agents.generate.arguments import parameters_of
from raytune_agents.generate.codes import NoValue
from raytune_agents.generate.described_requests import compose
from raytune_agents.generate.descriptions import is_english
from raytune_agents.generate.distractors import shown_tools
from raytune_agents.generate.forms import request_noun
from raytune_agents.generate.frames import framed
from raytune_agents.generate.kind_table import bank_of, banks
from raytune_agents.generate.tasks import (
    as_order,
    make_row,
    phrase,
    pick_tool,
    row_pool,
    sample_arguments,
    sample_call,
)
from raytune_agents.generate.tool_actions import tool_action
from raytune_agents.generate.wordlists import phrases
from raytune_agents.records import JsonObject, Message, ToolSpec, Trajectory
from raytune_agents.storage import yaml_beside

CELLS = (
    "tool_tools",
    "chat_tools",
    "tool_none",
    "chat_none",
    "about_tools",
    "nonexistent_tool",
    "invalid_parameter",
    "unsupported_action",
    "out_of_scope",
)


NAMED = 6  # tools that a refusal can name without being a list


@cache
def small_talk() -> list[list[str]]:
    """Questions that need no tool, with right answers."""
    return yaml_beside(agents.__file__, "data/chat.yaml")


def _deed(tool: ToolConfig) -> str:
    """What a tool does, after "I could": "add a track to the queue"; "" without words for it."""
    act = tool_action(tool)
    if not act.verbs or not act.head or not is_english(tool.description):
        return ""
    parts = (f"{a} {b}" for a, b in act.parts)
    group = act.group
    say = phrases()["groups"][group]["say"][0] if group else act.verbs[0]
    return grammar.mended(" ".join([say, grammar.with_article(act.head, False), *parts]))


def _other(spec: AgentSpec, rng: random.Random) -> tuple[str, ToolConfig]:
    """A wish that only another shipped agent could serve, and that agent's tool."""
    names = {t.name for t in spec.tools}
    others = [t for s in agents.shipped() if s != spec.name for t in agents.load_spec(s).tools]
    tool = rng.choice([t for t in others if t.name not in names])
    return sample_call(tool, rng, form="order").order, tool


def _foreign(tool: ToolConfig, rng: random.Random) -> tuple[str, str, str] | None:
    """A wish with a value that an enum of the tool does not have: (wish, argument, value)."""
    enums = {k: p["enum"] for k, p in tool.parameters["properties"].items() if p.get("enum")}
    params = {p.name: p for p in parameters_of(tool)}
    strange = {}
    for k, allowed in enums.items():
        known = {str(x).lower() for x in allowed}
        bank = bank_of(params[k].sense)  # of another thing where it holds none of them
        bank = bank if known & {v.lower() for v in bank} else []
        strange[k] = [v for v in banks()["foreign"].get(k) or bank if v.lower() not in known]
    usable = [
        (k, t)
        for k, found in strange.items()
        if found
        for t in [*tool.requests, ""]
        if not t or k in {s.arg for s in slots(t)}
    ]
    if not usable:
        return None
    arg, template = rng.choice(usable)
    chosen = rng.choice(strange[arg])
    if template:
        return phrase(tool, template, rng, {arg: chosen})[0], arg, chosen
    args, scene = sample_arguments(tool, rng)
    return as_order(compose(tool, args | {arg: chosen}, scene, rng, "order")), arg, chosen


def _about(spec: AgentSpec, rng: random.Random) -> tuple[str, str]:
    """A question about what a tool can do, and its answer: no order to do it."""
    tool = rng.choice(spec.tools)
    what = _deed(tool)
    if not what:
        raise NoValue(f"{tool.name}: no words for it")
    needed = [request_noun(p) for p in parameters_of(tool) if p.required]
    needs = f"I need the {listed(needed)} for that." if needed else "I need nothing else for that."
    question = rng.choice(phrases()["dialogue"]["about"]).format(what=what)
    if question.startswith(("What", "How")):
        return question, f"{needs} Tell me when I should do it."
    answer = rng.choice(["Yes. {needs} Tell me when I should do it.", "Yes, I can. {needs}"])
    return question, answer.format(needs=needs)


def _refusal(
    spec: AgentSpec, cell: str, near: str, tools: Sequence[ToolSpec], rng: random.Random
) -> tuple[str, str, JsonObject] | None:
    """Request, refusal and meta of one of the four things tools cannot do."""
    tool = next(t for t in spec.tools if t.name == near)
    names = listed([t.name for t in tools])
    if cell == "nonexistent_tool":
        known = {t.name for t in spec.tools}
        fake = rng.choice([f"{tool.name}_pro", f"smart_{tool.name}", f"{tool.name}_cloud"])
        if fake in known:
            return None
        wish = f"use the {fake} tool to {sample_call(tool, rng, form='order').order}"
        answer = f"There is no tool called {fake}. I have {names}. Shall I use {tool.name} instead?"
        return wish, answer, {"near": fake}
    if cell == "invalid_parameter":
        setting, value = rng.choice(banks()["settings"])
        if setting.replace(" ", "_") in tool.parameters["properties"]:
            return None
        wish = f"{sample_call(tool, rng, form='order').order}. Also, set the {setting} to {value}"
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
    offer = f" I could {deed} with {tool.name}, if that helps." if (deed := _deed(tool)) else ""
    answer = f"I have no tool for that. I have {names}.{offer}"
    return wish, answer, {"near": tool.name}


def notool_row(spec: AgentSpec, index: int, seed: int, attempt: int = 0) -> Trajectory | None:
    """One cell of the grid; `meta.cell` names it, `meta.refuse` is set where tools fall short."""
    rng = random.Random(f"{seed}/{spec.name}/notool/{index}/{attempt}")
    cell = CELLS[index % len(CELLS)]
    near = rng.choice(spec.tools).name
    tools = () if cell.endswith("_none") else shown_tools(spec, rng, {near}, NAMED)
    meta: JsonObject = {"cell": cell}
    if cell.startswith("chat"):
        text, answer = rng.choice(small_talk())
    elif cell == "tool_tools":
        made = sample_call(pick_tool(spec, rng), rng, spec.habits)
        text = framed(made.wish, rng, habits=spec.habits)[1]
        right = Message("assistant", tool_calls=(made.call,))
        tools = shown_tools(spec, rng, {made.call.name})
        meta |= {"anchors": made.wish.anchors, "wording": made.source}
        return make_row(spec, "notool", index, seed, [Message("user", text), right], tools, **meta)
    elif cell == "about_tools":
        text, answer = _about(spec, rng)
    elif cell == "tool_none":
        text = framed(sample_call(rng.choice(spec.tools), rng).wish, rng)[1]
        answer = rng.choice(phrases()["dialogue"]["no_tools"])
    else:
        refusal = _refusal(spec, cell, near, tools, rng)
        if refusal is None:
            return None
        text, answer, extra = framed(refusal[0], rng)[1], refusal[1], refusal[2]
        meta |= {"refuse": cell} | extra
    messages = [Message("user", text), Message("assistant", answer)]
    return make_row(spec, "notool", index, seed, messages, tools, gold="[]", anchors={}, **meta)


notool = row_pool(notool_row)  # the cells in turn
