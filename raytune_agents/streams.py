"""Server-sent events of a model's answer -> the body that the same request would have had without
`stream`: chat completions, completions, Responses, Anthropic's messages.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

from raytune_agents.records import JsonObject

JOINED = ("content", "reasoning_content", "reasoning", "refusal", "text", "arguments")  # texts
LISTS = ("token_ids", "prompt_token_ids")


def stream_events(text: str) -> Iterator[JsonObject]:
    """The JSON objects of the `data:` lines. An event that is cut or no object is left out."""
    for line in text.splitlines():
        if line.startswith("data:"):
            try:
                value = json.loads(line[5:])
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                yield value


def joined_stream(text: str) -> tuple[JsonObject | None, bool]:
    """(the body of a whole stream, whether it came to its end); None where no event has content.
    Raises whatever an event does that no protocol knows."""
    body: JsonObject | None = None
    ended = "data: [DONE]" in text[-200:] or "data:[DONE]" in text[-200:]
    for event in stream_events(text):
        kind = event.get("type")
        if isinstance(event.get("response"), dict):  # Responses: the last event has all
            body = event["response"]
            ended = kind in ("response.completed", "response.incomplete", "response.failed")
        elif isinstance(event.get("choices"), list):
            body = _with_chunk(body or {}, event)
        elif isinstance(kind, str) and kind.startswith(("message_", "content_block_")):
            body = _with_anthropic(body or {}, event)
            ended = ended or kind == "message_stop"
    return body, ended


def _with_chunk(body: JsonObject, chunk: JsonObject) -> JsonObject:
    """A chat or text completion with one more chunk."""
    fields = {k: v for k, v in chunk.items() if k != "choices" and v is not None}
    choices = {c["index"]: c for c in body.get("choices", [])}
    for piece in chunk["choices"]:
        if not isinstance(piece, dict):
            continue
        at = piece.get("index") or 0
        choice = choices.setdefault(at, {"index": at})
        delta = piece.get("delta")
        if isinstance(delta, dict):
            message = choice.setdefault("message", {"role": "assistant", "content": None})
            _add(message, delta)
        _add(choice, {k: v for k, v in piece.items() if k not in ("delta", "index")})
    object_ = str(fields.get("object", "")).removesuffix(".chunk")
    return body | fields | {"object": object_, "choices": [choices[i] for i in sorted(choices)]}


def _add(whole: JsonObject, piece: JsonObject, lists: Collection[str] = LISTS) -> None:
    """Join one piece into what came before it: texts, calls by their index, these `lists`,
    log-probabilities."""
    for name, value in piece.items():
        before = whole.get(name)
        if value is None or (value == "" and before):  # some repeat a name or an id as ""
            continue
        if name == "tool_calls" and isinstance(value, list):
            _add_calls(whole.setdefault(name, []), value)
        elif name == "logprobs" and isinstance(value, dict) and isinstance(before, dict):
            _add(before, value, lists=value)
        elif name in JOINED and isinstance(value, str) and isinstance(before, str):
            whole[name] = before + value
        elif name in lists and isinstance(value, list) and isinstance(before, list):
            whole[name] = [*before, *value]
        else:
            whole[name] = value


def _add_calls(calls: list[JsonObject], pieces: list[Any]) -> None:
    """Pieces of calls: each goes on with the last one of its index, a new id begins a new call
    (Ollama gives each call of an answer the index 0)."""
    for piece in pieces:
        if not isinstance(piece, dict):
            continue
        at, key = piece.get("index", len(calls)), piece.get("id")
        alike = (c for c in reversed(calls) if c["index"] == at)
        call = next((c for c in alike if not key or c.get("id") in (None, "", key)), None)
        if call is None:
            call = {"index": at, "type": "function", "function": {}}
            calls.append(call)
        _add(call, {k: v for k, v in piece.items() if k != "function"})
        if isinstance(piece.get("function"), dict):
            _add(call["function"], piece["function"])


def _with_anthropic(body: JsonObject, event: JsonObject) -> JsonObject:
    """A message of Anthropic's with one more event."""
    kind = event["type"]
    blocks: list[JsonObject] = body.setdefault("content", [])
    delta = found if isinstance(found := event.get("delta"), dict) else {}
    if kind == "message_start" and isinstance(event.get("message"), dict):
        return {**event["message"], "content": blocks}
    if kind == "content_block_start" and isinstance(event.get("content_block"), dict):
        blocks.append({**event["content_block"]})
    elif kind == "content_block_delta" and blocks:
        block, piece = blocks[-1], delta.get("partial_json")
        if isinstance(piece, str):
            block["partial"] = block.get("partial", "") + piece
        for name in ("text", "thinking", "signature"):
            if isinstance(delta.get(name), str):
                block[name] = str(block.get(name) or "") + delta[name]
    elif kind == "content_block_stop" and blocks and "partial" in blocks[-1]:
        try:
            blocks[-1]["input"] = json.loads(blocks[-1].pop("partial") or "{}")
        except ValueError:
            blocks[-1]["input"] = {}
    elif kind == "message_delta":
        usage = found if isinstance(found := event.get("usage"), dict) else {}
        body |= delta | {"usage": {**body.get("usage", {}), **usage}}
    return body
