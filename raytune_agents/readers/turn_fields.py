"""What stands beside a turn's text: whose it is, its thought, its loss, the call that it is or
answers."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from raytune_agents.readers import aliases
from raytune_agents.readers.fields import Fields, Names, blank, object_of, words_in, words_of
from raytune_agents.readers.outcomes import is_marked_bad, outcome_mark
from raytune_agents.readers.parts import flat_text, kind_of_part
from raytune_agents.readers.strict import as_text, objects_of
from raytune_agents.records import JsonObject

FLAGS = aliases.LOSS + Names("type")
# `name` may be the speaker's
ACTED = Names(*(word for word in aliases.CALL_NAME.folded if word != "name"))
EXTRAS = ("additional_kwargs", "provider_specific_fields", "model_extra")  # more fields of a turn
NOT_MADE = {*words_of("other_calls")}
DETAILS = aliases.THOUGHT + Names("text summary")  # of OpenRouter's parts of a thought


def unwrapped_turn(item: JsonObject) -> JsonObject:
    """LangChain's dumps hold a message under `data` or `kwargs`, its class in `id`, a completion's
    choice under `message`; what the provider's API gave stands in `additional_kwargs`, often once
    more, and what it gave beside its own fields in others."""
    kwargs, data, kind = item.get("kwargs"), item.get("data"), item.get("id")
    name = str(kind[-1]) if isinstance(kind, list) and kind else ""
    if isinstance(kwargs, dict) and (name or "lc" in item):
        role = name or kwargs.get("type")
        item = {"role": role} | {k: v for k, v in kwargs.items() if k != "type"}
    elif isinstance(data, dict) and "content" in data and "content" not in item:
        item = {"role": item.get("type")} | {k: v for k, v in data.items() if k != "type"}
    inner, why = item.get("message"), item.get("finish_reason")
    if isinstance(inner, dict) and "role" in inner and "role" not in item:  # a choice
        item = inner | ({"finish_reason": why} if why else {})
    for name in EXTRAS:
        if isinstance(extra := item.get(name), dict):
            own = {k: v for k, v in item.items() if not (blank(v) and k in extra)}
            item = extra | {k: v for k, v in own.items() if k != name}
    return item


OF_LOSS, OF_NO_LOSS, BESIDE_LOSS = (
    {*words_of(name)} for name in ("of_loss", "of_no_loss", "beside_loss")
)
# a name that speaks of a thought, and of no sign, size or setting of it
_THINKS = re.compile(r"reasoning|thought|think|monologue|scratchpad|rationale")
_OF_THINKING = re.compile(
    r"signature|token|time|second|duration|effort|budget|level|count|length|mode|enable|format"
    r"|end|finish|model|type|score|id$"
)


@lru_cache(maxsize=4096)
def names_thought(name: str) -> bool:
    """Whether a folded name is of a thought's text."""
    return bool(_THINKS.search(name)) and not _OF_THINKING.search(name)


def _other_thought(fields: Fields) -> str:
    """A text under a name of its own that speaks of a thought, "" for none."""
    for name in filter(names_thought, list(fields.left)):
        value = fields.peek(name)
        if isinstance(value, str) and " " in value.strip():
            return as_text(fields(name))
    return ""


def thought_of(fields: Fields, role: str) -> str:
    """The thought of a turn: text, parts, or OpenRouter's `reasoning_details`."""
    found = fields(aliases.THOUGHT)
    if isinstance(found, dict) and not kind_of_part(found):
        inner = Fields(found, "turn.reasoning")
        found = inner(DETAILS + aliases.CONTENT)
        inner.rest()
    details = fields("reasoning_details", "thinking_blocks")
    if blank(found) and isinstance(details, list):
        parts = [Fields(d)(DETAILS) for d in details if isinstance(d, dict)]
        found = "\n".join(filter(None, map(as_text, parts)))
    if blank(found) and role == "assistant":
        found = _other_thought(fields)
    return found if isinstance(found, str) else flat_text(found)


def turn_loss(fields: Fields, role: str) -> bool | float | None:
    """None = the default; False, or a weight of its own, only where the source says so of an
    assistant turn, or calls it bad. Agent-FLAN's `type` is a flag in some files, a word in others.
    """
    if role == "assistant" and (is_marked_bad(fields) or _is_masked(fields)):
        return False
    flags = {name: fields.peek(name) for name in fields.have(FLAGS)}
    words = {name: outcome_mark(v) if isinstance(v, str) else v for name, v in flags.items()}
    marks = {name: v for name, v in words.items() if isinstance(v, bool | int | float)}
    if marks:
        fields.skip(*marks)
    weight = next(iter(marks.values()), None)
    if role != "assistant" or weight in (None, True, 1):  # no other turn is learned from
        return None
    return float(weight) if 0 < weight < float("inf") else False


def _is_masked(fields: Fields) -> bool:
    """Whether a field says that a turn is not to be learned from, by a known name or one that is
    made of such words; or Axolotl's offsets, which leave out a part of it."""
    for name in fields.have(aliases.MASKED):
        says = outcome_mark(fields.peek(name))
        if says is not None:
            fields.skip(name)
        if says == 1.0:
            return True
    for name in [n for n in fields.left if n not in aliases.LOSS.every]:
        sign = _speaks_of_loss(str(fields.left[name]))
        # a number may be a count, or a mask whose 1 is what is learned
        says = outcome_mark(value) if isinstance(value := fields.peek(name), bool | str) else None
        if sign and says is not None:
            fields.skip(name)
            if (says == 1.0) == (sign < 0):
                return True
    parts = fields.peek("train_detail", "training_detail")
    return isinstance(parts, list) and not all(object_of(p).get("train", True) for p in parts)


@lru_cache(maxsize=4096)
def _speaks_of_loss(name: str) -> int:
    """1 for a name that says what is learned, -1 for what is not, 0 for any other."""
    words = words_in(name)
    if not words & (OF_LOSS | {"mask", "masked"}) or words - OF_LOSS - OF_NO_LOSS - BESIDE_LOSS:
        return 0
    return -1 if words & OF_NO_LOSS else 1


def called_recipient(fields: Fields) -> str:
    """The tool that a turn is addressed to, as Harmony's messages say; "" for none."""
    to = as_text(fields.peek("recipient"))
    is_tool = to.startswith("functions.") or fields.peek("channel") == "commentary"
    return to if is_tool and to not in ("", "all", "assistant", "user") else ""


def acted_call(fields: Fields) -> Any:
    """The call that an agent's log gives as fields of the turn, {action, action_input}, or calls
    under a name of their own; None for none."""
    names = aliases.CALL_NAME if fields.have("arguments", "args") else ACTED
    if not fields.have(aliases.ARGUMENTS) or not isinstance(fields.peek(names), str):
        return _other_calls(fields)
    return {"name": fields(names), "arguments": fields(aliases.ARGUMENTS)}


def _other_calls(fields: Fields) -> Any:
    for name, key in fields.left.items():
        value = fields.item[key]
        of_turn = name not in aliases.TOOLS.every and not words_in(str(key)) & NOT_MADE
        if of_turn and isinstance(value, dict | list | str):
            items = [value] if isinstance(value, dict) else objects_of(value)
            if items and all(map(_is_call, items)):
                return fields(name)
    return None


def _is_call(item: JsonObject) -> bool:
    """Whether an object is nothing but a call: a name and its arguments."""
    inner = item.get("function")
    fields = Fields(inner if isinstance(inner, dict) else item)
    arguments = fields.peek(aliases.ARGUMENTS)
    written = isinstance(arguments, dict) or as_text(arguments)[:1] == "{"
    named = isinstance(fields.peek(aliases.CALL_NAME), str)
    return named and written and not fields.have("description")


def answered_call(fields: Fields, role: str) -> tuple[str, str]:
    """(id, tool's name) of the call that a result answers, which may stand in an object of its own;
    of any other turn its name."""
    found, name = fields(aliases.TURN_ID), as_text(fields(aliases.TURN_NAME))
    if isinstance(found, list):
        found = next(iter(found), "")
    if role == "tool" and found is None:
        found = fields(aliases.CALL_ID)
    call = fields.peek(aliases.CALLS + Names("call")) if role == "tool" else None
    if isinstance(call, dict):
        call_fields = Fields(call)
        found = call_fields(aliases.CALL_ID) if blank(found) else found
        name = name or as_text(call_fields(aliases.CALL_NAME))
    return as_text(found), name
