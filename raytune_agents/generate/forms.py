"""What a form calls a value: "the due date 5 May", "(beds: 2)", and so does a question for it.

Served are values that no clause of their own joins (`clauses`), and questions for what is missing.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from raytune_agents.agents.word_banks import shown
from raytune_agents.generate.clauses import (
    ATTRIBUTE,
    DATES,
    GENERAL_SETTERS,
    LAST,
    UNIT_WORDS,
    WHO,
    capitals,
)
from raytune_agents.generate.grammar import is_plural
from raytune_agents.generate.kind_table import kind_named
from raytune_agents.generate.nouns import is_measure, names_deed
from raytune_agents.generate.parameter import Parameter
from raytune_agents.generate.wordlists import pattern, regex, word_data

LASTING = regex("lasting")
TELLS_DATE = pattern("tells_date")
ENDS = {"to": "destination", "from": "origin"}
PARTIES = {"to": "recipient", "from": "sender"}
DATED: dict[str, str] = word_data("names")["dated"]


def field_noun(p: Parameter) -> str:
    """What a form or a question calls a parameter: "due date" for due_by, "check-in date"."""
    whole = kind_named(p.sense).range or p.words == "per page" or re.search(ATTRIBUTE, p.words)
    noun = p.said or (p.words if whole else p.noun)
    if p.words in ("name", "title") and p.said not in ("", p.words):
        noun = f"{p.said} {p.words}"  # "animal name"
    if p.kind in DATES:
        noun = re.sub(r"(?<!ed|en)\s+(by|at|on)$", "", noun).replace("check ", "check-")
        noun = DATED.get(noun, noun)
        noun = re.sub(" date$", " time", noun) if p.kind == "time" else noun
        return noun if TELLS_DATE.search(noun) else f"{noun} {p.kind[:4]}"
    noun = re.sub(r"^(min|max)\b", r"\1imum", re.sub(r"^(num|no)( of)? ", "", noun))
    noun = re.sub(r"(?<=\w) no(s?)$", r" number\1", noun)
    noun = re.sub(r"^(from|to) (?=\w)", lambda m: f"{ENDS[m[1]]} ", noun)
    noun = re.sub(r"(?<! per) (km|kg|cm|minutes|percent|usd|eur)$", "", noun)
    noun = re.sub(rf"\b({LASTING}) (\w+s)$", r"\1", noun)  # "age days"
    ends = PARTIES if p.sense in WHO else ENDS
    return capitals(ends.get(noun, noun), p)


def request_noun(p: Parameter) -> str:
    """What a question calls a parameter: "number of beds", "order ID"."""
    noun = field_noun(p)
    if (
        kind_named(p.sense).range
        and not p.items
        and is_plural(noun)
        and not noun.startswith("number")
    ):
        return f"number of {noun}"
    numbered = (
        p.sense in ("id", "id_number", "uuid") and noun[-2:] != "ID" and p.words.endswith(" id")
    )
    return f"{noun} ID" if numbered else noun


def unit_words(p: Parameter) -> str:
    """The unit after a number; of money it is part of what is said."""
    if p.sense in ("money", "loan", "salary", "limit", "page", "offset"):
        return ""
    if p.items is not None or not kind_named(p.sense).range:
        return ""
    unit = UNIT_WORDS.get(p.unit, p.unit) or ("degrees" if p.sense == "temperature" else "")
    return "" if unit in field_noun(p).split() else unit  # "weekly hours"


def form_clause(params: Sequence[Parameter], verb: str, brackets: bool, rng: random.Random) -> str:
    """Several values with their nouns: "with the SKU A-1 and the quantity 3", "(SKU: A-1,
    quantity: 3)"; of what is changed "and set the bin to A-1"."""
    slots = {p.name: f"{{{p.name}}} {unit_words(p)}".strip() for p in params}
    slots |= {p.name: in_quotes(p, f"{{{p.name}}}") for p in params if p.sense in QUOTED}
    article = rng.choice(("the ", "")) if len(params) < 3 else ""
    brackets |= not all(map(_joins_sentence, params))
    if verb in GENERAL_SETTERS:
        return f"and set {shown([f'the {field_noun(p)} to {slots[p.name]}' for p in params])}"
    if brackets or rng.random() < BRACKETS:
        return f"({', '.join(f'{field_noun(p)}: {slots[p.name]}' for p in params)})"
    said = [
        f"{sized_noun(p)} of {slots[p.name]}"
        if is_sized(p)
        else f"{article}{field_noun(p)} {slots[p.name]}"
        for p in params
    ]
    return f"with {shown(said)}"


def _joins_sentence(p: Parameter) -> bool:
    """Whether a value reads well behind its noun in a sentence: a size, a code, a quoted text; not
    "hours 3" and no word, "language Spanish"."""
    if kind_named(p.sense).range:
        return is_sized(p) and not is_plural(field_noun(p))
    if names_deed(p):
        return False
    return p.sense in (*QUOTED, *CODED) or is_measure(p) or bool(re.search(ATTRIBUTE, p.words))


CODED = ("id", "id_number", "uuid", "barcode", "iban", "card", "version")


def is_sized(p: Parameter) -> bool:
    """Whether a number says how much: "a concentration of 22", but "priority level 3"."""
    which = re.search(r"\b(number|no|level|zone|floor|class|grade|version|code|priority)$", p.noun)
    described = p.sense in SIZES and (p.about or p.sense == "money")  # else of what is unknown
    told = unit_words(p) or (described and not which)
    return bool(kind_named(p.sense).range and not p.items and told)


def sized_noun(p: Parameter) -> str:
    """What a number measures, with its article: "a revenue" for the revenue generated."""
    noun = re.sub(r"(?<=\w) \w{3,}ed$", "", field_noun(p))
    return noun if noun == "revenue" else f"a {noun}"


SIZES = ("money", "amount", "rating", "score", "unit_share", "percent", "extent", "population")
BRACKETS = 0.1  # share of requests with several values in brackets, as few people write


def in_quotes(p: Parameter, text: str) -> str:
    """A text in quotation marks where it is no value beside others, but somebody's words."""
    return f'"{text}"' if p.sense in QUOTED and p.kind != "choice" else text


QUOTED = (
    *LAST,
    "subject",
    "message_title",
    "trouble_title",
    "event_title",
    "task_title",
    "document_title",
    "opinion",
)


def capital(text: str) -> str:
    """The text with a large first letter."""
    return text[:1].upper() + text[1:]
