"""What the parameters of one call say of each other: two ends of a pair, fields of an object."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from raytune_agents.generate.kind_table import matching_kind, role_of
from raytune_agents.generate.parameter import Parameter

ADDRESSED = ("street", "city", "email", "phone", "last_name", "zip", "iban")


def owned_field(field: Parameter, owner: Parameter, fields: Sequence[Parameter]) -> Parameter:
    """A field as its object means it: the end of a period, the name of a thing or a person."""
    if field.kind in ("date", "datetime", "time") and not field.role:
        return replace(field, role=role_of(owner.words, field.kind))
    if (
        field.kind == "email"
        and "mail" not in field.words
        and any(f.kind == "street" for f in fields)
    ):
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
    return tuple(
        replace(p, said=p.words)
        if p.noun not in ("ID", p.words)
        and p.words != "id"
        and sum(e.endswith(f" {p.noun}") for e in ends) > 1
        else p
        for p in params
    )


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
