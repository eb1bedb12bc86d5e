"""What a parameter is: a city, a date in its described form, an amount of money, an id, a choice.

Read from name, description, format, pattern, enum, default, examples and unit, by the table
`data/kinds.yaml`. A parameter that nothing is known of has no kind: it gets no value, and
`advice` says what to add. Left out on purpose: drawing values (`arguments`), saying them
(`templates`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml

from raytune_agents.generate import descriptions
from raytune_agents.records import JsonObject, JsonSchema

DEEPEST = 4  # schemas inside schemas that are looked into
DATA = Path(__file__).parent / "data"
ROLES = ("from", "to", "min", "max")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[a-z])(?=\d)")
FORMATS = {
    "date": "date",
    "date-time": "datetime",
    "time": "time",
    "email": "email",
    "uri": "url",
    "url": "url",
    "hostname": "domain",
    "ipv4": "ip",
    "uuid": "uuid",
    "iri": "url",
}
ROLE = {  # the first words of a name -> its role
    "from": r"^(from|origin|source|src|start|starts|starting|begin|departure|depart|departing|"
    r"pick ?up|sender|since|after|valid from|check ?in|arrive|arrival date|outbound)\b|"
    r"\b(from|start|check ?in)$",
    "to": r"^(to|destination|dest|target|end|ends|ending|until|before|till|arrival|drop ?off|"
    r"new|check ?out|return|recipient|recipients|leave|output|valid until)\b|"
    r"\b(to|until|end|check ?out)$",
    "min": r"^(min|minimum|at least|lowest|least)\b|\b(min|minimum|from)$|\bat least\b",
    "max": r"^(max|maximum|at most|highest|up to|most)\b|\b(max|maximum|limit)$|\bat most\b",
}
OTHER_ROLES = {  # kinds with words of their own for some names
    "due": r"\b(due|deadline|by|expir\w+)\b",
    "birth": r"\b(birth|dob|born)",
    "cc": r"^b?cc\b",
    "with": r"\b(attendees?|participants?|invitees?|guests|with)\b",
    "ago": r"\b(back|last|past)\b",
    "assignee": r"\b(assignee|reviewer)\b",
    "owner": r"\bowner\b",
    "attach": r"\battach",
}


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
    lines = yaml.safe_load((DATA / "kinds.yaml").read_text("utf-8"))
    return tuple(map(_kind_of_line, lines))


@cache
def kind_named(name: str) -> Kind:
    """The first line of this kind; an empty one for a kind that has none, such as a choice."""
    return next((k for k in all_kinds() if k.kind == name), Kind(""))


@dataclass(frozen=True)
class Parameter:
    """A parameter and what is known of it. `kind` "" = nothing is known of its values."""

    name: str
    schema: str  # JSON text, so that a parameter can be a key
    required: bool = False
    kind: str = ""
    sense: str = ""  # the kind by its name alone: how a choice of languages is said
    role: str = ""
    words: str = ""  # the name as words: "check in"
    about: str = ""  # its description
    examples: tuple[str, ...] = ()  # texts that the description or schema gives, as JSON
    closed: bool = False  # nothing but the examples is right
    unit: str = ""
    items: Parameter | None = None  # of an array
    fields: tuple[Parameter, ...] = ()  # of an object

    @property
    def detail(self) -> JsonSchema:
        """The parameter's parsed schema."""
        return json.loads(self.schema)

    @property
    def values(self) -> list[Any]:
        """The examples as values."""
        return [json.loads(e) for e in self.examples]

    @property
    def noun(self) -> str:
        """What a person calls it: "order" for order_id, "check in date" for check_in_date."""
        words = re.sub(r"^(new|target|source|the|given|input|user s)\s+", "", self.words)
        if not re.search(r"(liqu|sol|val|hybr|gr|andro|flu|rap|ac|cov|p)id$", words):
            words = re.sub(r"(\w{4,})ids?$", r"\1", words)
        if re.fullmatch(r"(is|s|gu|uu|item|object|entity)? ?ids?", words):
            return "ID"
        if re.search(r"^(full|first|last|given|family|user|middle) name$", words):
            return words
        short = re.sub(r"\s+(ids?|identifiers?|uuid|guid|key|name|code|no|num)$", "", words)
        return short or words


def name_words(name: str) -> str:
    """A name as lower-case words: "checkInDate", "check_in_date" -> "check in date"."""
    text = _CAMEL.sub(" ", name)
    return " ".join(re.split(r"[\W_]+", text)).strip().lower()


# --- from a schema to a parameter -----------------------------------------------------------------


def _fits(kind: Kind, type_: str) -> bool:
    number = type_ in ("integer", "number")
    return kind.type == "any" or kind.type == (
        "number" if number else "boolean" if type_ == "boolean" else "text"
    )


MAILED = re.compile(
    r"\b(to|cc|bcc|from|attendees?|participants?|recipients?|invitees?|assignee|user|customer|"
    r"person|contact|member|guest|owner|sender|reviewers?)$"
)
GENERAL = re.compile(  # names that say less than a description
    r"(path|source|destination|items?|value|input|target|from|to|base|head|object|thing)$"
)
CURRENCIES = ("usd", "eur", "gbp", "euros", "dollars", "cents")


@lru_cache(maxsize=65536)
def matching_kind(type_: str, words: str, about: str, context: str) -> tuple[str, bool]:
    """The kind of a scalar of JSON type `type_` by its name's words, else by its description, and
    whether it was the name; `context` is what the tool says of itself. "" where nothing fits."""
    usable = [k for k in all_kinds() if _fits(k, type_)]
    near = [k for k in usable if not k.tool or k.tool.search(context)]
    for kind in near if about else ():  # a form that is spelt out beats any name
        if kind.form and kind.form.search(about):
            return kind.kind, True
    if type_ == "string" and re.search(r"\be-?mail", about, re.I) and MAILED.search(words):
        return "email", True
    plain = GENERAL.match(words) or re.search(r"^((to|from|new|old|display) )?(name|title)$", words)
    general = bool(about and plain)  # such a name says less than the description
    for kind in near if not general else ():
        if kind.name and kind.name.search(words):
            return kind.kind, True
    head = descriptions.subject_of(about)
    for kind in near if about else ():
        if kind.about and kind.about.search(head):
            return kind.kind, False
    if general:
        return matching_kind(type_, words, "", context)
    letters = len(re.sub(r"[^a-z]", "", words))
    bare = next((k for k in near if k.tool and not k.name and not k.about), None)
    if bare and letters <= 8:
        return bare.kind, True
    if type_ in ("integer", "number") and (letters > 2 or about):
        return "amount", False  # any size will do: the name says of what
    return "", False


SECRET = re.compile(  # what no user would say and nobody may invent
    r"\b(api ?key|apikey|password|passcode|secret|cookie|credentials?|private key|signature|"
    r"(access|auth|bearer|session|refresh|page|next|id) token|cursor|callback|proxy|user agent)\b"
)
_DIGITS = re.compile(r"^\d{1,4}$")
_META = re.compile(  # what stands for a value without being one
    r"^(city|town|state|province|country|region|((street|full) )?address|street|zip( ?code)?|"
    r"airport code|location|latitude|longitude|coordinates|name|number|id|email|phone|date|time|"
    r"day|month|year|[YMDHS]{2,4}([-/: .T]*[YMDHS]{2,4})*Z?( AM/PM)?|h+:m+(:s+)?( ?am/pm)?)$",
    re.I,
)


def settled(kind: str, by_name: bool, examples: Sequence[Any]) -> tuple[str, list[Any]]:
    """Kind and examples where they disagree: several examples say more than a general kind, and
    texts without a digit are no time."""
    texts = [e for e in examples if not (isinstance(e, str) and _META.match(e.strip()))]
    if kind in ("date", "time", "datetime") and texts:
        formed = [e for e in texts if re.search(r"\d", str(e))]
        return (kind, formed) if formed else ("", texts)
    if len(texts) > 1 and kind and not (by_name and kind_named(kind).open):
        number = not isinstance(texts[0], str)
        return (kind, texts) if number else ("", texts)
    return kind, texts


def role_of(words: str, kind: str) -> str:
    """What part of a pair a parameter is: from, to, min or max; or a kind's own role; ""."""
    line = kind_named(kind) if kind and kind != "choice" else Kind("")
    own = dict(line.sayings)
    for role, pattern in OTHER_ROLES.items():
        if role in own and re.search(pattern, words):
            return role
    order = ("min", "max", "from", "to") if line.range else ROLES
    return next((r for r in order if re.search(ROLE[r], words)), "")


def parameter(
    name: str,
    schema: Any,
    required: bool,
    context: str,
    root: Mapping[str, Any] | None = None,
    outer: str = "",
    depth: int = 0,
) -> Parameter:
    """What is known of one parameter; `context` is the tool's name and description as text,
    `outer` the description of the array that it is an item of."""
    root = root if root is not None else {}
    detail = descriptions.flattened(schema, root)
    about = str(detail.get("description") or detail.get("title") or outer or "")
    words, type_ = descriptions.spelled_out(name_words(name)), descriptions.json_type(detail)
    if not type_ and detail.get("properties"):
        type_ = "object"
    values, closed = descriptions.examples_of(detail, about)
    unit = ""
    if type_ in ("integer", "number", "array"):
        bare, unit = descriptions.measured(words)
        unit = descriptions.unit_of(words, about) or unit
        words = bare if type_ != "array" else words
    known = Parameter(
        name,
        json.dumps(detail),
        required,
        words=words,
        about=about,
        closed=closed,
        unit=unit,
    )
    if depth > DEEPEST and type_ in ("array", "object"):
        return known  # a schema that holds itself
    if type_ == "array":
        return _list(known, detail, context, root, depth)
    if type_ == "object":
        return _object(known, detail, context, root, depth)
    letter = len(words) <= 2 and words not in ("to", "by", "at", "on", "in", "id")
    if letter and about and not matching_kind(type_, words, "", "")[0]:
        described = replace(known, words=descriptions.subject_of(about))
        found = _scalar(described, detail, values, context)
        if found.kind not in ("", "amount") and len(described.words.split()) <= 4:
            return found
    return _scalar(known, detail, values, context)


def _list(
    known: Parameter, detail: Mapping[str, Any], context: str, root: Mapping[str, Any], depth: int
) -> Parameter:
    """A list is known where its items are."""
    item = found if isinstance(found := detail.get("items"), dict) else {}
    if not descriptions.json_type(item) and not {"enum", "properties", "$ref", "anyOf"} & set(item):
        many = re.search(r"\b(number|integer|float)s?\b", f"{known.words} {known.about}", re.I)
        item = item | {"type": "number" if many else "string"}
    inner = parameter(known.name, item, True, context, root, known.about, depth + 1)
    kind = "list" if inner.kind or inner.examples else ""
    return replace(known, kind=kind, items=inner, closed=False, role=inner.role, sense=inner.sense)


def _scalar(
    known: Parameter, detail: Mapping[str, Any], values: list[Any], context: str
) -> Parameter:
    """A text, number or boolean by its format, name, description and examples."""
    words, about, type_ = known.words, known.about, descriptions.json_type(detail)
    sense = matching_kind(type_ or "string", words, about, context)[0]
    if known.closed and (values or "enum" in detail):
        kind = "choice"
    elif type_ == "boolean":
        kind = "flag"
    elif SECRET.search(words):
        return known
    else:
        kind, by_name = FORMATS.get(str(detail.get("format")), ""), True
        if not kind and type_ == "string" and values and all(_DIGITS.match(str(v)) for v in values):
            kind, by_name = matching_kind("integer", words, about, context)  # "page": "2"
        if not kind:
            kind, by_name = matching_kind(type_, words, about, context)
        bounds = {"minimum", "maximum"} & set(detail) or descriptions.bounds_in(about)
        bounded = type_ in ("integer", "number") and bounds
        if not kind and bounded:
            kind = "amount"  # bounds say what size it has
        elif kind == "id" and bounded:
            kind = "id_number"
        elif kind in ("amount", "") and type_ != "string" and known.unit in CURRENCIES:
            kind = "money"
        elif not kind and type_ != "string" and words in descriptions.SUFFIXES:
            kind = "amount"
        elif not kind and re.search(r"\\d|0-9", str(detail.get("pattern", ""))):
            kind = "id"  # a code: its pattern says all
        kind, values = settled(kind, by_name, values)
        sense = kind or (sense if by_name else "")
    examples = tuple(dict.fromkeys(json.dumps(v, ensure_ascii=False) for v in values))
    role = role_of(words, kind if kind != "choice" else sense)
    return replace(known, kind=kind, sense=sense, examples=examples, role=role)


def _object(
    known: Parameter, detail: Mapping[str, Any], context: str, root: Mapping[str, Any], depth: int
) -> Parameter:
    """An object is known where its required fields are (of none required, at least one field)."""
    properties = detail.get("properties") or {}
    required = [r for r in detail.get("required") or () if r in properties]
    fields = tuple(
        parameter(n, s, n in required, context, root, "", depth + 1)
        for n, s in list(properties.items())[:12]
    )
    fields = tuple(_owned(f, known, fields) for f in fields)
    sure = [f for f in fields if f.kind or f.examples]
    good = all(f in sure for f in fields if f.required) and any(f.kind != "flag" for f in sure)
    return replace(known, kind="object" if good else "", fields=fields, examples=())


ADDRESSED = ("street", "city", "email", "phone", "last_name", "zip")


def _owned(field: Parameter, owner: Parameter, fields: Sequence[Parameter]) -> Parameter:
    """A field that is just called name: of the thing that the object is, or of a person."""
    if field.words not in ("name", "title") or field.kind == "choice":
        return field
    kind = matching_kind("string", f"{owner.noun} name", "", "")[0]
    if kind in ("", "name") and any(f.kind in ADDRESSED for f in fields):
        kind = "person"
    return replace(field, kind=kind, sense=kind) if kind not in ("", "name") else field


@lru_cache(maxsize=4096)
def _parameters(name: str, description: str, schema: str) -> tuple[Parameter, ...]:
    root = json.loads(schema)
    context = f"{name_words(name)} {description}".lower()
    required = listed if isinstance(listed := root.get("required"), list) else []
    properties = root.get("properties") or {}
    found = [parameter(n, s, n in required, context, root) for n, s in properties.items()]
    if {"unit", "units", "uom"} & {p.words for p in found}:  # an amount of something, no money
        found = [
            replace(p, kind="quantity", sense="quantity") if p.kind == "money" else p for p in found
        ]
    return tuple(found)


def parameters(name: str, description: str, schema: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """Every parameter of a tool, in the schema's order."""
    return _parameters(name, description, json.dumps(schema))


def advice(parameter: Parameter) -> str:
    """What to add so that values of a parameter can be drawn."""
    what = "say what its items are" if parameter.items is not None else "say what it is"
    return f'{what} in its description, with an example (e.g. "..."), or add values'


def unknown(params: Iterable[Parameter]) -> list[Parameter]:
    """Required parameters that nothing is known of."""
    return [p for p in params if p.required and not p.kind and not p.examples]
