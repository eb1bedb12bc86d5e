"""How a value is said, and in which words it joins a sentence.

The text of a value stays provable from the value: a date by its month's name, a small count as a
word, an enum without underscores. `filters.grounding` is the rule that each must pass.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from raytune_agents.agents.values import shown
from raytune_agents.generate.actions import base_verb
from raytune_agents.generate.kinds import Kind, Parameter, kind_named
from raytune_agents.generate.scenes import Scene

COUNTED = "zero one two three four five six seven eight nine ten eleven twelve".split()  # noqa: SIM905
COUNTS = ("nights", "beds", "people", "rooms", "days", "weeks", "hours", "quantity", "replicas")
SYMBOLS = {
    "usd": "${x}",
    "dollars": "{x} dollars",
    "eur": "{x} euros",
    "euros": "{x} euros",
    "gbp": "£{x}",
    "pounds": "£{x}",
    "cents": "{x} cents",
}
ORDER = [  # what is said first
    re.compile(f"({line})$")
    for line in (
        "query|name|product|movie|book|song|file|id|id_number|person|artist|playlist|dish|"
        "event_title|task_title|document_title",
        "email",
        "iata|city|country|state|street|hotel|restaurant|landmark",
        "date|datetime|month|year|nights",
        "time|weekday",
        "people|rooms|beds|quantity|money|loan",
    )
]
PAGING = ("limit", "page", "offset", "sort_order", "format")
LAST = ("message", "note", "reason", "translate_text", "problem", "sql", "description")


def rank(p: Parameter) -> tuple[int, int]:
    """Where a parameter comes in a sentence."""
    if p.sense in LAST:
        return len(ORDER) + 3, 0
    if p.kind == "flag" or p.sense in PAGING:
        return len(ORDER) + 1 + (p.sense in PAGING), 0
    place = next((i for i, line in enumerate(ORDER) if line.match(p.sense)), len(ORDER))
    return place, {"from": 0, "": 1, "to": 2}.get(p.role, 1)


# --- the text of a value --------------------------------------------------------------------------


def _day(day: date, rng: random.Random) -> str:
    day_number = day.day
    return rng.choice(
        (
            day.isoformat(),
            day.isoformat(),
            f"{day_number} {day:%B %Y}",
            f"{day:%B} {day_number}, {day.year}",
            f"{day:%b} {day_number}, {day.year}",
            f"the {ordinal(day_number)} of {day:%B %Y}",
        )
    )


def ordinal(n: int) -> str:
    """1 -> 1st, 12 -> 12th, 23 -> 23rd."""
    ending = "th" if 10 <= n % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def _clock(text: str, rng: random.Random) -> str:
    hour, minute = int(text[:2]), text[3:5]
    past = "" if minute == "00" else f":{minute}"
    half = f"{(hour - 1) % 12 + 1}{past} {'pm' if hour > 11 else 'am'}"
    return rng.choice((text[:5], text[:5], half))


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
        return _said_text(p, value, rng)
    return shown(value).replace("_", " ") if p.kind == "choice" else shown(value)


def _said_text(p: Parameter, value: str, rng: random.Random) -> str:
    if p.kind == "choice" or (not p.kind and re.fullmatch(r"[a-z]+(_[a-z]+)+", value)):
        return value.replace("_", " ") if re.fullmatch(r"[A-Za-z]+(_[A-Za-z]+)+", value) else value
    if p.kind == "date" and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        try:
            return _day(date.fromisoformat(value), rng)
        except ValueError:
            return value
    if p.kind == "time" and re.fullmatch(r"\d\d:\d\d(:\d\d)?", value):
        return _clock(value, rng)
    if p.kind == "datetime" and (
        m := re.fullmatch(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:00)?Z?", value)
    ):
        try:
            return f"{_day(datetime.fromisoformat(m[1]).date(), rng)} at {_clock(m[2], rng)}"
        except ValueError:
            return value
    return value


# --- clauses --------------------------------------------------------------------------------------


def _sense(p: Parameter) -> Kind:
    """The kind that words are chosen by: a choice of languages is said like a language."""
    return kind_named(p.sense)


def _flag(p: Parameter, value: bool) -> str:
    words = re.sub(
        r"^(is|should|do|be|set|use|enable|enabled|with|include|includes|including|has|have|"
        r"allow|add|want|needs?|show|return|get)\s+",
        "",
        p.words,
    )
    words = (
        re.sub(r"\s+(included|enabled|flag|allowed|required|needed|only)$", "", words) or p.words
    )
    if base_verb(words.split()[0]) and words not in ("draft", "return"):
        if len(words.split()) > 1:
            return f"and {words}" if value else f"and don't {words}"
        return f"({words}: {'yes' if value else 'no'})"
    if re.search(r"\bonly\b", p.words):
        return f"(only {words} ones)" if value else f"(not only {words} ones)"
    if re.search(r"\b(include|includes|including|with|included|add)\b", p.words):
        return f"{'including' if value else 'without'} {words}"
    if re.search(
        r"^(is |be )|(ed|able|ible|al|ic|ive|ful|en|open|new|public|private|active|urgent|free|"
        r"direct|recursive|verbose|async|silent|hidden|secure)$",
        p.words,
    ):
        return f"({words})" if value else f"(not {words})"
    return f"with {words}" if value else f"without {words}"


DOCUMENTS = re.compile(
    r"\b(e-?mails?|issues?|pages?|papers?|articles?|news|documents?|files?|messages?|posts?|notes?|"
    r"tickets?|books?|videos?|threads?|records?|invoices?|orders?|reports?|information|info|rules|"
    r"regulations?|questions?|verses|headlines?|research|results?|contracts?|cases?)$",
    re.I,
)
SETTERS = (
    "set",
    "update",
    "change",
    "move",
    "reschedule",
    "scale",
    "switch",
    "raise",
    "lower",
    "increase",
    "decrease",
    "postpone",
    "rename",
    "modify",
    "resize",
)
TOWARDS = {
    "share": "with",
    "send": "to",
    "forward": "to",
    "assign": "to",
    "email": "to",
    "transfer": "to",
    "submit": "to",
    "deliver": "to",
    "ship": "to",
    "mail": "to",
    "draft": "to",
    "give": "to",
    "write": "to",
    "pay": "to",
    "refund": "to",
}
WHO = ("email", "person", "username", "phone")


def clause_of(p: Parameter, value: Any, rng: random.Random, verb: str = "", head: str = "") -> str:
    """The words that join a parameter to a sentence, with {name} for its value. `verb` and `head`
    are of the sentence: one sends to somebody, shares with somebody, sets something to a value."""
    slot = "{" + p.name + "}"
    if isinstance(value, bool):
        return _flag(p, value)
    sense = _sense(p)
    spoken_of = bool(set(p.noun.split()[-1:]) & set(re.findall(r"\w+", head)))
    if (
        verb in SETTERS
        and p.role in ("", "from", "to")
        and (spoken_of or sense.clauses("to") != sense.say or p.words.startswith("new "))
    ):
        if sense.kind in ("date", "datetime", "time"):
            return f"to {slot}"
        towards = dict(sense.sayings).get("to", ("to {x}",))[0]
        return towards.replace("{x}", slot).replace("{noun}", p.noun).replace(" {unit}", "")
    if sense.kind in WHO and verb in TOWARDS and not p.role:
        return f"{TOWARDS[verb]} {slot}"
    if sense.kind == "tag" and verb in ("tag", "label"):
        return f"as {slot}"
    text = rng.choice(_options(p, value, sense, head))
    if p.unit and "{unit}" in text:
        text = text.replace("{unit}", UNIT_WORDS.get(p.unit, p.unit))
    text = text.replace(" {unit}", "").replace("{noun}", _noun(p, sense))
    return text.replace("{x}", slot)


def _options(p: Parameter, value: Any, sense: Kind, head: str) -> Sequence[str]:
    """The clauses that a value can stand in, with {x} for it and {noun} for its name."""
    noun = _noun(p, sense)
    named = ("with {noun} {x}", "with the {noun} {x}", "with {x} as the {noun}")
    listed = ("with the {noun} {x}", "({noun}: {x})")
    if p.kind == "object" or (p.items is not None and p.items.kind == "object"):
        return ("with {noun} {x}",)
    if value in ("metric", "imperial"):
        return ("in {x} units",)
    if re.fullmatch(r"(kind|type|category|mode|option)", noun) and p.kind in ("choice", ""):
        return ("({x})",)
    if p.kind == "choice" and not (sense.kind and sense.say and sense.spoken):
        adjective = isinstance(value, str) and re.fullmatch(r"[a-z]+", value)
        return ("with a {x} {noun}", "({noun}: {x})") if adjective else listed
    if sense.kind == "query":
        return ("about {x}", "on {x}") if DOCUMENTS.search(head) else ("for {x}",)
    if noun == "ID":
        return ("with the ID {x}",)
    if sense.kind == "money" and not p.role:
        plain = re.search(r"\b(amount|value|total|sum|price|cost|payment)$", noun)
        return ("for {x}", "of {x}") if plain else ("with a {noun} of {x}",)
    if sense.kind in ("date", "datetime") and (
        word := re.search(r"\b(after|before|since)\b", p.words)
    ):
        return (f"{word[1]} {{x}}",)
    found = sense.clauses(p.role) if sense.kind else ()
    return found or (listed if p.items is not None else named)


UNIT_WORDS = {
    "kilometers": "km",
    "kilometres": "km",
    "kilograms": "kg",
    "km": "km",
    "usd": "dollars",
    "eur": "euros",
}


def _noun(p: Parameter, sense: Kind) -> str:
    """The words for a parameter inside a clause: counts without "number of"."""
    words = re.sub(
        r"^(num|number of|no of|n|total|max|maximum|min|minimum|amount of|new)\s+",
        "",
        p.words if sense.range else p.noun,
    )
    words = re.sub(r"\s+(count|number|no|min|max|ids|km|kg|cm|minutes|percent|usd|eur)$", "", words)
    if sense.kind == "people" and re.search(r"party|pax|headcount|covers", words):
        return "people"
    if sense.kind in ("people", "beds", "replicas") and not words.endswith("s"):
        return {"person": "people", "child": "children"}.get(
            words, words if words.endswith("n") else f"{words}s"
        )
    return words


def asked_noun(p: Parameter) -> str:
    """What a question calls a parameter: "check-in date" for check_in."""
    if p.kind in ("date", "datetime") and not re.search(r"date|day|time|start|end", p.noun):
        return f"{p.noun.replace('check ', 'check-')} date"
    return p.words if p.sense in ("id", "id_number", "uuid") and p.noun != "ID" else p.noun


def statement(p: Parameter, value: Any, rng: random.Random) -> str:
    """A sentence of its own that gives a value."""
    slot, sense = "{" + p.name + "}", _sense(p)
    noun = re.sub(r"^(check in|check out|arrival|departure)$", r"\1 date", _noun(p, sense))
    if isinstance(value, list):
        return f"The {noun}: {slot}."
    return rng.choice(
        (
            f"The {noun} is {slot}.",
            f"{noun[:1].upper()}{noun[1:]}: {slot}.",
            f"The {noun} should be {slot}.",
        )
    )
