"""What charts are drawn on: an inline SVG with a plot area, coloured by CSS class.

So dark mode and print follow the style sheet. Every chart is drawn 320 units wide and shown about
that wide, as small multiples, so text keeps its size on a phone. ElementTree builds the markup, so
data cannot become markup. (Plotly's script alone is 4.8 MB; a whole report here is a few hundred
kB, and its figures need no script.)
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from raytune_agents.redact import visible

WIDTH = 320
COLOURS = 8  # classes c0 .. c7 of report.css; c0 (grey) is the base model
SHADES = 5  # classes q0 (low) .. q4 (high)
Point = tuple[float, float]
Format = Callable[[float], str]


class Chart(NamedTuple):
    """A drawing and the table that it draws; without data it is empty and false."""

    svg: Markup = Markup("")
    head: tuple[str, ...] = ()
    rows: Sequence[Sequence[Any]] = ()

    def __bool__(self) -> bool:
        return bool(self.svg)


def colour(index: int) -> str:
    """The CSS class of the index-th series; c0 belongs to the base, the others repeat."""
    return f"c{index if index == 0 else (index - 1) % (COLOURS - 1) + 1}"


def shade(value: float, low: float, high: float) -> str:
    """The CSS class of a value between low and high; the middle one where there is no range."""
    return f"q{round((SHADES - 1) * (value - low) / (high - low)) if high > low else SHADES // 2}"


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from `low` to `high`: about `count` steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{i * step:.10g}") for i in range(first, last + 1)]


def span(values: Sequence[float], pad: float = 0.06) -> Point:
    """The range of the values, a little wider; a range of its own around a single value."""
    low, high = min(values), max(values)
    size = max(abs(low), abs(high))
    margin = (high - low) * pad if high - low > max(1e-9 * size, 1e-200) else size * 0.1
    return (low - margin, high + margin) if margin > 1e-200 else (0.0, 1.0)


class Canvas:
    """An SVG with a plot area; `x` and `y` map data to it."""

    def __init__(self, label: str, height: int, margins: tuple[int, int, int, int]) -> None:
        """`margins`: top, right, bottom, left."""
        top, right, bottom, left = margins
        self.box = (left, top, WIDTH - right, height - bottom)
        head = {"viewBox": f"0 0 {WIDTH} {height}", "role": "img", "class": "chart"}
        self.svg = ET.Element("svg", head | {"aria-label": visible(label)})
        self.x_range = self.y_range = (0.0, 1.0)
        self.x_whole = False  # ticks of x at whole numbers alone

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

    def line(self, css: str, start: Point, end: Point, title: str = "") -> None:
        self.add("line", css, title, x1=start[0], y1=start[1], x2=end[0], y2=end[1])

    def dot(self, css: str, at: Point, radius: float, title: str = "") -> None:
        self.add("circle", f"dot {css}", title, cx=at[0], cy=at[1], r=radius)

    def path(self, css: str, points: Sequence[Point], title: str = "") -> None:
        self.add("polyline", css, title, points=" ".join(f"{x},{y}" for x, y in points))

    def text(
        self, at: Point, value: str, css: str = "tick", anchor: str = "middle", room: int = 0
    ) -> ET.Element:
        """A label; one longer than `room` characters ends in … and is whole in its title."""
        value = visible(value)
        short = f"{value[: room - 1]}…" if room and len(value) > room else value
        title = value if short != value else ""
        element = self.add("text", css, title, x=round(at[0], 2), y=round(at[1], 2))
        element.set("text-anchor", anchor)
        if title:
            element[0].tail = short
        else:
            element.text = short
        return element

    def axes(self, x_title: str, x_format: Format, y_format: Format | None) -> None:
        """Ticks and grid of x and, where `y_format` is given, of y (else the grid is x's)."""
        left, top, right, bottom = self.box
        if y_format:
            for value in ticks(*self.y_range):
                self.line("grid", (left, self.y(value)), (right, self.y(value)))
                self.text((left - 6, self.y(value) + 4), y_format(value), anchor="end")
        for value in ticks(*self.x_range):
            if self.x_whole and value % 1:
                continue
            if not y_format:
                self.line("grid", (self.x(value), top), (self.x(value), bottom))
            self.text((self.x(value), bottom + 15), x_format(value))
        self.line("axis", (left, bottom), (right, bottom))
        self.text(((left + right) / 2, bottom + 31), x_title, "axis-title", room=50)

    def markup(self) -> Markup:
        return Markup(ET.tostring(self.svg, encoding="unicode"))
