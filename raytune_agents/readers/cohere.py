"""Cohere's first chat API: requests {message, chat_history, tool_results}, their `response`, or a
response with the whole history. (Its second API has OpenAI's turns: `openai`.)

A call there has no id, and what a client left out of it stands in its result once more. Samples:
langchain-ai/langchain-cohere `libs/cohere/tests/integration_tests/cassettes`, MIT.
"""

from __future__ import annotations

from typing import Any

from raytune_agents.readers.conversations import chat_turn, read_as_chat
from raytune_agents.readers.fields import fold, names_of, object_of
from raytune_agents.readers.spans import model_calls
from raytune_agents.records import JsonObject, Trajectory

READ = names_of("cohere")


def read(row: JsonObject) -> Trajectory:
    """One row. Raises RecordError where it has no answer."""
    answer = found if isinstance(found := row.get("response"), dict) else row
    whole = answer.get("chat_history")
    turns = list(whole or row.get("chat_history") or [])
    if not whole or answer is row:
        turns += [{"role": "USER", "message": row["message"]}] if row.get("message") else []
        turns += [{"role": "TOOL", "tool_results": r}] if (r := row.get("tool_results")) else []
    text = found if isinstance(found, str) else answer.get("text")
    if not _answers(turns) and (text or answer.get("tool_calls")):
        turns.append(chat_turn("CHATBOT", text, tool_calls=answer.get("tool_calls")))
    if _answers(turns) and answer.get("finish_reason"):
        turns[-1] = turns[-1] | {"finish_reason": answer["finish_reason"]}
    meta = object_of(answer.get("meta"))
    about = model_calls([(row.get("model"), meta.get("tokens") or meta.get("billed_units"))])
    kept = {k: v for k, v in row.items() if fold(k) not in READ.every}
    return read_as_chat(kept, _with_parameters(turns), about)


def _answers(turns: list[Any]) -> bool:
    return bool(turns) and fold(str(turns[-1].get("role"))) == "chatbot"


def _with_parameters(turns: list[JsonObject]) -> list[JsonObject]:
    """Calls without parameters with those that their results repeat."""
    result_calls: list[Any] = [r.get("call") for t in turns for r in t.get("tool_results") or []]
    known = {c["name"]: c.get("parameters") for c in reversed(result_calls) if c and c.get("name")}
    filled = []
    for turn in turns:
        calls = [
            c | {"parameters": known[c["name"]]}
            if c.get("parameters", 0) is None and c.get("name") in known
            else c
            for c in turn.get("tool_calls") or []
        ]
        filled.append(turn | ({"tool_calls": calls} if calls else {}))
    return filled
