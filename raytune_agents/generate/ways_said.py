"""The ways in which people write one value: "2026-05-08", "8 May", "May 8th"; "2", "two"; "2 pm".

Each way has its place among them, so that another value can be written as the first one was. Left
out on purpose: which of them a made-up request takes (`surface`).
"""

from __future__ import annotations

import re
from datetime import date
from typing import Any

from raytune_agents.generate.wordlists import word_data

COUNTED: list[str] = word_data("names")["counts"]
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_WORDED = ("{d} {b}", "{b} {d}", "{o} {b}", "{o} of {b}", "{b} {o}")
_NUMBERED: list[str] = word_data("names")["date_numbers"]
DAY_WAYS = (
    *(
        way.replace("b", month) + year
        for month in ("B", "b")
        for way in _WORDED
        for year in ("", " {y}", ", {y}")
    ),
    *_NUMBERED,
)


def ordinal(n: int) -> str:
    """1 -> 1st, 12 -> 12th, 23 -> 23rd."""
    ending = "th" if 10 <= n % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def day_of(value: Any) -> date | None:
    """The day that a value is, None for anything else."""
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        return None


def day_parts(day: date) -> dict[str, Any]:
    """What the ways to write a day are made of."""
    parts = {"d": day.day, "D": f"{day:%d}", "o": ordinal(day.day), "y": day.year}
    return parts | {"m": day.month, "M": f"{day:%m}", "B": f"{day:%B}", "b": f"{day:%b}"}


def day_in(form: str, day: date) -> str:
    """The day in a form that says where its numbers stand: DD.MM.YYYY."""
    text = form.replace("YYYY", f"{day.year:04}").replace("YY", f"{day.year % 100:02}")
    return text.replace("MM", f"{day.month:02}").replace("DD", f"{day.day:02}")


def ways_said(value: Any) -> tuple[str, ...]:
    """The texts of a value, the plain one first; those of two values of one kind at the same place
    are written alike. () for a flag, a list, an object."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ()
    if isinstance(value, int | float):
        word = COUNTED[int(value)] if value in range(len(COUNTED)) else str(value)
        return str(value), word, f"{value:,}"
    if day := day_of(value):
        return value, *(way.format(**day_parts(day)) for way in DAY_WAYS)
    if time := _TIME.fullmatch(value):
        hour, half = (int(time[1]) - 1) % 12 + 1, "pm" if int(time[1]) > 11 else "am"
        past = "" if time[2] == "00" else f":{time[2]}"
        return value, value.removeprefix("0"), f"{hour}{past} {half}", f"{hour}{past}{half}"
    return (value,)


def written_alike(new: Any, old: Any, text: str) -> str:
    """The new value as the text writes the old one, "" where nothing says how."""
    ways, others = [way.lower() for way in ways_said(old)], ways_said(new)
    at = ways.index(text.lower()) if text.lower() in ways else len(others)
    day, other = day_of(old), day_of(new)
    if day and other and day.year != other.year and str(day.year) not in text:
        return ""  # "8 May" of another year
    if day and day.day == day.month and not re.search(r"[A-Za-z-]", text):
        return ""  # of 5/5 nobody knows which is the month
    return others[at] if at < len(others) else ""
