"""xLAM rows: id, query, tools and answers as JSON text. One request, calls as the only answer.

Tools carry full JSON Schema (as the 60k set's successors do); arguments and schemas keep their
bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from raytune_agents.exports.openai import object_arguments
from raytune_agents.records import JsonObject, RecordError, ToolCall, Trajectory


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def calls_text(calls: Iterable[ToolCall]) -> str:
    """Calls as JSON text; one call is an object, several are a list."""
    texts = []
    for c in calls:
        object_arguments(c)  # what is written is their own text
        texts.append(f'{{"name": {_quoted(c.name)}, "arguments": {c.arguments or "{}"}}}')
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def tools_text(row: Trajectory) -> str:
    """The tools as JSON text of a list, each schema as the row has it."""
    texts = [
        f'{{"name": {_quoted(t.name)}, "description": {_quoted(t.description)}, '
        f'"parameters": {t.parameters}}}'
        for t in row.tools
    ]
    return f"[{', '.join(texts)}]"


def behind_thought(thought: str, text: str) -> str:
    """A text behind the thought before it, in <think> tags."""
    return f"<think>\n{thought}\n</think>\n\n{text}" if thought else text


def write(row: Trajectory) -> JsonObject:
    """Raises RecordError for anything but a user turn and an answer of calls alone."""
    if [m.role for m in row.messages] != ["user", "assistant"]:
        raise RecordError("not one request and one answer")
    target = row.messages[-1]
    if target.content or target.thought or not target.trained:
        raise RecordError("an answer that is not calls alone")
    answers = calls_text(target.tool_calls) if target.tool_calls else "[]"
    answers = answers if answers.startswith("[") else f"[{answers}]"
    query = row.messages[0].content
    return {"id": row.source_id, "query": query, "tools": tools_text(row), "answers": answers}
