"""Which numbers a description of a parameter allows: bounds, one bound, one of a few."""

from __future__ import annotations

import re
from math import inf

# after a number that bounds how long a text is, not a value
LENGTH = r"(?! ?-?(?:[a-z]+ )?(?:digit|decimal|character|char|letter|symbol|place)s?\b| long\b)"


def bounds_in(text: str) -> tuple[float, float] | None:
    """The smallest and the largest number that a description allows, None where it says none."""
    text = re.sub(r"\b(?:like|such as) \d+-\d+", "", text)  # one code
    number = r"(-?\d+(?:\.\d+)?)"
    last = rf"{number}(?![\d.]*\d){LENGTH}"
    ways = (
        rf"^{number} ?(?:\([^)]*\))? ?(?:-|–|to) ?{last}\b",
        rf"\b(?:between|from)\s+{number}\s*%?\s*(?:and|to|-)\s*{last}",
        rf"\bscale (?:of|from) {number}\s*(?:-|–|to)\s*{last}",
        rf"\(\s*{number}\s*(?:-|–|to|\.\.)\s*{last}\s*\)",
        rf"\b{number}\s*(?:-|–|to)\s*{last}\s*(?:scale|stars|$|\.)",
    )
    found = next(filter(None, (re.search(way, text, re.I) for way in ways)), None)
    if found and float(found[1]) < float(found[2]):
        return float(found[1]), float(found[2])
    return None


def one_bound_in(text: str) -> tuple[float, float]:
    """The one bound that a description gives, "at most 50", "minimum 2", as a pair with an infinite
    other end."""
    # no "10MB", which bounds something else
    number = rf":?\s*(-?\d[\d,]*(?:\.\d+)?)(?![\w.,]*\w){LENGTH}"
    least = re.search(
        rf"\b(?:at least|min(?:imum)?(?: value)?(?: of| is)?|no less than){number}", text, re.I
    )
    most = re.search(
        rf"\b(?:at most|max(?:imum)?(?: value)?(?: of| is)?|up to|no more than){number}", text, re.I
    )
    low, high = (float(m[1].replace(",", "")) if m else None for m in (least, most))
    return -inf if low is None else low, inf if high is None else high


def either_number(text: str) -> list[str]:
    """The numbers that a description ends with as all there are: "pay factor, 1.25 or 1.5"."""
    one = r"\d+(?:\.\d+)?"
    found = re.search(rf"(?:^|[,:(] ?)({one}(?:, {one})*,? or {one})\)?\.?$", text)
    return re.findall(one, found[1]) if found else []
