"""Data as text of a page: long values are cut with a note, numbers have few digits.

Escaping of markup is left to jinja2 (autoescape) and ElementTree, controls to `redact.visible`;
this only decides what is said.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

DASH = "–"


def clip(value: Any, limit: int = 1200, length: int = 0) -> str:
    """At most `limit` characters of a text, with a note of what was left out.

    `length` is the text's own length where the value holds only its start.
    """
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    length = max(length, len(text))
    if length <= limit:
        return text
    return f"{text[:limit]} … [cut: the first {limit:,} of {length:,} characters]"


def finite(value: Any) -> float | None:
    """The value as a float that can be drawn, or None: missing, no number, NaN, beyond ±1e300."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= 1e300 else None


def whole(value: Any) -> int:
    """The value as a whole number, 0 where it is none."""
    return int(finite(value) or 0)


def format_number(value: Any, digits: int = 3) -> str:
    """A number with `digits` significant digits: 1,234  0.0123  2.5e-05; a dash for none."""
    value = finite(value)
    if value is None:
        return DASH
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    if 10 ** (digits - 1) <= abs(value) < 1e9:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def seconds(value: Any) -> str:
    """A duration: 0.42 s, 41 s, 12 min, 3.4 h."""
    value = finite(value)
    if value is None:
        return DASH
    if value < 90:
        return f"{format_number(value, 2 if value < 10 else 3)} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"


def moment(value: Any) -> str:
    """A time: seconds since 1970 as UTC text; text as it stands."""
    if isinstance(value, str) or finite(value) is None or not 0 < value < 2**34:
        return value if isinstance(value, str) else DASH
    return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M:%S} UTC"


def tidy_json(text: Any, limit: int = 1200) -> str:
    """JSON text with its letters unescaped; text that is not JSON, or is huge, as it stands."""
    if not isinstance(text, str) or len(text) > 50 * limit:
        return clip(text, limit)
    try:
        return clip(json.dumps(json.loads(text), ensure_ascii=False), limit)
    except (ValueError, RecursionError):
        return clip(text, limit)
