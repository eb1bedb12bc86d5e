"""Berkeley Function Calling Leaderboard: the rows of the installed bfcl-eval package, answers
joined.

The package's data is read as files: importing it would load every model client it knows. BFCL
writes its own type words (dict, float, tuple, any); they become JSON Schema. An answer lists all
allowed values of each argument; it is kept verbatim as `gold`, and the target turn is built from
the first allowed ones. Multi-turn and agentic categories need BFCL's simulators and are left out.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from raytune_agents.calls.schema import find, schema_of
from raytune_agents.readers.decode import Found, file_rows
from raytune_agents.readers.fields import words_of
from raytune_agents.readers.shapes import read_tools, rest_of
from raytune_agents.readers.strict import dump
from raytune_agents.readers.turns import messages_of
from raytune_agents.readers.unpack import SourceError
from raytune_agents.records import JsonObject, Message, RecordError, ToolCall, ToolSpec, Trajectory

DEFAULT = words_of("bfcl_categories")  # of BFCL; the others are read where they are named
CATEGORIES = DEFAULT + words_of("bfcl_more_categories")


def installed() -> bool:
    return importlib.util.find_spec("bfcl_eval") is not None


def data_folder() -> Path:
    """The data folder of the installed package. Raises SourceError where it is not installed."""
    spec = importlib.util.find_spec("bfcl_eval")
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(
            "read.sources.path='bfcl' needs the package bfcl-eval, which is not installed; "
            "run: pip install --no-deps bfcl-eval, or read other rows"
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def bfcl_rows(categories: list[str] | tuple[str, ...] = ()) -> Iterator[Found]:
    """The rows of the categories (empty = DEFAULT), each with its `ground_truth` where it has
    one.
    """
    folder = data_folder()
    for category in categories or DEFAULT:
        path = folder / f"BFCL_v4_{category}.json"
        if category not in CATEGORIES or not path.is_file():
            raise SourceError(
                f"read.sources.categories={category!r} is not a single-turn BFCL category; write "
                f"some of {', '.join(CATEGORIES)}"
            )
        answers = folder / "possible_answer" / path.name
        gold = {}
        if answers.is_file():
            lines = answers.read_text(encoding="utf-8").splitlines()
            gold = {a["id"]: a["ground_truth"] for a in map(json.loads, lines)}
        for where, row in file_rows(str(path), f"bfcl/{category}"):
            if isinstance(row, dict) and row.get("id") in gold:
                row["ground_truth"] = gold[row["id"]]
            yield where, row


def read(row: JsonObject) -> Trajectory:
    """One row; without a ground truth the gold is "[]" (no call is right) for irrelevance, else
    "".
    """
    key = str(row["id"])
    if "multi_turn" in key or len(row["question"]) != 1:
        raise RecordError("a multi-turn BFCL row needs the simulator of bfcl-eval")
    messages = messages_of(row["question"][0])
    tools = read_tools(row["function"])
    truth = row.get("ground_truth")
    if truth:
        messages.append(Message("assistant", tool_calls=tuple(_call(g, tools) for g in truth)))
    gold = "[]" if "irrelevance" in key else dump(truth) if truth else ""
    meta = rest_of(row, "id", "question", "function", "ground_truth")
    return Trajectory(tuple(messages), tools, source_id=key, gold=gold, meta=meta)


def _call(gold: dict[str, dict[str, list[Any]]], tools: Sequence[ToolSpec]) -> ToolCall:
    [(name, allowed)] = gold.items()
    schema = schema_of(find(name, tools))
    properties, required = schema.get("properties", {}), schema.get("required", [])
    arguments = {}
    for key, values in allowed.items():
        non_empty = [v for v in values if v != ""]
        if values and key in required:
            arguments[key] = _plain(non_empty[0]) if non_empty else ""
        elif non_empty and values[0] != "" and not ("" in values and key not in properties):
            arguments[key] = _plain(non_empty[0])
    return ToolCall(name, dump(arguments))


def _plain(value: Any) -> Any:
    """The value an allowed one stands for: inside objects every member again lists what is
    allowed.
    """
    if isinstance(value, dict):
        return {
            k: v[0] if isinstance(v, list) and v else v
            for k, v in value.items()
            if not (isinstance(v, list) and v and v[0] == "")
        }
    if isinstance(value, list):
        return [_plain(v) if isinstance(v, dict) else v for v in value]
    return value
