"""Numbers that people say, of the size that is usual for what they count or measure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from raytune_agents.agents.analyse import grain
from raytune_agents.generate.bounds import bounds_in, one_bound_in
from raytune_agents.generate.codes import NoValue, shaped
from raytune_agents.generate.kind_table import kind_named
from raytune_agents.generate.kinds import PERIODS
from raytune_agents.generate.parameter import Parameter
from raytune_agents.generate.scenes import Scene

PER_UNIT = (
    r"\bper (word|character|click|kwh|minute|km|mile|page|sheet|gram|call|message|impression)$"
)


def _near(seen: Sequence[float]) -> tuple[float, float]:
    """Where other numbers like those seen may lie: half their span around them, none of another
    sign."""
    low, high = min(seen), max(seen)
    around = (high - low) / 2
    return (max(low - around, low / 2) if low > 0 else low - around), high + around


def _edges(p: Parameter, context: str, seen: Sequence[float]) -> tuple[float, float]:
    """Where a number may lie: the schema's bounds, then the description's, then the tool's, where
    it speaks of the number ("brightness or contrast (-1 to 1)"), then near those seen, then the
    kind's."""
    detail, kind = p.detail, kind_named(p.kind)
    usual = _near(seen) if seen else kind.range or (1, 100)
    unpaid = p.kind in ("limit", "page")  # results per page
    if not (seen or unpaid) and re.search(PER_UNIT, p.words) and p.type == "number":
        usual = (0.05, 2)
    default = detail.get("default")
    if isinstance(default, int | float) and default != -1 and not seen:  # some write "5"
        small = p.type == "number" and 0 < default < usual[0]
        if default < 0 <= usual[0]:
            usual = (2 * default, default / 2)  # a loudness of -14
        elif default > usual[-1] or small:
            usual = (default / 2, 2 * default)
    of_tool = bounds_in(context) if p.words in context and not p.about else None
    bounds = bounds_in(p.about) or of_tool or tuple(usual)
    least, most = one_bound_in(p.about)
    if seen and bounds[0] <= usual[1] and usual[0] <= bounds[-1]:
        bounds = max(bounds[0], usual[0]), min(bounds[-1], usual[1])
    low, high = min(max(bounds[0], least), most), max(min(bounds[-1], most), least)
    numbers = [v for v in p.values if isinstance(v, int | float) and not isinstance(v, bool)]
    if numbers and not bounds_in(p.about):
        low, high = min(*numbers, low), max(*numbers, high)
        if p.kind in ("amount", "money", "quantity", "radius"):  # any size: theirs says which
            low, high = min(numbers) / 2, max(numbers) * 2
        low, high = max(low, least), min(high, most)
    step = 1 if p.type == "integer" else 0.01
    if "minimum" in detail and "maximum" in detail:
        least, most = detail["minimum"], detail["maximum"]
        inner = max(least, usual[0]), min(most, usual[1])  # nobody asks for 767 results
        sized = kind.range and p.kind not in ("amount", "operand")
        wide = (sized or seen) and inner[0] < inner[1]
        return inner if wide else (least, most)
    if (least := detail.get("minimum")) is not None or "exclusiveMinimum" in detail:
        least = least if least is not None else detail["exclusiveMinimum"] + step
        high = max(high, least + (high - low)) if least > low else high
        low = max(low, least)
    if (most := detail.get("maximum")) is not None or "exclusiveMaximum" in detail:
        most = most if most is not None else detail["exclusiveMaximum"] - step
        low = min(low, most) if "minimum" not in detail and low > most else low
        high = min(high, most)
    return low, high


def number(scene: Scene, p: Parameter, known: Sequence[Any] = ()) -> int | float:
    """A number that people say: round where it is large, whole where the schema wants it; near
    those `known` where they differ, and as round. Raises NoValue."""
    rng, kind, detail = scene.rng, kind_named(p.kind), p.detail
    numbers = [str(v) for v in known if not isinstance(v, bool)]  # some write "5"
    seen: Sequence[float] = [float(v) for v in numbers if re.fullmatch(r"-?\d+(\.\d+)?", v)]
    round_to = grain(seen) if seen else 0
    if len(set(seen)) == 1:  # of one number of anything the size is known
        (one,) = set(seen)
        unspecific = one > 0 and p.kind in ("amount", "count", "quantity", *PERIODS)
        seen = (one / 2, 1.5 * one) if unspecific else ()
    low, high = _edges(p, scene.context, seen)
    if low > high:
        raise NoValue(f"{p.name}: no number lies between {low:g} and {high:g}")
    if low == 0 and high >= 1 and not p.required and p.type == "integer":
        low = 1  # nobody asks for no dogs
    if p.role == "max" and low < high:
        low += (high - low) / 2
    elif p.role == "min" and low < high:
        high -= (high - low) / 2
    shown = str((p.values or [detail.get("default")])[0])
    if re.fullmatch(r"(20\d\d){2}", shown):
        return int(shaped(shown, rng))  # a season of two years: 20172018
    step = detail.get("multipleOf") or (round_to if seen else 0)
    whole = p.type != "number" or (high - low > 2 and not kind.digits and kind.step >= 1)
    if step:
        first = -(-low // step)
        return plain_number(step * rng.randint(int(first), max(int(first), int(high // step))))
    if kind.money and p.type == "number" and rng.random() < 0.3:
        return plain_number(round(rng.uniform(low, high), 2))
    if kind.step < 1 and not whole:
        return plain_number(round(rng.uniform(low, high) / kind.step) * kind.step)
    if not whole:
        return round(rng.uniform(low, high), kind.digits or (2 if high - low <= 2 else 1))
    found = rng.randint(int(-(-low // 1)), max(int(-(-low // 1)), int(high)))
    large = 1 if kind.placed else 100 if found > 2000 else 10 if found > 200 else 1
    nice = kind.step if kind.step > 1 else large
    rounded = int(round(found / nice) * nice)
    return rounded if low <= rounded <= high else found


def plain_number(value: float) -> int | float:
    return int(value) if float(value).is_integer() else round(value, 6)
