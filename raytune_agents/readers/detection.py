"""Which format a row has: by its keys and by the shape of what stands under them.

Every format that fits gives its evidence: the keys that it asks for, and the look at their values
where it has one. The most evidence wins. How sure that is: its share of the evidence of all formats
that fit and read otherwise. Two with the same evidence are a tie, which nobody guesses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from raytune_agents.readers import aliases, pairs, responses
from raytune_agents.readers.atif import is_atif
from raytune_agents.readers.exchanges import has_turns, is_exchange
from raytune_agents.readers.fields import Fields, Names, short, split_names
from raytune_agents.readers.in_text import template_turns
from raytune_agents.readers.llamaindex import is_chat_store
from raytune_agents.readers.sessions import (
    Look,
    Sign,
    inside,
    is_autogen,
    is_pydantic_ai,
    log_format,
)
from raytune_agents.readers.strict import value_of
from raytune_agents.readers.turn_columns import turns_in, with_messages
from raytune_agents.records import RecordError

Row = dict[str, Any]


# --- looks at values --------------------------------------------------------------------------


def says(*words: str) -> Look:
    """Whether one of `words` stands in the first 20,000 characters of the row's turns."""

    def look(row: Row) -> bool:
        turns = row.get("conversations") or row.get("messages") or row.get("output")
        text = str(turns[:3] if isinstance(turns, list) else turns)[:20_000]
        return any(word in text for word in words)

    return look


def says_roles(row: Row) -> bool:
    """Whether a dialogue is one text whose turns begin with USER: and ASSISTANT:."""
    return isinstance(row["chat"], str) and "USER:" in row["chat"] and "ASSISTANT:" in row["chat"]


def lists(*keys: str) -> Look:
    """Whether lists of objects, or JSON text of such, stand under `keys`."""
    return lambda row: all(_list_of_objects(row.get(k)) for k in keys)


def _list_of_objects(value: Any) -> bool:
    if isinstance(value, str):
        return value.lstrip()[:1] in ("[", "{")
    found = value if isinstance(value, list) else [value]
    return all(isinstance(v, dict) or (isinstance(v, str) and v.lstrip()[:1] == "{") for v in found)


def _parts(row: Row) -> bool:
    found = row["contents"]
    return isinstance(found, list) and all(isinstance(c, dict) and "parts" in c for c in found)


def _listed(*names: Names | str) -> Look:
    """Whether turns stand under the first of `names` that the row has."""
    return lambda row: has_turns(Fields(row).pair(*names)[1])


_chat = _listed(aliases.TURNS)


def _steps(row: Row) -> bool:
    """NESTFUL: one request in words, and a list of calls, which are no turns or items."""
    asked, steps = row["input"], row["output"]
    if not isinstance(asked, str) or turns_in(asked, every=True):
        return False
    try:
        steps = value_of(steps) if isinstance(steps, str) and '"arguments"' in steps else steps
    except RecordError:
        return '"arguments"' in steps[:2_000]  # the reader says what is wrong with it
    items = [i for i in (steps if isinstance(steps, list) else [steps]) if isinstance(i, dict)]
    calls = [own if isinstance(own := i.get("function"), dict) else i for i in items]
    return any("arguments" in c for c in calls) and not any(
        {"role", "call_id"} & i.keys() for i in items
    )


def _requested(row: Row) -> bool:
    """Nemotron's post-training sets: the turns of a request, and its answer."""
    asked, said = row["input"], row["output"]
    if isinstance(asked, list):
        turns = all(isinstance(t, dict) and "role" in t for t in asked)
        return turns and isinstance(said, str | dict)
    is_text = isinstance(said, str) and said.lstrip()[:1] not in ("[", "{")
    return is_text and bool(turns_in(asked, every=True))


def _system_tools(row: Row) -> bool:
    return isinstance(row["system"], str) and "[{" in row["system"] and _chat(row)


def _bfcl(row: Row) -> bool:
    asked = row["question"]
    return isinstance(asked, list) and all(isinstance(turn, list) for turn in asked)


def _gathered(name: str) -> Look:
    """Whether `sessions` gathered the row from events of this format."""
    return lambda row: row["format"] == name and isinstance(row["events"], list)


def _authored(event: Row) -> bool:
    """Whether an event is ADK's, with its author and its content."""
    return "author" in event and isinstance(event.get("content"), dict)


def _steps_of_smolagents(row: Row) -> bool:
    steps = row["steps"] if isinstance(row["steps"], list) else ()
    return any(isinstance(s, dict) and log_format(s) == "smolagents" for s in steps)


def _all_of(key: str, is_own: Look) -> Look:
    """Whether every message or event under `key` is one of a framework's own."""

    def look(row: Row) -> bool:
        found = row[key]
        if isinstance(found, str) and ("part_kind" in found or "models_usage" in found):
            found = turns_in(found)
        items = found if isinstance(found, list) else []
        return bool(items) and all(isinstance(i, dict) and is_own(i) for i in items)

    return look


# --- the table --------------------------------------------------------------------------------


KINDS_OF_ANSWER = ("direct", "tool_call", "cannot_answer", "request_for_info")  # When2Call's
OF_EVENTS = split_names(
    "claude_code codex openhands otel langfuse langsmith exchanges adk smolagents gemini_cli"
)
REQUEST_AND_ANSWER = (
    "request response",
    "request_body response_body",
    "inputs outputs",
    "inputs output",
    "kwargs response",
    *(
        f"input {answer}"
        for answer in ("output", "ideal", "expected_output", "expectedOutput", "expected")
    ),
)
SIGNS: tuple[Sign, ...] = (
    Sign("glaive_chat", "system chat", says_roles),
    Sign("bfcl", "id question function", _bfcl),
    Sign("xlam", "query tools answers", lists("tools", "answers")),
    Sign("when2call", "question correct_answer answers tools", inside("answers", *KINDS_OF_ANSWER)),
    Sign(
        "when2call_pref",
        "messages chosen_response rejected_response chosen_type rejected_type",
        pairs.is_pair,
        3,
    ),
    Sign("pairs", "", pairs.is_pair, 6),
    Sign("model_failures", "user_query expected_response actual_response"),
    Sign("responses", "responses_create_params response", inside("response", "output")),
    Sign("responses", "input output", responses.is_log),
    Sign("toolbench", "win tree answer_generation", inside("tree", "tree")),
    Sign("toolbench_runs", "query available_tools answer", inside("answer", "answer_details")),
    Sign("toolalpaca", "Function_Description Instructions"),
    Sign("toolalpaca", "Function_Description Instances"),
    Sign("mind2web", "confirmed_task actions", lists("actions")),
    Sign("tau_bench", "task_id reward traj", lists("traj")),
    Sign("fireact", "reward em traj"),
    Sign("tau2", "simulations", lists("simulations")),
    Sign("tau2", "task_id messages termination_reason", _chat),
    Sign("swe_gym", "instance_id resolved messages", _chat),
    Sign("nebius", "instance_id target trajectory", lists("trajectory")),
    Sign("swe_agent", "history trajectory info", lists("history")),
    Sign("mini_swe", "messages info trajectory_format", lists("messages")),
    Sign("mini_swe", "messages", says("```mswea_bash_command"), 3),
    Sign("langfuse", "trace observations", lists("observations")),
    Sign("langfuse", "observations scores", lists("observations")),
    *(Sign(name, "events format session", _gathered(name)) for name in OF_EVENTS),
    Sign("gemini_cli", "sessionId projectHash messages", lists("messages")),
    Sign("pydantic_ai", "messages", _all_of("messages", is_pydantic_ai), 3),
    Sign("autogen", "messages", _all_of("messages", is_autogen), 3),
    Sign("autogen", "type llm_context", inside("llm_context", "messages")),
    Sign("autogen", "type agent_states"),
    Sign("adk", "events app_name", lists("events")),
    Sign("adk", "events appName", lists("events")),
    Sign("adk", "events", _all_of("events", _authored)),
    Sign("llamaindex", "store", is_chat_store, 3),
    Sign("llamaindex", "chat_store", is_chat_store, 3),
    Sign("atif", "schema_version steps", is_atif, 3),
    Sign("smolagents", "steps", _steps_of_smolagents, 3),
    Sign("adk", "eval_cases eval_set_id", lists("eval_cases")),
    Sign("cohere", "chat_history message", _listed("chat_history")),
    Sign("cohere", "chat_history text", _listed("chat_history")),
    Sign("mint", "state task", inside("state", "history")),
    Sign("api_bank", "file turns", lists("turns")),
    Sign("api_bank", "instruction input expected_output"),
    Sign("tooltalk", "conversation_id conversation apis_used", lists("conversation")),
    Sign("ratings", "input output rating", lambda row: not isinstance(row["rating"], list | dict)),
    Sign("fireact", "instruction input output", says("Thought:", "Action:"), 3),
    Sign("nestful", "input output", _steps),
    Sign("gemini", "contents", _parts),
    Sign("trl", "prompt completion", lambda row: isinstance(row["prompt"], str | list)),
    Sign("trl", "input output", _requested),
    Sign("trl", "instruction output"),
    *(Sign("exchange", keys, is_exchange) for keys in REQUEST_AND_ANSWER),
    Sign("templated", "text", lambda row: bool(template_turns(row["text"]))),
    Sign("agent_flan", "conversation", _chat),
    Sign("agenttraj", "item_id conversations", _chat),
    Sign("nat", "conversations info", inside("info", "reward", "gt", "pred")),
    Sign("seal_tools", "conversations", says("api_list = ["), 3),
    Sign("sharegpt", "conversations tools", _chat),
    Sign("toolace", "system conversations", _system_tools),
    Sign("agenttuning", "id conversations", _chat),
    Sign("sharegpt", "conversations", _chat),
    Sign("fireact", "messages", lambda row: len(row) == 1 and says("Thought: ")(row), 3),
    Sign("openai", "messages", _chat),
)


@dataclass(frozen=True, slots=True)
class Detected:
    """A format, and how sure it is: its share of the evidence of all readers that could take the
    row, in (0.5, 1]."""

    format: str
    sure: float


class UnknownFormat(RecordError):
    """No known format fits a row."""


def recognised(row: Row, same: Callable[[str], Any] = lambda name: name) -> tuple[Detected, Row]:
    """The format of a row, and the row as the format's reader takes it: with its turns under
    `messages` where no format fits it as it is. Raises RecordError."""
    try:
        return detected(row, same), row
    except UnknownFormat:
        plain = with_messages(row)
        if plain is row:
            raise
        return detected(plain, same), plain


def detected(row: Row, same: Callable[[str], Any] = lambda name: name) -> Detected:
    """The format of a row. `same(format)` is equal for formats that one reader reads.

    Raises RecordError where no known format fits, or where two fit equally well.
    """
    there = {k: v for k, v in row.items() if v is not None}  # a table has the keys of all its rows
    found: dict[Any, tuple[int, str]] = {}
    for each in _possible(there):
        weight, reader = each.evidence(there), same(each.format)
        if weight > found.get(reader, (0, ""))[0]:
            found[reader] = (weight, each.format)
    if not found:
        raise UnknownFormat(_unknown(row))
    (weight, name), *others = sorted(found.values(), key=lambda pair: -pair[0])
    if others and others[0][0] == weight:
        raise RecordError(
            f"the row could be {name} or {others[0][1]}; write read.sources.format={name} or "
            f"read.sources.format={others[0][1]}"
        )
    return Detected(name, weight / (weight + sum(w for w, _ in others)))


def _possible(row: Row) -> list[Sign]:
    """The signs of which the row has a key, in their order."""
    at = {i for key in row for i in _BY_KEY.get(key, ())}
    return [SIGNS[i] for i in sorted(at | _BY_KEY[""])]


_BY_KEY: dict[str, set[int]] = {"": set()}
for _i, _each in enumerate(SIGNS):
    _BY_KEY.setdefault(min(_each.keys, default=""), set()).add(_i)


def _unknown(row: Row) -> str:
    keys = f"no known format has the keys {', '.join(map(str, row))[:120]}"
    for name in ("messages", "conversations", "conversation"):
        if name in row and not has_turns(row[name]):
            said = "null" if row[name] is None else short(row[name])
            return f"{keys}; {name} is no list of turns: {said}"
    return keys
