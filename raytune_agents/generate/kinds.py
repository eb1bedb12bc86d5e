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
    name: str = ""
    about: str = ""  # in what the description is about
    form: str = ""  # anywhere in the description
    tool: str = ""
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


def _kind_of_line(line: dict[str, Any]) -> Kind:
    roles = [*ROLES, *OTHER_ROLES]
    known = {k: v for k, v in line.items() if k not in roles}
    known |= {k: tuple(known[k]) for k in ("say", "range") if k in known}
    sayings = tuple((k, tuple(line[k])) for k in roles if k in line)
    return Kind(**known, sayings=sayings)


@cache
def table() -> tuple[Kind, ...]:
    """All kinds, in the order in which they are tried."""
    lines = yaml.safe_load((DATA / "kinds.yaml").read_text("utf-8"))
    return tuple(map(_kind_of_line, lines))


@cache
def kind_named(name: str) -> Kind:
    """The first line of this kind; an empty one for a kind that has none, such as a choice."""
    return next((k for k in table() if k.kind == name), Kind(""))


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
    def detail(self) -> dict[str, Any]:
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


def _resolved(schema: Any, root: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """The schema with its local `$ref`, its first usable alternative and its `allOf` put in."""
    if not isinstance(schema, dict) or depth > 8:
        return {}
    if isinstance(schema.get("$ref"), str):
        target: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target.get(part) if isinstance(target, Mapping) else None
        rest = {k: v for k, v in schema.items() if k != "$ref"}
        return _resolved(target, root, depth + 1) | rest
    for key in ("anyOf", "oneOf"):
        options = [o for o in schema.get(key) or () if isinstance(o, dict)]
        options = [o for o in options if o.get("type") != "null"]
        if options:
            rest = {k: v for k, v in schema.items() if k != key}
            return _resolved(options[0], root, depth + 1) | rest
    for part in schema.get("allOf") or ():
        schema = _resolved(part, root, depth + 1) | dict(schema)
    return schema


def json_type(schema: Mapping[str, Any]) -> str:
    """The schema's type, the first that is not null of several; "" where it says none."""
    kind = schema.get("type", "")
    if isinstance(kind, list):
        kind = next((k for k in kind if k != "null"), "null")
    return kind if isinstance(kind, str) else ""


def _fits(kind: Kind, type_: str) -> bool:
    number = type_ in ("integer", "number")
    return kind.type == "any" or kind.type == (
        "number" if number else "boolean" if type_ == "boolean" else "text"
    )


MAILED = re.compile(
    r"\b(to|cc|bcc|from|attendees?|participants?|recipients?|invitees?|assignee|user|customer|"
    r"person|contact|member|guest|owner|sender|reviewers?)$"
)
GENERAL = (
    "path",
    "source",
    "destination",
    "value",
    "input",
    "target",
    "from",
    "to",
    "base",
    "head",
)


@lru_cache(maxsize=65536)
def matching_kind(type_: str, words: str, about: str, context: str) -> tuple[str, bool]:
    """The kind of a scalar of JSON type `type_` by its name's words, else by its description, and
    whether it was the name; `context` is what the tool says of itself. "" where nothing fits."""
    usable = [k for k in table() if _fits(k, type_)]
    near = [k for k in usable if not k.tool or re.search(k.tool, context, re.I)]
    for kind in near if about else ():  # a form that is spelt out beats any name
        if kind.form and re.search(kind.form, about, re.I):
            return kind.kind, True
    if type_ == "string" and re.search(r"\be-?mail", about, re.I) and MAILED.search(words):
        return "email", True
    general = bool(about) and words in GENERAL  # such a name says less than the description
    for kind in near if not general else ():
        if kind.name and re.search(kind.name, words, re.I):
            return kind.kind, True
    head = descriptions.subject_of(about)
    for kind in near if about else ():
        if kind.about and re.search(kind.about, head, re.I):
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
    r"^(city|town|state|province|country|region|address|zip( ?code)?|airport code|location|"
    r"latitude|longitude|coordinates|name|number|id|email|phone|date|time|day|month|year|[YMDHS]{2,4}"
    r"([-/: .T]*[YMDHS]{2,4})*Z?( AM/PM)?|h+:m+(:s+)?( ?am/pm)?)$",
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


def _examples(schema: Mapping[str, Any], about: str) -> tuple[list[Any], bool]:
    """Values that schema and description give, and whether they are all there are."""
    if isinstance(schema.get("enum"), list):
        values = [v for v in schema["enum"] if v is not None]
        return values, True
    if "const" in schema:
        return [schema["const"]], True
    own = [*(schema.get("examples") or ()), *([schema["example"]] if "example" in schema else ())]
    said, closed = descriptions.examples_in(about)
    if json_type(schema) in ("integer", "number"):
        said = [float(x) if "." in x else int(x) for x in said if re.fullmatch(r"-?\d+(\.\d+)?", x)]
        closed = closed and len(said) > 1
    default = schema.get("default")
    if isinstance(default, str) and default.strip() and not closed and default not in said:
        own.append(default)
    return [*own, *said], closed and not own


def parameter(
    name: str,
    schema: Any,
    required: bool,
    context: str,
    root: Mapping[str, Any] | None = None,
    outer: str = "",
) -> Parameter:
    """What is known of one parameter; `context` is the tool's name and description as text,
    `outer` the description of the array that it is an item of."""
    root = root if root is not None else {}
    detail = _resolved(schema, root)
    about = str(detail.get("description") or detail.get("title") or outer or "")
    words, type_ = name_words(name), json_type(detail)
    if not type_ and detail.get("properties"):
        type_ = "object"
    values, closed = _examples(detail, about)
    unit = descriptions.UNITS.search(words) or descriptions.UNITS.search(about)
    known = Parameter(
        name,
        json.dumps(detail),
        required,
        words=words,
        about=about,
        closed=closed,
        unit=unit[1].lower() if unit else "",
    )
    if type_ == "array":
        item = detail.get("items") if isinstance(detail.get("items"), dict) else {}
        if not json_type(item) and not {"enum", "properties", "$ref", "anyOf"} & set(item):
            many = re.search(r"\b(number|integer|float)s?\b", f"{words} {about}", re.I)
            item = item | {"type": "number" if many else "string"}
        inner = parameter(name, item, True, context, root, about)
        sure = bool(inner.kind or inner.examples)
        return replace(
            known,
            kind="list" if sure else "",
            items=inner,
            closed=False,
            role=inner.role,
            sense=inner.sense,
        )
    if type_ == "object":
        return _object(known, detail, context, root)
    examples = tuple(dict.fromkeys(json.dumps(v, ensure_ascii=False) for v in values))
    sense = matching_kind(type_ or "string", words, about, context)[0]
    if closed and (examples or "enum" in detail):
        kind = "choice"
    elif type_ == "boolean":
        kind = "flag"
    else:
        if SECRET.search(words):
            return known
        kind, by_name = FORMATS.get(str(detail.get("format")), ""), True
        if not kind and type_ == "string" and values and all(_DIGITS.match(str(v)) for v in values):
            kind, by_name = matching_kind("integer", words, about, context)  # "page": "2"
        if not kind:
            kind, by_name = matching_kind(type_, words, about, context)
        kind, values = settled(kind, by_name, values)
        examples = tuple(dict.fromkeys(json.dumps(v, ensure_ascii=False) for v in values))
        sense = kind or (sense if by_name else "")
    role = role_of(words, kind if kind != "choice" else sense)
    return replace(known, kind=kind, sense=sense, examples=examples, role=role)


def _object(known: Parameter, detail: Mapping[str, Any], context: str, root: Mapping) -> Parameter:
    """An object is known where its required fields are (of none required, at least one field)."""
    properties = detail.get("properties") or {}
    required = [r for r in detail.get("required") or () if r in properties]
    fields = tuple(
        parameter(n, s, n in required, context, root) for n, s in list(properties.items())[:12]
    )
    sure = [f for f in fields if f.kind or f.examples]
    good = all(f in sure for f in fields if f.required) and bool(sure)
    return replace(known, kind="object" if good else "", fields=fields, examples=())


@lru_cache(maxsize=4096)
def _parameters(name: str, description: str, schema: str) -> tuple[Parameter, ...]:
    root = json.loads(schema)
    context = f"{name_words(name)} {description}".lower()
    required = root.get("required")
    required = required if isinstance(required, list) else []
    return tuple(
        parameter(n, s, n in required, context, root)
        for n, s in (root.get("properties") or {}).items()
    )


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
