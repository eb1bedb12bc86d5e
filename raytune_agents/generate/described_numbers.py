"""What a description says of a number in figures: its bounds, or the few that it may be."""

from __future__ import annotations

import re
from math import inf


def bounds_in(text: str) -> tuple[float, float] | None:
    """The smallest and the largest number that a description allows, None where it says none."""
    number = r"(-?\d+(?:\.\d+)?)"
    found = re.match(rf"{number} ?(?:\([^)]*\))? ?(?:-|–|to) ?{number}\b", text)
    found = found or re.search(
        rf"\b(?:between|from)\s+{number}\s*%?\s*(?:and|to|-)\s*{number}", text, re.I
    )
    found = found or re.search(rf"\bscale (?:of|from) {number}\s*(?:-|–|to)\s*{number}", text, re.I)
    found = found or re.search(rf"\(\s*{number}\s*(?:-|–|to|\.\.)\s*{number}\s*\)", text)
    found = found or re.search(rf"\b{number}\s*(?:-|–|to)\s*{number}\s*(?:scale|stars|$|\.)", text)
    if found and float(found[1]) < float(found[2]):
        return float(found[1]), float(found[2])
    return None


def one_bound_in(text: str) -> tuple[float, float]:
    """The one bound that a description gives, "at most 50", "minimum 2", as a pair with an infinite
    other end."""
    # no "5 digits", "2 decimals" or "10MB", which bound something else
    number = r":?\s*(-?\d[\d,]*(?:\.\d+)?)(?![\w.,]*\w)(?! (?:digits|decimal|characters|places))"
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
