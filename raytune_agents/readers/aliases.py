"""What sources call the same thing: the names of `names.yaml` that several readers ask for."""

from __future__ import annotations

from raytune_agents.readers.fields import names_of

# --- a turn ---
ROLE, CONTENT, THOUGHT = names_of("role"), names_of("content"), names_of("thought")
CALLS, TURN_ID, TURN_NAME = names_of("calls"), names_of("turn_id"), names_of("turn_name")
LOSS, MASKED = names_of("loss"), names_of("masked")

# --- a call and its result ---
CALL_NAME, ARGUMENTS = names_of("call_name"), names_of("arguments")
CALL_ID, RESULT = names_of("call_id"), names_of("result")

# --- a tool ---
TOOL_NAME, DESCRIPTION = names_of("tool_name"), names_of("description")
PARAMETERS = names_of("parameters")

# --- a row ---
TURNS, TOOLS, SYSTEM = names_of("turns"), names_of("tools"), names_of("system")
ROW_ID = names_of("row_id")
