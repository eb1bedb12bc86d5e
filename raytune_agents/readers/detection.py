"""Which format a row has: by its keys and by the shape of what stands under them.

Every format that fits gives its evidence: the keys that it asks for, and the look at their values
where it has one. The most evidence wins. How sure that is: its share of the evidence of all formats
that fit and read otherwise. Two with the same evidence are a tie, which nobody guesses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from raytune_agents.readers import aliases, sessions
from raytune_agents.readers.atif import is_atif
from raytune_agents.readers.choices import asked_field, with_choice
from raytune_agents.readers.exchanges import has_turns, is_body, is_exchange
from raytune_agents.readers.fields import WORDS, Fields, Names, objects_among, short, words_of
from raytune_agents.readers.llamaindex import is_chat_store
from raytune_agents.readers.pairs import COMPLETION, is_pair
from raytune_agents.readers.responses import is_log
from raytune_agents.readers.sessions import Look, Sign, inside
from raytune_agents.readers.strict import value_of
from raytune_agents.readers.swe import is_history, is_mini_swe
from raytune_agents.readers.template_text import template_turns
from raytune_agents.readers.turn_columns import turns_in, with_messages
from raytune_agents.records import JsonObject, RecordError, Trajectory

Row = JsonObject
Reader = Callable[[JsonObject], "Trajectory | list[Trajectory]"]


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
    if "completions" in row:  # answers to choose from
        return False
    return isinstance(found, list) and all(isinstance(c, dict) and "parts" in c for c in found)


def _listed(*names: Names | str) -> Look:
    """Whether turns stand under the first of `names` that the row has."""
    return lambda row: has_turns(Fields(row).pair(*names)[1])


_chat = _listed(aliases.TURNS)


def _of_turns(format: str, keys: str, look: Look = _chat) -> Sign:
    """A format of turns, which `conversations` reads."""
    return Sign(format, keys, look, reader="conversations")


def _steps(row: Row) -> bool:
    """NESTFUL: one request in words, and a list of calls, which are no turns or items."""
    asked, steps = row["input"], row["output"]
    if not isinstance(asked, str) or turns_in(asked, every=True) or template_turns(asked):
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


def _is(key: str, *types: type) -> Look:
    return lambda row: isinstance(row[key], types)


def _requested(row: Row) -> bool:
    """Nemotron's post-training sets: the turns of a request, and its answer."""
    asked, said = row["input"], row["output"]
    if isinstance(asked, list):
        turns = all(isinstance(t, dict) and "role" in t for t in asked)
        return turns and isinstance(said, str | dict) and not is_body(said)
    is_text = isinstance(said, str) and said.lstrip()[:1] not in ("[", "{")
    return is_text and bool(turns_in(asked, every=True) or template_turns(asked))


def _system_tools(row: Row) -> bool:
    return isinstance(row["system"], str) and "[{" in row["system"] and _chat(row)


def _bfcl(row: Row) -> bool:
    asked = row["question"]
    return isinstance(asked, list) and all(isinstance(turn, list) for turn in asked)


def _gathered(format: str) -> Sign:
    """What a row shows that `sessions` gathered from events of this format."""

    def look(row: Row) -> bool:
        return bool(row["format"] == format) and isinstance(row["events"], list)

    return Sign(format, "events format session", look)


def _authored(event: Row) -> bool:
    """Whether an event is ADK's, with its author and its content."""
    return "author" in event and isinstance(event.get("content"), dict)


def _events_of_openhands(row: Row) -> bool:
    pairs = row["history"] if isinstance(row["history"], list) else []
    events = [e for p in pairs for e in (p if isinstance(p, list) else [p])]
    own = (
        sessions.is_openhands(e) or sessions.is_sdk_event(e) for e in events if isinstance(e, dict)
    )
    return bool(events) and all(isinstance(e, dict) for e in events) and all(own)


def _steps_of_smolagents(row: Row) -> bool:
    return any(sessions.log_format(s) == "smolagents" for s in objects_among(row["steps"]))


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


# When2Call's kinds of an answer, and what a preference row has beside its messages
_by_kind = inside("answers", "direct", "tool_call", "cannot_answer", "request_for_info")
_has_output, _is_run = inside("response", "output"), inside("answer", "answer_details")
_talk = lists("conversation")
OF_PREFERENCE = "chosen_response rejected_response chosen_type rejected_type"
FORMATS = (
    Sign("glaive_chat", "system chat", says_roles),
    Sign("bfcl", "id question function", _bfcl),
    Sign("xlam", "query tools answers", lists("tools", "answers")),
    Sign("when2call", "question correct_answer answers tools", _by_kind, reader="when2call.test"),
    Sign("when2call_pref", f"messages {OF_PREFERENCE}", is_pair, 3, reader="when2call.pref"),
    Sign("pairs", "", is_pair, 6),
    Sign("trl", "prompt completion", _is("prompt", str, list), reader="pairs"),
    Sign("trl", "input output", _requested, reader="pairs"),
    Sign("trl", "instruction output", reader="pairs"),
    Sign("model_failures", "user_query expected_response actual_response", reader="failures"),
    Sign("responses", "responses_create_params response", _has_output, reader="exchanges.one"),
    Sign("responses", "input output", is_log, reader="exchanges.one"),
    *(Sign("exchange", k, is_exchange, reader="exchanges.one") for k in WORDS["exchange_keys"]),
    Sign("toolbench", "win tree answer_generation", inside("tree", "tree")),
    Sign("toolbench_runs", "query available_tools answer", _is_run, reader="toolbench.runs"),
    Sign("toolalpaca", "Function_Description Instructions"),
    Sign("toolalpaca", "Function_Description Instances"),
    Sign("mind2web", "confirmed_task actions", lists("actions")),
    Sign("tau_bench", "task_id reward traj", lists("traj"), reader="tau.tau_bench"),
    Sign("fireact", "reward em traj"),
    Sign("fireact", "instruction input output", says("Thought:", "Action:"), 3),
    Sign("fireact", "messages", lambda row: len(row) == 1 and says("Thought: ")(row), 3),
    Sign("tau2", "simulations", lists("simulations"), reader="tau.tau2"),
    Sign("tau2", "task_id messages termination_reason", _chat, reader="tau.tau2"),
    _of_turns("swe_gym", "instance_id resolved messages"),
    _of_turns("templated", "text", lambda row: bool(template_turns(row["text"]))),
    _of_turns("agent_flan", "conversation"),
    _of_turns("agenttraj", "item_id conversations"),
    _of_turns("nat", "conversations info", inside("info", "reward", "gt", "pred")),
    _of_turns("sharegpt", "conversations tools"),
    _of_turns("toolace", "system conversations", _system_tools),
    _of_turns("agenttuning", "id conversations"),
    _of_turns("sharegpt", "conversations"),
    _of_turns("openai", "messages"),
    Sign("nebius", "instance_id target trajectory", lists("trajectory"), reader="swe.nebius"),
    Sign("swe_agent", "history trajectory info", lists("history"), reader="swe.swe_agent"),
    Sign("swe_agent", "history", is_history, 3, reader="swe.swe_agent"),
    Sign("mini_swe", "messages info trajectory_format", lists("messages"), reader="swe.mini_swe"),
    Sign("mini_swe", "messages", says("```mswea_bash_command"), 3, reader="swe.mini_swe"),
    Sign("mini_swe", "messages", is_mini_swe, 3, reader="swe.mini_swe"),
    Sign("openhands", "history", _events_of_openhands, 3),
    Sign("langfuse", "trace observations", lists("observations")),
    Sign("langfuse", "observations scores", lists("observations")),
    *map(_gathered, sorted(sessions.GATHERED)),
    Sign("adk", "events app_name", lists("events")),
    Sign("adk", "events appName", lists("events")),
    Sign("adk", "events", _all_of("events", _authored)),
    Sign("adk", "eval_cases eval_set_id", lists("eval_cases")),
    Sign("smolagents", "steps", _steps_of_smolagents, 3),
    Sign("claude_code", "loglines", _all_of("loglines", inside("message", "content")), 3),
    Sign("codex", "session items", inside("session", "instructions"), 3),
    Sign("gemini_cli", "sessionId projectHash messages", lists("messages")),
    Sign("pydantic_ai", "messages", _all_of("messages", sessions.is_pydantic_ai), 3),
    Sign("autogen", "messages", _all_of("messages", sessions.is_autogen), 3),
    Sign("autogen", "type llm_context", inside("llm_context", "messages")),
    Sign("autogen", "type agent_states"),
    Sign("llamaindex", "store", is_chat_store, 3),
    Sign("llamaindex", "chat_store", is_chat_store, 3),
    Sign("atif", "schema_version steps", is_atif, 3),
    Sign("cohere", "chat_history message", _listed("chat_history")),
    Sign("cohere", "chat_history text", _listed("chat_history")),
    Sign("mint", "state task", inside("state", "history")),
    Sign("api_bank", "file turns", lists("turns"), reader="dialogues.api_bank"),
    Sign("api_bank", "instruction input expected_output", reader="dialogues.api_bank"),
    Sign("tooltalk", "conversation_id conversation apis_used", _talk, reader="dialogues.tooltalk"),
    Sign("ratings", "input output rating", _is("rating", str, int, float), reader="pairs.rated"),
    Sign("nestful", "input output", _steps, reader="nested.nestful"),
    Sign("gemini", "contents", _parts),
    Sign("seal_tools", "conversations", says("api_list = ["), 3, reader="nested.seal_tools"),
)
# sets and tools whose rows show no more than chat turns
CHATS = words_of("chat_formats")


def _reader(place: str) -> Reader:
    """The reader at "file.function" of this room, "file" for its `read`."""
    file, _, function = place.partition(".")
    read: Reader = getattr(import_module(f"raytune_agents.readers.{file}"), function or "read")
    return read


_PLACES = {sign.format: sign.reader for sign in FORMATS}
_PLACES |= dict.fromkeys(CHATS, "conversations") | {"hammer": "xlam"}
READERS = {format: _reader(place) for format, place in _PLACES.items()}


@dataclass(frozen=True, slots=True)
class Detected:
    """A format, and how sure it is: its share of the evidence of all readers that could take the
    row, in (0.5, 1]."""

    format: str
    sure: float


class UnknownFormat(RecordError):
    """No known format fits a row."""


def recognised(row: Row) -> tuple[Detected, Row]:
    """The format of a row, and the row as the format's reader takes it: with its turns under
    `messages`, or with a chosen and a rejected answer, where no format fits it as it is. Raises
    RecordError."""
    try:
        return detected(row), row
    except UnknownFormat:
        plain = with_choice(row)
        plain = with_messages(row) if plain is row else plain
        if plain is row:
            raise
        return detected(plain), plain


def detected(row: Row) -> Detected:
    """The format of a row. Raises RecordError where no known format fits, or where those of two
    readers fit equally well."""
    there = {k: v for k, v in row.items() if v is not None}  # a table has the keys of all its rows
    found: dict[str, tuple[int, str]] = {}  # reader -> its evidence, the format
    for sign in _possible(there):
        weight = sign.evidence(there)
        if weight > found.get(sign.reader, (0, ""))[0]:
            found[sign.reader] = (weight, sign.format)
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
    return [FORMATS[i] for i in sorted(at for key in ("", *row) for at in _BY_KEY.get(key, ()))]


_BY_KEY: dict[str, list[int]] = {}  # the first key that a sign asks for -> the places of signs
for _i, _sign in enumerate(FORMATS):
    _BY_KEY.setdefault(min(_sign.keys, default=""), []).append(_i)


def _unknown(row: Row) -> str:
    keys = f"no known format has the keys {', '.join(map(str, row))[:120]}"
    for name in ("messages", "conversations", "conversation"):
        if name in row and not has_turns(row[name]):
            said = "null" if row[name] is None else short(row[name])
            return f"{keys}; {name} is no list of turns: {said}"
    if asked_field(row) and {*COMPLETION.every} & {str(k).lower() for k in row}:
        return f"{keys}; write prompt and completion, with label: true or false where one is wrong"
    return keys
