"""The sections of the page: findings of one run with their charts, as the template shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from raytune_agents.records import Trajectory, from_row
from raytune_agents.report import cases as answered
from raytune_agents.report import charts, findings, lineage
from raytune_agents.report.cases import Case
from raytune_agents.report.findings import HEADLINE, Metric
from raytune_agents.report.folder import Run
from raytune_agents.report.text import clip, finite, moment, number, seconds

PERCENT = "{:.3g} %".format


def tiles(run: Run, verdict: findings.Verdict) -> list[tuple[str, str, str]]:
    """(label, value, note) of the figures at the top."""
    found = []
    if verdict.arm:
        cell = run.differences[verdict.arm][verdict.split][HEADLINE]
        note = f"points of exact match, {verdict.arm} against base on {verdict.split}"
        found.append(("difference", Metric(HEADLINE).change(cell["value"]), note))
    if run.groups:
        rows = sum(g["n"] for g in run.groups)
        accepted = sum(g["n"] for g in run.groups if not g["reject_reason"])
        found.append(("rows", number(accepted), f"accepted of {number(rows)}"))
    if run.answers:
        asked = {(a.get("split"), a.get("id")) for a in run.answers}
        arms = {a.get("arm") for a in run.answers}
        found.append(("test rows", number(len(asked)), f"answered by {len(arms)} arms"))
    whole = [  # an arm's seconds are in its step's
        m for name, m in run.manifests.items()
        if "/" not in name or name.partition("/")[0] not in run.manifests
    ]  # fmt: skip
    total = sum(finite(m.get("seconds")) or 0.0 for m in whole)
    return [*found, ("time", seconds(total), f"in {len(whole)} steps")]


# --- data ---


def examples(run: Run, each: int = 3) -> list[dict[str, Any]]:
    """Up to `each` rows of every pool family, of negatives one of every pool and fault at least:
    accepted ones and different kinds first."""
    chosen: dict[str, list[str]] = {}
    for family in findings.by_family(findings.family(g["pool"]) for g in run.groups):
        groups = [g for g in run.groups if findings.family(g["pool"]) == family]
        groups.sort(key=lambda g: (bool(g["reject_reason"]), -g["n"], g["first"]))
        seen: set[tuple[str, str]] = set()
        fresh, rest = [], []
        for g in groups:
            kind = (g["pool"], g["fault"])
            (rest if kind in seen else fresh).append(g["first"])
            rest.append(g["last"])
            seen.add(kind)
        most = max(each, len(fresh)) if family == "negative" else each
        chosen[family] = list(dict.fromkeys(fresh + rest))[:most]
    whole = lineage.rows_of(run.path, [i for ids in chosen.values() for i in ids])
    return [
        {"family": family, "rows": [shown(whole[i]) for i in ids if i in whole]}
        for family, ids in chosen.items()
    ]


def shown(row: Trajectory) -> dict[str, Any]:
    """What the page shows of a row: its facts, tool names and first and last turns."""
    turns = [
        {
            "role": m.role,
            "text": clip(m.content),
            "thought": clip(m.thought, 400),
            "trained": m.trained,
            "calls": [f"{c.name}({clip(c.arguments, 600)})" for c in m.tool_calls[:8]],
        }
        for m in row.messages
    ]
    cut = max(0, len(turns) - 8)
    tools = clip(", ".join(t.name for t in row.tools), 300)
    return {"row": row, "tools": tools, "cut": cut, "turns": turns[:4] + turns[4 + cut :]}


def data_charts(run: Run) -> list[dict[str, Any]]:
    """Synthetic rows left after each check, faults of the negative rows, reasons of the rejected
    ones."""
    faults = findings.tally((g["fault"], g["n"]) for g in run.groups if g["fault"])
    reasons = findings.tally((g["reject_reason"], g["n"]) for g in run.groups if g["reject_reason"])
    found = []
    left = findings.left_after(run.manifests.get("generate", {}).get("funnel") or [])
    for title, rows, css in (
        ("Synthetic rows left after each check", left, "c2"),
        ("Faults of negative rows", faults, "c1"),
        ("Rejected rows", reasons, "c0"),
    ):
        note = (
            f"{number(rows[0][1] if rows is left else sum(n for _, n in rows))} rows"
            if rows
            else ""
        )
        if rows:
            found.append({"title": title, "note": note, "svg": charts.bars(rows, title, css)})
    return found


# --- arms ---


def board(run: Run, split: str, css: Mapping[str, str]) -> dict[str, Any]:
    """One split: the table, and the charts of its first metric and of its difference to base."""
    table = findings.board(run.scores, run.differences, split)
    has = {m for by in run.scores.values() for m in by.get(split, {})}
    known = (*findings.FIRST, *(m.key for m in table["main"]))
    metric = Metric(next((m for m in known if m in has), HEADLINE))
    share = metric.kind == "share"
    scale, shown = (100, PERCENT) if share else (1, number)

    def rows(table: Mapping) -> list[dict[str, Any]]:
        found = []
        for arm, by in table.items():
            cell = by.get(split, {}).get(metric.key, {})
            ends = {k: finite(cell.get(k)) for k in ("value", "low", "high")}
            ends = {k: v if v is None else v * scale for k, v in ends.items()}
            if ends["value"] is not None:
                found.append({"name": arm, "css": css[arm]} | ends)
        return found

    scores, changes = rows(run.scores), rows(run.differences)
    figures = [
        (
            metric.name.capitalize(),
            charts.intervals(scores, f"{metric.name} on {split}", metric.name, shown),
        ),
        (
            "Difference to base",
            charts.intervals(
                changes,
                f"Difference to base on {split}",
                "percentage points" if share else metric.name,
                number,
                0.0,
            ),
        ),
    ]
    found = [cells[metric.key]["n"] for cells in table["cells"].values() if metric.key in cells]
    sizes = [n for n in found if n]
    figures = [(title, svg) for title, svg in figures if svg]
    return table | {"n": max(sizes, default=None), "charts": figures}


def cost_charts(run: Run, cases: Sequence[Case], arms: Sequence[str], css: Mapping) -> list[tuple]:
    """(title, chart) of exact match on the hardest split against what each arm costs."""
    split = next(iter(findings.ordered({s for by in run.scores.values() for s in by})), "")
    trained = {m["arm"]: m["total"] for m in findings.mixes(run.mix)}
    axes = {
        "mean tokens of an answer": lambda arm: answered.costs(cases, arm, split)["output_tokens"],
        "median seconds of an answer": lambda arm: answered.costs(cases, arm, split)["latency_s"],
        "trained tokens": lambda arm: trained.get(arm, 0 if arm == "base" and trained else None),
    }
    found = []
    for title, cost in axes.items():
        points = []
        for arm in arms:
            x = cost(arm)
            y = finite(run.scores.get(arm, {}).get(split, {}).get(HEADLINE, {}).get("value"))
            if x is not None and y is not None:
                note = f"{arm}: {y * 100:.1f} % at {number(x)} {title}"
                points.append({"name": arm, "x": x, "y": y * 100, "css": css[arm], "note": note})
        if len(points) > 1:
            front = findings.pareto((p["x"], p["y"]) for p in points)
            svg = charts.scatter(points, f"exact match against {title}", title, PERCENT, front)
            found.append((f"Exact match on {split} against {title}", svg))
    return found


def learning(run: Run, css: Mapping[str, str]) -> list[tuple]:
    """(title, chart, arms) of exact match on the hardest split against the rows trained on, for
    arms that were trained on shares of their data too (`train.curve`); the base has 0 rows."""
    split = next(iter(findings.ordered({s for by in run.scores.values() for s in by})), "")
    given = (run.config.get("train") or {}).get("arms") or {}

    def point(arm: str) -> tuple[float, float] | None:
        cells = run.scores.get(arm, {}).get(split, {})
        rows = 0.0 if arm == "base" else finite(cells.get("train_rows", {}).get("value"))
        value = finite(cells.get(HEADLINE, {}).get("value"))
        return None if rows is None or value is None else (rows, value * 100)

    series = {}
    for arm in given:
        less = [n for n in given if n.rpartition("-")[0] == arm and given[n].get("share", 1) < 1]
        points = [p for name in ("base", *less, arm) if (p := point(name)) is not None]
        if less and arm in css and len(points) == len(less) + 2:
            series[arm] = sorted(points)
    title = f"Exact match on {split} by rows trained on"
    svg = charts.lines(series, css, title, "rows trained on", dots=True) if series else ""
    return [(title, svg, list(series))] if svg else []


def changes(
    run: Run, cases: Sequence[Case], verdict: findings.Verdict, arms: Sequence[str]
) -> dict[str, Any] | None:
    """Before / after: the best arm (or the last one that answered) against base."""
    others = [n for n in arms if n != "base" and any(n in c["answers"] for c in cases)]
    arm = verdict.arm if verdict.arm in others else next(reversed(others), "")
    if not arm or not any("base" in c["answers"] for c in cases):
        return None
    split = verdict.split or findings.ordered({c["split"] for c in cases})[0]
    counts = answered.change(cases, arm, split)
    return {
        "arm": arm,
        "split": split,
        "counts": counts,
        "cases": answered.examples(cases, arm, split),
    }


# --- robustness ---


def robustness(run: Run, arms: Sequence[str], css: Mapping[str, str]) -> dict[str, Any]:
    """What each perturbation costs each arm in exact match: charts by arm, and a table."""
    names = list(dict.fromkeys(name for by in run.robustness.values() for name in by))
    metric = Metric(HEADLINE)
    figures = []
    lines: list[dict[str, Any]] = [{"name": n, "rows": 0, "cells": {}} for n in names]
    for arm in arms:
        rows = []
        for line in lines:
            cell = run.robustness.get(arm, {}).get(line["name"], {}).get(HEADLINE, {})
            ends = {k: finite(cell.get(k)) for k in ("value", "low", "high")}
            if ends["value"] is None:
                continue
            scaled = {k: v if v is None else v * 100 for k, v in ends.items()}
            rows.append({"name": line["name"].replace("_", " "), "css": css[arm]} | scaled)
            line["rows"] = max(line["rows"], int(finite(cell.get("n")) or 0))
            line["cells"][arm] = {
                "levels": " → ".join(metric.show(cell.get(k)) for k in ("clean", "perturbed")),
                "change": metric.change(cell["value"]),
                "range": " to ".join(metric.change(cell.get(k)) for k in ("low", "high")),
                "word": findings.better(metric, cell),
            }
        svg = charts.intervals(rows, f"change of {arm}", "points of exact match", number, 0.0)
        figures += [(arm, svg)] if svg else []
    return {"charts": figures, "lines": [line for line in lines if line["cells"]]}


def plays(run: Run, best: str) -> list[dict[str, Any]]:
    """Plays to read: of base and of the best arm one that reached its goal and one that did not,
    of different tasks where there are some."""
    found, seen = [], set()
    for arm in dict.fromkeys(("base", best or next(iter(run.scores), ""))):
        for done in (True, False):
            mine = [p for p in run.plays if p["arm"] == arm and (p["task_completion"] >= 1) == done]
            play = next((p for p in mine if p["task"] not in seen), next(iter(mine), None))
            if play is not None:
                seen.add(play["task"])
                row = from_row(json.loads(play["row"]))
                found.append({"play": play, "done": done, "shown": shown(row)})
    return found


# --- where it fails ---


def details(cases: Sequence[Case], arms: Sequence[str], most: int = 12) -> list[dict[str, Any]]:
    """Exact match by number of calls, category and tool: tables with a cell an arm."""
    found = []
    for title, key in (
        ("number of calls", answered.calls_of),
        ("category", answered.category_of),
        ("tool", answered.tool_of),
    ):
        lines = answered.shares(cases, arms, key)
        if len(lines) > 1:
            found.append({"title": title, "lines": lines, "most": most})
    return found


def fault_charts(cases: Sequence[Case], arms: Sequence[str], css: Mapping) -> list[dict[str, Any]]:
    """What each arm gets wrong: the same faults in the same order on the same scale."""
    counts = {arm: dict(findings.tally(answered.arm_faults(cases, arm), 99)) for arm in arms}
    order = [
        name for name, _ in findings.tally((f, n) for c in counts.values() for f, n in c.items())
    ]
    order = [name for name in order if any(name in c for c in counts.values())]
    top = max((n for c in counts.values() for n in c.values()), default=0)
    found = []
    for arm in arms if top else []:
        rows = [(name, counts[arm].get(name, 0)) for name in order]
        note = f"{number(sum(counts[arm].values()))} wrong answers, all splits"
        svg = charts.bars(rows, f"faults of {arm}", css[arm], top)
        found.append({"title": arm, "note": note, "svg": svg})
    return found


def confusion(cases: Sequence[Case], arms: Sequence[str], best: str) -> dict[str, Any]:
    """Chosen against gold tool: confused pairs, an arm a column; matrices of base and best."""
    counts = {arm: answered.choices(cases, arm) for arm in arms}
    pairs = findings.tally(
        ((gold, got), n) for c in counts.values() for (gold, got), n in c.items() if gold != got
    )
    lines = [
        {"gold": key[0], "got": key[1], "counts": [counts[arm].get(key, 0) for arm in arms]}
        for key, _ in pairs
        if isinstance(key, tuple)
    ]
    names = list(dict.fromkeys(line["gold"] for line in lines))[:7]
    got = [line["got"] for line in lines if line["gold"] in names]
    none = [name for name in (answered.NO_CALL, answered.UNREADABLE) if name in got]
    columns = [n for n in dict.fromkeys([*names, *got]) if n not in none][: 10 - len(none)] + none
    figures = [
        (arm, charts.matrix(names, columns, counts[arm], f"chosen against gold tool, {arm}"))
        for arm in dict.fromkeys(a for a in ("base", best) if a in counts)
    ]
    return {"lines": lines, "charts": [(arm, svg) for arm, svg in figures if svg]}


def errors(run: Run, cases: Sequence[Case], most: int) -> dict[str, Any]:
    """The error browser: cases with their lineage, and their faults by number.

    Names stay out of attributes: the filter compares numbers.
    """
    chosen = answered.wrong(cases, most)
    names = sorted({f for c in chosen for f in answered.faults(c)})
    rank = {name: i for i, name in enumerate(names)}
    origin = lineage.ancestors(run.path, [c["id"] for c in chosen])
    return {
        "cases": [
            c
            | {
                "faults": [rank[f] for f in answered.faults(c)],
                "origin": [
                    (row, lineage.verdict(row)) for row in lineage.chain(c["id"], origin)[0]
                ],
            }
            for c in chosen
        ],
        "names": names,
        "splits": findings.ordered({c["split"] for c in chosen}),
        "total": sum(bool(answered.faults(c)) for c in cases),
    }


# --- reproduce ---


def facts(run: Run) -> dict[str, Any]:
    """What it takes to repeat the run: seed, revision, versions, hardware, keys, inputs, config."""

    def merged(key: str) -> dict[str, str]:
        out: dict[str, dict[str, None]] = {}
        for manifest in run.manifests.values():
            value = manifest.get(key)
            pairs = value.items() if isinstance(value, dict) else [(key, value)] if value else []
            for name, v in pairs:
                out.setdefault(name, {})[
                    v if isinstance(v, str) else json.dumps(v, default=str)
                ] = None
        return {name: " / ".join(values) for name, values in out.items()}

    steps = []
    for step, m in run.manifests.items():
        inputs = m.get("inputs")
        line = {"step": step, "key": m.get("key") or ""}
        line |= {k: moment(m.get(k)) for k in ("started", "finished")}
        steps.append(line | {"inputs": inputs if isinstance(inputs, dict) else {}})
    return {
        "seed": run.config.get("seed"),
        "code": merged("revision") | merged("commit"),
        "versions": merged("versions"),
        "hardware": merged("hardware"),
        "steps": steps,
        "config": clip(yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True), 40_000),
    }
