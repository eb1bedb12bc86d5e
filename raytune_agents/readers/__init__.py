"""Readers: a row of any known source format -> Trajectory. One small file a format.

`sources.rows` finds the rows, `detect` tells their format by their keys, `read_row` makes
trajectories. A user's own reader is "module:function", with the same contract: (row) ->
Trajectory or a list of them; RecordError (or any plain error) makes the row a counted bad row.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from raytune_agents.config import SourceConfig
from raytune_agents.readers import (
    agent_flan,
    bfcl,
    conversations,
    dialogues,
    failures,
    fireact,
    gemini,
    mind2web,
    mint,
    nested,
    openai,
    pairs,
    ratings,
    responses,
    swe,
    tau2,
    tau_bench,
    toolace,
    toolalpaca,
    toolbench,
    when2call,
    xlam,
)
from raytune_agents.readers.decode import SourceError
from raytune_agents.readers.sources import files, is_hub
from raytune_agents.readers.sources import rows as list_raw
from raytune_agents.records import RecordError, Trajectory, finish

__all__ = [
    "READERS",
    "SourceError",
    "detect",
    "explain",
    "files",
    "is_hub",
    "list_raw",
    "read_row",
    "resolve",
]

Reader = Callable[[dict[str, Any]], "Trajectory | list[Trajectory]"]

READERS: dict[str, Reader] = {
    "bfcl": bfcl.read,
    "xlam": xlam.read,
    "hammer": xlam.read,
    "openai": openai.read,
    "orca_agentinstruct": openai.read,
    "swe_gym": openai.read,
    "axolotl": openai.read,
    "sharegpt": conversations.read,
    "glaive": conversations.read,
    "apigen_mt": conversations.read,
    "agenttuning": conversations.read,
    "agent_flan": agent_flan.read,
    "agenttraj": conversations.read,
    "agentbank": conversations.read,
    "agentgen": conversations.read,
    "eto": conversations.read,
    "nat": conversations.read,
    "toolace": toolace.read,
    "fireact": fireact.read,
    "nebius": swe.nebius,
    "swe_agent": swe.swe_agent,
    "mind2web": mind2web.read,
    "toolbench": toolbench.read,
    "toolbench_runs": toolbench.runs,
    "toolalpaca": toolalpaca.read,
    "when2call": when2call.test,
    "when2call_pref": when2call.pref,
    "tau_bench": tau_bench.read,
    "tau2": tau2.read,
    "mint": mint.read,
    "api_bank": dialogues.api_bank,
    "tooltalk": dialogues.tooltalk,
    "seal_tools": nested.seal_tools,
    "nestful": nested.nestful,
    "responses": responses.read,
    "pairs": pairs.read,
    "trl": pairs.read,
    "gemini": gemini.read,
    "ratings": ratings.read,
    "model_failures": failures.read,
}


def _says(*words: str) -> Callable[[dict[str, Any]], bool]:
    """Whether one of `words` stands in the first 20,000 characters of the row's turns."""

    def test(row: dict[str, Any]) -> bool:
        turns = row.get("conversations") or row.get("messages") or row.get("output")
        text = str(turns[:3] if isinstance(turns, list) else turns)[:20_000]
        return any(word in text for word in words)

    return test


# (format, keys a row must have, test or None); the first that fits wins: narrow ones stand first
SIGNS: tuple[tuple[str, frozenset[str], Callable[[dict[str, Any]], bool] | None], ...] = tuple(
    (name, frozenset(keys.split()), test)
    for name, keys, test in [
        ("bfcl", "id question function", None),
        ("xlam", "query tools answers", None),
        ("when2call", "question correct_answer answers tools", None),
        ("when2call_pref", "messages chosen_response rejected_response", None),
        ("model_failures", "user_query expected_response actual_response", None),
        ("responses", "responses_create_params response", None),
        ("toolbench", "win tree answer_generation", None),
        ("toolbench_runs", "query available_tools answer", None),
        ("toolalpaca", "Function_Description Instructions", None),
        ("toolalpaca", "Function_Description Instances", None),
        ("mind2web", "confirmed_task actions", None),
        ("tau_bench", "task_id reward traj", None),
        ("fireact", "reward em traj", None),
        ("tau2", "simulations", None),
        ("tau2", "task_id messages termination_reason", None),
        ("swe_gym", "instance_id resolved messages", None),
        ("nebius", "instance_id target trajectory", None),
        ("swe_agent", "history trajectory info", None),
        ("mint", "state task", None),
        ("api_bank", "file turns", None),
        ("api_bank", "instruction input expected_output", None),
        ("tooltalk", "conversation_id conversation apis_used", None),
        ("ratings", "input output rating", None),
        ("fireact", "instruction input output", _says("Thought:", "Action:")),
        ("nestful", "input output", lambda row: "arguments" in str(row["output"])[:2_000]),
        ("gemini", "contents", None),
        ("pairs", "prompt chosen rejected", None),
        ("trl", "prompt completion", None),
        ("agent_flan", "conversation", None),
        ("agenttraj", "item_id conversations", None),
        ("nat", "conversations info", None),
        ("seal_tools", "conversations", _says("api_list = [")),
        ("sharegpt", "conversations tools", None),
        ("toolace", "system conversations", _says("")),
        ("agenttuning", "id conversations", None),
        ("sharegpt", "conversations", None),
        ("fireact", "messages", lambda row: len(row) == 1 and _says("Thought: ")(row)),
        ("openai", "messages", None),
    ]
)


def detect(row: dict[str, Any]) -> str:
    """The format of a row by its keys. Raises RecordError where no known format has them."""
    for name, keys, test in SIGNS:
        if keys <= row.keys() and (test is None or test(row)):
            return name
    raise RecordError(f"no known format has the keys {', '.join(map(str, row))[:120]}")


def resolve(name: str) -> Reader:
    """The reader of a format name or of "module:function". Raises SourceError naming the known
    ones.
    """
    if name in READERS:
        return READERS[name]
    module, colon, function = name.partition(":")
    if not colon:
        raise SourceError(
            f"read.sources.format={name!r} is unknown; write auto, module:function or one of "
            + ", ".join(sorted(READERS))
        )
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise SourceError(f"read.sources.format={name!r} cannot be imported: {error}") from None


def read_row(
    raw: dict[str, Any],
    where: str,
    format: str = "auto",
    min_rating: float = 0.8,
    rating_max: float = 1.0,
) -> list[Trajectory]:
    """The trajectories of one raw row, with source, ids and pool set. Raises RecordError(reason).

    `where` is what `list_raw` said: "file:line". A known outcome below one half puts the row in the
    pool "negative.observed"; a reader may name a narrower pool itself.
    """
    if not isinstance(raw, dict):
        raise RecordError(f"the row is a {type(raw).__name__}, not an object")
    name = detect(raw) if format == "auto" else format
    reader = resolve(name)
    if reader is ratings.read:
        reader = partial(ratings.read, min_rating=min_rating, rating_max=rating_max)
    try:
        read = reader(raw)
        rows = [_place(t, name, where) for t in (read if isinstance(read, list) else [read])]
        return [replace(t, parents=_parents(t, rows)) if t.parents else t for t in rows]
    except RecordError:
        raise
    except Exception as error:  # the one row boundary: whatever a strange row does to a reader
        reason = str(error).splitlines()[0][:120] if str(error) else ""
        raise RecordError(f"{name}: {type(error).__name__} {reason}".rstrip()) from None


def explain(path: str, format: str = "auto", limit: int | None = None) -> Any:
    """A rich renderable: detected formats with counts, bad rows, one row's mapping side by side.

    Raises SourceError where nothing can be read.
    """
    from raytune_agents.readers.mapping import report

    return report(SourceConfig(path=path, format=format, limit=limit))


def _parents(row: Trajectory, rows: list[Trajectory]) -> tuple[str, ...]:
    """Ids for "@0": the trajectory at that place among those of the same raw row."""
    return tuple(rows[int(p[1:])].id if p.startswith("@") else p for p in row.parents)


def _place(row: Trajectory, name: str, where: str) -> Trajectory:
    for tool in (*(t.name for t in row.tools), *(c.name for c in row.calls)):
        if not tool.isprintable():
            raise RecordError(f"a tool name with control characters: {tool[:40]!r}")
    where = where.encode("utf-8", "backslashreplace").decode()  # a file's name may be no text
    file, _, line = where.rpartition(":")
    failed = row.outcome is not None and row.outcome < 0.5 and row.pool == "positive"
    source = file if file.startswith(f"{name}/") else f"{name}/{file or where}"
    changes: dict[str, Any] = {
        "source": row.source or source,
        "source_id": row.source_id or line,
        "step": "read",
        "pool": "negative.observed" if failed else row.pool,
    }
    return finish(replace(row, **changes))
