"""Mind2Web raw rows: a task on a website, page by page, with the element that was acted on.

A page's cleaned HTML is the observation before its action; raw HTML and the other candidates are
left out (megabytes a row). Its AgentTuning form is plain `conversations`.
"""

from __future__ import annotations

from raytune_agents.readers.shapes import rest_of
from raytune_agents.readers.strict import as_text
from raytune_agents.records import JsonObject, Message, RecordError, ToolCall, ToolSpec, Trajectory

_ELEMENT = '"element": {"type": "string", "description": "backend_node_id in the page"}'
_CLICK = f'{{"type": "object", "properties": {{{_ELEMENT}}}, "required": ["element"]}}'
_VALUE = (
    f'{{"type": "object", "properties": {{{_ELEMENT}, "value": {{"type": "string"}}}}, '
    '"required": ["element", "value"]}'
)
TOOLS = (
    ToolSpec("CLICK", "Click an element of the page", _CLICK),
    ToolSpec("TYPE", "Type text into an element of the page", _VALUE),
    ToolSpec("SELECT", "Select an option of an element of the page", _VALUE),
)


def read(row: JsonObject) -> Trajectory:
    task = f"Task: {row['confirmed_task']}\nWebsite: {as_text(row.get('website'))}"
    messages: list[Message] = []
    for action in row["actions"]:
        page = as_text(action.get("cleaned_html"))
        if messages:
            messages.append(Message("tool", page, name=messages[-1].tool_calls[0].name))
        else:
            messages.append(Message("user", f"{task}\n\n{page}"))
        operation = action["operation"]
        element = next((as_text(c["backend_node_id"]) for c in action["pos_candidates"]), "none")
        value = {} if operation["op"] == "CLICK" else {"value": as_text(operation.get("value"))}
        call = ToolCall.of(operation["op"], element=element, **value)
        messages.append(Message("assistant", tool_calls=(call,)))
    if not messages:
        raise RecordError("a task without actions")
    key = as_text(row.get("annotation_id"))
    meta = rest_of(row, "annotation_id", "confirmed_task", "actions")
    return Trajectory(tuple(messages), TOOLS, source_id=key, meta=meta)
