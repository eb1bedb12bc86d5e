"""Charts as inline SVG: plain values in, one `<svg>` out, colours by CSS class so that dark mode and print follow.

Every chart is drawn 360 units wide and shown about that wide, as small multiples, so text keeps its size on a
phone. ElementTree builds the markup, so data cannot become markup. Plotly's script alone is 4.8 MB; a whole
report here is a few hundred kB and needs no script to show its figures.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup

from raytune_agents.report.text import number, visible

WIDTH = 360
COLOURS = 8  # classes c0 .. c7 of report.css; c0 is the base model
Point = tuple[float, float]
Format = Callable[[float], str]


def colour(index: int) -> str:
    """The CSS class of the index-th series; c0 (grey) belongs to the base, the others repeat."""
    return f"c{index if index == 0 else (index - 1) % (COLOURS - 1) + 1}"


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers from `low` to `high`: steps of 1, 2 or 5 times a power of ten, about `count` of them."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def span(values: Sequence[float], pad: float = 0.06) -> Point:
    """The range of the values, a little wider; a range of its own around a single value."""
    low, high = min(values), max(values)
    margin = (high - low) * pad or abs(high) * 0.1 or 1.0
    return low - margin, high + margin


class Canvas:
    """An SVG with a plot area; `x` and `y` map data to it."""

    def __init__(
        self,
        label: str,
        height: int,
        left: int = 44,
        bottom: int = 34,
        top: int = 12,
        right: int = 12,
    ) -> None:
        self.box = (left, top, WIDTH - right, height - bottom)
        self.svg = ET.Element(
            "svg",
            {
                "viewBox": f"0 0 {WIDTH} {height}",
                "role": "img",
                "class": "chart",
                "aria-label": visible(label),
            },
        )
        self.x_range = self.y_range = (0.0, 1.0)

    def x(self, value: float) -> float:
        low, high = self.x_range
        return round(self.box[0] + (value - low) / (high - low) * (self.box[2] - self.box[0]), 2)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return round(self.box[3] - (value - low) / (high - low) * (self.box[3] - self.box[1]), 2)

    def add(self, tag: str, css: str, title: str = "", **attributes: object) -> ET.Element:
        """One element; `title` is what a pointer or a screen reader gets."""
        names = {k.replace("_", "-"): str(v) for k, v in attributes.items()}
        element = ET.SubElement(self.svg, tag, {"class": css} | names)
        if title:
            ET.SubElement(element, "title").text = visible(title)
        return element

    def text(
        self,
        x: float,
        y: float,
        value: str,
        css: str = "tick",
        anchor: str = "middle",
        room: int = 0,
    ) -> None:
        """A label; one longer than `room` characters ends in … and keeps its whole text as title."""
        value = visible(value)
        short = f"{value[: room - 1]}…" if room and len(value) > room else value
        element = self.add(
            "text", css, value if short != value else "", x=x, y=y, text_anchor=anchor
        )
        if len(element):
            element[0].tail = short
        else:
            element.text = short

    def axes(
        self,
        x_title: str = "",
        x_format: Format = number,
        y_format: Format = number,
        x_ticks: bool = True,
        y_ticks: bool = True,
    ) -> None:
        left, top, right, bottom = self.box
        for value in ticks(*self.y_range) if y_ticks else []:
            self.add("line", "grid", x1=left, x2=right, y1=self.y(value), y2=self.y(value))
            self.text(left - 6, self.y(value) + 3.5, y_format(value), anchor="end")
        for value in ticks(*self.x_range) if x_ticks else []:
            if not y_ticks:
                self.add("line", "grid", x1=self.x(value), x2=self.x(value), y1=top, y2=bottom)
            self.text(self.x(value), bottom + 14, x_format(value))
        self.add("line", "axis", x1=left, x2=right, y1=bottom, y2=bottom)
        if x_title:
            self.text((left + right) / 2, bottom + 29, x_title, "axis-title", room=56)

    def markup(self) -> Markup:
        return Markup(ET.tostring(self.svg, encoding="unicode"))


def thin(points: Sequence[Point], most: int = 240) -> list[Point]:
    """At most `most` points: neighbours are averaged, so a curve of any length stays small."""
    if len(points) <= most:
        return list(points)
    size = math.ceil(len(points) / most)
    parts = [points[i : i + size] for i in range(0, len(points), size)]
    return [(sum(x for x, _ in p) / len(p), sum(y for _, y in p) / len(p)) for p in parts]


def lines(
    series: Mapping[str, Sequence[Point]],
    classes: Mapping[str, str],
    label: str,
    x_title: str,
    height: int = 210,
    dots: bool = False,
) -> Markup:
    """One line a series. `series`: name -> [(x, y)], finite."""
    every = [p for points in series.values() for p in points]
    if not every:
        return Markup("")
    canvas = Canvas(label, height)
    canvas.x_range = span([x for x, _ in every], 0.02)
    canvas.y_range = span([y for _, y in every])
    canvas.axes(x_title)
    for name, points in series.items():
        points = thin(points)
        place = " ".join(f"{canvas.x(x)},{canvas.y(y)}" for x, y in points)
        canvas.add(
            "polyline",
            f"line {classes[name]}",
            f"{name}: last {number(points[-1][1])}",
            points=place,
        )
        for x, y in points if dots or len(points) == 1 else []:
            canvas.add(
                "circle",
                f"dot {classes[name]}",
                f"{name}: {number(y)} at {number(x)}",
                cx=canvas.x(x),
                cy=canvas.y(y),
                r=2.6,
            )
    return canvas.markup()


def intervals(
    rows: Sequence[Mapping], label: str, x_title: str, shown: Format, zero: float | None = None
) -> Markup:
    """A dot with its interval a row. `rows`: {name, value, low, high, css}; low and high may be None.

    `zero` draws the dashed line that an interval must not cross.
    """
    if not rows:
        return Markup("")
    canvas = Canvas(label, 24 * len(rows) + 54, left=92, bottom=36)
    ends = [v for r in rows for v in (r["value"], r["low"], r["high"]) if v is not None]
    canvas.x_range = span(ends + ([zero] if zero is not None else []))
    canvas.axes(x_title, shown, y_ticks=False)
    left, top, _, bottom = canvas.box
    if zero is not None:
        canvas.add("line", "zero", x1=canvas.x(zero), x2=canvas.x(zero), y1=top, y2=bottom)
    for i, row in enumerate(rows):
        y = top + (i + 0.5) * (bottom - top) / len(rows)
        canvas.text(left - 8, y + 3.5, row["name"], "name", "end", room=14)
        note = f"{row['name']}: {shown(row['value'])}"
        if row["low"] is not None and row["high"] is not None:
            note += f" (from {shown(row['low'])} to {shown(row['high'])})"
            canvas.add(
                "line",
                f"whisker {row['css']}",
                note,
                y1=y,
                y2=y,
                x1=canvas.x(row["low"]),
                x2=canvas.x(row["high"]),
            )
        canvas.add("circle", f"dot {row['css']}", note, cx=canvas.x(row["value"]), cy=y, r=4.5)
    return canvas.markup()


def bars(
    rows: Sequence[tuple[str, float]], label: str, css: str = "c1", shown: Format = number
) -> Markup:
    """Horizontal bars with their values; `rows`: [(name, value >= 0)]."""
    if not rows:
        return Markup("")
    canvas = Canvas(label, 22 * len(rows) + 8, left=136, bottom=4, top=4, right=48)
    canvas.x_range = (0.0, max(v for _, v in rows) or 1.0)
    left, top, _, _ = canvas.box
    for i, (name, value) in enumerate(rows):
        y = top + 22 * i
        canvas.text(left - 8, y + 14, name, "name", "end", room=21)
        width = max(canvas.x(value) - left, 1.0)
        canvas.add(
            "rect",
            f"bar {css}",
            f"{name}: {shown(value)}",
            x=left,
            y=y + 3,
            width=round(width, 2),
            height=14,
            rx=2,
        )
        canvas.text(left + width + 6, y + 14, shown(value), "tick", "start")
    return canvas.markup()


def scatter(
    points: Sequence[Mapping],
    label: str,
    x_title: str,
    x_format: Format = number,
    y_format: Format = number,
    front: Sequence[Point] = (),
    height: int = 230,
) -> Markup:
    """Dots with names. `points`: {name, x, y, css, note}; `front` is drawn as a dashed step line."""
    if not points:
        return Markup("")
    canvas = Canvas(label, height)
    canvas.x_range, canvas.y_range = (
        span([p["x"] for p in points], 0.12),
        span([p["y"] for p in points], 0.12),
    )
    canvas.axes(x_title, x_format, y_format)
    if len(front) > 1:
        place = " ".join(f"{canvas.x(x)},{canvas.y(y)}" for x, y in front)
        canvas.add("polyline", "front", "Pareto front", points=place)
    for p in points:
        x, y = canvas.x(p["x"]), canvas.y(p["y"])
        canvas.add("circle", f"dot {p['css']}", p["note"], cx=x, cy=y, r=5)
        if p["name"]:
            end = x > WIDTH * 0.7
            canvas.text(
                x + (-8 if end else 8), y - 7, p["name"], "name", "end" if end else "start", room=16
            )
    return canvas.markup()


def ternary(points: Sequence[Mapping], corners: Sequence[str], label: str) -> Markup:
    """Mixes of three pools in a triangle. `points`: {name, weights (3, sum 1), css, note}.

    A corner is a mix of that pool alone; the opposite side is a mix without it.
    """
    canvas = Canvas(label, 322, left=0, bottom=0, top=0, right=0)
    top, left, right = (180.0, 26.0), (42.0, 272.0), (318.0, 272.0)

    def place(w: Sequence[float]) -> Point:
        return tuple(round(w[0] * top[i] + w[1] * left[i] + w[2] * right[i], 2) for i in (0, 1))  # type: ignore

    for share in (0.25, 0.5, 0.75):
        rest = 1 - share
        for a, b in (
            ((share, rest, 0), (share, 0, rest)),
            ((rest, share, 0), (0, share, rest)),
            ((rest, 0, share), (0, rest, share)),
        ):
            (x1, y1), (x2, y2) = place(a), place(b)
            canvas.add("line", "grid", x1=x1, y1=y1, x2=x2, y2=y2)
    canvas.add("polygon", "frame", points=" ".join(f"{x},{y}" for x, y in (top, left, right)))
    canvas.text(180, 16, f"all {corners[0]}", "name", room=30)
    canvas.text(14, 292, f"all {corners[1]}", "name", "start", room=22)
    canvas.text(346, 292, f"all {corners[2]}", "name", "end", room=22)
    for p in points:
        x, y = place(p["weights"])
        canvas.add("circle", f"dot {p['css']}", p["note"], cx=x, cy=y, r=7)
        canvas.text(x, y - 10, p["name"], "tick", room=8)
    return canvas.markup()
