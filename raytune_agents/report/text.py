"""Data as text that cannot do anything: invisible controls become readable, long values are cut with a note.

Escaping of markup is left to jinja2 (autoescape) and ElementTree; this module only decides what is said.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

# C0 but tab and newline, DEL and C1, soft hyphen, bidi marks, embeddings, overrides and isolates, zero-width
# space, line and paragraph separators, invisible operators, BOM, tags, lone surrogates, noncharacters.
# Zero-width joiners stay: emoji and several scripts need them.
CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)
DASH = "–"


def visible(value: Any) -> Any:
    """Text with every invisible or direction-changing character written as ⟨U+202E⟩; other values as they are.

    Markup (text this package made) passes through, so it can be jinja2's `finalize`.
    """
    if type(value) is not str:
        return value
    return CONTROLS.sub(lambda m: f"⟨U+{ord(m[0]):04X}⟩", value.replace("\r\n", "\n"))


def clip(value: Any, limit: int = 1200) -> str:
    """At most `limit` characters of a text, with a note of what was left out."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if len(text) <= limit:
        return text
    return f"{text[:limit]} … [cut: the first {limit:,} of {len(text):,} characters]"


def finite(value: Any) -> float | None:
    """The value as a finite float, or None (missing, NaN, infinite, not a number)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def number(value: Any, digits: int = 3) -> str:
    """A plain number with `digits` significant digits: 1,234  0.0123  2.5e-05; a dash where there is none."""
    value = finite(value)
    if value is None:
        return DASH
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    if abs(value) >= 10 ** (digits - 1) and abs(value) < 1e9:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def seconds(value: Any) -> str:
    """A duration: 0.42 s, 41 s, 12 min, 3.4 h."""
    value = finite(value)
    if value is None:
        return DASH
    if value < 90:
        return f"{number(value, 2 if value < 10 else 3)} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"


def pretty_json(text: Any, limit: int = 1200) -> str:
    """JSON text on as few lines as are readable; text that is not JSON as it stands."""
    if not isinstance(text, str):
        return clip(text, limit)
    if len(text) > 50 * limit:
        return clip(text, limit)
    try:
        return clip(json.dumps(json.loads(text), ensure_ascii=False), limit)
    except ValueError:
        return clip(text, limit)
