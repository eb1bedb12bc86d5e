"""Which format a row has: by its keys and by the shape of what stands under them.

Every format that fits gives its evidence: the keys that it asks for, and the look at their values
where it has one. The most evidence wins. How sure that is: its share of the evidence of all formats
that fit and read otherwise. Two with the same evidence are a tie, which nobody guesses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from raytune_agents.readers import (
    adk,
    aliases,
    atif,
    autogen,
    bfcl,
    claude_code,
    codex,
    cohere,
    conversations,
    dialogues,
    exchanges,
    failures,
    fireact,
    gemini,
    gemini_cli,
    glaive_chat,
    langfuse,
    langsmith,
    llamaindex,
    mind2web,
    mint,
    nested,
    openhands,
    otel,
    pairs,
    pydantic_ai,
    ratings,
    responses,
    smolagents,
    swe,
    tau2,
    tau_bench,
    toolalpaca,
    toolbench,
    when2call,
    xlam,
)
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


def _prompted(row: Row) -> bool:
    return isinstance(row["prompt"], str | list)


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


def _rated(row: Row) -> bool:
    return not isinstance(row["rating"], list | dict)


def _gathered(log: ModuleType) -> tuple[Reader, Sign]:
    """The reader of a log's file and what a row shows that `sessions` gathered from its events."""
    name = log.__name__.rpartition(".")[2]

    def look(row: Row) -> bool:
        return bool(row["format"] == name) and isinstance(row["events"], list)

    return log.read, Sign(name, "events format session", look)


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


# When2Call's kinds of an answer, and what a preference row has beside its messages
_by_kind = inside("answers", "direct", "tool_call", "cannot_answer", "request_for_info")
OF_PREFERENCE = "chosen_response rejected_response chosen_type rejected_type"
ANSWERS = {
    "request": "response",
    "request_body": "response_body",
    "inputs": "outputs output",
    "kwargs": "response",
    "input": "output ideal expected_output expectedOutput expected",
}
EXCHANGES = [f"{asked} {answer}" for asked in ANSWERS for answer in ANSWERS[asked].split()]
FORMATS: tuple[tuple[Reader, Sign], ...] = (
    (glaive_chat.read, Sign("glaive_chat", "system chat", says_roles)),
    (bfcl.read, Sign("bfcl", "id question function", _bfcl)),
    (xlam.read, Sign("xlam", "query tools answers", lists("tools", "answers"))),
    (when2call.test, Sign("when2call", "question correct_answer answers tools", _by_kind)),
    (when2call.pref, Sign("when2call_pref", f"messages {OF_PREFERENCE}", pairs.is_pair, 3)),
    (pairs.read, Sign("pairs", "", pairs.is_pair, 6)),
    (pairs.read, Sign("trl", "prompt completion", _prompted)),
    (pairs.read, Sign("trl", "input output", _requested)),
    (pairs.read, Sign("trl", "instruction output")),
    (failures.read, Sign("model_failures", "user_query expected_response actual_response")),
    (
        exchanges.one,
        Sign("responses", "responses_create_params response", inside("response", "output")),
    ),
    (exchanges.one, Sign("responses", "input output", responses.is_log)),
    *((exchanges.one, Sign("exchange", keys, is_exchange)) for keys in EXCHANGES),
    (toolbench.read, Sign("toolbench", "win tree answer_generation", inside("tree", "tree"))),
    (
        toolbench.runs,
        Sign("toolbench_runs", "query available_tools answer", inside("answer", "answer_details")),
    ),
    (toolalpaca.read, Sign("toolalpaca", "Function_Description Instructions")),
    (toolalpaca.read, Sign("toolalpaca", "Function_Description Instances")),
    (mind2web.read, Sign("mind2web", "confirmed_task actions", lists("actions"))),
    (tau_bench.read, Sign("tau_bench", "task_id reward traj", lists("traj"))),
    (fireact.read, Sign("fireact", "reward em traj")),
    (fireact.read, Sign("fireact", "instruction input output", says("Thought:", "Action:"), 3)),
    (
        fireact.read,
        Sign("fireact", "messages", lambda row: len(row) == 1 and says("Thought: ")(row), 3),
    ),
    (tau2.read, Sign("tau2", "simulations", lists("simulations"))),
    (tau2.read, Sign("tau2", "task_id messages termination_reason", _chat)),
    (conversations.read, Sign("swe_gym", "instance_id resolved messages", _chat)),
    (conversations.read, Sign("templated", "text", lambda row: bool(template_turns(row["text"])))),
    (conversations.read, Sign("agent_flan", "conversation", _chat)),
    (conversations.read, Sign("agenttraj", "item_id conversations", _chat)),
    (conversations.read, Sign("nat", "conversations info", inside("info", "reward", "gt", "pred"))),
    (conversations.read, Sign("sharegpt", "conversations tools", _chat)),
    (conversations.read, Sign("toolace", "system conversations", _system_tools)),
    (conversations.read, Sign("agenttuning", "id conversations", _chat)),
    (conversations.read, Sign("sharegpt", "conversations", _chat)),
    (conversations.read, Sign("openai", "messages", _chat)),
    (swe.nebius, Sign("nebius", "instance_id target trajectory", lists("trajectory"))),
    (swe.swe_agent, Sign("swe_agent", "history trajectory info", lists("history"))),
    (swe.mini_swe, Sign("mini_swe", "messages info trajectory_format", lists("messages"))),
    (swe.mini_swe, Sign("mini_swe", "messages", says("```mswea_bash_command"), 3)),
    (langfuse.read, Sign("langfuse", "trace observations", lists("observations"))),
    (langfuse.read, Sign("langfuse", "observations scores", lists("observations"))),
    *map(_gathered, (langfuse, claude_code, codex, openhands, otel, langsmith, exchanges, adk)),
    *map(_gathered, (smolagents, gemini_cli)),
    (adk.read, Sign("adk", "events app_name", lists("events"))),
    (adk.read, Sign("adk", "events appName", lists("events"))),
    (adk.read, Sign("adk", "events", _all_of("events", _authored))),
    (adk.read, Sign("adk", "eval_cases eval_set_id", lists("eval_cases"))),
    (smolagents.read, Sign("smolagents", "steps", _steps_of_smolagents, 3)),
    (gemini_cli.read, Sign("gemini_cli", "sessionId projectHash messages", lists("messages"))),
    (pydantic_ai.read, Sign("pydantic_ai", "messages", _all_of("messages", is_pydantic_ai), 3)),
    (autogen.read, Sign("autogen", "messages", _all_of("messages", is_autogen), 3)),
    (autogen.read, Sign("autogen", "type llm_context", inside("llm_context", "messages"))),
    (autogen.read, Sign("autogen", "type agent_states")),
    (llamaindex.read, Sign("llamaindex", "store", is_chat_store, 3)),
    (llamaindex.read, Sign("llamaindex", "chat_store", is_chat_store, 3)),
    (atif.read, Sign("atif", "schema_version steps", is_atif, 3)),
    (cohere.read, Sign("cohere", "chat_history message", _listed("chat_history"))),
    (cohere.read, Sign("cohere", "chat_history text", _listed("chat_history"))),
    (mint.read, Sign("mint", "state task", inside("state", "history"))),
    (dialogues.api_bank, Sign("api_bank", "file turns", lists("turns"))),
    (dialogues.api_bank, Sign("api_bank", "instruction input expected_output")),
    (
        dialogues.tooltalk,
        Sign("tooltalk", "conversation_id conversation apis_used", lists("conversation")),
    ),
    (ratings.read, Sign("ratings", "input output rating", _rated)),
    (nested.nestful, Sign("nestful", "input output", _steps)),
    (gemini.read, Sign("gemini", "contents", _parts)),
    (nested.seal_tools, Sign("seal_tools", "conversations", says("api_list = ["), 3)),
)
# sets and tools whose rows show no more than chat turns
CHATS = split_names("orca_agentinstruct axolotl glaive apigen_mt agentbank agentgen eto")
READERS = (
    {sign.format: reader for reader, sign in FORMATS}
    | dict.fromkeys(CHATS, conversations.read)
    | {"hammer": xlam.read}
)


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
    `messages` where no format fits it as it is. Raises RecordError."""
    try:
        return detected(row), row
    except UnknownFormat:
        plain = with_messages(row)
        if plain is row:
            raise
        return detected(plain), plain


def detected(row: Row) -> Detected:
    """The format of a row. Raises RecordError where no known format fits, or where those of two
    readers fit equally well."""
    there = {k: v for k, v in row.items() if v is not None}  # a table has the keys of all its rows
    found: dict[Reader, tuple[int, str]] = {}
    for reader, sign in _possible(there):
        weight = sign.evidence(there)
        if weight > found.get(reader, (0, ""))[0]:
            found[reader] = (weight, sign.format)
    if not found:
        raise UnknownFormat(_unknown(row))
    (weight, name), *others = sorted(found.values(), key=lambda pair: -pair[0])
    if others and others[0][0] == weight:
        raise RecordError(
            f"the row could be {name} or {others[0][1]}; write read.sources.format={name} or "
            f"read.sources.format={others[0][1]}"
        )
    return Detected(name, weight / (weight + sum(w for w, _ in others)))


def _possible(row: Row) -> list[tuple[Reader, Sign]]:
    """The signs of which the row has a key, in their order, with their readers."""
    at = {i for key in row for i in _BY_KEY.get(key, ())}
    return [FORMATS[i] for i in sorted(at | _BY_KEY[""])]


_BY_KEY: dict[str, set[int]] = {"": set()}
for _i, (_, _each) in enumerate(FORMATS):
    _BY_KEY.setdefault(min(_each.keys, default=""), set()).add(_i)


def _unknown(row: Row) -> str:
    keys = f"no known format has the keys {', '.join(map(str, row))[:120]}"
    for name in ("messages", "conversations", "conversation"):
        if name in row and not has_turns(row[name]):
            said = "null" if row[name] is None else short(row[name])
            return f"{keys}; {name} is no list of turns: {said}"
    return keys
