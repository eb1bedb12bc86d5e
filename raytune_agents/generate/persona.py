"""A person told by age, sex and size: "for a 25-year-old woman weighing 60 kg and 165 cm tall"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from raytune_agents.generate.forms import unit_words
from raytune_agents.generate.nouns import PERSONAL, is_numbered, slot_of
from raytune_agents.generate.parameter import Parameter

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
    named = any(is_numbered(p) or p.sense in PERSONAL for p in params)
    if named or len(found) < 2 or not {"age", "sex"} & set(found):
        return "", []
    slots: Mapping[str, Any] = {trait: slot_of(p) for trait, p in found.items()}
    who = [f"{slots['age']}-year-old"] if "age" in found else []
    who += [slots["sex"]] if "sex" in found else [] if "age" in found else ["person"]
    size = []
    if "weight" in found:
        size.append(f"weighing {slots['weight']} {unit_words(found['weight'])}")
    if "height" in found:
        size.append(f"{slots['height']} {unit_words(found['height'])} tall")
    return " ".join(["for a", *who, " and ".join(size)]).strip(), list(found.values())
