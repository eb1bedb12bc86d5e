"""The table of kinds: which one a name or a description speaks of, and in which role.

`data/kinds.yaml` read into `Kind`s. Left out on purpose: parameters and their schemas (`kinds`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from raytune_agents.generate import descriptions
from raytune_agents.generate.codes import is_code
from raytune_agents.generate.wordlists import pattern, phrases, word_data
from raytune_agents.records import JsonObject

KIND_WORDS = "(?:kind|sort|type|category|class)"
ROLES = ("from", "to", "min", "max")
FORMATS: dict[str, str] = word_data("names")["formats"]
ROLE: dict[str, str] = word_data("names")["roles"]
OTHER_ROLES: dict[str, str] = word_data("names")["own_roles"]


@dataclass(frozen=True)
class Kind:
    """One line of `data/kinds.yaml`."""

    kind: str
    type: str = "text"
    name: re.Pattern[str] | None = None
    about: re.Pattern[str] | None = None  # in what the description is about
    form: re.Pattern[str] | None = None  # anywhere in the description
    tool: re.Pattern[str] | None = None
    range: tuple[float, ...] = ()
    step: float = 1
    digits: int = 0
    money: bool = False
    bank: str = ""
    nouns: str = ""  # by which a description may mean it
    open: bool = False
    placed: bool = False
    spoken: bool = False
    say: tuple[str, ...] = ()
    sayings: tuple[tuple[str, tuple[str, ...]], ...] = ()  # role -> how it is said

    def clauses(self, role: str) -> tuple[str, ...]:
        """How a value of this kind is said in a role."""
        return dict(self.sayings).get(role) or self.say


def _kind_of_line(line: JsonObject) -> Kind:
    roles = [*ROLES, *OTHER_ROLES]
    known = {k: v for k, v in line.items() if k not in roles}
    known |= {k: tuple(known[k]) for k in ("say", "range") if k in known}
    patterns = ("name", "about", "form", "tool")
    known |= {k: re.compile(known[k], re.I) for k in patterns if k in known}
    sayings = tuple((k, tuple(line[k])) for k in roles if k in line)
    return Kind(**known, sayings=sayings)


@cache
def all_kinds() -> tuple[Kind, ...]:
    """All kinds, in the order in which they are tried."""
    lines: Any = word_data("kinds")
    return tuple(map(_kind_of_line, lines))


@cache
def kind_named(name: str) -> Kind:
    """The first line of this kind; an empty one for a kind that has none, such as a choice."""
    return next((k for k in all_kinds() if k.kind == name), Kind(""))


@cache
def banks() -> JsonObject:
    """The values of `data/values.yaml`; who made a work is in them by their works alone, so that
    each maker has one."""
    found = word_data("values")
    works = found["made_by"]
    of_makers = {"artists": works["songs"], "authors": works["books"]}
    makers = {name: list(dict.fromkeys(made.values())) for name, made in of_makers.items()}
    return found | makers | {name: list(titles) for name, titles in works.items()}


@cache
def kind_names(kind: str) -> list[re.Pattern[str] | None]:
    """The patterns of the names that parameters of a kind have."""
    return [k.name for k in all_kinds() if k.kind == kind]


def bank_of(kind: str) -> list[str]:
    """The whole bank of a kind, [] where it has none."""
    return banks().get(kind_named(kind).bank, []) if kind else []


def _fits(kind: Kind, type_: str) -> bool:
    number = type_ in ("integer", "number")
    return kind.type == "any" or kind.type == (
        "number" if number else "boolean" if type_ == "boolean" else "text"
    )


GENERAL = pattern("vague_names")
CURRENCIES = ("usd", "eur", "gbp", "euros", "dollars", "cents")


# no things of a kind, but how many or which of them
COUNTS = "number|count|amount|total|list|set|type|kind|proof|percent|percentage|level|units?|lack"


def _kind_of_name(kinds: Sequence[Kind], words: str) -> str:
    """The kind that a name says: that of "country of origin" is a country's, as in "origin
    country"; a cost per guest is no guest."""
    named = [(k, k.name) for k in kinds if k.name]
    parts = re.fullmatch(rf"(?!(?:{COUNTS})\b)(.+?)( of | for )(?:the |an? )?(.+)", words)
    if parts:
        whole = ((k, name.search(words)) for k, name in named)  # "time of day"
        if kind := next((k for k, m in whole if m and m.start() < parts.start(2) < m.end()), None):
            return kind.kind
        words = f"{parts[3]} {parts[1]}"
    per = re.search(r"\bper ", words)
    found = ((k, name.search(words)) for k, name in named)
    return next((k.kind for k, m in found if m and not (per and m.start() >= per.end())), "")


@lru_cache(maxsize=65536)
def matching_kind(type_: str, words: str, about: str, context: str) -> tuple[str, bool]:
    """The kind of a scalar of JSON type `type_` by its name's words, else by its description, and
    whether it was the name; `context` is what the tool says of itself. "" where nothing fits."""
    usable = [k for k in all_kinds() if _fits(k, type_)]
    near = [k for k in usable if not k.tool or k.tool.search(context)]
    for kind in near if about else ():  # a form that is spelt out beats any name
        if kind.form and kind.form.search(about):
            return kind.kind, True
    mailed = re.search(r"\be-?mail", about, re.I) or (
        re.search(r"^\w* ?address\b(?! to)", about, re.I)
        and re.search(r"\bmail|newsletter", context)
    )
    if type_ == "string" and mailed and pattern("mailed").search(words):
        return "email", True
    plain = GENERAL.match(words) or re.search(r"^((to|from|new|old|display) )?(name|title)$", words)
    general = bool(about and plain)  # such a name says less than the description
    if not general and (kind := _kind_of_name(near, words)):
        return kind, True
    head = descriptions.subject_of(about)
    sort = re.search(rf"\b{KIND_WORDS}$", words)  # an issue's is no issue
    texts = phrases()["last_kinds"]
    for kind in near if about else ():
        if kind.about and kind.about.search(head) and not (sort and kind.kind in texts):
            return kind.kind, False
    if general:
        return matching_kind(type_, words, "", context)
    letters = len(re.sub(r"[^a-z]", "", words))
    bare = next((k for k in near if k.tool and not k.name and not k.about), None)
    if bare and letters <= 8:
        return bare.kind, True
    if type_ in ("integer", "number") and (letters > 2 or about or words in "xyz"):
        return "amount", False  # any size will do: the name says of what
    return "", False


OF_FORM: dict[str, str] = word_data("names")["example_forms"]


OF_PATTERN = {"09:30": "time", "2027-03-01": "date", "2027-03": "month"}


def kind_of_pattern(form: str) -> str:
    """The kind of which a schema's pattern allows a value, but no word; "" for none."""
    try:
        wanted = re.compile(form)
    except re.error:
        return ""
    open_form = not form or any(map(wanted.search, ("word", "AB:CD", "AB-CD", "AB-12")))
    return "" if open_form else next((k for v, k in OF_PATTERN.items() if wanted.search(v)), "")


def kind_of_form(examples: Sequence[Any]) -> str:
    """The kind whose form all examples have, for a name that says nothing; "" for none."""
    texts = list(map(str, examples))
    fits = (k for k, form in OF_FORM.items() if texts and all(re.fullmatch(form, t) for t in texts))
    return next(fits, "")


SECRET = pattern("secret")
DIGITS = re.compile(r"^\d{1,4}$")


WORDED = ("city", "state", "country", "person", "name")  # and written with a capital


def settled(kind: str, by_name: bool, examples: Sequence[Any]) -> tuple[str, list[Any]]:
    """Kind and examples where they disagree: several examples say more than a general kind, and
    texts without a digit are no time."""
    texts = [e for e in examples if not descriptions.is_meta(e)]
    if kind in ("date", "time", "datetime") and texts:
        if all(re.fullmatch(r"\d{9,}(\.\d+)?", str(e)) for e in texts):
            return "id", texts  # "ts" of a message, e.g. 1712345678.000200
        formed = [e for e in texts if re.search(r"\d", str(e))]
        return (kind, formed) if formed else ("", texts)
    if kind == "url" and texts and not any(re.search(r"^/|://|www\.", str(e)) for e in texts):
        return "", texts  # spotify:track:4uLU6hMC
    bank = bank_of(kind)
    worded = kind in (*WORDED, "username", "column") or (bank and not any(map(is_code, bank)))
    if texts and worded and all(map(is_code, texts)):
        return "id", texts  # "bin location", e.g. A-12-03
    if len(texts) > 1 and kind and not (by_name and kind_named(kind).open):
        number = not isinstance(texts[0], str)
        return (kind, texts) if number else ("", texts)
    return kind, texts


def role_of(words: str, kind: str) -> str:
    """What part of a pair a parameter is: from, to, min or max; or a kind's own role; ""."""
    line = kind_named(kind) if kind and kind != "choice" else Kind("")
    own = dict(line.sayings)
    for role, words_of_role in OTHER_ROLES.items():
        if role in own and re.search(words_of_role, words):
            return role
    if kind == "date_format" and re.match("input|current|given", words):
        return "from"
    order = ("min", "max", "from", "to") if line.range else ROLES
    return next((r for r in order if re.search(ROLE[r], words)), "")
