"""Mind2Web raw rows: a task on a website, page by page, with the element that was acted on.

A page's cleaned HTML is the observation before its action; raw HTML and the other candidates are
left out (megabytes a row). Its AgentTuning form is plain `conversations`.
"""

from __future__ import annotations

from raytune_agents.readers.shapes import rest_of
from raytune_agents.readers.strict import as_text, dump
from raytune_agents.records import JsonObject, Message, RecordError, ToolCall, ToolSpec, Trajectory


def _tool(name: str, about: str, *texts: str) -> ToolSpec:
    element = {"type": "string", "description": "backend_node_id in the page"}
    properties = {"element": element} | {text: {"type": "string"} for text in texts}
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return ToolSpec(name, about, dump(schema))


TOOLS = (
    _tool("CLICK", "Click an element of the page"),
    _tool("TYPE", "Type text into an element of the page", "value"),
    _tool("SELECT", "Select an option of an element of the page", "value"),
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
