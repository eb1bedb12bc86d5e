"""Writers: Trajectory -> a row of another tool's format; and files of them with a card.

A writer raises RecordError where its format cannot carry the row: the reason is counted, the row
is not bent. What a format loses of rows that it does carry stands in LOSES.
"""

from __future__ import annotations

from collections.abc import Callable

from raytune_agents.config.lookup import user_object
from raytune_agents.exports import agent_flan, gemini, openai, sharegpt, trl, xlam
from raytune_agents.records import JsonObject, Trajectory

Writer = Callable[[Trajectory], JsonObject]

WRITERS: dict[str, Writer] = {
    "openai": openai.write,
    "gemini": gemini.write,
    "sharegpt": sharegpt.write,
    "axolotl": openai.axolotl,
    "trl": trl.write,
    "trl_label": trl.write_labelled,
    "agent_flan": agent_flan.write,
    "react": agent_flan.write_react,
    "xlam": xlam.write,
}
PAIR_WRITERS: dict[str, Callable[[Trajectory, Trajectory], JsonObject]] = {
    "trl_pairs": trl.pair,
}

_LABELS = "pool, gold, outcome and the other labels"
LOSES: dict[str, str] = {
    "openai": f"{_LABELS}; function names outside [A-Za-z0-9_-]{{1,64}} are renamed, a thought is "
    "written in front of the text, names of tool turns; a call without a result gets an empty one",
    "gemini": f"{_LABELS}; call ids, the spelling of arguments and schemas (values stay), schema "
    "words that Gemini does not know; neighbouring turns of one side become one, a call without a "
    "result gets an empty one",
    "sharegpt": f"{_LABELS}; call ids, names of tool turns",
    "axolotl": _LABELS,
    "trl": f"{_LABELS}; the spelling of arguments (values stay); only the last turn is trained",
    "trl_label": f"{_LABELS} but right or wrong; the spelling of arguments; only the last turn is "
    "trained",
    "trl_pairs": f"{_LABELS}; the spelling of arguments (values stay)",
    "agent_flan": f"{_LABELS} but agent, type and fault; call ids, names of tool turns",
    "react": f"{_LABELS}; call ids and tools; a thought beside an answer in words becomes part "
    "of it, several calls in one turn and text beside a call are refused",
    "xlam": f"{_LABELS}; call ids; text beside calls and more than one turn are refused",
}


def writer_named(name: str) -> Writer:
    """The writer of a format, or a user's own as "module:function". Raises ConfigError."""
    if name in WRITERS:
        return WRITERS[name]
    return user_object(name, "export.format", f"or one of {', '.join([*WRITERS, *PAIR_WRITERS])}")
