"""OpenAI Responses items: what stands in requests and answers of that API. (Logs of both, and NeMo
Gym's roll-outs: `exchanges`.)

Reasoning goes to the thought of the next turn, calls
that stand together are one turn. A call that its provider ran itself (mcp_call, web_search_call) is
a call with its result. An item of a kind that is not known makes the row bad where it may be of the
conversation; any other (a thought that cannot be read, a count of tokens, a note) is noted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from raytune_agents.readers.fields import Fields, fold, items_of, note, words_of
from raytune_agents.readers.in_text import with_calls
from raytune_agents.readers.parts import flat_text, result_of
from raytune_agents.readers.shapes import read_call
from raytune_agents.readers.strict import as_text, objects_of
from raytune_agents.readers.turn_fields import names_thought
from raytune_agents.readers.turns import turns_of
from raytune_agents.records import JsonObject, Message, RecordError, ToolCall, ToolSpec

KEPT_BY_PROVIDER = words_of("kept_items")
CALLS, RESULTS = words_of("call_items"), words_of("result_items")
# an item of another kind with one of these, or of such a kind, is said, called or seen
IN_CONVERSATION = {*words_of("item_evidence")}
SPOKEN_KINDS = words_of("item_endings")
# an item's type is its tool's name and "_call"
HOSTED = {fold(f"{name}_call"): name for name in words_of("hosted_tools")}


def is_item(row: JsonObject) -> bool:
    """Whether a row is one Responses item by itself."""
    if row.get("type") == "message":
        own = isinstance(row.get("content"), list) and row.get("id") is None
        return "role" in row and own
    kind = fold(row["type"]) if isinstance(row.get("type"), str) else ""
    if kind in HOSTED and "status" in row:
        return True
    return "call_id" in row if kind in CALLS + RESULTS else kind == "reasoning" and "summary" in row


def has_items(turns: list[Any]) -> bool:
    """Whether items that are no messages stand among turns."""
    items = [t for t in turns if isinstance(t, dict) and "role" not in t]
    kinds = {_kind(i) for i in items} - {"toolcall"}  # the AI SDK's parts are called so too
    own = any(kind.endswith("call") or kind in KEPT_BY_PROVIDER for kind in kinds)
    return own or any(map(is_item, items))


def is_log(row: JsonObject) -> bool:
    """Whether `output` is a list of Responses items."""
    items = objects_of(Fields(row).peek("output"))
    return bool(items) and all(_kind(i) != "message" or "role" in i for i in items)


def _kind(item: JsonObject) -> str:
    return fold(str(item.get("type") or "message"))


def item_messages(items: list[JsonObject], tools: tuple[ToolSpec, ...] = ()) -> list[Message]:
    """Items as turns: a thought goes to the turn after it, calls in a row are one turn. Raises
    RecordError."""
    messages: list[Message] = []
    thought = ""
    for item in items:
        kind = _kind(item)
        if kind == "reasoning":
            parts = items_of(item.get("summary") or item.get("content") or [])
            thought = "\n".join(filter(None, (thought, *map(flat_text, parts))))
        elif kind in KEPT_BY_PROVIDER or _is_aside(item, kind):
            if "tools" not in item:  # which `turn_tools` reads
                note(f"output.{item.get('type')}", item)
        else:
            _add(messages, _item_turns(item, kind, tools), thought)
            thought = ""
    return [with_calls(m, tools) for m in messages]


def _is_aside(item: JsonObject, kind: str) -> bool:
    """Whether an item of a kind that is not known is no part of the conversation."""
    if kind in (*CALLS, *RESULTS, *HOSTED, "message", "agentmessage"):
        return False
    evidence = IN_CONVERSATION - {"content"} if names_thought(kind) else IN_CONVERSATION
    return not kind.endswith(SPOKEN_KINDS) and evidence.isdisjoint(item)


def _item_turns(item: JsonObject, kind: str, tools: tuple[ToolSpec, ...]) -> list[Message]:
    """The messages of one item. Raises RecordError for one that is no message."""
    if kind in CALLS:
        about = ("output", "error", "status", "id", "server_label", "approval_request_id")
        body = {"call_id": item.get("call_id") or item.get("id")}
        body |= {k: v for k, v in item.items() if k not in about}
        call = read_call(body, tools=tools)
        output = item.get("output")
        return _with_result(call, item.get("error") if output is None else output)
    if kind == "toolsearchoutput":
        return [Message("tool", as_text(item["tools"]), tool_call_id=as_text(item.get("call_id")))]
    if kind in RESULTS:
        return [result_of({k: v for k, v in item.items() if k != "id"})]
    if kind in HOSTED:
        return _hosted(item, kind)
    if kind == "agentmessage":  # what another agent told this one
        return turns_of({"role": "user", "content": item["content"]}, tools)
    if kind != "message" or "role" not in item:
        raise RecordError(f"an item that is no message: {str(item.get('type'))[:40]}")
    return turns_of(item, tools)


def _with_result(call: ToolCall, output: Any) -> list[Message]:
    """A call's turn, and what came back where that is known."""
    turn = Message("assistant", tool_calls=(call,))
    if output is None:
        return [turn]
    return [turn, Message("tool", as_text(output), name=call.name, tool_call_id=call.id)]


def _hosted(item: JsonObject, kind: str) -> list[Message]:
    """A call of a tool that the provider runs, named as its item, with what it asked."""
    fields = Fields(item, "item")
    key = as_text(fields("call_id", "id"))
    arguments = fields("action", "operation", "arguments")
    if not isinstance(arguments, dict):
        arguments = {k: v for k in ("queries", "code") if (v := fields(k)) is not None}
    call = read_call({"name": HOSTED[kind], "arguments": arguments, "id": key})
    output = fields("results", "outputs", "output")
    fields.rest("type", "status", "container_id")
    return _with_result(call, output)


def _add(messages: list[Message], added: list[Message], thought: str) -> None:
    """Add the messages of an item; a call joins the turn before it, but for a thought between."""
    for message in added:
        last = messages[-1] if messages else None
        if message.tool_calls and last and last.role == "assistant" and not thought:
            messages[-1] = replace(last, tool_calls=(*last.tool_calls, *message.tool_calls))
        elif message.role == "assistant":
            joined = "\n".join(filter(None, (thought, message.thought)))
            messages.append(replace(message, thought=joined))
        else:
            messages.append(message)
