"""LlamaIndex's chat stores: {store: {key: messages}}, or a memory that holds one.

One conversation per key; its messages are turns of blocks, as `conversations` reads them in any
row. Sample: the store of an agent of llama-index-core 0.14.25, run for the tests.
"""

from __future__ import annotations

from typing import Any

from raytune_agents.readers.conversations import read_as_chat
from raytune_agents.readers.fields import Fields, object_of, readable
from raytune_agents.records import JsonObject, RecordError, Trajectory


def is_chat_store(row: JsonObject) -> bool:
    """Whether a row, or its `chat_store`, maps keys to lists of messages."""
    stored = list(object_of(_store(row)).values())
    lists = all(isinstance(turns, list) for turns in stored)
    return bool(stored) and lists and all(isinstance(t, dict) for turns in stored for t in turns)


def _store(row: JsonObject) -> Any:
    inner = row.get("chat_store")
    return (inner if isinstance(inner, dict) else row).get("store")


def read(row: JsonObject) -> list[Trajectory]:
    """The conversations that have an answer. Raises RecordError where none has."""
    about = Fields(row).rest("store", "chat_store", "class_name", "token_limit", "chat_store_key")
    stored = _store(row).items()
    answered = [
        (k, turns) for k, turns in stored if any(t.get("role") == "assistant" for t in turns)
    ]
    found = readable(lambda kept: read_as_chat(about | {"id": kept[0]}, kept[1], {}), answered)
    if not found:
        raise RecordError("a chat store without an answer")
    return found
