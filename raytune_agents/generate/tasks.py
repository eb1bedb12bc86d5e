"""Requests whose right call is known before a word is written.

The call comes first: a tool and arguments that fit each other, then a sentence that holds every
value: of the spec's own wordings, or of a template. Left out on purpose: other words for them
(`paraphrase`), several turns (`react`, `dialogues`).
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from raytune_agents.agents import AgentSpec, ToolConfig
from raytune_agents.agents.analyse import EVEN, Argument, Profile
from raytune_agents.agents.wording import SLOT, fixed_value, parts, slots
from raytune_agents.calls.validation import accepts
from raytune_agents.generate import arguments, surface
from raytune_agents.generate.actions import action, group_of
from raytune_agents.generate.arguments import NONE, is_drawable, sample_known
from raytune_agents.generate.clauses import SETTERS
from raytune_agents.generate.codes import NoValue
from raytune_agents.generate.described_requests import compose
from raytune_agents.generate.distractors import shown_tools
from raytune_agents.generate.frames import EVEN_HABITS, PRIOR_ROWS, Wish, framed
from raytune_agents.generate.grammar import is_plural, mended
from raytune_agents.generate.kinds import PERIODS
from raytune_agents.generate.named_clauses import CUT
from raytune_agents.generate.nouns import mentions
from raytune_agents.generate.parameter import NUMBERED, Parameter
from raytune_agents.generate.scenes import Scene
from raytune_agents.generate.wordlists import pattern
from raytune_agents.records import Arguments, Message, ToolCall, ToolSpec, Trajectory, finish

ENDLESS = pattern("endless")
OPTIONAL_RATE = 0.35  # how often an optional argument is given where no example tells
SHORTER = 4  # wishes drawn until one is as short as those of the rows
BRACKETED = 0.5  # share of optional values kept that only brackets can hold, where no row tells
CHANGING = frozenset((*SETTERS, "edit", "amend"))
MOST = 5  # arguments of a call beyond the required ones count up to here


@dataclass(frozen=True)
class Task:
    """One call in words."""

    wish: Wish
    call: ToolCall
    source: str  # wording (of the spec) or template

    @property
    def order(self) -> str:
        """The wish as one order without a full stop at its end."""
        return as_order(self.wish)


# --- values ---------------------------------------------------------------------------------------


def _often(tool: ToolConfig, name: str, habits: Profile) -> float:
    """How often an optional argument is given: as the rows give that of this tool, beside
    PRIOR_ROWS calls that do as all their calls, and those beside as many at OPTIONAL_RATE."""
    rows, calls = habits.rows, habits.calls_of(tool.name)
    usual = habits.optional if habits.optional is not None else OPTIONAL_RATE
    usual = (PRIOR_ROWS * OPTIONAL_RATE + rows * usual) / (PRIOR_ROWS + rows)
    known = habits.arguments.get(tool.name, {}).get(name)
    return (PRIOR_ROWS * usual + calls * (known.given if known else 0.0)) / (PRIOR_ROWS + calls)


def argument_names(tool: ToolConfig, habits: Profile, rng: random.Random) -> list[str]:
    """The required parameters and some optional ones, as often as the examples give them."""
    seen = habits.arguments.get(tool.name, NONE)
    params = arguments.parameters_of(tool)
    out = [p.name for p in params if p.required]
    spare = [p for p in params if not p.required]
    act = action(tool.name, tool.told)
    for p in rng.sample(spare, len(spare)):
        often = _often(tool, p.name, habits)
        if act.head in (f"a {p.words}", f"an {p.words}", f"the {p.words}"):
            often = 1.0  # "subscribe a phone number" + an optional one
        if is_drawable(tool, p, seen) and len(out) < MOST and rng.random() < often:
            out.append(p.name)
    verb = next(iter(act.verbs), "")
    changes = verb in CHANGING  # what is changed without a change?
    if changes and all(_locates(p) for p in params if p.name in out):
        usable = [p.name for p in spare if (p.kind or p.examples) and not _locates(p)]
        out += rng.sample(usable, min(1, len(usable)))
    listed = [p.name for p in spare if " or " in act.head and p.words in act.head]
    if changes and listed and not set(listed) & set(out):
        out.append(rng.choice(listed))  # "change the plan or number of seats"
    if not out and spare and not params[0].required and rng.random() < 0.85:
        usable = [p.name for p in spare if is_drawable(tool, p)]
        out = rng.sample(usable, min(1, len(usable)))  # a call without any argument is rare
    new = act.makes
    for phrase in [*([] if new else [act.head]), *(phrase for _, phrase in act.parts)]:
        one = re.match(r"(?:an?|the|my) ", phrase) and not is_plural(phrase.split(" and ")[0])
        named = [p for p in params if one and mentions(phrase, p) and _thing_of(p) is not None]
        if named and not any(p.name in out for p in named):
            out.append(rng.choice(named).name)  # "archive a section": which one?
    renamed = new or verb == "rename" or group_of(verb) == "update"
    bought = verb in ("buy", "purchase", "order")  # has no id yet, too
    return _one_place(params, _said(params, out, act.head, new or bought, renamed))


def _thing_of(p: Parameter) -> str | None:
    """What a parameter is the id or the name of, None where it is neither."""
    found = re.fullmatch(r"(.*?) ?\b(id|name|title|number|key|slug)", p.words)
    return found[1] if found else None


def _said(
    params: Sequence[Parameter], names: list[str], head: str, new: bool, renamed: bool
) -> list[str]:
    """The names without optional ones that nobody says: the id of what is made, a second name of
    one thing, the id of a path again in the body, how much to skip of an unlimited list, the first
    lines beside the last, "permanent" beside so many months."""
    for p in [p for p in params if p.name in names and not p.required]:
        others = [o for o in params if o is not p and (o.name in names or o.required)]
        words = {o.words for o in others}
        made = new and p.sense in NUMBERED and (p.words == "id" or mentions(head, p))
        named = not renamed and _thing_of(p) in {_thing_of(o) for o in others} - {None}
        twin = re.fullmatch(r"(?:body|query|path|form) (.+)", p.words)
        again = twin and any(o.words == twin[1] for o in params)
        skipped = p.sense == "offset" and not any(o.sense == "limit" for o in others)
        cut = CUT.search(p.about) and any(CUT.search(o.about) for o in others)
        unit = re.fullmatch(r"(.+) units?", p.words)  # of what is not given
        unit = unit and any(o.words == unit[1] for o in params) and unit[1] not in words
        endless = p.kind == "flag" and ENDLESS.search(p.words) and any(map(_lasts, others))
        if made or named or again or skipped or cut or unit or endless:
            names = [n for n in names if n != p.name]
    return names


def _lasts(p: Parameter) -> bool:
    """Whether a value says how long or until when something is so."""
    return p.sense in PERIODS or (p.role in ("to", "expires") and p.kind in ("date", "datetime"))


def _one_place(params: Sequence[Parameter], names: list[str]) -> list[str]:
    """The names with a point's both coordinates or none, and a place said once: where it may be
    left out, the point gives way to a name."""
    point = [p for p in params if re.match("latitude|longitude", p.sense)]
    if len(point) != 2 or not any(p.name in names for p in point):
        return names
    places = [p for p in params if re.search(r"\b(city|location|place|address)\b", p.words)]
    named = [p.name for p in places if p.name in names and p not in point]
    if named and not any(p.required for p in point):
        return [n for n in names if n not in {p.name for p in point}]
    optional = {p.name for p in (*places, *point) if not p.required}
    return [n for n in names if n not in optional] + [p.name for p in point if p.name in optional]


def _locates(p: Parameter) -> bool:
    """Whether a value says which thing is meant, not what becomes of it."""
    return not p.items and p.sense in (*NUMBERED, "home_room", "repo_owner", "repo_name")


# --- words ----------------------------------------------------------------------------------------


def _chosen(template: str, habits: Mapping[str, Argument], rng: random.Random) -> list[str]:
    """The parts of a wording that are kept: all that must stand, and optional ones by habit."""
    out = []
    for text, optional in parts(template):
        found = slots(text)
        rates = [habits[s.arg].given if s.arg in habits else 0.5 for s in found] or [0.5]
        if not optional or rng.random() < 0.5 * EVEN + (1 - EVEN) * min(rates):
            out.append(text)
    return out


def phrase(
    tool: ToolConfig,
    template: str,
    rng: random.Random,
    instead: Mapping[str, str] = NONE,
    habits: Profile = EVEN_HABITS,
    also: Collection[str] = (),
) -> tuple[str, Arguments, dict[str, str]]:
    """One of the spec's wordings filled in: the sentence, its arguments, and the text that stands
    for each. An argument in `instead` is said with that text and gets no value; those in `also` get
    one that the sentence does not say. Raises NoValue."""
    kept = _chosen(template, habits.arguments.get(tool.name, NONE), rng)
    properties = tool.parameters["properties"]
    found = [s for text in kept for s in slots(text) if s.arg not in instead]
    fixed = {s.arg: fixed_value(s.fixed, properties[s.arg]) for s in found if s.fixed is not None}
    names = {s.arg for s in found} | set(also)
    args, scene = sample_known(tool, names, rng, habits, fixed)
    params = {p.name: p for p in arguments.parameters_of(tool)}
    anchors = {n: surface.spoken(params[n], v, scene, rng) for n, v in args.items()}
    anchors |= {s.arg: s.shown for s in found if s.shown is not None}
    words = anchors | dict(instead)
    text = SLOT.sub(lambda m: words[m[1]], "".join(kept))
    return mended(" ".join(text.split())), args, anchors


def from_template(
    tool: ToolConfig, rng: random.Random, habits: Profile = EVEN_HABITS, form: str = ""
) -> tuple[Wish, Arguments]:
    """A wish made from the description, mostly without what it could only say as a form does.
    Raises NoValue."""
    args, scene = sample_arguments(tool, rng, habits)
    wish = compose(tool, args, scene, rng, form, habits)
    kept = (PRIOR_ROWS * BRACKETED + habits.brackets) / (PRIOR_ROWS + habits.rows)
    if wish.bracketed and rng.random() >= kept:
        fewer = _without(tool, args, wish.bracketed)
        if len(fewer) < len(args):
            return compose(tool, fewer, scene, rng, form, habits), fewer
    return wish, args


def _without(tool: ToolConfig, args: Arguments, names: Collection[str]) -> Arguments:
    """The arguments without the optional ones of these names; all where the others are no whole."""
    params, act = arguments.parameters_of(tool), action(tool.name, tool.told)
    needed = tool.parameters.get("required", ())
    left = [name for name in args if name in needed or name not in names]
    left = _said(params, left, act.head, False, False)  # nor the unit of what is gone
    fewer = {name: args[name] for name in left}
    whole = fewer and CHANGING.isdisjoint(act.verbs) and accepts(tool.parameters, fewer)
    return fewer if whole and set(_one_place(params, left)) == set(left) else args


def sample_arguments(
    tool: ToolConfig, rng: random.Random, habits: Profile = EVEN_HABITS
) -> tuple[Arguments, Scene]:
    """The arguments of a call: the required ones and some more. Raises NoValue."""
    names = argument_names(tool, habits, rng)
    return sample_known(tool, names, rng, habits)


def as_order(wish: Wish) -> str:
    """The wish as one order without a full stop at its end."""
    rest = wish.rest.strip().removeprefix("- ").replace("\n- ", "; ")
    mark = ":" if wish.rest.startswith("\n") else "."
    return (f"{wish.text}{mark} {rest}" if rest else wish.text).rstrip(".")


# --- rows -----------------------------------------------------------------------------------------


Pool = Callable[[AgentSpec, int, int], list[Trajectory]]
TRIES = 20  # draws for one row, until its requests are new


def make_row(
    spec: AgentSpec,
    pool: str,
    index: int,
    seed: int,
    messages: Sequence[Message],
    tools: tuple[ToolSpec, ...],
    gold: str = "",
    **meta: Any,
) -> Trajectory:
    """A good row of `synthetic.POOL`, number `index` of the agent."""
    return finish(
        Trajectory(
            messages=tuple(messages),
            tools=tools,
            outcome=1.0,
            seed=seed,
            gold=gold,
            source=f"agent/{spec.name}",
            source_id=f"{spec.name}-{pool}-{seed}-{index}",
            pool=f"synthetic.{pool}",
            split="train",
            step=f"generate.{pool}",
            meta={"wording": "template"} | meta,
        )
    )


def row_pool(make: Callable[[AgentSpec, int, int, int], Trajectory | None]) -> Pool:
    """The pool of `make(spec, index, seed, attempt)`: at most n rows with different requests, of
    which a longer list starts with the shorter. A try without a known value gives no row."""

    def pool(spec: AgentSpec, n: int, seed: int) -> list[Trajectory]:
        out: dict[tuple[str, ...], Trajectory] = {}
        for index in range(n):
            for attempt in range(TRIES):
                try:
                    row = make(spec, index, seed, attempt)
                except NoValue:
                    continue
                requests = tuple(m.content for m in row.messages if m.role == "user") if row else ()
                if row is not None and requests not in out:
                    out[requests] = row
                    break
        return list(out.values())

    return pool


def pick_tool(spec: AgentSpec, rng: random.Random, turn: int | None = None) -> ToolConfig:
    """One of the agent's tools, by its habits; the even share goes through all tools where a `turn`
    is given, so that each has its rows."""
    wanted = [spec.habits.tools.get(t.name, 0.0) for t in spec.tools]
    if any(wanted) and rng.random() >= EVEN:
        return rng.choices(spec.tools, wanted)[0]
    if turn is None:
        return rng.choice(spec.tools)
    order = _turns(spec.name, len(spec.tools))
    return spec.tools[order[turn % len(order)]]


@lru_cache(maxsize=64)
def _turns(name: str, count: int) -> list[int]:
    """The order in which an agent's tools have their turns."""
    return random.Random(f"{name}/turns").sample(range(count), count)


def sample_call(
    tool: ToolConfig, rng: random.Random, habits: Profile = EVEN_HABITS, form: str = ""
) -> Task:
    """A wish in words and the call it asks for. Arguments stand in schema order. Raises NoValue."""
    if tool.requests and rng.random() < habits.wordings:
        text, args, anchors = phrase(tool, rng.choice(tool.requests), rng, habits=habits)
        wish, source = Wish("order", text, "", anchors), "wording"
    else:
        longest = rng.choice(habits.words[1:] or (math.inf,))  # half up to their median
        for _ in range(SHORTER):
            wish, args = from_template(tool, rng, habits, form)
            if len(f"{wish.text} {wish.rest}".split()) <= longest:
                break
        source = "template"
    return Task(wish, ordered_call(tool, args), source)


def ordered_call(tool: ToolConfig, args: Mapping[str, Any]) -> ToolCall:
    """The call with its arguments in the schema's order."""
    ordered = {k: args[k] for k in tool.parameters["properties"] if k in args}
    return ToolCall.of(tool.name, **ordered)


def task(spec: AgentSpec, index: int, seed: int, attempt: int = 0) -> Trajectory:
    """The positive row number `index`, by the spec's habits; the same numbers give the same row.
    Raises NoValue where no value or no word is known."""
    rng = random.Random(f"{seed}/{spec.name}/tflan/{index}/{attempt}")
    made = sample_call(pick_tool(spec, rng, index + attempt), rng, spec.habits)
    anchors = made.wish.anchors
    frame, text = framed(made.wish, rng, anchors.values(), spec.habits)
    answer = Message("assistant", tool_calls=(made.call,))
    tools = shown_tools(spec, rng, {made.call.name})
    meta: dict[str, Any] = {"wording": made.source, "frame": frame, "anchors": anchors}
    return make_row(spec, "tflan", index, seed, [Message("user", text), answer], tools, **meta)


tasks = row_pool(task)
