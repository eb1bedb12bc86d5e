"""Identifiers: others of the shape of an example, or of a schema's pattern."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any

from raytune_agents.calls.validation import accepts, written_out
from raytune_agents.generate.wordlists import pattern

NEW_YEAR, DAYS = date(2026, 1, 1), 700  # where the present of a row lies


class NoValue(ValueError):
    """No value can be drawn; the message is "TOOL.PARAMETER: why"."""


CAPITALS = "ABCDEFGHJKLMNPRSTUVWXYZ"  # without those that are read as digits
MAX_CODE = 200  # characters
MEASURE = pattern("measure")  # "500MB", "2h 30m"
WORD_IN_CODE = r"((?<![^\W_])[a-z]{3,}(?![^\W_]))"  # between marks: "west" of eu-west-1
PERIOD = re.compile(r"(20\d\d\W?)?([QHW])(\d\d?)(\W?20\d\d)?")  # "2026-Q3", "Q3", "2026-W07"
OF_YEAR = {"Q": 4, "H": 2, "W": 52}  # so many a year
TRIES = 12  # draws of a pattern before it counts as one that no code fits


def shaped(example: str, rng: random.Random) -> str:
    """A code of the same shape: its prefix and its words stay, its digits and mixed letters are
    others.

    >>> shaped("T-1042", rng)  # "T-7315"
    >>> shaped("eu-west-1", rng)  # "eu-west-4"
    >>> shaped("2026-Q3", rng)  # "2026-Q1"
    """
    if MEASURE.fullmatch(example):
        return re.sub(r"\d+", lambda m: rng.choice("12345") + m[0][1:], example)
    years = re.fullmatch(r"(20\d\d)(\W?)(20\d\d)", example)
    if years and int(years[3]) == int(years[1]) + 1:
        first = rng.randint(2010, 2024)  # a season: 20172018
        return f"{first}{years[2]}{first + 1}"
    if re.fullmatch(r"[A-Z]{3,8}", example):  # of letters alone: no prefix
        return "".join(rng.choice(CAPITALS) for _ in example)
    dated = re.fullmatch(r"(\D*)20\d\d(?:0\d|1[0-2])[0-3]\d(?:(\D?)[0-2]\d[0-5]\d)?", example)
    if dated:  # S-20260312-0930
        day = NEW_YEAR + timedelta(rng.randrange(DAYS))
        clock = f"{dated[2]}{rng.randint(8, 18):02}{rng.choice(('00', '15', '30', '45'))}"
        return f"{dated[1]}{day:%Y%m%d}{clock if dated[2] is not None else ''}"
    period = PERIOD.fullmatch(example)
    if period and (period[1] or period[4] or period[2] == "Q"):
        number = f"{rng.randint(1, OF_YEAR[period[2]]):0{len(period[3])}}"
        return f"{period[1] or ''}{period[2]}{number}{period[4] or ''}"
    head = re.match(r"(?:[A-Za-z#]+[-_/.]?)?(?:20\d\d(?:[-/]|(?=[A-Z]$)))?", example)
    prefix = head[0] if head else ""

    def other(c: str) -> str:
        if c.isdigit():
            return rng.choice("123456789") if c != "0" else rng.choice("0123456789")
        letters = CAPITALS if c.isupper() else "abcdefghijkmnpqrstuvwxyz"
        return rng.choice(letters) if c.isalpha() else c

    runs = re.split(WORD_IN_CODE, example[len(prefix) :])
    return prefix + "".join(
        run if re.fullmatch(WORD_IN_CODE, run) else "".join(map(other, run)) for run in runs
    )


def sum_like(example: str, rng: random.Random) -> str:
    """An expression of the same shape with other numbers, so that another result is asked for.

    >>> sum_like("2 + 2", rng)  # "47 - 13"
    """
    text = re.sub(r"\d+", lambda m: str(rng.randint(2, 99)), example)
    return re.sub(r"(?<=\d) [+-] (?=\d)", lambda m: rng.choice((" + ", " - ", " * ")), text)


def is_code(text: Any) -> bool:
    """Whether a text is an identifier whose digits may be others: T-1042, INV0093."""
    return isinstance(text, str) and bool(pattern("code").fullmatch(text))


def code_of(detail: Mapping[str, Any], rng: random.Random, name: str) -> str:
    """A code that matches the pattern. Raises NoValue where the pattern is none of a code: one that
    allows words would give letters without sense."""
    import rstr

    pattern = detail["pattern"]
    words = re.search(r"a-z[^\]]*\](?:[+*]|\{\d*,?\d*\}){1}|\\[wSD][+*]|\.[+*]", pattern)
    if written_out(pattern) > MAX_CODE or (words and not re.search(r"\\d|0-9", pattern)):
        raise NoValue(f"{name}: its pattern {pattern} allows more than codes; add an example")
    generator = rstr.Rstr(rng)
    for _ in range(TRIES):
        try:
            text = generator.xeger(re.sub(r"(?<!\\)([+*])(?!\?)", "{1,6}", pattern))
        except (re.error, ValueError, KeyError, IndexError, AttributeError):
            break
        if text.isprintable() and re.search(r"[^\W_]", text) and accepts(detail, text):
            return text
    raise NoValue(f"{name}: no value fits its pattern {pattern}")


def bare_numbers(texts: Iterable[str]) -> list[Any]:
    """The numbers among texts in the unit of the first: 500 of "500 meters, 1 mile"."""
    found = [re.fullmatch(r"(-?\d+(?:\.\d+)?)(?: ([a-z]+))?", text) for text in texts]
    sizes = [m for m in found if m and (not m[2] or pattern("units").fullmatch(m[2]))]
    same = [m[1] for m in sizes if m[2] == sizes[0][2]]
    return [float(x) if "." in x else int(x) for x in same]
