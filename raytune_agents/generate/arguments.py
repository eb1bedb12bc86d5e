"""Arguments that fit: sampled together for one call, so that check-in comes before check-out.

Values that the user's rows, the spec or the agent's world give come first, then those that the
kind of a parameter allows (`scenes`), numbers that people say, and codes of a pattern by rstr.
Nothing known means no value: `sample` raises `NoValue` and the row is not made. All draws come from
the caller's `random.Random`.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from raytune_agents.agents import ToolConfig
from raytune_agents.agents.analyse import Argument, Profile, like
from raytune_agents.agents.phrasing import name_words
from raytune_agents.agents.word_banks import fill
from raytune_agents.calls.validation import accepted_values, accepts
from raytune_agents.generate import kinds
from raytune_agents.generate.agreement import (
    begins_first,
    dated,
    differ,
    fit_together,
    set_in_order,
)
from raytune_agents.generate.codes import MEASURE, NoValue, code_of, is_code, shaped, sum_like
from raytune_agents.generate.conditions import fit_condition, with_conditions
from raytune_agents.generate.frames import EVEN_HABITS
from raytune_agents.generate.kind_table import kind_named, kind_of_form
from raytune_agents.generate.kind_texts import CODES, PATH, like_example, text_of
from raytune_agents.generate.parameter import Parameter
from raytune_agents.generate.quantities import number, plain_number
from raytune_agents.generate.scenes import DATE_FORMS, MEALS, Scene, who_of
from raytune_agents.generate.wordlists import pattern
from raytune_agents.records import Arguments

NONE: Mapping[str, Any] = MappingProxyType({})
UNSAID = re.compile(r"(none|null|n/?a|unspecified|undefined|unknown|default)?$", re.I)
WRITTEN_FORMS = {  # kinds of which a value shows the form alone
    "date": "|".join(DATE_FORMS),
    "month": "|".join(DATE_FORMS),
    "datetime": r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*",
    "time": r"\d\d?:\d\d(:\d\d)?( ?[AaPp][Mm])?",
}
OF_SCENE = ("date", "datetime", "time", "country", "country_code", "state")
TRIES = 12  # draws of a whole set of arguments before a schema counts as one that no value fits
MOST_ITEMS = 100  # of a made-up list: a schema may ask for a billion


@dataclass(frozen=True)
class Known:
    """Values that are known to exist: tool -> parameter -> values, and parameter -> values for
    tools that were not seen. Of a `closed` parameter name no other value exists."""

    own: Mapping[str, Mapping[str, Sequence[Any]]] = field(default_factory=dict)
    shared: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    closed: frozenset[str] = frozenset()

    def of(self, tool: str, name: str) -> Sequence[Any]:
        """The known values of a tool's parameter."""
        return self.own.get(tool, {}).get(name) or self.shared.get(name, ())


NOTHING = Known()


# --- values ---------------------------------------------------------------------------------------


# how a schema's pattern may want a day or a month
DAY_FORMS = (*DATE_FORMS.values(), "%d/%m/%Y", "%m/%Y", "%m-%Y", "%Y/%m", "%Y%m", "%m")


def _patterned(text: Any, p: Parameter, scene: Scene) -> Any:
    """The text, or where it breaks the schema's pattern or length, a code of the pattern."""
    detail = p.detail
    if not isinstance(text, str) or accepts(detail, text):
        return text
    if p.kind == "datetime":  # a pattern may want a zone or no seconds, never digits at random
        forms = (text + "Z", text + ".000Z", text + "+00:00", text.rstrip("Z"), text[:10])
        if form := next((f for f in forms if accepts(detail, f)), ""):
            return form
    if p.kind in ("date", "month"):
        day = scene.day(p.role)
        whole = [f for f in DAY_FORMS if ("%d" in f) == (p.kind == "date") and f != "%Y"]
        forms = (day.strftime(f) for f in whole)
        if form := next((f for f in forms if accepts(detail, f)), ""):
            return form
    cut = detail.get("maxLength")
    if not detail.get("pattern"):
        if cut and len(text) > cut and " " in text:
            short = text[: cut + 1].rsplit(" ", 1)[0]
            if accepts(detail, short):
                return short
        raise NoValue(f"{p.name}: no known value fits its schema")
    if p.kind in ("date", "datetime", "time", "month"):
        raise NoValue(f"{p.name}: no day or time fits its pattern {detail['pattern']}")
    small = text.lower()
    spellings = (text.upper(), small, re.sub(r"\W+", "-", small), re.sub(r"\W+", "_", small))
    form = next((f for f in spellings if accepts(detail, f)), "")
    return form or code_of(detail, scene.rng, p.name)


def _cased(text: str, p: Parameter) -> str:
    """The text in the case that the description names, a code in that of its examples."""
    code = p.kind in ("currency", "country_code") and any(str(v).islower() for v in p.values)
    return text.lower() if code or re.search(r"\blower-? ?case\b", p.about) else text


def _in_known_form(p: Parameter, known: Sequence[Any]) -> Parameter:
    """The parameter, written as known values are: of a name that says nothing, "04.05.2026" shows
    a day and how it is written."""
    if not (p.kind or p.examples):
        p = replace(p, kind=kind_of_form(known))
    elif kinds.unlike_bank(p.kind, known):
        return replace(p, kind="")  # a machine of a building site is none of ours
    texts = [t for t in map(str, known) if re.fullmatch(WRITTEN_FORMS.get(p.kind, "(?!)"), t)]
    return p if p.examples or not texts else replace(p, examples=tuple(map(json.dumps, texts)))


def _like_known(scene: Scene, p: Parameter, known: Sequence[Any], only: bool) -> Any:
    """A value that is known, or another of its form; None where the kind says more."""
    rng = scene.rng
    if only:
        return rng.choice(known)
    if p.kind in WRITTEN_FORMS:
        return None if p.examples else rng.choice(known)  # "tomorrow"
    chosen = rng.choice(known)
    if p.kind == "id" and all(isinstance(v, int | float) for v in known):
        if len(set(known)) > 1:
            return number(scene, p, known)
        return rng.choice([chosen, int(shaped(str(chosen), rng))])
    if p.kind not in ("id", "name", "maker") and (p.kind or p.examples):
        return None
    # what the rows name is not all there is
    coded = is_code(chosen) and (p.kind == "id" or re.search("[A-Za-z]", chosen))
    other = p.kind in ("id", "") and coded and rng.random() < 0.5
    return like_example(scene, chosen) if other else chosen


def _scalar(scene: Scene, p: Parameter, known: Sequence[Any], only: bool) -> Any:
    """One value: of what is known, of the examples, of the kind."""
    rng = scene.rng
    usable = accepted_values(p.detail, known)
    if usable:
        p = p if only else _in_known_form(p, usable)
        if (found := _like_known(scene, p, usable, only)) is not None:
            return found
    if p.kind == "choice":
        if not p.examples:
            raise NoValue(f"{p.name}: its enum is empty")
        # "none", and what is done anyway, is said by saying nothing.
        told = [v for v in p.values if not UNSAID.match(str(v)) and v != p.detail.get("default")]
        chosen = rng.choice(told or p.values)
        scene.meal = chosen if chosen in MEALS else scene.meal
        return chosen
    if p.kind == "flag":  # what a tool does anyway is not asked for
        default = p.detail.get("default")
        return rng.random() < (0.7 if p.required else 0.1 if default else 0.9)
    if p.kind and kind_named(p.kind).range:
        found = number(scene, p, usable)
        return str(found) if p.type == "string" else found
    # of what the scene gives an example shows the form alone
    plain = [] if p.kind in OF_SCENE else accepted_values(p.detail, p.values)
    if p.sense == "gender":  # nobody is "other"
        plain = [v for v in plain if str(v).lower() not in ("other", "any", "all")] or plain
    told = p.kind == "query" and len(plain) > 2  # what it is about: our bank may not fit
    often = 0.3 if kind_named(p.kind).open and not told else 1.0
    worded = not any(re.search(r"\d", str(v)) for v in plain)  # "cam-front": no code to vary
    if plain and (not p.kind or (worded if p.kind == "id" else rng.random() < often)):
        chosen = rng.choice(plain)
        # "e4" is a word of a game, no code
        formed = not p.kind or p.kind in CODES
        if p.kind == "expression":
            return sum_like(chosen, rng)
        coded = formed and is_code(chosen) and re.search(r"\d.*\d|[-_/.#]|[A-Z]{2}\d", str(chosen))
        coded = coded or MEASURE.fullmatch(str(chosen))
        coded = coded or (p.kind == "version" and re.fullmatch(r"v?\d+(\.\d+)+", str(chosen)))
        letters = re.fullmatch("[A-Z]{3,8}", str(chosen)) and len(plain) == 1
        open_code = p.kind == "id" or (not p.kind and re.search(r"(?i)\b(code|tag)\b", p.about))
        coded = coded or (letters and open_code)
        return like_example(scene, chosen) if coded or PATH.fullmatch(str(chosen)) else chosen
    if not p.kind:
        raise NoValue(f"{p.name}: nothing is known of its values")
    text = text_of(scene, p)
    if p.type == "string":
        text = _cased(str(text), p)
    if p.is_number and isinstance(text, str):
        text = plain_number(float(text)) if re.fullmatch(r"-?\d+(\.\d+)?", text) else text
    return _patterned(text, p, scene)


def value(scene: Scene, p: Parameter, known: Sequence[Any] = (), only: bool = False) -> Any:
    """A value of the parameter. Raises NoValue."""
    if p.items is not None:
        if any(isinstance(v, list) for v in known):
            whole = [v for v in known if isinstance(v, list)]
            if whole and (only or not p.items.kind):
                return scene.rng.choice(whole)
            known = [x for v in whole for x in v]
        return _array(scene, p, p.items, known, only)
    if p.fields:
        whole = [v for v in known if isinstance(v, dict)]
        if whole:
            return scene.rng.choice(whole)
        usable = [f for f in p.fields if f.kind or f.examples]
        spare = [f for f in usable if not f.required]
        more = scene.rng.sample(spare, min(len(spare), scene.rng.randint(0, 1)))
        chosen = [f for f in usable if f.required or f in more]
        if all(f.kind == "flag" for f in chosen):
            chosen = [f for f in usable if f.kind != "flag"][:2]
        for _ in range(TRIES):
            made = {f.name: value(scene, f) for f in chosen}
            set_in_order(p.fields, made)
            fit_condition(p.fields, made, scene.rng)
            if differ(p.fields, made):
                break
        return made
    return _scalar(scene, p, known, only)


def _array(
    scene: Scene, p: Parameter, item: Parameter, known: Sequence[Any], only: bool
) -> list[Any]:
    detail = p.detail
    numbers = item.is_number
    pairs = item.kind in ("span", "point")
    usual = (3, 5) if pairs else (3, 6) if numbers else (1, 3)  # who lists numbers lists several
    if pattern("of_many").search(scene.context):
        usual = (max(2, usual[0]), usual[1])
    least = int(detail.get("minItems", min(usual[0], int(detail.get("maxItems", usual[0])))))
    least = max(1, least)
    most = min(int(detail.get("maxItems", usual[1])), max(least, usual[1]))
    if most < least:
        raise NoValue(f"{p.name}: at least {least} and at most {most} items")
    if least > MOST_ITEMS:
        raise NoValue(f"{p.name}: nobody lists {least} items in a request")
    wanted, out, leads = scene.rng.randint(least, most), [], []
    people = dict(scene.people)
    for _ in range(6 * wanted):
        scene.people = dict(people) if item.fields else scene.people  # others in each item
        if item.kind in ("date", "datetime", "month", "year", "iso_week"):
            scene.start = None  # another day
        if item.kind in ("email", "person", "username", "first_name"):
            scene.people.pop(who_of(item), None)  # another person for each item
        element = value(scene, item, known, only)
        fields = element.values() if isinstance(element, dict) else [element]
        lead = next((v for v in fields if isinstance(v, str)), element)  # by which they are told
        if element not in out and lead not in leads:
            out.append(element)
            leads.append(lead)
        if len(out) == wanted:
            break
    if item.kind == "point" and re.search(r"polygon|vertices|corners", scene.context):
        x, y = (sum(axis) / len(out) for axis in zip(*out))  # no side crosses another
        return sorted(out, key=lambda point: math.atan2(point[1] - y, point[0] - x))
    # hours or days, which people name in their order
    timely = 6 <= item.detail.get("maximum", 0) <= 31 and "minimum" in item.detail
    return sorted(out) if timely or item.kind == "span" else out


# --- a whole call ---------------------------------------------------------------------------------


def parameters_of(tool: ToolConfig) -> tuple[Parameter, ...]:
    """What is known of a tool's parameters."""
    return with_conditions(kinds.parameters(tool.name, tool.description, tool.parameters))


def context_of(tool: ToolConfig) -> str:
    """A tool's name and description as lower-case words."""
    return f"{name_words(tool.name)} {tool.description.lower()}"


def _in_state(p: Parameter) -> bool:
    inner = (*p.fields, *([p.items] if p.items else ()))
    return p.kind == "state" or any(map(_in_state, inner))


def sample(
    tool: ToolConfig,
    names: Collection[str],
    rng: random.Random,
    known: Known = NOTHING,
    fixed: Mapping[str, Any] | None = None,
) -> tuple[Arguments, Scene]:
    """Values for the parameters `names`, in the schema's order, that fit each other and the schema;
    `fixed` ones are kept. Raises NoValue naming tool and parameter."""
    params = [p for p in parameters_of(tool) if p.name in names]
    needed = [r for r in tool.parameters.get("required", ()) if r in names]
    schema = tool.parameters | {"required": needed}
    days = dated(params)
    # two days that the rows name would make a span of any length
    spans = days if {"from", "to"} <= {p.role for p in days} else []
    for _ in range(TRIES):
        scene = Scene(rng, context_of(tool), any(map(_in_state, params)))
        args: Arguments = {}
        try:
            for p in params:
                preset = (fixed or {}).get(p.name)
                hints = known.of(tool.name, p.name)
                scene.meal = preset if isinstance(preset, str) and preset in MEALS else scene.meal
                only = p.name in known.closed and p not in spans
                args[p.name] = preset if preset is not None else value(scene, p, hints, only)
            if not any(p.name in (fixed or {}) or known.of(tool.name, p.name) for p in params):
                fit_condition(params, args, rng)
        except NoValue as error:
            raise NoValue(f"{tool.name}.{error}") from None
        fit_together(params, args)
        if differ(params, args) and begins_first(params, args) and accepts(schema, args):
            return args, scene
    raise NoValue(f"{tool.name}: no values together fit its schema")


def invented(name: str, schema: Mapping[str, Any], rng: random.Random) -> Any:
    """A value that nobody asked for, for a call that is meant to be wrong: of the parameter's kind,
    or, where nothing is known of it, its own name as a model would copy it."""
    p = kinds.parameter(name, dict(schema), True, name_words(name))
    for _ in range(TRIES):
        try:
            made = value(Scene(rng, p.words), p)
        except NoValue:
            break
        if accepts(p.detail, made):
            return made
    return _bare(p)


def _bare(p: Parameter) -> Any:
    """The least that the type of an unknown parameter allows."""
    kind = p.type
    if p.items is not None:
        return [_bare(p.items)] * min(int(p.detail.get("minItems", 0)), MOST_ITEMS)
    if kind == "object":
        return {f.name: _bare(f) for f in p.fields if f.required}
    if kind in ("integer", "number"):
        return p.detail.get("minimum", 1)
    return {"null": None, "boolean": True}.get(kind, p.words)


def is_drawable(tool: ToolConfig, p: Parameter, habits: Mapping[str, Argument] = NONE) -> bool:
    """Whether a value of the parameter can be drawn: of its kind, the spec or the user's rows."""
    known = habits.get(p.name)
    return bool(p.kind or p.examples or tool.values.get(p.name) or (known and known.texts))


def spec_values(
    tool: ToolConfig, rng: random.Random, habits: Mapping[str, Argument] = NONE
) -> Known:
    """What a value of the tool may be: what the examples say, every second time, else the values of
    the spec, which are all there are."""
    own: dict[str, Sequence[Any]] = {}
    closed = set()
    for name, schema in tool.parameters["properties"].items():
        seen = like(habits.get(name), schema, rng)
        if seen:
            own[name] = seen
            closed.add(name)
        elif tool.values.get(name):
            own[name] = [fill(t, rng) if isinstance(t, str) else t for t in tool.values[name]]
            closed.add(name)
        elif (known := habits.get(name)) and known.texts:
            own[name] = list(known.texts)  # for a parameter that nothing else is known of
        elif known:
            own[name] = list(map(plain_number, known.numbers))  # what size is usual
    return Known({tool.name: own}, {}, frozenset(closed))


def sample_known(
    tool: ToolConfig,
    names: Collection[str],
    rng: random.Random,
    habits: Profile = EVEN_HABITS,
    fixed: Mapping[str, Any] | None = None,
) -> tuple[Arguments, Scene]:
    """As `sample`, of what the spec and the rows of the `habits` say. Raises NoValue."""
    known = spec_values(tool, rng, habits.arguments.get(tool.name, NONE))
    return sample(tool, names, rng, known, fixed)
