"""The charts of the page: plain values in, one `<svg>` and its data out (`canvas` draws)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from raytune_agents.evaluate.estimates import Estimate
from raytune_agents.evaluate.paired import Difference
from raytune_agents.report.canvas import WIDTH, Canvas, Chart, Format, Point, span
from raytune_agents.report.safe_text import format_number

LABEL = 14  # letters of a dot's name
HOVERED = 40  # points of a line that tell their values


def thin(points: Sequence[Point], most: int = 240) -> list[Point]:
    """At most `most` points: neighbours are averaged, so a curve of any length stays small."""
    size = math.ceil(len(points) / most)
    if size <= 1:
        return list(points)
    parts = [points[i : i + size] for i in range(0, len(points), size)]
    return [(sum(x for x, _ in p) / len(p), sum(y for _, y in p) / len(p)) for p in parts]


def line_chart(
    series: Mapping[str, Sequence[Point]],
    classes: Mapping[str, str],
    label: str,
    x_title: str,
    dots: bool = False,
) -> Chart:
    """One line per series. `series`: name -> [(x, y)], finite. At most HOVERED points of each tell
    their values; `dots` shows all of them."""
    every = [p for points in series.values() for p in points]
    if not every:
        return Chart()
    canvas = Canvas(label, 210, (12, 16, 38, 46))
    canvas.x_range = span([x for x, _ in every], 0.02)
    canvas.x_whole = len({x for x, _ in every}) > 1 and all(not x % 1 for x, _ in every)
    canvas.y_range = span([y for _, y in every])
    canvas.axes(x_title, format_number, format_number)
    for name, points in series.items():
        shown = thin(points)
        places = [(canvas.x(x), canvas.y(y)) for x, y in shown]
        canvas.path(f"line {classes[name]}", places, name)
        seen = dots or len(places) == 1
        for i in range(0, len(shown), 1 if seen else max(1, len(shown) // HOVERED)):
            note = f"{name}: {format_number(shown[i][1])} at {format_number(shown[i][0])}"
            if seen:
                canvas.dot(classes[name], places[i], 2.6, note)
            else:
                canvas.dot(f"hit {classes[name]}", places[i], 5, note)
    rows = [(name, x, y) for name, points in series.items() for x, y in points]
    return Chart(canvas.markup(), ("series", x_title, label), rows)


def intervals(
    rows: Sequence[tuple[str, str, Estimate | Difference]],
    label: str,
    x_title: str,
    shown: Format = format_number,
    zero: float | None = None,
    scale: float = 100,
) -> Chart:
    """A dot with its interval per row. `rows`: (name, CSS class, a cell that has a value); `scale`:
    100 shows shares in percent. `zero` draws the dashed line that an interval must not cross."""
    if not rows:
        return Chart()

    def scaled(v: float | None) -> float | None:
        return None if v is None else v * scale

    table = [(name, scaled(c.value), scaled(c.low), scaled(c.high)) for name, _, c in rows]
    room = min(max(11, *(len(name) for name, *_ in table)), 16)
    canvas = Canvas(label, 24 * len(rows) + 54, (6, 14, 38, 14 + 7 * room))
    ends = [v for _, *values in table for v in values if v is not None]
    canvas.x_range = span(ends + ([zero] if zero is not None else []))
    canvas.axes(x_title, shown, None)
    left, top, _, bottom = canvas.box
    if zero is not None:
        canvas.line("zero", (canvas.x(zero), top), (canvas.x(zero), bottom))
    for i, (name, value, low, high) in enumerate(table):
        css, y = rows[i][1], top + (i + 0.5) * (bottom - top) / len(rows)
        canvas.text((left - 8, y + 4), name, "name", "end", room=room)
        if value is None:
            continue
        note = f"{name}: {shown(value)}"
        if low is not None and high is not None:
            note += f" (from {shown(low)} to {shown(high)})"
            canvas.line(f"whisker {css}", (canvas.x(low), y), (canvas.x(high), y), note)
        canvas.dot(css, (canvas.x(value), y), 4.5, note)
    return Chart(canvas.markup(), ("name", "value", "low", "high"), table)


def bars(
    rows: Sequence[tuple[str, float]], label: str, css: str = "c1", top_value: float | None = None
) -> Chart:
    """Horizontal bars with values; `rows`: [(name, value >= 0)]; `top_value` fills the width."""
    if not rows:
        return Chart()
    canvas = Canvas(label, 22 * len(rows) + 8, (4, 44, 4, 138))
    canvas.x_range = (0.0, top_value or max(v for _, v in rows) or 1.0)
    left, top, _, _ = canvas.box
    for i, (name, value) in enumerate(rows):
        y = top + 22 * i
        canvas.text((left - 8, y + 14), name, "name", "end", room=18)
        width, note = round(max(canvas.x(value) - left, 1.0), 2), f"{name}: {format_number(value)}"
        canvas.add("rect", f"bar {css}", note, x=left, y=y + 3, width=width, height=14, rx=2)
        canvas.text((left + width + 6, y + 14), format_number(value), "tick", "start")
    return Chart(canvas.markup(), ("name", "value"), rows)


def scatter(
    points: Sequence[Mapping[str, Any]],
    label: str,
    x_title: str,
    y_format: Format = format_number,
    front: Sequence[Point] = (),
) -> Chart:
    """Dots with names. `points`: {name, x, y, css, note}; `front` is drawn as a dashed line."""
    if not points:
        return Chart()
    canvas = Canvas(label, 226, (16, 16, 38, 46))
    canvas.x_range = span([p["x"] for p in points], 0.12)
    canvas.y_range = span([p["y"] for p in points], 0.12)
    canvas.axes(x_title, format_number, y_format)
    if len(front) > 1:
        canvas.path("front", [(canvas.x(x), canvas.y(y)) for x, y in front], "Pareto front")
    places = [(canvas.x(p["x"]), canvas.y(p["y"])) for p in points]
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in places]
    for p, point in zip(points, places):
        canvas.dot(p["css"], point, 5, p["note"])
    for p, point in zip(points, places):
        at, anchor, box = free_label(point, min(len(p["name"]), LABEL), canvas.box, taken)
        taken.append(box)
        canvas.text(at, p["name"], "name", anchor, room=LABEL)
    rows = [(p["name"], p["x"], p["y"]) for p in points]
    return Chart(canvas.markup(), ("name", x_title, label), rows)


def free_label(
    point: Point, letters: int, plot: tuple[int, int, int, int], taken: Sequence[tuple[float, ...]]
) -> tuple[Point, str, tuple[float, float, float, float]]:
    """Where a dot's name stands, its anchor and its box: the first place around the dot, near
    ones first, that covers no dot or other name and stays in the plot; else right above it."""
    (x, y), width, found = point, 6.6 * letters, []
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
    points: Sequence[Mapping[str, Any]],
    corners: Sequence[str],
    label: str,
    field: Sequence[Mapping[str, Any]] = (),
) -> Chart:
    """Mixes of three pools in a triangle. `points`: {name, weights (3, sum 1), css, note}.

    A corner is a mix of that pool alone; the opposite side is a mix without it. `field` (the same
    keys, no name) lies under the points as a surface.
    """
    canvas = Canvas(label, 268, (0, 0, 0, 0))
    ends = ((160.0, 24.0), (34.0, 242.0), (286.0, 242.0))

    def point_of(weights: Sequence[float]) -> Point:
        x, y = (sum(w * end[i] for w, end in zip(weights, ends)) for i in (0, 1))
        return round(x, 2), round(y, 2)

    for p in field:
        canvas.dot(f"field {p['css']}", point_of(p["weights"]), 12, p["note"])
    for share in (0.25, 0.5, 0.75):
        rest = 1 - share
        canvas.line("grid", point_of((share, rest, 0)), point_of((share, 0, rest)))
        canvas.line("grid", point_of((rest, share, 0)), point_of((0, share, rest)))
        canvas.line("grid", point_of((rest, 0, share)), point_of((0, rest, share)))
    canvas.path("frame", [*ends, ends[0]])
    canvas.text((160, 15), f"all {corners[0]}", "name", room=30)
    canvas.text((8, 261), f"all {corners[1]}", "name", "start", room=20)
    canvas.text((312, 261), f"all {corners[2]}", "name", "end", room=18)
    for p in points:
        x, y = point_of(p["weights"])
        canvas.dot(p["css"], (x, y), 6.5, p["note"])
        canvas.text((x + 10, y + 4), p["name"], anchor="start", room=8)
    rows = [(p["name"], *p["weights"], p["note"]) for p in points]
    rows += [("predicted", *p["weights"], p["note"]) for p in field]
    return Chart(canvas.markup(), ("name", *corners, "note"), rows)


def surface(
    field: Sequence[Mapping[str, Any]],
    points: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    label: str,
) -> Chart:
    """Two shares of a mix as a grid of cells, with the runs on it. `field`, `points`: {x, y, css,
    note}, x and y in [0, 1] with a sum of at most 1; the grid's step is read from `field`."""
    if not field:
        return Chart()
    canvas = Canvas(label, 268, (12, 16, 38, 46))
    canvas.axes(names[0], format_number, format_number)
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
    rows = [
        (kind, p["x"], p["y"], p["note"])
        for kind, part in (("predicted", field), ("trial", points))
        for p in part
    ]
    return Chart(canvas.markup(), ("kind", *names, "note"), rows)
