"""Tools that stand among the turns: in a turn's own field, or in the system text with the source's
rules for writing calls."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import islice
from typing import Any

from raytune_agents.calls.json_text import decode
from raytune_agents.readers import aliases
from raytune_agents.readers.fields import Fields, objects_among
from raytune_agents.readers.in_text import CALL_TAG, MOST_BRACKETS
from raytune_agents.readers.shapes import read_tools
from raytune_agents.readers.strict import objects_of
from raytune_agents.records import JsonObject, Message, RecordError, ToolSpec

DESCRIBED = (aliases.TOOL_NAME, aliases.PARAMETERS, aliases.DESCRIPTION)
_SCHEMA_WORDS = ("parameters", "schema", "Schema")
_LISTS = re.compile(r"<(tools|available_tools|functions|function_list)>|\[(AVAILABLE_TOOLS)\]")
_EMPTIED = re.compile(r"<(tools|available_tools|functions|function_list)>\s*</\1>")
Found = tuple[tuple[ToolSpec, ...], list[Message], JsonObject]


def turn_tools(value: Any) -> tuple[ToolSpec, ...]:
    """The tools that turns carry themselves (OLMo's system turns), each once."""
    found = [Fields(turn).peek(aliases.TOOLS) for turn in objects_among(value)]
    return tuple(dict.fromkeys(tool for column in found for tool in read_tools(column)))


def other_tools(fields: Fields) -> Any:
    """The one column that lists tools under a name of its own, None where none or several do."""
    found = [name for name, key in fields.left.items() if _lists_tools(fields.item[key])]
    return fields(found[0]) if len(found) == 1 else None


def _lists_tools(value: Any) -> bool:
    """Whether a value, or JSON text, is a list of described tools, rather than of calls."""
    if isinstance(value, str) and not any(w in value[:4_000] for w in _SCHEMA_WORDS):
        return False
    items = objects_of(value)
    tools = [Fields(v["function"] if isinstance(v.get("function"), dict) else v) for v in items]
    return bool(tools) and all(tool.have(names) for tool in tools for names in DESCRIBED)


def tools_in(messages: list[Message], known: tuple[ToolSpec, ...]) -> Found:
    """The tools, those of the system text where the row has no others; the turns, without that
    list and without the source's own rules for writing calls; and `meta` with what was left out.

    A template lists the tools and says how calls are written: both would contradict it.
    """
    if not messages or messages[0].role != "system":
        return known, messages, {}
    system, out = messages[0].content, []
    found, text = _tagged_tools(system)
    if not found and not known:
        found, text = _bare_tools(system)
    if known or found:
        text, out = _without_rules(text)
    first = [] if text == "" != system else [replace(messages[0], content=text)]
    return known or found, [*first, *messages[1:]], {"call_format": "\n".join(out)} if out else {}


def _tagged_tools(system: str) -> tuple[tuple[ToolSpec, ...], str]:
    """Tools between tags: a list in JSON or Python, or an object a line."""
    for opened in _LISTS.finditer(system):
        close = f"</{opened[1]}>" if opened[1] else f"[/{opened[2]}]"
        end = system.find(close, opened.end())
        body = system[opened.end() : end].strip() if end > 0 else ""
        if body[:1] in ("[", "{"):
            try:
                found = read_tools(body)
            except RecordError:
                continue
            return found, _joined(system[: opened.start()], system[end + len(close) :])
    return (), system


def _bare_tools(system: str) -> tuple[tuple[ToolSpec, ...], str]:
    """The first list of tools in the text (ToolACE)."""
    for opened in islice(re.finditer(r"\[\s*\{", system), MOST_BRACKETS):
        at = opened.start()
        try:
            value, end = decode(system, at)
        except ValueError:
            continue
        like = all(isinstance(v, dict) and {"name", "function"} & v.keys() for v in value)
        if like and any({"parameters", "description", "function"} & v.keys() for v in value):
            return read_tools(system[at:end]), _joined(system[:at], system[end:])
    return (), system


def _joined(before: str, after: str) -> str:
    """What stands around a list, without the gap that it leaves."""
    if not after.strip():
        return before.removesuffix("\n").removesuffix("\n")
    return before.rstrip("\n") + ("\n" if before.strip() else "") + after.lstrip("\n")


def _without_rules(system: str) -> tuple[str, list[str]]:
    """The system text without the sentences that show a call in tags, or name the tags around the
    list that was taken out, and those sentences."""
    if not CALL_TAG.search(system) and not _EMPTIED.search(system):
        return system, []
    kept, out, depth = [], [], 0
    for sentence in re.split(r"(?<=[.!?:\n])(?=[^\n])", system):
        tags = CALL_TAG.findall(sentence)
        (out if tags or depth > 0 or _EMPTIED.search(sentence) else kept).append(sentence)
        depth += sum(-1 if slash else 1 for slash in tags)
    return "".join(kept).strip(), [sentence.strip() for sentence in out]
