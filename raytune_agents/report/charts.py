"""Charts as inline SVG: plain values in, one `<svg>` out, coloured by CSS class.

So dark mode and print follow the style sheet. Every chart is drawn 320 units wide and shown about
that wide, as small multiples, so text keeps its size on a phone. ElementTree builds the markup, so
data cannot become markup. (Plotly's script alone is 4.8 MB; a whole report here is a few hundred
kB, and its figures need no script.)
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup

from raytune_agents.report.text import number, visible

WIDTH = 320
COLOURS = 8  # classes c0 .. c7 of report.css; c0 (grey) is the base model
LABEL = 14  # letters of a dot's name
SHADES = 5  # classes q0 (low) .. q4 (high)
Point = tuple[float, float]
Format = Callable[[float], str]


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
    return (low - margin, high + margin) if margin > 1e-200 else (low - 1.0, high + 1.0)


class Canvas:
    """An SVG with a plot area; `x` and `y` map data to it."""

    def __init__(self, label: str, height: int, margins: tuple[int, int, int, int]) -> None:
        """`margins`: top, right, bottom, left."""
        top, right, bottom, left = margins
        self.box = (left, top, WIDTH - right, height - bottom)
        head = {"viewBox": f"0 0 {WIDTH} {height}", "role": "img", "class": "chart"}
        self.svg = ET.Element("svg", head | {"aria-label": visible(label)})
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
            if not y_format:
                self.line("grid", (self.x(value), top), (self.x(value), bottom))
            self.text((self.x(value), bottom + 15), x_format(value))
        self.line("axis", (left, bottom), (right, bottom))
        self.text(((left + right) / 2, bottom + 31), x_title, "axis-title", room=50)

    def markup(self) -> Markup:
        return Markup(ET.tostring(self.svg, encoding="unicode"))


def thin(points: Sequence[Point], most: int = 240) -> list[Point]:
    """At most `most` points: neighbours are averaged, so a curve of any length stays small."""
    size = math.ceil(len(points) / most)
    if size <= 1:
        return list(points)
    parts = [points[i : i + size] for i in range(0, len(points), size)]
    return [(sum(x for x, _ in p) / len(p), sum(y for _, y in p) / len(p)) for p in parts]


def lines(
    series: Mapping[str, Sequence[Point]],
    classes: Mapping[str, str],
    label: str,
    x_title: str,
    dots: bool = False,
) -> Markup:
    """One line a series. `series`: name -> [(x, y)], finite."""
    every = [p for points in series.values() for p in points]
    if not every:
        return Markup("")
    canvas = Canvas(label, 210, (12, 16, 38, 46))
    canvas.x_range = span([x for x, _ in every], 0.02)
    canvas.y_range = span([y for _, y in every])
    canvas.axes(x_title, number, number)
    for name, points in series.items():
        places = [(canvas.x(x), canvas.y(y)) for x, y in thin(points)]
        note = f"{name}: {number(points[-1][1])} at {number(points[-1][0])}"
        canvas.path(f"line {classes[name]}", places, note)
        for place in places if dots or len(places) == 1 else []:
            canvas.dot(classes[name], place, 2.6, note)
    return canvas.markup()


def intervals(
    rows: Sequence[Mapping], label: str, x_title: str, shown: Format, zero: float | None = None
) -> Markup:
    """A dot with its interval a row. `rows`: {name, value, low, high, css}; low, high may be None.

    `zero` draws the dashed line that an interval must not cross.
    """
    if not rows:
        return Markup("")
    longest = max(len(r["name"]) for r in rows)
    room = min(max(longest, 11), 16)
    canvas = Canvas(label, 24 * len(rows) + 54, (6, 14, 38, 14 + 7 * room))
    ends = [v for r in rows for v in (r["value"], r["low"], r["high"]) if v is not None]
    canvas.x_range = span(ends + ([zero] if zero is not None else []))
    canvas.axes(x_title, shown, None)
    left, top, _, bottom = canvas.box
    if zero is not None:
        canvas.line("zero", (canvas.x(zero), top), (canvas.x(zero), bottom))
    for i, row in enumerate(rows):
        y = top + (i + 0.5) * (bottom - top) / len(rows)
        canvas.text((left - 8, y + 4), row["name"], "name", "end", room=room)
        note = f"{row['name']}: {shown(row['value'])}"
        if row["low"] is not None and row["high"] is not None:
            note += f" (from {shown(row['low'])} to {shown(row['high'])})"
            ends = (canvas.x(row["low"]), y), (canvas.x(row["high"]), y)
            canvas.line(f"whisker {row['css']}", *ends, note)
        canvas.dot(row["css"], (canvas.x(row["value"]), y), 4.5, note)
    return canvas.markup()


def bars(
    rows: Sequence[tuple[str, float]], label: str, css: str = "c1", top_value: float | None = None
) -> Markup:
    """Horizontal bars with values; `rows`: [(name, value >= 0)]; `top_value` fills the width."""
    if not rows:
        return Markup("")
    canvas = Canvas(label, 22 * len(rows) + 8, (4, 44, 4, 138))
    canvas.x_range = (0.0, top_value or max(v for _, v in rows) or 1.0)
    left, top, _, _ = canvas.box
    for i, (name, value) in enumerate(rows):
        y = top + 22 * i
        canvas.text((left - 8, y + 14), name, "name", "end", room=18)
        width, note = round(max(canvas.x(value) - left, 1.0), 2), f"{name}: {number(value)}"
        canvas.add("rect", f"bar {css}", note, x=left, y=y + 3, width=width, height=14, rx=2)
        canvas.text((left + width + 6, y + 14), number(value), "tick", "start")
    return canvas.markup()


def scatter(
    points: Sequence[Mapping],
    label: str,
    x_title: str,
    y_format: Format = number,
    front: Sequence[Point] = (),
) -> Markup:
    """Dots with names. `points`: {name, x, y, css, note}; `front` is drawn as a dashed line."""
    if not points:
        return Markup("")
    canvas = Canvas(label, 226, (16, 16, 38, 46))
    canvas.x_range = span([p["x"] for p in points], 0.12)
    canvas.y_range = span([p["y"] for p in points], 0.12)
    canvas.axes(x_title, number, y_format)
    if len(front) > 1:
        canvas.path("front", [(canvas.x(x), canvas.y(y)) for x, y in front], "Pareto front")
    places = [(canvas.x(p["x"]), canvas.y(p["y"])) for p in points]
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in places]
    for p, place in zip(points, places):
        canvas.dot(p["css"], place, 5, p["note"])
    for p, place in zip(points, places):
        at, anchor, box = free_label(place, min(len(p["name"]), LABEL), canvas.box, taken)
        taken.append(box)
        canvas.text(at, p["name"], "name", anchor, room=LABEL)
    return canvas.markup()


def free_label(
    place: Point, letters: int, plot: tuple[int, int, int, int], taken: Sequence[tuple]
) -> tuple[Point, str, tuple[float, float, float, float]]:
    """Where a dot's name stands, its anchor and its box: the first place around the dot, near
    ones first, that covers no dot or other name and stays in the plot; else right above it."""
    (x, y), width, found = place, 6.6 * letters, []
    for dy in (4, -9, 17, -22, 30, -35, 43, 56):
        for dx, anchor in ((9, "start"), (-9, "end")):
            left = x + dx if anchor == "start" else x + dx - width
            box = (left, y + dy - 10, left + width, y + dy + 2)
            inside = plot[0] <= box[0] and box[2] <= WIDTH and box[1] >= 8 and box[3] <= plot[3] + 4
            found.append(((x + dx, y + dy), anchor, box))
            apart = all(
                box[2] < t[0] or t[2] < box[0] or box[3] < t[1] or t[3] < box[1] for t in taken
            )
            if inside and apart:
                return found[-1]
    return found[2]


def ternary(
    points: Sequence[Mapping],
    corners: Sequence[str],
    label: str,
    field: Sequence[Mapping] = (),
) -> Markup:
    """Mixes of three pools in a triangle. `points`: {name, weights (3, sum 1), css, note}.

    A corner is a mix of that pool alone; the opposite side is a mix without it. `field` (the same
    keys, no name) lies under the points as a surface.
    """
    canvas = Canvas(label, 268, (0, 0, 0, 0))
    ends = ((160.0, 24.0), (34.0, 242.0), (286.0, 242.0))

    def place(weights: Sequence[float]) -> Point:
        x, y = (sum(w * end[i] for w, end in zip(weights, ends)) for i in (0, 1))
        return round(x, 2), round(y, 2)

    for p in field:
        canvas.dot(f"field {p['css']}", place(p["weights"]), 12, p["note"])
    for share in (0.25, 0.5, 0.75):
        rest = 1 - share
        canvas.line("grid", place((share, rest, 0)), place((share, 0, rest)))
        canvas.line("grid", place((rest, share, 0)), place((0, share, rest)))
        canvas.line("grid", place((rest, 0, share)), place((0, rest, share)))
    canvas.path("frame", [*ends, ends[0]])
    canvas.text((160, 15), f"all {corners[0]}", "name", room=30)
    canvas.text((8, 261), f"all {corners[1]}", "name", "start", room=20)
    canvas.text((312, 261), f"all {corners[2]}", "name", "end", room=18)
    for p in points:
        x, y = place(p["weights"])
        canvas.dot(p["css"], (x, y), 6.5, p["note"])
        canvas.text((x + 10, y + 4), p["name"], anchor="start", room=8)
    return canvas.markup()


def surface(
    field: Sequence[Mapping], points: Sequence[Mapping], names: Sequence[str], label: str
) -> Markup:
    """Two shares of a mix as a grid of cells, with the runs on it. `field`, `points`: {x, y, css,
    note}, x and y in [0, 1] with a sum of at most 1; the grid's step is read from `field`."""
    if not field:
        return Markup("")
    canvas = Canvas(label, 268, (12, 16, 38, 46))
    canvas.axes(names[0], number, number)
    steps = sorted({p["x"] for p in field})
    half = (steps[1] - steps[0]) / 2 if len(steps) > 1 else 0.05
    width, height = (canvas.x(half) - canvas.x(-half)), (canvas.y(-half) - canvas.y(half))
    for p in field:
        at = {"x": round(canvas.x(p["x"]) - width / 2, 2)}
        at["y"] = round(canvas.y(p["y"]) - height / 2, 2)
        canvas.add("rect", f"cell field {p['css']}", p["note"], **at, width=width, height=height)
    for p in points:
        canvas.dot(p["css"], (canvas.x(p["x"]), canvas.y(p["y"])), 5, p["note"])
    canvas.text((canvas.box[0] + 4, canvas.box[1] - 2), names[1], "axis-title", "start", room=40)
    return canvas.markup()


def parallel(
    rows: Sequence[Mapping], axes: Sequence[tuple[str, float, float]], label: str
) -> Markup:
    """One line a row over vertical axes. `rows`: {values: a number or None an axis, css, note};
    `axes`: (name, low, high). A line has a gap where the row has no value."""
    if not rows or len(axes) < 2:
        return Markup("")
    canvas = Canvas(label, 240, (20, 24, 62, 62))
    left, top, right, bottom = canvas.box
    places = [left + i * (right - left) / (len(axes) - 1) for i in range(len(axes))]
    for x, (name, low, high) in zip(places, axes):
        canvas.line("axis", (x, top), (x, bottom))
        canvas.text((x, top - 6), number(high))
        canvas.text((x, bottom + 13), number(low))
        text = canvas.text((x + 6, bottom + 26), name, "name", "end", room=14)
        text.set("transform", f"rotate(-25 {x + 6:.1f} {bottom + 26})")
    for row in rows:
        points = [
            (round(x, 2), round(bottom - (v - low) / (high - low) * (bottom - top), 2))
            for x, v, (_, low, high) in zip(places, row["values"], axes)
            if v is not None and high > low
        ]
        canvas.path(f"line {row['css']}", points, row["note"])
    return canvas.markup()


def matrix(
    names: Sequence[str],
    columns: Sequence[str],
    counts: Mapping[tuple[str, str], int],
    label: str,
) -> Markup:
    """Counts of (row name, column name) as shaded cells; a cell where both agree has a frame."""
    if not names:
        return Markup("")
    cell, left, top = min(26.0, 166 / len(columns)), 116, 92
    canvas = Canvas(label, int(top + cell * len(names) + 6), (top, 0, 6, left))
    most = max(counts.values(), default=0)
    for j, column in enumerate(columns):
        x = left + (j + 0.5) * cell
        text = canvas.text((x + 3, top - 6), column, "name", "start", room=14)
        text.set("transform", f"rotate(-65 {x + 3:.1f} {top - 6})")
    for i, name in enumerate(names):
        y = top + i * cell
        canvas.text((left - 6, y + cell / 2 + 4), name, "name", "end", room=15)
        for j, column in enumerate(columns):
            n = counts.get((name, column), 0)
            css = f"cell {shade(n, 0, most)}" if n else "cell none"
            x, note = round(left + j * cell, 2), f"gold {name}, chosen {column}: {n}"
            css = f"{css} same" if name == column else css
            canvas.add("rect", css, note, x=x + 1, y=y + 1, width=cell - 2, height=cell - 2, rx=2)
            if n:
                ink = "on-dark" if n > most * 0.6 else "on-light"
                canvas.text((x + cell / 2, y + cell / 2 + 4), str(n), ink)
    return canvas.markup()
