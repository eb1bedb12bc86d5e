"""Gemini tuning rows: contents of parts (text, functionCall, functionResponse), systemInstruction.

In the camel case of the API or the snake case of the Python SDK.
"""

from __future__ import annotations

from raytune_agents.readers import aliases
from raytune_agents.readers.fields import Fields, object_of
from raytune_agents.readers.outcomes import outcome_of
from raytune_agents.readers.parts import flat_text
from raytune_agents.readers.strict import as_text
from raytune_agents.readers.turns import transcript
from raytune_agents.records import JsonObject, Trajectory


def read(row: JsonObject) -> Trajectory:
    fields = Fields(row)
    config = Fields(object_of(fields("config")), "config")  # the Python SDK's
    system = fields("system_instruction") or config("system_instruction")
    if isinstance(system, dict):
        system = flat_text(Fields(system)("parts"))
    contents = [{"role": "user", **c} if isinstance(c, dict) else c for c in fields("contents")]
    made = transcript(contents, fields(aliases.TOOLS) or config(aliases.TOOLS), system)
    config.rest()
    outcome, word = outcome_of(fields)
    key = as_text(fields(aliases.ROW_ID))
    return made.trajectory(fields.rest(), source_id=key, outcome=outcome, outcome_word=word)
