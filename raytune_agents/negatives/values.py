"""Near misses of one argument value: another value of the same type, or the same value mistyped."""

from __future__ import annotations

import random
import re
from datetime import date, timedelta
from typing import Any

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_DIGIT = re.compile(r"\d")


def other_text(value: str, rng: random.Random) -> str:
    """A text close to `value`: another date, another digit, fewer words or other letters.

    The change is in letters and digits, since the comparison drops space and punctuation.
    """
    if found := _DATE.search(value):
        try:
            day = date.fromisoformat(found.group())
        except ValueError:
            return value + "1"
        moved = day + timedelta(days=rng.choice([-30, -7, -1, 1, 7, 30]))
        return value.replace(found.group(), moved.isoformat(), 1)
    digits = list(_DIGIT.finditer(value))
    if digits:
        spot = rng.choice(digits)
        digit = rng.choice([d for d in "123456789" if d != spot.group()])
        return value[: spot.start()] + digit + value[spot.end() :]
    words = value.split()
    if len(words) > 1:
        drop = rng.randrange(len(words))
        return " ".join(w for i, w in enumerate(words) if i != drop)
    letters = [i for i, c in enumerate(value) if c.isalpha()]
    if len(letters) < 2:
        return value + rng.choice("abcdefgh")
    at = rng.choice(letters[1:])  # a dropped letter: what a careless copy looks like
    return value[:at] + value[at + 1 :]


def other_value(value: Any, schema: dict[str, Any], rng: random.Random) -> Any:
    """Another value of the same type; None where the type has no other value."""
    enum = [v for v in schema.get("enum", []) if v != value and type(v) is type(value)]
    if enum:
        return rng.choice(enum)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        size = max(1, abs(value) // 10)
        return value + rng.choice([-size, size, 2 * size, 10 * value or 1])
    if isinstance(value, float):
        return round(value + rng.choice([-1, 1]) * max(abs(value) * 0.1, 0.1), 4)
    if isinstance(value, str):
        return other_text(value, rng)
    if isinstance(value, list) and value:
        at = rng.randrange(len(value))
        if len(value) > 1 and rng.random() < 0.5:
            return value[:at] + value[at + 1 :]
        inner = other_value(value[at], schema.get("items") or {}, rng)
        return None if inner is None else [*value[:at], inner, *value[at + 1 :]]
    if isinstance(value, dict) and value:
        key = rng.choice(list(value))
        inner = other_value(value[key], schema.get("properties", {}).get(key) or {}, rng)
        return None if inner is None else value | {key: inner}
    return None


def mistyped(value: Any, rng: random.Random) -> Any:
    """The same value in a wrong JSON type: 5 as "5", true as "true", a list as its first item."""
    if isinstance(value, bool):
        return rng.choice([str(value).lower(), int(value)])
    if isinstance(value, int):
        return rng.choice([str(value), [value]])
    if isinstance(value, float):
        return rng.choice([str(value), [value]])
    if isinstance(value, str):
        if re.fullmatch(r"-?\d{1,15}", value):
            return int(value)
        return [value]
    if isinstance(value, list):
        alone = len(value) == 1 and not isinstance(value[0], list)
        return value[0] if alone else ", ".join(str(v) for v in value)
    return str(value) if isinstance(value, dict) else None
