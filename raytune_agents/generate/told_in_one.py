"""Values that are said by that of another one: a repository with its owner, a city with its state,
a point by its two numbers, a person by age, sex and size.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from raytune_agents.generate.actions import Action
from raytune_agents.generate.forms import unit_words
from raytune_agents.generate.nouns import PERSONAL
from raytune_agents.generate.parameter import Parameter


def _one_repository(present: list[Parameter], anchors: dict[str, str]) -> list[Parameter]:
    """A repository with its owner is said in one: acme/checkout."""
    halves = {p.sense: p for p in present if p.sense in ("repo_owner", "repo_name")}
    if len(halves) < 2:
        return present
    owner, repo = halves["repo_owner"], halves["repo_name"]
    anchors[repo.name] = f"{anchors[owner.name]}/{anchors[repo.name]}"
    return [p for p in present if p != owner]


def _one_point(present: list[Parameter], anchors: dict[str, str]) -> list[Parameter]:
    """The latitude and the longitude of an object are said in one: "at 48.1, 11.6"."""
    ends = [p for p in present if p.sense in ("latitude", "longitude") and "." in p.name]
    if sorted(p.sense for p in ends) != ["latitude", "longitude"]:
        return present
    lat, lon = sorted(ends, key=lambda p: p.sense)
    anchors[lat.name] = f"{anchors[lat.name]}, {anchors[lon.name]}"
    point = replace(lat, kind="latlon", sense="latlon", words="coordinates", said="")
    return [point if p is lat else p for p in present if p is not lon]


def _one_amount(present: list[Parameter], anchors: dict[str, str]) -> list[Parameter]:
    """An amount and its unit are said in one: "a quantity of 20 kg"."""
    units = [p for p in present if p.words in UNITS_OF and p.kind in ("choice", "")]
    units = [p for p in units if not re.search(r"\d\w", anchors[p.name])]  # a flat: "14B/3"
    sizes = [p for p in present if p.kind in ("amount", "quantity", "count") and not p.role]
    if len(units) != 1 or len(sizes) != 1 or sizes[0].unit or sizes[0].items:
        return present
    anchors[sizes[0].name] = f"{anchors[sizes[0].name]} {anchors[units[0].name]}"
    return [p for p in present if p is not units[0]]


def _one_place(present: list[Parameter], anchors: dict[str, str]) -> list[Parameter]:
    """A city with its state or country is said in one: "in Austin, Texas"."""
    here = [p for p in present if p.sense in ("city", "state", "country") and not p.items]
    here = [p for p in here if not p.role and re.fullmatch(HERE, p.words)]
    told: dict[str, Parameter] = {}
    for p in here:  # the current location is said once where it is that city
        same = told.setdefault(p.sense, p)
        if same is not p and anchors[same.name] == anchors[p.name]:
            present = [q for q in present if q != p]
    ends = [told[sense] for sense in ("city", "state", "country") if sense in told]
    if len(ends) > 1:
        anchors[ends[0].name] = f"{anchors[ends[0].name]}, {anchors[ends[1].name]}"
        present = [p for p in present if p != ends[1]]
    return present


def told_in_one(
    present: list[Parameter], args: Mapping[str, Any], anchors: dict[str, str], act: Action
) -> list[Parameter]:
    """The parameters without those whose value is said by that of another one."""
    if any(p.sense == "date_format" and p.role == "from" for p in present):
        anchors |= {p.name: str(args[p.name]) for p in present if p.kind == "date"}  # as it is
    present = _one_amount(_one_point(_one_repository(present, anchors), anchors), anchors)
    made = act.makes and any(p.sense == "street" for p in present)  # an address of its own
    return present if made else _one_place(present, anchors)


UNITS_OF = ("unit", "units", "uom", "unit of measure")
HERE = "(?:current )?(?:city|state|country|location|place|region)"


SEXES = {"male", "female", "man", "woman"}


def _by_trait(params: Sequence[Parameter]) -> dict[str, Parameter]:
    """Trait -> the parameter that says it, of those that say it in a way a sentence can take."""
    out: dict[str, Parameter] = {}
    for p in params:
        if p.items or p.role or p.fields:
            continue
        if p.words == "age" and p.unit in ("", "years"):
            out["age"] = p
        elif p.words in ("sex", "gender") and {str(v).lower() for v in p.values} <= SEXES:
            out["sex"] = p
        elif p.words in ("weight", "body weight") and unit_words(p):
            out["weight"] = p
        elif p.words in ("height", "body height") and unit_words(p):
            out["height"] = p
    return out


def persona_of(params: Sequence[Parameter]) -> tuple[str, list[Parameter]]:
    """The clause of a person whose traits the parameters say, with those; "" where they tell of
    nobody, or of somebody who has a name or a number."""
    found = _by_trait(params)
    named = any(p.is_numbered or p.sense in PERSONAL for p in params)
    if named or len(found) < 2 or not {"age", "sex"} & set(found):
        return "", []
    slots: Mapping[str, Any] = {trait: p.slot for trait, p in found.items()}
    who = [f"{slots['age']}-year-old"] if "age" in found else []
    who += [slots["sex"]] if "sex" in found else [] if "age" in found else ["person"]
    size = []
    if "weight" in found:
        size.append(f"weighing {slots['weight']} {unit_words(found['weight'])}")
    if "height" in found:
        size.append(f"{slots['height']} {unit_words(found['height'])} tall")
    return " ".join(["for a", *who, " and ".join(size)]).strip(), list(found.values())
