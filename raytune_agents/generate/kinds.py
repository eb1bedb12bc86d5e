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
from dataclasses import replace
from functools import lru_cache
from typing import Any

from raytune_agents.agents.inlining import with_type
from raytune_agents.agents.phrasing import name_words
from raytune_agents.agents.signatures import docstring
from raytune_agents.generate import descriptions
from raytune_agents.generate.agreement import amounts_of, of_one_object, told_apart, with_one_list
from raytune_agents.generate.bounds import bounds_in
from raytune_agents.generate.codes import MEASURE
from raytune_agents.generate.grammar import plural
from raytune_agents.generate.kind_table import (
    CURRENCIES,
    DIGITS,
    FORMATS,
    KIND_WORDS,
    SECRET,
    WORDED,
    bank_of,
    kind_named,
    kind_of_form,
    kind_of_pattern,
    matching_kind,
    role_of,
    settled,
)
from raytune_agents.generate.nouns import whose_kind
from raytune_agents.generate.parameter import Parameter, json_type
from raytune_agents.generate.wordlists import pattern, regex, word_data

PERIODS = ("seconds", "minutes", "hours", "days", "weeks", "months", "years")
LENGTHS: dict[str, list[str]] = word_data("names")["usual_units"]
DEEPEST = 4  # schemas inside schemas that are looked into
LONGEST_TEXT = 4_000  # characters of a description: the expressions are not linear in a stranger's


# --- from a schema to a parameter -----------------------------------------------------------------


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
    `outer` what the array that it is an item of, or a docstring, says of it. Of alternatives the
    first that anything is known of."""
    root = root if root is not None else {}
    options = descriptions.alternatives(schema)
    if len(options) > 1 and depth < 2:
        rest = (required, context, root, outer, depth + 1)
        tried = [parameter(name, option, *rest) for option in options]
        return next((p for p in tried if p.kind or p.examples), tried[0])
    detail = with_type(descriptions.flattened(schema, root))
    about = str(detail.get("description") or outer or detail.get("title") or "")[:LONGEST_TEXT]
    type_ = json_type(detail)
    words = descriptions.spelled_out(_own_words(name, type_), about)
    words = whose_kind(words, about)
    values, closed = descriptions.examples_of(detail, about)
    written = {"enum", "const"} & set(detail)
    sorts = [] if written else _sorts_of_value(words, values)
    if not written and (sorts or _are_no_values(words, values, closed)):
        values, closed = [], False
    unit = ""
    if type_ in ("integer", "number", "array"):
        bare, unit = descriptions.measured(words)
        unit = descriptions.unit_of(words, about) or unit
        words = bare if type_ != "array" else words
        words = re.sub(r"(?<=\w) mins?$", "", words) if unit == "minutes" else words
    known = Parameter(
        name, json.dumps(detail), required, words=words, about=about, closed=closed, unit=unit
    )
    if depth > DEEPEST and type_ in ("array", "object"):
        return known  # a schema that holds itself
    if type_ == "array":
        return _list(known, detail, context, root, depth)
    if type_ == "object":
        return _object(known, detail, context, root, depth)
    said = descriptions.thing_of(words, about) if type_ not in ("boolean", "") else ""
    said = descriptions.as_written(said, about)
    own = [str(v).lower() for v in values]
    said = "" if said in (*own, " or ".join(own)) else said  # "basic, green or dynamic"
    letter = len(words) <= 2 and words not in ("to", "by", "at", "on", "in", "id")
    known = replace(known, said=said, words=said if said and letter else words)
    found = _of_many(_scalar_or_numbered(known, detail, values, context))
    sort = matching_kind("string", sorts[0].lower(), "", "")[0] if sorts else ""
    plated = sort and found.kind in ("id", "")  # an id that is a licence plate
    return replace(found, kind=sort, sense=found.sense or sort) if plated else found


def _are_no_values(words: str, values: Sequence[Any], closed: bool) -> bool:
    """Whether what a description quotes names no value: "(username or organization)", of an id "of
    state_class 'total' or 'mean'", or of a "`From` address"."""
    named = closed or all(re.fullmatch("[A-Z][a-z]+", str(v)) for v in values)
    coded = re.search(r"\bids?$", words) is not None
    return all(map(descriptions.is_meta, values)) or (coded and named)


def _sorts_of_value(words: str, values: Sequence[Any]) -> list[str]:
    """The sorts of values that a description lists in place of values, "VIN or licence plate",
    "hospital, city, country"; [] where it lists values, such as the names of columns."""
    texts = [str(v) for v in values]
    sorts = [t for t in texts if pattern("sort_of_value").fullmatch(t)]
    kind = matching_kind("string", words, "", "")[0]
    of_one = kind in ("id", "city", "street", "") and not re.search(r"s$|\b(by|type|level)$", words)
    return sorts if of_one else []


def _own_words(name: str, type_: str) -> str:
    """A name as words, without the "is" of "is_from": so some rename Python's own words."""
    words = name_words(name) or "value"
    kept = "id|from|to|in|as|class|type|import|global|with"
    return words if type_ == "boolean" else re.sub(rf"^is (?=(?:{kept})$)", "", words)


def _of_many(known: Parameter) -> Parameter:
    """A count by the noun of what is counted: "piece count" -> "pieces"."""
    counted = pattern("count_of").fullmatch(known.words)
    if known.kind not in ("count", "quantity") or not counted:
        return known
    many = plural(counted[1] or counted[2])
    return replace(known, words=many, said="", kind="count", sense="count")


def _scalar_or_numbered(
    known: Parameter, detail: Mapping[str, Any], values: list[Any], context: str
) -> Parameter:
    """A scalar; "subject a", of which nothing is known, is a subject."""
    found = _scalar(known, detail, values, context)
    one = re.fullmatch(r"(\w{3,}) (?:a|b|1|2|one|two|first|second)", known.words)
    if not one or found.kind or found.examples:
        return found
    alike = _scalar(replace(known, words=one[1]), detail, values, context)
    return replace(alike, words=known.words)


NAMED_KINDS = regex("named_kinds")


def unlike_bank(kind: str, values: Sequence[Any]) -> bool:
    """Whether examples are no values of a kind as we know them: "meloxicam 1.5 mg/ml" is no product
    of ours, "kitchen" no city, "env:prod" no tag."""
    ours, texts = list(map(str, bank_of(kind))), list(map(str, values))
    if not texts or all(map(MEASURE.fullmatch, texts)):
        return bool(texts)
    proper = kind in WORDED or (ours and all(v[:1].isupper() for v in ours))
    unformed = kind == "version" and not any(map(str.isdigit, "".join(texts)))
    if unformed or (proper and all(re.search(r"(?:^|\s)[a-z]{4,}", t) for t in texts)):
        return True
    if all(re.fullmatch("[A-Z]{2,4}", t) for t in texts) and not any(map(str.isupper, ours)):
        return bool(ours)  # the tag of a team, not its name
    common = {v.lower() for v in ours} & {t.lower() for t in texts}
    marks = [set(re.sub(r"[^\W\d_]", "", re.sub(r"\d", "0", "".join(x)))) for x in (ours, texts)]
    return bool(ours) and not common and (len(texts) > 1 or not marks[1] <= marks[0])


COUNTED = r"^party size(?: number)?$|^(?:number|count) of \w+s$"
# Kinds whose names are said alike, known to us or not: "by Vincent van Gogh".
NAMED_ALIKE = ("company", "maker", "artist", "author")


def _list(
    known: Parameter, detail: Mapping[str, Any], context: str, root: Mapping[str, Any], depth: int
) -> Parameter:
    """A list is known where its items are."""
    item = found if isinstance(found := detail.get("items"), dict) else {}
    if pair := descriptions.pair_in(known.about, item):
        two = json.dumps({"type": "array", "minItems": 2, "maxItems": 2})
        inner = replace(known, schema=two, required=True, kind=pair, sense=pair, examples=())
        return replace(known, kind="list", sense=pair, items=inner, closed=False)
    if not json_type(item) and pattern("nested").search(known.about):
        return known  # of what its lists are it does not say
    if not json_type(item) and not {"enum", "properties", "$ref", "anyOf"} & set(item):
        many = re.search(r"\b(number|integer|float)s?\b", f"{known.words} {known.about}", re.I)
        item = item | {"type": "number" if many else "string"}
    inner = parameter(known.name, item, True, context, root, known.about, depth + 1)
    one = re.sub(r"(?<=\w\w)s$", "", known.words)
    coded = inner.kind == "id" and "pattern" in item  # "domains"
    if one != known.words and (coded or not (inner.kind or inner.examples or inner.fields)):
        inner = parameter(one, item, True, context, root, known.about, depth + 1)
    chosen = re.search(r"\b(only|these|ids?|identifiers?)\b", known.about)
    if inner.kind == "count" and chosen:  # "only these accounts" by their numbers
        inner = replace(inner, kind="id_number", sense="id_number")
    kind = "list" if inner.kind or inner.examples else ""
    known = replace(known, role=inner.role, sense=inner.sense, said=inner.said)
    return replace(known, kind=kind, items=inner, closed=False)


CODED = re.compile(r"\^?\[?[A-Z][^*+]*(\\d|\d-9)")


def _unsaid(known: Parameter, detail: Mapping[str, Any]) -> bool:
    """Whether a parameter is no user's business: a secret, bytes, how an answer is cut in pages."""
    type_ = json_type(detail)
    told = type_ in ("string", "boolean")
    technical = pattern("technical").search(known.about) or pattern("technical").search(known.words)
    secret = type_ != "boolean" and SECRET.search(known.words)
    raw = detail.get("format") in ("binary", "byte", "password")
    return bool((told and technical) or secret or raw)


def _sized(kind: str, known: Parameter, detail: Mapping[str, Any]) -> str:
    """The kind of a number or a code where its unit, bounds or pattern say more than its name."""
    type_ = json_type(detail)
    told = bounds_in(known.about)
    bounds = {"minimum", "maximum"} & set(detail) or told
    bounded = type_ in ("integer", "number") and bounds
    if kind in LENGTHS and known.unit and known.unit not in LENGTHS[kind]:
        # length_m, duration_in_months, max_age_sec
        lasts = known.unit in PERIODS and kind not in ("age", "at_age")
        kind = known.unit if lasts else "amount"
    if not kind and (bounded or (known.unit and type_ != "string")):
        kind = "amount"  # bounds say what size it has
    elif kind == "id" and (bounded or told):
        kind = "id_number"  # as text too: "1" to "30"
    elif kind in ("amount", "") and type_ != "string" and known.unit in CURRENCIES:
        kind = "money"
    elif kind == "operand" and known.unit and known.words not in ("n", "x", "a", "b"):
        kind = "amount"  # an area of so many square metres
    elif kind == "money" and known.unit and known.unit not in (*CURRENCIES, "euros", "dollars"):
        kind = "amount"  # value_kwh
    elif (kind in ("score", "rating") and known.unit) or (
        kind == "setting" and told and told[1] <= 10
    ):
        kind = "amount"  # so many percent of grade A, a quality of 1 to 5
    elif kind == "amount" and re.match(rf"{known.words} number\b", known.about.lower()):
        kind = "id_number"  # "paddle": its number
    elif kind == "amount" and type_ == "integer" and not (bounds or known.unit):
        counted = re.search(r"\bnumber of (?!the\b)", known.about)
        kind = "count" if counted else kind
    elif not kind and re.search(r"\\d|0-9", str(detail.get("pattern", ""))):
        kind = "id"  # a code: its pattern says all
    return kind


def _scalar(
    known: Parameter, detail: Mapping[str, Any], values: list[Any], context: str
) -> Parameter:
    """A text, number or boolean by its format, name, description and examples."""
    words, about, type_ = known.words, known.about, json_type(detail)
    if words in ("name", "title") and known.said:
        thing = f"{known.said} {words}"  # "name of the table": a table's name
        words = thing if matching_kind("string", thing, "", context)[0] else words
    sense = matching_kind(type_ or "string", words, about, context)[0]
    if "enum" in detail or (known.closed and values and not SECRET.search(words)):  # no cursor
        kind = "choice"
    elif _unsaid(known, detail):
        return known
    elif type_ == "boolean":
        kind = "flag"
    else:
        kind, by_name = FORMATS.get(str(detail.get("format")), ""), True
        if re.match(r"\^?\(?https?", str(detail.get("pattern"))):
            kind = "url"
        kind = kind or kind_of_pattern(str(detail.get("pattern", "")))
        if not kind and type_ == "string" and values and all(DIGITS.match(str(v)) for v in values):
            kind, by_name = matching_kind("integer", words, about, context)  # "page": "2"
            kind = kind if by_name else "id"  # "last four": "4471"
        if not kind and type_ == "string" and re.search(COUNTED, words) and not values:
            many = words.removesuffix(" number")  # how many, as a text
            kind, by_name = matching_kind("integer", many, about, context)
        if not kind:
            kind, by_name = matching_kind(type_, words, about, context)
        pattern = str(detail.get("pattern", ""))
        if kind_named(kind).bank and not values and CODED.match(pattern):
            kind = "id"  # "asset tag": its pattern says more
        kind = _sized(kind, known, detail)
        if detail.get("format") in FORMATS:
            values = [v for v in values if re.search(r"\d", str(v))]
        kind = kind or kind_of_form(values)
        kind, values = settled(kind, by_name, values)
        if values and re.search(NAMED_KINDS, words) and not MEASURE.fullmatch(str(values[0])):
            kind = "choice"
        elif unlike_bank(kind, values):
            named = kind in NAMED_ALIKE and all(str(v)[:1].isupper() for v in values)
            kind, sense = "", kind if named else ""
        stray = values and sense == "state"  # of a sprint, not of the USA
        sense = kind or (sense if (by_name or sense in NAMED_ALIKE) and not stray else "")
    examples = tuple(dict.fromkeys(json.dumps(v, ensure_ascii=False) for v in values))
    told = re.search(rf" {KIND_WORDS}$", words)  # "leave type" is nothing that leaves
    role = "" if told else role_of(words, kind if kind != "choice" else sense)
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
    fields = of_one_object(fields, known)
    sure = [f for f in fields if f.kind or f.examples]
    good = all(f in sure for f in fields if f.required) and any(f.kind != "flag" for f in sure)
    role = role_of(known.words, "")
    return replace(known, kind="object" if good else "", fields=fields, examples=(), role=role)


def _told(description: str, name: str) -> str:
    """What a tool says of a parameter: "(pay_date as DD.MM.YYYY)", "for a month (YYYY-MM)",
    or a sentence that begins with its name; "" where it says nothing."""
    words = name_words(name)
    if not any(w.lower() in description.lower() for w in (name, words)):
        return ""
    inside = rf"\(([^()]*\b{re.escape(name)} [^()]+)\)|\b{re.escape(words)} \(([^()]+)\)"
    if found := re.search(inside, description, re.I):
        return found[1] or found[2]
    sentence = re.search(rf"(?:^|[.;:]\s+)(?:the )?{re.escape(name)} (.+?)(?:\.\s|$)", description)
    return re.sub(r" ?\([^()]*\)", "", sentence[1]) if sentence else ""


OWNER = ("owner", "repo owner")


@lru_cache(maxsize=4096)
def _parameters(name: str, description: str, schema: str) -> tuple[Parameter, ...]:
    root = json.loads(schema)
    context = f"{name_words(name)} {description}".lower()
    described = docstring(description)[1]  # FastMCP: the whole docstring is the description
    required = listed if isinstance(listed := root.get("required"), list) else []
    properties = root.get("properties") or {}
    found = [
        parameter(n, s, n in required, context, root, described.get(n) or _told(description, n))
        for n, s in properties.items()
    ]
    found = with_one_list(told_apart(found))
    ends = {("owner" if p.words in OWNER else p.sense): p for p in found if not p.closed}
    if {"owner", "repo"} <= set(ends):  # two halves of one name: acme/checkout
        halves = {ends["owner"]: "repo_owner", ends["repo"]: "repo_name"}
        found = [replace(p, kind=h, sense=h) if (h := halves.get(p)) else p for p in found]
    stay = [p for p in found if re.match(r"arriv|depart", p.words)]
    if len(stay) == 2 and stay[0].words.startswith("arriv"):  # first there, then away again
        roles = dict(zip(stay, ("from", "to")))
        found = [replace(p, role=roles.get(p, p.role)) for p in found]
    return tuple(amounts_of(found))


def parameters(name: str, description: str, schema: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """Every parameter of a tool, in the schema's order."""
    return _parameters(name, description[:LONGEST_TEXT], json.dumps(schema))


def unknown_field(parameter: Parameter) -> tuple[str, Parameter]:
    """Dotted path and what is known of the part of a parameter that no value is known of."""
    inner = parameter.items or parameter
    for f in unknown(inner.fields):
        path, found = unknown_field(f)
        return f"{parameter.name}.{path}", found
    return parameter.name, parameter


def advice(parameter: Parameter) -> str:
    """What to add so that values of a parameter can be drawn."""
    if _unsaid(parameter, parameter.detail):
        return "no user says it: leave it out of the tool's parameters, or add values"
    what = "say what its items are" if parameter.items is not None else "say what it is"
    return f'{what} in its description, with an example (e.g. "..."), or add values'


def unknown(params: Iterable[Parameter]) -> list[Parameter]:
    """Required parameters that nothing is known of."""
    return [p for p in params if p.required and not p.kind and not p.examples]
