"""Realistic argument values from a JSON Schema: by the spec's own list, enum, format, then by name.

A text such as "tests/{area}/test_{feature}.py" draws each word from data/words.yaml; a capital
letter ("{Feature}") writes the word in CamelCase. Values carry no closing punctuation, so that they
stand in a sentence as they are. All draws come from the caller's `random.Random`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

BANKS: dict[str, list[str]] = yaml.safe_load(
    (Path(__file__).parent / "data/words.yaml").read_text("utf-8")
)

NAMED: list[tuple[str, list[str]]] = [  # pattern of the parameter's name -> texts
    (r"e?mail|recipient", ["{first}.{last}@{mailhost}"]),
    (r"url|link|website|endpoint", ["https://{company}.example.com/{page}"]),
    (r"(^|_)ip(_|$)|ip_?addr", ["10.{byte}.{byte}.{byte}"]),
    (r"date|(^|_)day$|deadline", ["{date}"]),
    (r"(^|_)time$|hour_of", ["{clock}"]),
    (r"city|location|destination|origin|place|departure|arrival", ["{city}"]),
    (r"country|nation", ["{country}"]),
    (r"currency", ["{currency}"]),
    (r"lang", ["{language}"]),
    (r"colou?r", ["{color}"]),
    (r"path|file|document|attachment", ["{department}/{table}_{year}.{extension}", "{table}.csv"]),
    (r"folder|directory", ["{department}/{table}"]),
    (r"user_?name|login|account", ["{first}.{last}"]),
    (r"first_?name", ["{First}"]),
    (r"last_?name|surname", ["{Last}"]),
    (r"person|author|customer|employee|patient|(^|_)name$|contact", ["{First} {Last}"]),
    (r"compan|organi[sz]ation|employer|brand|vendor", ["{Company}"]),
    (r"phone", ["+1-555-{number4}"]),
    (r"(^|_)id$|code|reference|number", ["{First}-{number4}", "A{number4}"]),
    (r"title|subject|headline", ["{headline}"]),
    (r"message|text|body|content|comment|note", ["{reply}", "{post}"]),
    (r"keyword|tag", ["{keyword}"]),
    (r"query|search|question|topic|term", ["{topic}", "{keyword}"]),
    (r"product|item", ["{product}"]),
    (r"song|track|album", ["{song}"]),
    (r"column|field|metric", ["{measure}"]),
    (r"table|dataset", ["{table}"]),
]
WORD = re.compile(r"\{(\w+)\}")


def word(name: str, rng: random.Random) -> str:
    """One word of a bank, or of a computed kind such as number2, byte, year, date, clock."""
    computed = {
        "number2": lambda: str(rng.randint(10, 99)),
        "number4": lambda: str(rng.randint(1000, 9999)),
        "byte": lambda: str(rng.randint(1, 254)),
        "year": lambda: str(rng.randint(2015, 2025)),
        "quarter": lambda: str(rng.randint(1, 4)),
        "date": lambda: (
            f"{rng.randint(2024, 2026)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
        ),
        "clock": lambda: f"{rng.randint(6, 22):02}:{rng.choice(['00', '15', '30', '45'])}",
    }
    if name in computed:
        return computed[name]()
    if name not in BANKS and name[:1].isupper() and name.lower() in BANKS:
        chosen = rng.choice(BANKS[name.lower()])
        return "".join(part[:1].upper() + part[1:] for part in chosen.split("_"))
    if name not in BANKS:
        raise ValueError(f"no word bank {name!r}; banks are {sorted([*BANKS, *computed])}")
    return rng.choice(BANKS[name])


def fill(text: str, rng: random.Random) -> str:
    """The text with every {word} drawn from its bank."""
    return WORD.sub(lambda m: word(m.group(1), rng), text)


FORMATS = {
    "date": "{date}",
    "date-time": "{date}T{clock}:00Z",
    "time": "{clock}",
    "email": "{first}.{last}@{mailhost}",
    "uri": "https://{company}.example.com/{page}",
    "url": "https://{company}.example.com/{page}",
    "ipv4": "10.{byte}.{byte}.{byte}",
    "uuid": "3f2b{number4}-7c1d-4e5f-9a8b-0c1d2e3f{number4}",
}


def text_value(name: str, schema: dict[str, Any], rng: random.Random) -> str:
    """A string for this parameter: by format, then by name, else a neutral topic."""
    if schema.get("format") in FORMATS:
        return fill(FORMATS[schema["format"]], rng)
    for pattern, texts in NAMED:
        if re.search(pattern, name.lower()):
            return fill(rng.choice(texts), rng)
    return fill(rng.choice(["{topic}", "{product}", "{city}"]), rng)


def number_value(name: str, schema: dict[str, Any], rng: random.Random) -> int | float:
    """A number inside the schema's bounds; without bounds a size that suits the name."""
    whole = schema.get("type") == "integer"
    usual = (2000, 2025) if "year" in name.lower() else (1, 100)
    low = schema.get("minimum", schema.get("exclusiveMinimum", usual[0]))
    high = schema.get("maximum", schema.get("exclusiveMaximum", max(usual[1], low * 10)))
    if whole:
        low = low + ("exclusiveMinimum" in schema and "minimum" not in schema)
        high = high - ("exclusiveMaximum" in schema and "maximum" not in schema)
        step = schema.get("multipleOf", 1)
        return step * rng.randint(-(-int(low) // step), int(high) // step)
    digits = 2 if high - low <= 2 else 1
    inside = rng.uniform(low + (high - low) * 0.05, low + (high - low) * 0.95)
    return round(inside, digits)


def object_value(name: str, schema: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """An object with its required properties (all, where none is); a free one has one entry."""
    properties = schema.get("properties", {})
    if not properties:
        inner = schema.get("additionalProperties")
        return {word("keyword", rng): value(name, inner if isinstance(inner, dict) else {}, rng)}
    chosen = schema.get("required") or list(properties)
    return {k: value(k, properties.get(k, {}), rng) for k in chosen}


def value(name: str, schema: dict[str, Any], rng: random.Random, hints: Sequence[Any] = ()) -> Any:
    """One value of the schema; `hints` are the spec's own values (of the items, for an array)."""
    kind = schema.get("type")
    kind = next((k for k in kind if k != "null"), "null") if isinstance(kind, list) else kind
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        known = [v for v in hints if v in schema["enum"]]
        return rng.choice(known or [v for v in schema["enum"] if v is not None] or schema["enum"])
    if kind == "array":
        items = schema.get("items", {"type": "string"})
        least = max(1, schema.get("minItems", 1))
        wanted = rng.randint(least, min(schema.get("maxItems", 3), least + 2))
        drawn = [value(name, items, rng, hints) for _ in range(4 * wanted)]
        return [v for i, v in enumerate(drawn) if v not in drawn[:i]][:wanted]
    if hints:
        chosen = rng.choice(hints)
        return fill(chosen, rng) if isinstance(chosen, str) else chosen
    if kind == "object":
        return object_value(name, schema, rng)
    if kind in ("integer", "number"):
        return number_value(name, schema | {"type": kind}, rng)
    if kind == "boolean":
        return True
    if schema.get("anyOf"):
        return value(name, schema["anyOf"][0], rng)
    return None if kind == "null" else text_value(name, schema, rng)


def leaves(item: Any) -> list[Any]:
    """The scalars inside a value, in order; keys of objects do not count."""
    if isinstance(item, dict):
        return [leaf for v in item.values() for leaf in leaves(v)]
    if isinstance(item, list | tuple):
        return [leaf for v in item for leaf in leaves(v)]
    return [item]


def shown(item: Any) -> str:
    """A value as a person writes it: 3, 0.25, acme.pdf, "privacy and liability"."""
    if isinstance(item, dict):
        texts = [f"{k.replace('_', ' ')} {shown(v)}" for k, v in item.items()]
    elif isinstance(item, list | tuple):
        texts = [shown(v) for v in item]
    else:
        texts = [str(item).lower() if isinstance(item, bool) else str(item)]
    return " and ".join(filter(None, [", ".join(texts[:-1]), *texts[-1:]]))
