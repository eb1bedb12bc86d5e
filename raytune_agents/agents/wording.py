"""The small language in which a spec words requests: "run {path}[, with {limit} failures at most]".

`{arg}` shows the value of an argument, `{arg=value}` fixes and shows it, `{arg=value:text}` fixes
it and shows the text instead (for booleans). A part in square brackets is kept or left out whole,
together with its arguments. `survives` tells whether a text still says a value, `asks_how` whether
it asks how something is done. Left out on purpose: choosing values and parts (`generate.tasks`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from raytune_agents.records import JsonSchema

SLOT = re.compile(r"\{(\w+)(?:=([^:}]*))?(?::([^}]*))?\}")
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w]|\.\d)")
OPTIONAL = re.compile(r"\[([^\[\]]*)\]")
# A question about how something is done, which a call does not answer.
HOW_TO = re.compile(
    r"^\W*(?:(?:hi|hello|hey|please|sorry|quick question)\W+)*"
    r"(?:how (?:do|can|could|would|should|does) (?:i|we|you|one|it|this)\b(?! (?:know|get from))"
    r"|how to \w|(?:can|could) you (?:explain|tell me|show me) how (?:to|i|we|do|does|can)\b"
    r"|what(?:'s| is) the (?:best |right |easiest )?way to\b|is there (?:a|any) way to\b"
    r"|does it work when\b|what happens (?:if|when)\b)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Slot:
    """A place for an argument; `fixed` is the value's text or None, `shown` what stands for it."""

    arg: str
    fixed: str | None = None
    shown: str | None = None


def slots(text: str) -> list[Slot]:
    """The slots of a piece of wording, in order."""
    return [Slot(*m.groups()) for m in SLOT.finditer(text)]


def parts(template: str) -> list[tuple[str, bool]]:
    """The template cut into (text, optional) pieces in order; empty pieces are left out."""
    return [(text, bool(i % 2)) for i, text in enumerate(OPTIONAL.split(template)) if text]


def fixed_value(text: str, schema: JsonSchema) -> Any:
    """The text of a fixed value as its schema types it: "true" is True unless a string is due."""
    return text if schema.get("type") == "string" else yaml.safe_load(text)


def problems(template: str, parameters: JsonSchema) -> list[str]:
    """What keeps `template` from wording a valid call with these `parameters`; [] = nothing."""
    properties = parameters.get("properties", {})
    out = [f"{{{s.arg}}} is no parameter" for s in slots(template) if s.arg not in properties]
    always = {s.arg for text, optional in parts(template) if not optional for s in slots(text)}
    missing = [a for a in parameters.get("required", []) if a not in always]
    if missing:
        out.append(f"required {', '.join(missing)} must stand outside brackets")
    for s in slots(template):
        enum = properties.get(s.arg, {}).get("enum")
        if s.fixed is not None and enum and fixed_value(s.fixed, properties[s.arg]) not in enum:
            out.append(f"{s.arg}={s.fixed} is not one of {enum}")
    if "[" in OPTIONAL.sub("", template) or "]" in OPTIONAL.sub("", template):
        out.append("a square bracket has no partner (brackets do not nest)")
    return out


def numbers(text: str) -> set[float]:
    """The numbers that stand alone in a text."""
    return {float(n) for n in NUMBER.findall(text.replace(",", " "))}


def survives(anchor: str, text: str) -> bool:
    """Whether `text` says a value: numbers as numbers, strings as whole words in any case.

    A list shown as "a, b and c" survives if each of its items does.
    """
    anchor = anchor.strip()
    if NUMBER.fullmatch(anchor):
        return float(anchor) in numbers(text)
    whole = r"\s+".join(re.escape(w) for w in anchor.split())
    if re.search(rf"(?<!\w){whole}(?!\w)", text, re.I):
        return True
    items = re.split(r", | and ", anchor)
    return len(items) > 1 and all(survives(i, text) for i in items)


def asks_how(text: str) -> bool:
    """Whether a request asks how something is done, rather than to do it."""
    return HOW_TO.match(text) is not None
