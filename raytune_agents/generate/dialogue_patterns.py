"""Rows beyond one request and one call: several calls, a question back, a change of mind.

`parallel` joins wishes, `followup` and `gradual` leave needed values out, `corrected` takes one
back before the call.
"""

from __future__ import annotations

import random
import re
from typing import Any

from raytune_agents.agents import AgentSpec, ToolConfig
from raytune_agents.agents.analyse import Profile, mixed
from raytune_agents.agents.word_banks import shown
from raytune_agents.generate.arguments import parameters_of, sample_known
from raytune_agents.generate.described_requests import compose
from raytune_agents.generate.distractors import shown_tools
from raytune_agents.generate.forms import field_noun, in_quotes, request_noun
from raytune_agents.generate.frames import Wish, framed, joined_orders
from raytune_agents.generate.grammar import is_plural, mended, plural
from raytune_agents.generate.nouns import has_range
from raytune_agents.generate.surface import COUNTS, spoken
from raytune_agents.generate.tasks import (
    make_row,
    ordered_call,
    phrase,
    pick_tool,
    row_pool,
    sample_arguments,
    sample_call,
)
from raytune_agents.generate.wordlists import phrases
from raytune_agents.records import Arguments, Message, Options, ToolCall, Trajectory

DIALOGUE: dict[str, Any] = phrases()["dialogue"]

# --- several calls --------------------------------------------------------------------------------


LISTED = 0.8  # share of several calls of one tool that are one wish with several values


def parallel_row(spec: AgentSpec, index: int, seed: int, attempt: int = 0) -> Trajectory | None:
    """Two or three independent calls, of one tool or of several, in the order of the request."""
    rng = random.Random(f"{seed}/{spec.name}/parallel/{index}/{attempt}")
    count = rng.choices([2, 3], mixed(["2", "3"], spec.habits.calls))[0]
    one = rng.random() < 0.5 or len(spec.tools) < count
    turn = -1 - index - attempt  # from the end: the requests with one call begin at the start
    chosen = [pick_tool(spec, rng, turn)] * count if one else rng.sample(spec.tools, count)
    found = listed_calls(chosen[0], count, rng, spec) if one and rng.random() < LISTED else None
    if found is None:
        made = [sample_call(tool, rng, spec.habits, "order") for tool in chosen]
        source = "wording" if all(t.source == "wording" for t in made) else "template"
        anchors = {f"{i}.{k}": v for i, t in enumerate(made) for k, v in t.wish.anchors.items()}
        orders = joined_orders([t.order for t in made], rng, spec.habits)
        found = orders, [t.call for t in made], anchors
    else:
        source = "template"
    wish, calls, anchors = found
    if len({(c.name, c.arguments) for c in calls}) < count:
        return None
    if one and any(c.arguments == "{}" for c in calls):
        return None  # "list them, and list them"
    frame, text = framed(wish, rng, anchors.values(), spec.habits)
    messages = [Message("user", text), Message("assistant", tool_calls=tuple(calls))]
    tools = shown_tools(spec, rng, {c.name for c in calls})
    meta: Options = {"anchors": anchors, "wording": source, "frame": frame}
    return make_row(spec, "parallel", index, seed, messages, tools, **meta)


def listed_calls(
    tool: ToolConfig, count: int, rng: random.Random, spec: AgentSpec
) -> tuple[Wish, list[ToolCall], dict[str, str]] | None:
    """Calls of a tool that differ in one value, as one wish that lists these values: "the weather
    in Rome and Oslo"; None where no value stands by itself. Raises NoValue."""
    made = sample_call(tool, rng, spec.habits)
    args = made.call.args
    params = {p.name: p for p in parameters_of(tool)}
    names = [n for n in made.wish.anchors if n in params]
    for name in sorted(names, key=lambda n: not params[n].required):
        text = made.wish.anchors[name]
        slot = re.compile(rf"(?<!\w)(['\"]?){re.escape(text)}\1(?!\w|'s)")
        alone = name in args and not params[name].role and not made.wish.rest
        whole = params[name].sense in ("city", "state", "repo_name") and text != args[name]
        alone = alone and not whole  # "Austin, Texas" says two values
        if not alone or isinstance(args[name], bool | list | dict):
            continue
        if len(slot.findall(made.wish.text)) != 1 or made.wish.text.count(text) != 1:
            continue
        values, texts = [args[name]], [text]
        for _ in range(4 * count):
            new, scene = sample_known(tool, {name}, rng, spec.habits)
            said = spoken(params[name], new[name], scene, rng)
            if len(values) < count and said not in texts and new[name] not in values:
                values.append(new[name])
                texts.append(said)
        if len(values) < count:
            continue
        noun = params[name].noun.split()[-1]
        parts = [
            re.sub(rf"\b{re.escape(noun)} (?={slot.pattern})", f"{plural(noun)} ", part)
            for part in (made.wish.text, made.wish.reported)
        ]  # "of accounts 1 and 2"
        several = [
            slot.sub(lambda m: shown([f"{m[1]}{t}{m[1]}" for t in texts]), part)  # noqa: B023
            for part in parts
        ]
        several = list(map(mended, several))  # "if a and b are valid"
        anchors = made.wish.anchors | {f"{i}.{name}": t for i, t in enumerate(texts)}
        wish = Wish(made.wish.form, several[0], "", anchors, several[1])
        return wish, [ordered_call(tool, args | {name: v}) for v in values], anchors
    return None


parallel_calls = row_pool(parallel_row)


# --- a question back ------------------------------------------------------------------------------


def question(tool: ToolConfig, arg: str, rng: random.Random) -> str:
    """What to ask when `arg` is missing; an enum is offered as a choice."""
    enum = [str(v) for v in tool.parameters["properties"][arg].get("enum", [])]
    enum = [v.replace("_", " ") for v in enum]
    choices = f"{', '.join(enum[:-1])} or {enum[-1]}" if enum else ""
    param = next(p for p in parameters_of(tool) if p.name == arg)
    sized = has_range(param) and param.items is None  # no "which"
    template = rng.choice(DIALOGUE["choices"] if enum else DIALOGUE["questions"][sized:])
    if param.sense in COUNTS and not enum and is_plural(param.noun):
        return rng.choice(DIALOGUE["how_many"]).format(words=param.noun)
    return template.format(words=request_noun(param), choices=choices)


def _incomplete(
    tool: ToolConfig, later: list[str], rng: random.Random, habits: Profile
) -> tuple[Wish, Arguments, dict[str, str]]:
    """An order that leaves `later` out, all arguments, and what the user will answer for `later`.
    Raises NoValue."""
    written = tool.incomplete.get(later[0]) if len(later) == 1 else None
    if written:
        text, args, anchors = phrase(tool, written, rng, habits=habits, also=later)
        said = {k: v for k, v in anchors.items() if k not in later}
        return Wish("order", text, "", said), args, {k: anchors[k] for k in later}
    args, scene = sample_arguments(tool, rng, habits)
    wish = compose(tool, {k: v for k, v in args.items() if k not in later}, scene, rng, "order")
    params = {p.name: p for p in parameters_of(tool)}
    answers = {k: spoken(params[k], args[k], scene, rng) for k in later}
    return wish, args, {k: in_quotes(params[k], text) for k, text in answers.items()}


def followup_row(spec: AgentSpec, index: int, seed: int, attempt: int = 0) -> Trajectory | None:
    """A required value is missing, so the right turn asks for it; odd rows go on to the call."""
    rng = random.Random(f"{seed}/{spec.name}/followup/{index}/{attempt}")
    tool = pick_tool(spec, rng)
    open_args = sorted(tool.incomplete) or askable(tool)
    if not open_args:
        return None
    arg = rng.choice(open_args)
    wish, args, answers = _incomplete(tool, [arg], rng, spec.habits)
    frame, text = framed(wish, rng, habits=spec.habits)
    messages = [Message("user", text), Message("assistant", question(tool, arg, rng))]
    tools = shown_tools(spec, rng, {tool.name})
    source = "wording" if tool.incomplete.get(arg) else "template"
    meta, gold = {"frame": frame, "wording": source, "anchors": answers}, ""
    if index % 2 == 0:
        gold, meta = "[]", meta | {"ask": arg, "near": tool.name, "anchors": wish.anchors}
    else:
        messages.append(Message("user", answer_of(answers[arg], rng)))
        messages.append(Message("assistant", tool_calls=(ordered_call(tool, args),)))
    return make_row(spec, "followup", index, seed, messages, tools, gold, **meta)


def answer_of(text: str, rng: random.Random) -> str:
    """What a user answers; a sentence or a list stands alone."""
    alone = re.search(r"[.!?;,]", text) or len(text.split()) > 5
    return text if alone else rng.choice(DIALOGUE["answers"]).format(value=text)


def askable(tool: ToolConfig) -> list[str]:
    """Required arguments that a user can be asked for: booleans go without saying."""
    properties = tool.parameters["properties"]
    required = tool.parameters.get("required", [])
    named = [r for r in required if properties[r].get("type") not in ("boolean", "object")]
    open_ones = [r for r in named if "const" not in properties[r]]
    return [r for r in open_ones if len(properties[r].get("enum", "ab")) > 1]


followup = row_pool(followup_row)


def gradual_row(spec: AgentSpec, index: int, seed: int, attempt: int = 0) -> Trajectory | None:
    """A goal that comes out bit by bit: two required values are told one by one, when asked."""
    rng = random.Random(f"{seed}/{spec.name}/gradual/{index}/{attempt}")
    tool = pick_tool(spec, rng)
    required = askable(tool)
    if len(required) < 2:
        return None
    later = rng.sample(required, 2)
    wish, args, answers = _incomplete(tool, later, rng, spec.habits)
    messages = [Message("user", framed(wish, rng, habits=spec.habits)[1])]
    anchors = {"0": wish.anchors}
    for arg in later:
        messages.append(Message("assistant", question(tool, arg, rng)))
        anchors[str(len(messages))] = {arg: answers[arg]}
        messages.append(Message("user", answer_of(answers[arg], rng)))
    messages.append(Message("assistant", tool_calls=(ordered_call(tool, args),)))
    everything = {k: v for anchor in anchors.values() for k, v in anchor.items()}
    meta: Options = {"anchors": everything, "anchors_by_turn": anchors}
    tools = shown_tools(spec, rng, {tool.name})
    return make_row(spec, "gradual", index, seed, messages, tools, **meta)


gradual = row_pool(gradual_row)


# --- a change of mind -----------------------------------------------------------------------------


def corrected_row(spec: AgentSpec, index: int, seed: int, attempt: int = 0) -> Trajectory | None:
    """The user takes one value back before the call: the right call has the later one."""
    rng = random.Random(f"{seed}/{spec.name}/corrected/{index}/{attempt}")
    tool = pick_tool(spec, rng)
    made = sample_call(tool, rng, spec.habits, "order")
    args = made.call.args
    free = [p for p in parameters_of(tool) if p.name in args and p.kind != "flag" and not p.role]
    free = [p for p in free if not isinstance(args[p.name], bool | list | dict)]
    if not free:
        return None
    param = rng.choice(free)
    new, scene = sample_known(tool, {param.name}, rng, spec.habits)
    if new[param.name] == args[param.name]:
        return None
    value = in_quotes(param, spoken(param, new[param.name], scene, rng))
    text = rng.choice(DIALOGUE["changes"]).format(words=field_noun(param), value=value)
    messages = [
        Message("user", framed(made.wish, rng, made.wish.anchors.values(), spec.habits)[1]),
        Message("assistant", rng.choice(DIALOGUE["ready"])),
        Message("user", text),
        Message("assistant", tool_calls=(ordered_call(tool, args | new),)),
    ]
    later = {param.name: value}
    by_turn = {"0": made.wish.anchors, "2": later}
    kept = {k: v for k, v in made.wish.anchors.items() if k != param.name}
    meta: Options = {"anchors": kept | later, "anchors_by_turn": by_turn}
    tools = shown_tools(spec, rng, {tool.name})
    return make_row(spec, "corrected", index, seed, messages, tools, wording=made.source, **meta)


corrections = row_pool(corrected_row)
