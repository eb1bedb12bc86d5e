"""Writers: Trajectory -> a row of another tool's format; and files of them with a card.

A writer raises RecordError where its format cannot carry the row: the reason is counted, the row
is not bent. What a format loses of rows that it does carry stands in LOSES, loses.yaml.
"""

from __future__ import annotations

from collections.abc import Callable

from raytune_agents.config.lookup import user_object
from raytune_agents.exports import agent_flan, gemini, openai, sharegpt, trl, xlam
from raytune_agents.records import JsonObject, Trajectory
from raytune_agents.storage import yaml_beside

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
PAIR_WRITERS: dict[str, Callable[[Trajectory, Trajectory], JsonObject]] = {"trl_pairs": trl.pair}

LOSES: dict[str, str] = yaml_beside(__file__, "loses.yaml")


def writer_named(name: str) -> Writer:
    """The writer of a format, or a user's own as "module:function". Raises ConfigError."""
    if name in WRITERS:
        return WRITERS[name]
    return user_object(name, "export.format", f"or one of {', '.join([*WRITERS, *PAIR_WRITERS])}")
