"""What the parameters of one call say of each other, and whether their values agree.

Two ends of a pair, fields of an object; pairs in their order, and the ends of a pair two things.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from raytune_agents.generate.kind_table import ROLE, kind_named, matching_kind, role_of
from raytune_agents.generate.parameter import Parameter
from raytune_agents.generate.ways_said import day_in, day_of
from raytune_agents.generate.wordlists import pattern, regex
from raytune_agents.records import Arguments

NAMED_TWICE = ("country", "city", "language", "state")
ONE_OF_PAIR = regex("one_of_pair")


def set_in_order(params: Sequence[Parameter], args: Arguments) -> None:
    """Put pairs in order: the least is not above the most, from differs from to, and a low estimate
    from a high one."""
    by_role = {(p.kind, p.role, _stem(p)): p.name for p in params if p.name in args}
    by_words = {p.words: p.name for p in params if isinstance(args.get(p.name), int | float)}
    pairs = []
    for (kind, role, stem), low in by_role.items():
        other = {"min": "max", "from": "to"}.get(role, "")
        pairs.append((low, by_role.get((kind, other, stem))))
    for words, low in by_words.items():
        if words.startswith("low"):
            pairs.append((low, by_words.get(re.sub("^low(er)? ", r"high\1 ", words))))
    for low, high in pairs:
        if high and isinstance(args[low], int | float) and args[low] > args[high]:
            args[low], args[high] = args[high], args[low]


def dated(params: Sequence[Parameter]) -> list[Parameter]:
    """The parameters that are days or months, of which two may be the ends of a span."""
    return [p for p in params if p.kind in ("date", "datetime", "month")]


def begins_first(params: Sequence[Parameter], args: Mapping[str, Any]) -> bool:
    """Whether what begins does so before it ends, as far as days are written so that it shows."""
    ends = {
        role: [str(args[p.name]) for p in dated(params) if p.role == role and p.name in args]
        for role in ("from", "to")
    }
    days = [re.match(r"\d{4}-\d\d(-\d\d)?", text) for part in ends.values() for text in part]
    if [len(part) for part in ends.values()] != [1, 1] or None in days:
        return True
    first, last = (found[0] for found in days if found)
    return len(first) != len(last) or first <= last


ENDINGS = {"shapefile": "shp", "excel": "xlsx", "markdown": "md", "text": "txt", "jpeg": "jpg"}


def fit_format(params: Sequence[Parameter], args: Arguments) -> None:
    """Let the file that is written end as the format says that it is written in."""
    named = re.compile(r"(^|\b(file|output|export|target) )format$")
    formats = [p for p in params if p.kind == "choice" and named.search(p.words)]
    wanted = [str(args[p.name]).lower() for p in formats if p.name in args]
    for p in params:
        text = args.get(p.name)
        written = p.role == "to" or pattern("written_file").search(f"{p.words} {p.about.lower()}")
        if wanted and p.kind == "file" and written and isinstance(text, str):
            args[p.name] = re.sub(r"(?<=\w)\.\w+$", f".{ENDINGS.get(wanted[0], wanted[0])}", text)


def fit_together(params: Sequence[Parameter], args: Arguments) -> None:
    """Let the values of one call agree: pairs in order, files and days as their formats say."""
    for fit in (set_in_order, fit_paid, fit_format, fit_dates, fit_count, fit_pairs):
        fit(params, args)


def fit_paid(params: Sequence[Parameter], args: Arguments) -> None:
    """Let a period be paid for, or its results be out, at its end and not before."""
    ends = [p for p in params if p.kind == "date" and p.role == "to" and p.name in args]
    for p in params:
        after = re.match(r"(pay|payment|payout|settlement|publication|results?|handover) ", p.words)
        if after and p.kind == "date" and not p.role and p.name in args and len(ends) == 1:
            args[p.name] = args[ends[0].name]


def fit_dates(params: Sequence[Parameter], args: Arguments) -> None:
    """Write a day in the format that it is said to have."""
    formats = [p for p in params if p.kind == "date_format" and p.role == "from"]
    written = [args[p.name] for p in formats if p.name in args]
    for p in params:
        day = day_of(args.get(p.name))
        if p.kind == "date" and day and len(written) == 1 and isinstance(written[0], str):
            args[p.name] = day_in(written[0], day)


def fit_count(params: Sequence[Parameter], args: Arguments) -> None:
    """Let no more things of a list be wanted than it has: "the 3 largest numbers in a list"."""
    several = [p for p in params if p.items and p.items.sense == "operand"]
    lists = [v for p in several if isinstance(v := args.get(p.name), list)]
    for p in params:
        some = p.words in ("n", "k", "count") or p.about.lower().startswith("the number of")
        n = args.get(p.name)
        if some and len(lists) == 1 and len(lists[0]) > 1 and isinstance(n, int):
            args[p.name] = min(n, len(lists[0]) - 1) if n > 0 else n


def fit_pairs(params: Sequence[Parameter], args: Arguments) -> None:
    """Let there be as many new things as old ones, which they take the place of."""
    lists = {p.words: p.name for p in params if isinstance(args.get(p.name), list)}
    for words, name in lists.items():
        if old := lists.get(words.removeprefix("new ")) if words.startswith("new ") else None:
            n = min(len(args[name]), len(args[old]))
            args[name], args[old] = args[name][:n], args[old][:n]


def _stem(p: Parameter) -> str:
    pattern = "|".join(ROLE.values())
    return re.sub(pattern, "", p.words).strip()


def _banked(p: Parameter) -> bool:
    return bool(kind_named((p.items or p).kind).bank)


def differ(params: Sequence[Parameter], args: Mapping[str, Any]) -> bool:
    """Whether the two ends of a pair are two things."""
    ends: dict[tuple[str, tuple[str, ...], str], Any] = {}
    operands = [args[p.name] for p in params if p.kind == "operand" and p.name in args]
    banked = [args[p.name] for p in params if p.name in args and _banked(p)]
    texts = [t for value in banked for t in (value if isinstance(value, list) else [value])]
    for values in (operands, [t for t in texts if isinstance(t, str)]):
        if len(set(map(str, values))) < len(values):
            return False
    told = {p: args[p.name] for p in params if isinstance(args.get(p.name), str)}
    pairs: dict[str, set[str]] = {}
    for p in [p for p in told if p.kind != "choice" and re.search(ONE_OF_PAIR, p.words)]:
        seen = pairs.setdefault(re.sub(ONE_OF_PAIR, "", p.words), set())
        if told[p] in seen:
            return False  # "crew a" and "crew b"
        seen.add(told[p])
    for kind in NAMED_TWICE:  # "the exporting country" and "the importing country"
        same = [p for p in told if p.kind == kind]
        named = {args[p.name] for p in same}
        if any(pattern("second_of_two").search(p.words) for p in same) and len(named) < len(same):
            return False
    for p in params:
        if p.role not in ("from", "to") or p.name not in args or p.kind == "flag":
            continue
        choices = p.examples if p.kind == "choice" else ()
        if len(choices) == 1:
            continue
        other = ends.get((p.kind, choices, "to" if p.role == "from" else "from"))
        if other is not None and other == args[p.name]:
            return False
        ends[p.kind, choices, p.role] = args[p.name]
    return True


ADDRESSED = ("street", "city", "email", "phone", "last_name", "zip", "iban")


def owned_field(field: Parameter, owner: Parameter, fields: Sequence[Parameter]) -> Parameter:
    """A field as its object means it: the end of a period, the name of a thing or a person."""
    if field.kind in ("date", "datetime", "time") and not field.role:
        return replace(field, role=role_of(owner.words, field.kind))
    posted = any(f.kind == "street" for f in fields)
    if field.kind == "email" and "mail" not in field.words and posted:
        return replace(field, kind="person", sense="person")  # the recipient of a parcel
    sold = any(f.kind in ("money", "quantity", "weight") for f in fields)
    if field.words in ("description", "item") and sold and not field.items and not field.examples:
        return replace(field, kind="product", sense="product")  # a line of an invoice
    if field.words in ("text", "question", "title") and "question" in owner.words:
        return replace(field, kind="survey_question", sense="survey_question")
    if field.words not in ("name", "title") or field.kind == "choice":
        return field
    kind = matching_kind("string", f"{owner.noun} name", "", "")[0]
    if kind not in ("company", "hotel", "restaurant") and any(f.kind in ADDRESSED for f in fields):
        kind = "person"
    return replace(field, kind=kind, sense=kind) if kind not in ("", "name") else field


def of_one_object(fields: Sequence[Parameter], owner: Parameter) -> tuple[Parameter, ...]:
    """The fields of an object, each as the object and the others mean it."""
    meant = [owned_field(f, owner, fields) for f in whole_point(fields)]
    return tuple(told_apart(amounts_of(meant)))


def whole_point(fields: Sequence[Parameter]) -> tuple[Parameter, ...]:
    """The fields of an object of which a latitude and a longitude are given both: one without the
    other is no place."""
    point = [f for f in fields if f.sense.startswith(("latitude", "longitude"))]
    whole = len(point) == 2
    return tuple(replace(f, required=True) if whole and f in point else f for f in fields)


def told_apart(params: Sequence[Parameter]) -> tuple[Parameter, ...]:
    """Parameters of which no two are called alike: "source timezone" and "target timezone"."""
    ends = [f" {p.noun}" for p in params]
    shorter = [p for p in params if p.noun not in ("ID", p.words) and p.words != "id"]
    alike = [p for p in shorter if sum(e.endswith(f" {p.noun}") for e in ends) > 1]
    return tuple(replace(p, said=p.words) if p in alike else p for p in params)


def amounts_of(params: Sequence[Parameter]) -> list[Parameter]:
    """Parameters of which one with a unit beside it is an amount of something, no money."""
    measured = {"unit", "units", "uom"} & {p.words for p in params}
    return [
        replace(p, kind="quantity", sense="quantity") if measured and p.kind == "money" else p
        for p in params
    ]


def with_one_list(params: Sequence[Parameter]) -> list[Parameter]:
    """Parameters of which two ends of one sort share the examples that one of them gives: from unit
    "cup", to unit unknown."""
    shown = {(p.sense, p.unit): p for p in params if p.role in ("from", "to") and p.examples}
    out = []
    for p in params:
        like = shown.get((p.sense, p.unit)) if p.role in ("from", "to") and p.sense else None
        pair = like and not p.examples and re.sub(r"^\w+ ", "", p.words) in like.words
        out.append(replace(p, kind=like.kind, examples=like.examples) if like and pair else p)
    return out
