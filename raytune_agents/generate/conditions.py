"""Conditions of a filter, whose value depends on its field: "amount is over 250", "status is open".

A field and a value among the parameters of a tool, or of an object, are drawn together, with an
operator that suits them; of a field that no value is known of, the value stays unknown.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from raytune_agents.agents.phrasing import name_words
from raytune_agents.generate.codes import NoValue
from raytune_agents.generate.parameter import Parameter
from raytune_agents.generate.wordlists import word_data
from raytune_agents.records import Arguments

NAMES = word_data("names")
COMPARISONS: dict[str, str] = NAMES["comparisons"]
FIELD, VALUE = "condition_field", "condition_value"  # senses of the two
CROSSED = "threshold"  # the value of an alert


def _options(field: Parameter) -> list[tuple[str, list[Any]]]:
    """Names that the field may have, each with values that fit it."""
    known: dict[str, list[Any]] = word_data("values")["conditions"]
    if not field.values:
        return list(known.items())
    known = known | word_data("values")["thresholds"]
    last = {str(v): (name_words(str(v)).split() or [""])[-1] for v in field.values}
    return [(name, known[word]) for name, word in last.items() if word in known]


def _operator(params: Sequence[Parameter]) -> Parameter | None:
    return next((p for p in params if p.words in NAMES["operators"] and p.kind == "choice"), None)


@lru_cache(maxsize=4096)
def with_conditions(params: tuple[Parameter, ...]) -> tuple[Parameter, ...]:
    """The parameters, those of a condition as such, also inside lists and objects."""
    inner = [
        replace(
            p,
            items=with_conditions((p.items,))[0] if p.items else None,
            fields=with_conditions(p.fields),
        )
        for p in params
    ]
    params = tuple(p if p == old else _known(p) for p, old in zip(inner, params))
    field = next((p for p in params if p.words in NAMES["fields"] and not p.items), None)
    value = next((p for p in params if p.words in NAMES["compared"] and not p.items), None)
    if field is None or value is None or value.closed or not _options(field):
        return params
    if value.words == CROSSED and not field.values:
        return params  # which metrics there are nobody knows
    number = value.is_number
    new = {
        field: replace(field, kind=field.kind or "column", sense=FIELD),
        value: replace(value, kind="amount" if number else VALUE, sense=VALUE, examples=()),
    }
    return tuple(new.get(p, p) for p in params)


def _known(p: Parameter) -> Parameter:
    """A list or an object whose parts are known now."""
    if p.items is not None:
        return replace(p, kind="list") if p.items.kind else p
    needed = [f for f in p.fields if f.required]
    return replace(p, kind="object") if needed and all(f.kind for f in needed) else p


def _condition(
    params: Sequence[Parameter], args: Mapping[str, Any]
) -> tuple[Parameter, Parameter, Parameter | None] | None:
    """The given field, value and operator; None where the parameters are no condition."""
    given = [p for p in params if p.name in args]
    parts = {p.sense: p for p in given}
    if FIELD not in parts or VALUE not in parts:
        return None
    return parts[FIELD], parts[VALUE], _operator(given)


def fit_condition(params: Sequence[Parameter], args: Arguments, rng: random.Random) -> None:
    """Draw field, operator and value of a condition together. Raises NoValue where none fit."""
    found = _condition(params, args)
    if found is None:
        return
    field, value, operator = found
    number = value.is_number
    fitting = [(n, v) for n, vs in _options(field) for v in vs if not (number and v == str(v))]
    if operator is not None:
        said = [v for v in operator.values if str(v).lower() in COMPARISONS]
        if not said:
            raise NoValue(f"{operator.name}: no operator that people say")
        chosen = args[operator.name] = rng.choice(said)
        how = COMPARISONS[str(chosen).lower()]
        sized, part = how in NAMES["orders"], how == "contains"
        fitting = [(n, v) for n, v in fitting if not (sized if v == str(v) else part)]
    if not fitting:
        raise NoValue(f"{value.name}: nothing is known of its values")
    args[field.name], compared = rng.choice(fitting)
    args[value.name] = compared if number else str(compared)


def condition_text(params: Sequence[Parameter], args: Mapping[str, Any]) -> str:
    """ "amount is over 250"; "" where the parameters are no condition."""
    found = _condition(params, args)
    if found is None:
        return ""
    field, value, operator = found
    compared = str(args[operator.name]) if operator else ">" if value.words == CROSSED else "=="
    how = COMPARISONS.get(compared.lower(), compared)
    return f"{args[field.name]} {how} {args[value.name]}"


def condition_clause(p: Parameter, sets: bool) -> str:
    """How the condition of a filter or of an alert joins a sentence; "" for another parameter."""
    if p.sense != VALUE or (sets and p.words != CROSSED):
        return ""
    return f"{'when' if p.words == CROSSED else 'where'} {p.slot}"


def in_one(
    present: list[Parameter], args: Mapping[str, Any], anchors: dict[str, str], sets: bool
) -> list[Parameter]:
    """The parameters with those of a condition in one, which is said as its value; of what is set
    to a value they stay apart."""
    text = condition_text(present, args)
    value = next((p for p in present if p.sense == VALUE), None)
    if not text or value is None or (sets and value.words != CROSSED):
        return present
    anchors[value.name] = text
    parts = (*NAMES["fields"], *NAMES["operators"])
    return [p for p in present if p == value or p.words not in parts]
