"""How a value is said.

The text of a value stays provable from the value: a date by its month's name, a small count as a
word, an enum without underscores. `filters.grounding` is the rule that each must pass.
"""

from __future__ import annotations

import json
import random
import re
from datetime import date
from functools import lru_cache
from typing import Any

from raytune_agents.agents.word_banks import shown
from raytune_agents.filters.grounding import Evidence, is_grounded
from raytune_agents.generate.actions import base_verb
from raytune_agents.generate.clauses import DATES, LAST, clause_of
from raytune_agents.generate.conditions import condition_text
from raytune_agents.generate.forms import field_noun, unit_words
from raytune_agents.generate.grammar import DETERMINERS
from raytune_agents.generate.kind_table import bank_of
from raytune_agents.generate.parameter import Parameter
from raytune_agents.generate.scenes import Scene, cities
from raytune_agents.generate.ways_said import COUNTED, day_of, day_parts, ways_said
from raytune_agents.generate.wordlists import pattern, phrases, word_data
from raytune_agents.records import Arguments

COUNTS = ("nights", "beds", "people", "rooms", "days", "weeks", "hours", "quantity", "replicas")
SYMBOLS: dict[str, str] = word_data("names")["currency_texts"]
ORDER: list[list[str]] = word_data("names")["spoken_first"]
PAGING = ("limit", "page", "offset", "sort_order", "format")


def rank(p: Parameter) -> tuple[int, int]:
    """Where a parameter comes in a sentence."""
    if p.sense in LAST:
        return len(ORDER) + 3, 0
    if p.kind == "flag" or p.sense in PAGING:
        return len(ORDER) + 1 + (p.sense in PAGING), 0
    if p.sense in ("latitude", "longitude"):  # first the one, right after it the other
        return len(ORDER), 1 + (p.sense == "longitude")
    order = next((i for i, line in enumerate(ORDER) if p.sense in line), len(ORDER))
    if order == len(ORDER):  # two ends stand together
        return order, {"from": 0, "to": 1}.get(p.role, 2)
    later = p.kind == "date" and p.words.startswith("pay")  # at the end of what is paid
    return order, {"from": 0, "": 1, "to": 2, "cc": 3}.get(p.role, 1) + 2 * later


# --- the text of a value --------------------------------------------------------------------------


DAY_TEXTS = (
    *["{y}-{M}-{D}"] * 2,  # as often as two of the others
    "{d} {B} {y}",
    "{B} {d}, {y}",
    "{b} {d}, {y}",
    "the {o} of {B} {y}",
)


def _day(day: date, scene: Scene, rng: random.Random) -> str:
    """A day in words; all days of a request in the same form."""
    if scene.day_form is None:
        scene.day_form = rng.randrange(len(DAY_TEXTS))
    return DAY_TEXTS[scene.day_form].format(**day_parts(day))


def _clock(text: str, rng: random.Random) -> str:
    clock = text[:5]
    ways = ways_said(clock)
    half = ways[2] if len(ways) > 2 else clock  # "2:30 pm"; 24:00 is said as it is
    return rng.choice((clock, clock, half))


def _quantity(p: Parameter, value: int | float, rng: random.Random) -> str:
    kind = p.sense
    if kind in COUNTS and isinstance(value, int) and 2 <= value <= 12 and rng.random() < 0.35:
        return COUNTED[value]
    if kind == "money" and p.unit in SYMBOLS and rng.random() < 0.8:
        return SYMBOLS[p.unit].format(x=shown(value))
    return shown(value)


def spoken(p: Parameter, value: Any, scene: Scene, rng: random.Random) -> str:
    """The text that stands for a value in a request."""
    if isinstance(value, bool):
        return p.noun
    if isinstance(value, int | float):
        return _quantity(p, value, rng)
    if isinstance(value, str):
        return _string_text(p, value, scene, rng)
    if isinstance(value, dict) and p.fields:
        return _object_text(p, value, scene, rng)
    if isinstance(value, list) and p.items is not None and p.items.fields:
        records = [v for v in value if isinstance(v, dict)]
        return "; ".join(_object_text(p.items, v, scene, rng, True) for v in records)
    if isinstance(value, list) and any(isinstance(v, list) for v in value):
        return pairs_text(value, p.sense == "point")
    if isinstance(value, list) and len(value) > 2 and not any(isinstance(v, str) for v in value):
        plain = ", ".join(map(shown, value))
        return rng.choices((shown(value), plain, f"[{plain}]"), NUMBER_LISTS)[0]
    if isinstance(value, list) and p.items is not None and p.items.kind == "choice":
        return shown([_in_words(p.items, str(v)) for v in value])
    return shown(value).replace("_", " ") if p.kind == "choice" else shown(value)


def pairs_text(pairs: list[Any], rounded: bool) -> str:
    """Pairs of numbers as one writes them down: "[[0, 30], [5, 10]]", "[(0, 0), (5, 0)]"."""
    text = json.dumps(pairs)
    return re.sub(r"\[([^][]*)\]", r"(\1)", text) if rounded else text


NUMBER_LISTS = (5, 3, 2)  # weights of "1, 2 and 3", "1, 2, 3" and "[1, 2, 3]"
PLAIN = frozenset(phrases()["address_kinds"])


LEADING = pattern("leading_fields")


def _object_text(
    p: Parameter, value: Arguments, scene: Scene, rng: random.Random, listed: bool = False
) -> str:
    """An object's fields: an address as on an envelope, others with their nouns."""
    if condition := condition_text(p.fields, value):
        return condition
    known, lead = {f.name: f for f in p.fields}, ""
    out: list[str] = []
    leading = LEADING if listed else r"^(?!description)\b" + LEADING.pattern
    address = any(f.kind in ("street", "city", "zip") for f in p.fields)
    if p.is_measure:
        return " ".join(shown(value[f.name]) for f in p.fields if f.name in value)  # "120 mmHg"
    for name, inner in value.items():
        f = known.get(name)
        if f is not None and f.is_constant:
            continue
        if f is None or isinstance(inner, bool):  # "(urgent)", "and notify me"
            flag = clause_of(f, inner, rng) if f else f"{name.replace('_', ' ')} {shown(inner)}"
            out.append(re.sub(r"^\(|\)$|^and ", "", flag))
            continue
        text, noun = spoken(f, inner, scene, rng), field_noun(f)
        if f.items is not None and f.items.fields:
            text = " and ".join(f"({one})" for one in text.split("; "))
        if f.kind in DATES and f.role in ("from", "to") and f.words.split()[0] == f.role:
            out.append(f"{f.role} {text}")
            continue
        alone = re.fullmatch(r"(week ?)?day|date|time|when", noun)
        on_envelope = address and f.kind in PLAIN and not f.items
        if on_envelope or (alone and f.sense in (*DATES, "weekday")):
            out.append(text)
        elif not (address or lead) and isinstance(inner, str) and re.search(leading, f.words):
            lead = text
        elif isinstance(inner, int | float) and not noun.endswith(unit := unit_words(f)):
            out.append(f"{noun} {text} {unit}")
        elif f.sense in LAST and isinstance(inner, str):
            out.append(f'{noun} "{text}"')
        else:
            out.append(f"{noun} {text}")
    if lead and listed:
        return f"{lead} ({', '.join(out)})" if out else lead
    out = [lead, *out] if lead else out
    bare = out and " " not in out[0]  # "Fri, period 5"
    text = ", ".join(out) if address or listed or bare else shown(out)
    return re.sub(r"(\bfrom .+?)(?:,| and) to ", r"\1 to ", text)


HTTP_METHODS = ("GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS")


def _in_words(p: Parameter, value: str) -> str:
    """A name of a program as words: IN_PROGRESS, inProgress -> "in progress", desc ->
    "descending"."""
    if p.sense == "sort_order" and len(value) > 2:
        return next((w for w in bank_of(p.sense) if w.startswith(value.lower())), value)
    all_caps = all(str(v).isupper() for v in p.values) and not {*HTTP_METHODS} & {*p.values}
    unspoken = [w for v in (p.values if all_caps else ()) for w in str(v).split("_")]
    unspoken = [w for w in unspoken if w in (value.split("_") if "_" in value else unspoken)]
    if all_caps and "_" not in value and pattern("named_in_capitals").search(p.noun):
        return value  # ISIS, an instrument
    if any(re.search("[A-Z]", w) and not re.search("[AEIOUY]", w) for w in unspoken):
        return value  # a name, no words: REPORTING_WH, ASCAP beside PRS
    constants = all_caps and any(re.search("_|[A-Z]{5}", str(v)) for v in p.values)
    if constants or re.fullmatch(r"[a-z]{2,}([A-Z][a-z]+)+", value):
        value = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", value).lower()
    return value.replace("_", " ") if re.fullmatch(r"[A-Za-z]+(_[A-Za-z]+)+", value) else value


@lru_cache(maxsize=1)
def named_codes() -> dict[tuple[str, str], str]:
    """(kind, code) -> its name, of which the code can be proven: "de" is said by "German"."""
    countries = {("country_code", c.code.lower()): c.country for c in cities()}
    languages = {("language_code", c): n for c, n in LANGUAGES.items()}
    return {
        (kind, code): name
        for (kind, code), name in (countries | languages).items()
        if is_grounded(code, Evidence(name))
    }


LANGUAGES: dict[str, str] = word_data("names")["language_names"]
NAMED = 0.97  # share of codes of countries and languages that are said by their names


def _tells_to(text: str) -> bool:
    """Whether a text begins like an order: "delete my account", "recover files"."""
    first, _, rest = text.partition(" ")
    noun = first in phrases()["nouns_too"] and not DETERMINERS.match(rest)
    return bool(rest) and base_verb(first) == first and not noun


def _string_text(p: Parameter, value: str, scene: Scene, rng: random.Random) -> str:
    name = named_codes().get((p.sense, value.lower()))
    if name and not p.items and rng.random() < NAMED:
        return name
    if p.sense == "query" and p.kind != "choice" and _tells_to(value):
        return f'"{value}"'  # the title of a help page
    if p.kind == "choice" or (not p.kind and re.fullmatch(r"[a-z]+(_[a-z]+)+", value)):
        return _in_words(p, value)
    if p.kind == "date" and (day := day_of(value)):
        return _day(day, scene, rng)
    if p.kind == "time" and re.fullmatch(r"\d\d:\d\d(:\d\d)?", value):
        return _clock(value, rng)
    moment = re.fullmatch(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:00(\.0+)?)?(Z|\+00:00)?", value)
    if p.kind == "datetime" and moment and (day := day_of(moment[1])):
        return f"{_day(day, scene, rng)} at {_clock(moment[2], rng)}"
    return value
