"""Near misses of one argument value that mean something: another value of the parameter, a shifted
date, the next of an enumeration, a word too many of the request; or the same value mistyped."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from raytune_agents.records import Trajectory

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_CLOCK = re.compile(r"(?<![\d:])([01]?\d|2[0-3]):([0-5]\d)(?![\d])")
_DIGIT = re.compile(r"\d")
KEPT = 32  # values that are remembered of one parameter
SeenValues = Mapping[tuple[str, str], Sequence[Any]]  # (tool, parameter) -> values of other rows


@dataclass(frozen=True)
class Near:
    """What a near miss is taken from: other rows' values of the parameter, and the request."""

    seen: Sequence[Any] = ()
    request: str = ""


NOTHING = Near()


def seen_values(rows: Iterable[Trajectory]) -> dict[tuple[str, str], list[Any]]:
    """The values that rows give each parameter, at most KEPT different ones."""
    found: dict[tuple[str, str], list[Any]] = {}
    for row in rows:
        for call in row.calls:
            for name, value in call.known_args.items():
                known = found.setdefault((call.name, name), [])
                if len(known) < KEPT and value not in known:
                    known.append(value)
    return found


def other_text(value: str, rng: random.Random, near: Near = NOTHING) -> str | None:
    """A text that could stand in `value`'s place: another date or time, a value of another row,
    another digit of an id, or the request's next word taken along; None where there is none."""
    if found := _DATE.search(value):
        try:
            day = date.fromisoformat(found[0]) + timedelta(rng.choice([-30, -7, -1, 1, 7]))
        except (ValueError, OverflowError):
            return None
        return value.replace(found[0], day.isoformat(), 1)
    if clock := _CLOCK.search(value):
        minutes = 60 * int(clock[1]) + int(clock[2]) + rng.choice([-60, -30, 30, 60])
        shifted = f"{minutes // 60 % 24:0{len(clock[1])}}:{minutes % 60:02}"
        return value[: clock.start()] + shifted + value[clock.end() :]
    others = [v for v in near.seen if isinstance(v, str) and not _same(v, value)]
    if others:
        return rng.choice(others)
    if digits := list(_DIGIT.finditer(value)):
        spot = rng.choice(digits)
        digit = rng.choice([d for d in "123456789" if d != spot.group()])
        return value[: spot.start()] + digit + value[spot.end() :]
    return with_next_word(value, near.request, rng)


def _same(one: str, other: str) -> bool:
    letters = re.compile(r"[\W_]+")
    return letters.sub("", one).casefold() == letters.sub("", other).casefold()


def with_next_word(value: str, request: str, rng: random.Random) -> str | None:
    """The value with the word of the request before or after it: what a careless reader copies."""
    word = r"([\w'-]{2,})"
    match = re.search(
        rf"(?:{word}\s+)?(?<!\w){re.escape(value)}(?!\w)(?:\s+{word})?", request, re.I
    )
    if not match:
        return None
    pairs = ((value, match[2]), (match[1], value))
    longer = [" ".join(pair) for pair in pairs if all(pair)]
    return rng.choice(longer) if longer else None


def next_of(options: Sequence[Any], value: Any, rng: random.Random) -> Any:
    """A neighbour of the value in an enumeration; None where there is no other."""
    others = [v for v in options if v != value and type(v) is type(value)]
    if value in options:
        at = options.index(value)
        others = sorted(others, key=lambda v: abs(options.index(v) - at))[:2]
    return rng.choice(others) if others else None


def other_number(value: int | float, rng: random.Random) -> int | float:
    """A number near by, or ten times as much: a slip of a unit."""
    if isinstance(value, int):
        size = max(1, abs(value) // 10)
        return value + rng.choice([-size, size, 2 * size, 9 * value or 1])
    return round(value + rng.choice([-1, 1]) * max(abs(value) * 0.1, 0.1), 4)


def other_value(
    value: Any, schema: Mapping[str, Any], rng: random.Random, near: Near = NOTHING
) -> Any:
    """Another value of the same type; None where there is none that means something."""
    if options := schema.get("enum", []):
        return next_of(options, value, rng)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return other_number(value, rng)
    if isinstance(value, str):
        return other_text(value, rng, near)
    if isinstance(value, list) and value:
        at = rng.randrange(len(value))
        if len(value) > 1 and rng.random() < 0.5:
            return value[:at] + value[at + 1 :]
        items = [v for seen in near.seen if isinstance(seen, list) for v in seen]
        others = Near([v for v in items if v not in value], near.request)
        inner = other_value(value[at], schema.get("items") or {}, rng, others)
        return None if inner is None else [*value[:at], inner, *value[at + 1 :]]
    if isinstance(value, dict) and value:
        key = rng.choice(list(value))
        known = [seen[key] for seen in near.seen if isinstance(seen, dict) and key in seen]
        detail = schema.get("properties", {}).get(key) or {}
        inner = other_value(value[key], detail, rng, Near(known, near.request))
        return None if inner is None else value | {key: inner}
    return None


def mistyped(value: Any, rng: random.Random) -> Any:
    """The same value in a wrong JSON type: 5 as "5", true as "true", a list as its first item."""
    if isinstance(value, bool):
        return rng.choice([str(value).lower(), int(value)])
    if isinstance(value, int | float):
        return rng.choice([str(value), [value]])
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"-?\d{1,15}", value) else [value]
    if isinstance(value, list):
        alone = len(value) == 1 and not isinstance(value[0], list)
        return value[0] if alone else ", ".join(str(v) for v in value)
    return str(value) if isinstance(value, dict) else None
