"""The data room: CSV files, read-only databases in sqlite3, charts and dashboards."""

from __future__ import annotations

import random
import sqlite3
import statistics
from collections.abc import Callable
from contextlib import closing
from typing import Any

from raytune_agents.agents.script import Say, Script, ToolError, act, sample_request
from raytune_agents.agents.word_banks import BANKS
from raytune_agents.agents.worlds.seeded import SeededWorld, State, by_name
from raytune_agents.records import JsonObject

DATABASES = ("sales", "hr", "inventory", "web")
STATS: dict[str, Callable[[Any], float]] = {
    "mean": statistics.fmean,
    "sum": sum,
    "count": len,
    "median": statistics.median,
    "max": max,
    "min": min,
}
WORDS = {
    "region": ["north", "south", "east", "west"],
    "team": ["red", "blue", "green"],
    "channel": ["online", "store", "phone"],
    "category": ["books", "games", "tools"],
}
MAX_STEPS = 200_000  # sqlite virtual machine steps of one query


def make(rng: random.Random) -> State:
    """Three files and one table a database, each with one dimension, two measures and nine rows."""

    def table() -> list[JsonObject]:
        dimension = rng.choice(sorted(WORDS))
        one, two = rng.sample(BANKS["measure"], 2)
        words, numbers = WORDS[dimension], (5, 400)
        return [
            {dimension: rng.choice(words), one: rng.randint(*numbers), two: rng.randint(*numbers)}
            for _ in range(9)
        ]

    names = rng.sample(BANKS["table"], 7)
    files = {f"{n}_{rng.randint(2019, 2025)}.csv": table() for n in names[:3]}
    tables = {db: {n: table()} for db, n in zip(DATABASES, names[3:])}
    dashboards = {
        f"Weekly {n.title()}": {"project": p, "fresh": False, "published": False}
        for n, p in zip(names[:3], rng.sample(BANKS["department"], 3))
    }
    return {
        "files": files,
        "databases": tables,
        "dashboards": dashboards,
        "charts": [],
        "exports": [],
    }


def _rows(state: State, file: str, *columns: str | None) -> list[JsonObject]:
    if file not in state["files"]:
        raise ToolError(f"no such file: {file}")
    rows = state["files"][file]
    for column in columns:
        if column is not None and column not in rows[0]:
            raise ToolError(f"no column {column!r}; columns are {', '.join(rows[0])}")
    return rows


def pandas(
    state: State, file: str, operation: str, column: str, group_by: str | None = None
) -> Any:
    """A statistic of a column, for each group where asked."""
    rows = _rows(state, file, column, group_by)
    if operation != "count" and not all(isinstance(r[column], int | float) for r in rows):
        raise ToolError(f"column {column!r} is not numeric")
    groups: dict[Any, list[Any]] = {}
    for row in rows:
        groups.setdefault(row[group_by] if group_by else "all", []).append(row[column])
    result = {str(k): round(STATS[operation](v), 2) for k, v in sorted(groups.items())}
    return {operation: result if group_by else result["all"]}


def matplotlib(
    state: State, chart: str, file: str, x: str, y: str, title: str | None = None
) -> Any:
    """Draw a chart; its name is kept in the world."""
    rows = _rows(state, file, x, y)
    name = f"{chart}_{y}_by_{x}.png"
    state["charts"].append([name, file, title])
    return {"image": name, "points": len(rows)}


def sql(state: State, database: str, query: str, limit: int = 10) -> Any:
    """Run one SELECT in a fresh in-memory sqlite3 database; nothing else is allowed."""
    allowed = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION}
    with closing(sqlite3.connect(":memory:")) as link:
        for name, rows in state["databases"][database].items():
            columns = list(rows[0])
            kinds = ["INTEGER" if isinstance(rows[0][c], int) else "TEXT" for c in columns]
            link.execute(f"CREATE TABLE {name} ({', '.join(map(' '.join, zip(columns, kinds)))})")
            marks, values = ", ".join("?" for _ in columns), [tuple(r.values()) for r in rows]
            link.executemany(f"INSERT INTO {name} VALUES ({marks})", values)
        link.commit()
        link.set_authorizer(
            lambda action, *_: sqlite3.SQLITE_OK if action in allowed else sqlite3.SQLITE_DENY
        )
        link.set_progress_handler(lambda: 1, MAX_STEPS)
        try:
            cursor = link.execute(query)
            found = cursor.fetchmany(limit)
        except (sqlite3.Error, sqlite3.Warning) as error:
            known = state["databases"][database].items()
            tables = ", ".join(f"{name}({', '.join(rows[0])})" for name, rows in known)
            raise ToolError(f"{error}; tables are {tables}") from None
        columns = [c[0] for c in cursor.description or []]
    short = ([round(v, 2) if isinstance(v, float) else v for v in row] for row in found)
    return [dict(zip(columns, row)) for row in short]


def tableau(
    state: State, action: str, dashboard: str, project: str | None = None, format: str | None = None
) -> Any:
    """Refresh, publish or export; an export of stale data is refused."""
    board = state["dashboards"].get(dashboard)
    if board is None or project not in (None, board["project"]):
        raise ToolError(f"no dashboard {dashboard!r}" + (f" in {project}" if project else ""))
    if action == "refresh":
        board["fresh"] = True
        return {"dashboard": dashboard, "refreshed": True}
    if not board["fresh"]:
        raise ToolError(f"the data of {dashboard!r} is stale; refresh it first")
    if action == "publish":
        board["published"] = True
        return {"dashboard": dashboard, "published": True}
    name = f"{dashboard.lower().replace(' ', '_')}.{format or 'pdf'}"
    state["exports"].append(name)
    return {"file": name}


# --- goals ----------------------------------------------------------------------------------------


def best_group_chart(state: State, rng: random.Random) -> Script:
    """Group a measure, name the best group, then draw it."""
    file = rng.choice(sorted(state["files"]))
    by, measure, _ = state["files"][file][0]
    told = {"measure": measure, "file": file, "chart": rng.choice(["bar", "line", "pie"])}
    yield sample_request(rng, "best_group_chart", dimension=by, **told)
    total = {"file": file, "operation": "sum", "column": measure, "group_by": by}
    result = yield act(f"I sum {measure} for each {by}.", "pandas", **total)
    best = max(result["sum"], key=lambda k: (result["sum"][k], k))
    drawing = {"chart": told["chart"], "file": file, "x": by, "y": measure}
    plot = yield act(f"{best} has the highest total. Now the chart.", "matplotlib", **drawing)
    largest = str(result["sum"][best])
    answer = f"{best} has the highest {measure}: {largest}. The chart is {plot['image']}."
    yield Say(answer, (best, largest))


def _table(state: State, rng: random.Random) -> tuple[str, str, list[str]]:
    """(database, table, columns: the dimension and two measures)."""
    database = rng.choice(sorted(state["databases"]))
    ((table, rows),) = state["databases"][database].items()
    return database, table, list(rows[0])


def above_average(state: State, rng: random.Random) -> Script:
    """An average first, then a count that uses it."""
    database, table, (_, measure, _) = _table(state, rng)
    yield sample_request(rng, "above_average", database=database, measure=measure, table=table)
    query = f"SELECT AVG({measure}) AS average FROM {table}"
    result = yield act("I need the average first.", "sql", database=database, query=query)
    mean = result[0]["average"]
    thought = f"The average is {mean}. Now I count the rows above it."
    query = f"SELECT COUNT(*) AS n FROM {table} WHERE {measure} > {mean}"
    counted = yield act(thought, "sql", database=database, query=query)
    n = counted[0]["n"]
    yield Say(f"The average {measure} is {mean}; {n} rows are above it.", (str(mean), str(n)))


def unknown_column(state: State, rng: random.Random) -> Script:
    """The user's column does not exist; the error lists what does."""
    database, table, (*_, measure) = _table(state, rng)
    wrong = f"total_{measure}"
    yield sample_request(rng, "unknown_column", wrong=wrong, table=table, database=database)
    query = f"SELECT MAX({wrong}) AS largest FROM {table}"
    result = yield act("I try the column as it was named.", "sql", database=database, query=query)
    if "error" in result:
        thought = f"There is no {wrong}; the closest column is {measure}."
        query = f"SELECT MAX({measure}) AS largest FROM {table}"
        result = yield act(thought, "sql", database=database, query=query)
    largest = result[0]["largest"]
    yield Say(f"The largest {measure} in {table} is {largest}.", (measure, str(largest)))


def export_dashboard(state: State, rng: random.Random) -> Script:
    """Exports need fresh data: refresh, then export."""
    name = rng.choice(sorted(state["dashboards"]))
    form = rng.choice(["pdf", "png", "csv"])
    yield sample_request(rng, "export_dashboard", dashboard=name, form=form)
    export = {"action": "export", "dashboard": name, "format": form}
    result = yield act("I try the export.", "tableau", **export)
    if "error" in result:
        thought = "The data is stale, so I refresh it."
        yield act(thought, "tableau", action="refresh", dashboard=name)
        result = yield act("Now the export can run.", "tableau", **export)
    yield Say(f"The export is {result['file']}.", (result["file"],))


class AnalystWorld(SeededWorld):
    agent, make = "analyst", make
    tools = by_name(pandas, matplotlib, sql, tableau)
    goals = by_name(best_group_chart, above_average, unknown_column, export_dashboard)
