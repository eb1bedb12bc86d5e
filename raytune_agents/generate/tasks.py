"""Requests whose right call is known before a word is written.

The call comes first: a tool, arguments from typed generators, then a sentence that holds every
value. Left out on purpose: other wordings (`speech`), several turns (`react`, `dialogues`).
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from raytune_agents.agents import AgentSpec, ToolConfig
from raytune_agents.agents.analyse import EVEN, Argument, Profile, like, mixed
from raytune_agents.agents.values import shown, value
from raytune_agents.agents.wording import (
    SLOT,
    Slot,
    parts,
    slots,
    typed,
)
from raytune_agents.records import Message, ToolCall, Trajectory, finish

NONE: Mapping = MappingProxyType({})
EVEN_HABITS = Profile()  # of an agent that nothing is known of
STYLES: dict[str, Sequence[str]] = {  # {wish} starts small, {Wish} starts with a capital
    "terse": ["{wish}", "{Wish}"],
    "plain": ["{Wish}.", "I need you to {wish}.", "I want to {wish}.", "Now {wish}."],
    "polite": [
        "Please {wish}.",
        "Could you please {wish}?",
        "Would you {wish}, please?",
        "I would be grateful if you could {wish}.",
    ],
    "chatty": [
        "Hey, can you {wish}? Thanks!",
        "Hi there! Quick one: {wish}.",
        "Ok so my boss asked again, could you {wish}?",
        "Morning! Before lunch, {wish}.",
    ],
    "goal": [
        "The next step is to {wish}.",
        "For today's meeting I have to {wish}.",
        "Our plan for this week: {wish}.",
    ],
    "ambiguous": [
        "Someone should {wish}, I guess.",
        "Not sure how to put it: {wish}, something like that.",
        "Is it possible to {wish}, or how does this work?",
        "I was wondering whether we could {wish}.",
    ],
    "misspelled": ["{Wish}.", "Please {wish}.", "can you {wish}?", "{wish}"],
}


# --- a call and the sentence that asks for it -----------------------------------------------


def generic_request(tool: ToolConfig, without: Collection[str] = ()) -> str:
    """A wording from the schema, for tools that bring none; `without` leaves arguments out."""
    first = re.split(r"[.;:\n]", tool.description.strip(), maxsplit=1)[0].strip()
    verb, _, rest = first.partition(" ")
    if verb.endswith("s") and not verb.endswith("ss") and rest:
        verb = verb[:-2] if re.search(r"(ch|sh|x|ss)es$", verb) else verb[:-1]  # Gets -> get
    wish = f" to {verb[:1].lower()}{verb[1:]} {rest}" if rest else ""
    out = f"use {tool.name}{wish}"
    required = tool.parameters.get("required", [])
    link = " with"
    for name, schema in tool.parameters["properties"].items():
        words = name.replace("_", " ")
        boolean = schema.get("type") == "boolean"
        clause = f"{{{name}=true:{words}}} on" if boolean else f"{words} {{{name}}}"
        if name not in without:
            out += f"{link} {clause}" if name in required else f"[, {clause}]"
            link = " and" if name in required else link
    return out


def phrase(
    tool: ToolConfig,
    template: str,
    rng: random.Random,
    instead: Mapping[str, str] = NONE,
    known: Mapping[str, Argument] = NONE,
) -> tuple[str, dict[str, Any], dict[str, str]]:
    """One wording filled in: the sentence, its arguments, and the text that stands for each.

    An argument in `instead` is said with that text and gets no value. `known` is what the examples
    say of arguments: how often an optional one is given (else every second time), and its values.
    """
    properties = tool.parameters["properties"]
    args: dict[str, Any] = {}
    said: dict[str, str] = {}
    out = ""
    for text, optional in parts(template):
        found = slots(text)
        given = [known[s.arg].given if s.arg in known else 0.5 for s in found] or [0.5]
        if (
            optional
            and rng.random() >= 0.5 * EVEN + (1 - EVEN) * min(given)
            and not any(s.arg in instead for s in found)
        ):
            continue
        cursor = 0
        for slot, match in zip(found, SLOT.finditer(text)):
            out += text[cursor : match.start()]
            cursor = match.end()
            word = instead.get(slot.arg)
            if word is None:
                if slot.arg not in args:
                    hints = like(known.get(slot.arg), properties[slot.arg], rng)
                    args[slot.arg] = _argument(tool, slot, properties[slot.arg], rng, hints)
                word = said[slot.arg] = slot.shown or shown(args[slot.arg])
            if re.search(r"\b[Aa] $", out) and word[:1].lower() in "aeio":
                out = out[:-1] + "n "
            out += word
        out += text[cursor:]
    return " ".join(out.split()), args, said


def _argument(
    tool: ToolConfig, slot: Slot, schema: dict[str, Any], rng: random.Random, hints: Sequence[Any]
) -> Any:
    if slot.fixed is not None:
        return typed(slot.fixed, schema)
    return value(slot.arg, schema, rng, hints or tool.values.get(slot.arg, ()))


def misspelled(text: str, kept: Iterable[str], rng: random.Random) -> str:
    """The text with two letters exchanged in one or two words that are no part of a value."""
    values = " ".join(kept).lower()
    words = [w for w in re.findall(r"(?<![\w./@#-])[a-z]{5,}(?![\w./@-])", text) if w not in values]
    for old in rng.sample(words, min(len(words), rng.randint(1, 2))):
        at = rng.randrange(1, len(old) - 2)
        new = old[:at] + old[at + 1] + old[at] + old[at + 2 :]
        text = re.sub(rf"\b{old}\b", new, text, count=1)
    return text


def styled(
    wish: str, rng: random.Random, kept: Iterable[str] = (), wanted: Mapping[str, float] = NONE
) -> tuple[str, str]:
    """The wish in one of the styles: (style, sentence). Values in `kept` are never misspelled;
    without any the style is not drawn."""
    kept = list(kept)
    names = [s for s in STYLES if kept or s != "misspelled"]
    style = rng.choices(names, mixed(names, wanted))[0]
    text = rng.choice(STYLES[style]).format(wish=wish, Wish=wish[:1].upper() + wish[1:])
    return style, misspelled(text, kept, rng) if style == "misspelled" else text


def pick_tool(spec: AgentSpec, rng: random.Random) -> ToolConfig:
    """One of the agent's tools, by its habits."""
    weights = mixed([t.name for t in spec.tools], spec.habits.tools)
    return rng.choices(spec.tools, weights)[0]


def make_call(
    tool: ToolConfig, rng: random.Random, habits: Profile = EVEN_HABITS
) -> tuple[str, ToolCall, dict[str, str]]:
    """A wish in words, the call it asks for, and its anchors. Arguments stand in schema order."""
    template = rng.choice(tool.requests or [generic_request(tool)])
    known = habits.arguments.get(tool.name, NONE)
    wish, args, anchors = phrase(tool, template, rng, known=known)
    ordered = {k: args[k] for k in tool.parameters["properties"] if k in args}
    return wish, ToolCall(tool.name, json.dumps(ordered, ensure_ascii=False)), anchors


def shuffled_tools(spec: AgentSpec, rng: random.Random):
    """The agent's tools in random order: the candidates of a row."""
    tools = list(spec.toolspecs)
    rng.shuffle(tools)
    return tuple(tools)


def task(spec: AgentSpec, index: int, seed: int, attempt: int = 0) -> Trajectory:
    """The positive row number `index`; the same numbers give the same row."""
    rng = random.Random(f"{seed}/{spec.name}/tflan/{index}/{attempt}")
    wish, call, anchors = make_call(pick_tool(spec, rng), rng, spec.habits)
    style, text = styled(wish, rng, anchors.values(), spec.habits.styles)
    meta = {"wording": "template", "style": style, "anchors": anchors}
    messages = (Message("user", text), Message("assistant", tool_calls=(call,)))
    return finish(
        Trajectory(
            messages=messages, tools=shuffled_tools(spec, rng), outcome=1.0, seed=seed,
            source=f"agent/{spec.name}", source_id=f"{spec.name}-tflan-{seed}-{index}",
            pool="synthetic.tflan", split="train", step="generate.tflan", meta=meta,
        )
    )  # fmt: skip


def tasks(spec: AgentSpec, n: int, seed: int) -> list[Trajectory]:
    """`n` positives with known calls, distinct requests; a longer list starts with the shorter.

    Tools, arguments and styles follow the spec's habits.
    """
    out: list[Trajectory] = []
    seen: set[str] = set()
    for index in range(n):
        tries = (task(spec, index, seed, a) for a in range(20))
        row = next((r for r in tries if r.query not in seen), None)
        if row is not None:  # a spec with few values can run out of new requests
            seen.add(row.query)
            out.append(row)
    return out
