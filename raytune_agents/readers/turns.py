"""Chat turns of any source -> Message: roles, content, thoughts, calls, observations, loss flags.

Observations are role "tool": never trained on. What follows the last assistant turn of a finished
run (an environment's last word) goes to `meta["after"]`, so that a trajectory ends on its own
answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from raytune_agents.calls.parse import without_ends
from raytune_agents.calls.thoughts import split_thought
from raytune_agents.readers import aliases, in_text, listed_tools, parts, shapes, turn_fields
from raytune_agents.readers.fields import Fields, Names, blank, fold, items_of, names_of
from raytune_agents.readers.parameters import parameter_names
from raytune_agents.readers.react import steps_of, structure
from raytune_agents.readers.strict import as_text, value_of, value_or
from raytune_agents.readers.template_text import template_turns
from raytune_agents.records import JsonObject, Message, RecordError, ToolCall, ToolSpec, Trajectory

ANSWERED = names_of("results")  # of the calls of the same turn
ASIDE = Names(
    "channel content_type recipient type id index timestamp role status finish_reason stop_reason"
)
ABOUT = Names("usage model created created_at logprobs")  # an empty answer has too
MEDIA = names_of("media")  # columns beside the turns
_NAMES_CALL = ('"name"', '_id"', 'Id"')  # in JSON that says which call it answers
JOINED = shapes.CALL_ROLES | shapes.THOUGHT_ROLES


# --- one turn ---------------------------------------------------------------------------------


def turns_of(item: Any, tools: Sequence[ToolSpec] = ()) -> list[Message]:
    """What one turn of a source says: one message, more where results stand among its parts.

    Raises RecordError.
    """
    if not isinstance(item, dict):
        raise RecordError(f"a message is {type(item).__name__}, not an object")
    if len(item) == 2 and (plain := _plain(item)):
        return [plain]
    fields = Fields(turn_fields.unwrapped_turn(item), "turn")
    word = fields(aliases.ROLE)
    if word is None and shapes.known_role(fields.peek("type")):  # LangChain
        word = fields("type")
    if isinstance(word, dict):  # Semantic Kernel, ChatGPT's export
        word = Fields(word).peek("role", "label")
    role = shapes.read_role(word)
    called, thinks = fold(str(word)) in shapes.CALL_ROLES, _word(item) in shapes.THOUGHT_ROLES
    has_content = bool(fields.have(aliases.CONTENT))
    thought, content = turn_fields.thought_of(fields, role), parts.unquoted(fields(aliases.CONTENT))
    if isinstance(content, str) and parts.is_parts(fields.peek("parts")):  # the AI SDK has both
        content = fields("parts")
    calls: tuple[ToolCall, ...] = ()
    column, results = None, []
    if role == "assistant":
        column, results = parts.answered_calls(fields(aliases.CALLS))
        column = turn_fields.acted_call(fields) if blank(column) and not called else column
    if isinstance(content, str) and role == "assistant":
        content, more = _apart(content)
        thought = thought or more
        content = "" if column and content in ("None", "null", "nan") else content
    if role == "assistant" and (tool := turn_fields.called_recipient(fields)):
        told = {"name": tool, "arguments": parts.flat_text(content)}
        calls, content, thinks = _calls(told, tools), None, False
    if called:
        own = fields.item if blank(content) and fields.have("name") else content
        calls, content = _calls(_only_call(own, fields) if own is fields.item else own, tools), None
    if role == "assistant":
        calls = unlike(calls, _calls(column, tools))
    fields(aliases.TOOLS)  # read by `turn_tools`
    if role == "tool" and blank(content):
        content = fields(aliases.RESULT + Names("error"))
    if thinks:  # a Responses item has its summary
        thought, content = thought or parts.flat_text(content or fields("summary")), None
    content = fields("refusal") if blank(content) else content
    (key, name), loss = turn_fields.answered_call(fields, role), turn_fields.turn_loss(fields, role)
    fields.skip(aliases.CALLS)
    if content is None or isinstance(content, str):
        made = [_told_once(Message(role, content or "", thought, calls, name, key, loss), item)]
    else:
        now = Message(role, "", thought, calls, name, key, loss)
        made = [_told_once(_split(m), item) for m in _made(parts.pieces(content, role, tools), now)]
    if not blank(answers := fields(ANSWERED)):  # Cohere, AutoGen, agents' logs
        if role != "assistant":
            made = [m for m in made if m.content and m.role != "tool"]
        made += map(_cohere, items_of(answers))
    rest = fields.rest(ASIDE).items()
    left = [str(k) for k, v in rest if not blank(v) and fold(str(k)) not in ABOUT.every]
    if left and not has_content and made and not any(_unless_empty(m) for m in made):
        raise RecordError(f"a turn of the {role} without content, only {', '.join(left)[:80]}")
    return _between(made, results) if results else made


def _plain(item: JsonObject) -> Message | None:
    """A turn of a role and a text alone, which most are; None for any other."""
    word = item.get("role", item.get("from"))
    text = item.get("content", item.get("value"))
    if not isinstance(word, str) or not isinstance(text, str) or fold(word) in JOINED:
        return None
    if text[:1] in ("[", "{") and not isinstance(parts.unquoted(text), str):
        return None
    role = shapes.read_role(word)
    return Message(role, *_apart(text)) if role == "assistant" else Message(role, text)


def _apart(text: str) -> tuple[str, str]:
    """(answer, thought) of an assistant's text, whatever marks the thought stands in, without the
    tokens that end it."""
    bare = without_ends(text)
    text = text if bare == text.strip() else bare
    found = split_thought(text)
    if found.text or (found.rest != text and not found.is_open):  # marks of no thought say nothing
        return found.rest.lstrip("\n"), found.text
    return text, ""


def _split(message: Message) -> Message:
    """A turn that was made of parts, its thought apart."""
    if message.role != "assistant" or not message.content:
        return message
    content, more = _apart(message.content)
    return replace(message, content=content, thought=message.thought or more)


def _told_once(message: Message, item: JsonObject) -> Message:
    """A turn of SWE-agent, whose text stands as its thought too: a thought before calls, else what
    is said. In other sources the two may be equal by themselves."""
    other = message.thought.strip() != message.content.strip() or not message.thought
    if other or not {"thought", "agent"} <= item.keys():
        return message
    if message.tool_calls:
        return replace(message, content="")
    return replace(message, thought="")


def _between(made: list[Message], results: list[Message]) -> list[Message]:
    """A turn whose calls hold their results: what it says is said after them."""
    told = {m.tool_call_id for m in made if m.role == "tool"} - {""}  # the AI SDK says it twice
    results = [r for r in results if r.tool_call_id not in told]
    if not results:
        return made
    first, *rest = made
    prose = [Message(first.role, first.content, loss=first.loss)] if first.content else []
    return [replace(first, content=""), *results, *prose, *rest]


def _calls(value: Any, tools: Sequence[ToolSpec]) -> tuple[ToolCall, ...]:
    """A column of calls; text that is no JSON is read as a model would have written it."""
    try:
        return shapes.read_calls(value, tools)
    except RecordError:
        found = in_text.calls_in(value, tools) if isinstance(value, str) else ()
        if not found:
            raise
        return tuple(found)


def unlike(calls: tuple[ToolCall, ...], more: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
    """`calls` and those of `more` that are none of them: some sources write each call twice."""
    known = {c.id for c in calls if c.id} | {(c.name, c.arguments) for c in calls}
    return (*calls, *(c for c in more if c.id not in known and (c.name, c.arguments) not in known))


def _only_call(item: JsonObject, fields: Fields) -> JsonObject:
    """A turn that is a call itself: a Responses item among messages."""
    fields.skip(*map(str, item))
    return {k: v for k, v in item.items() if k not in ("role", "from", "type", "status", "id")}


def _cohere(body: Any) -> Message:
    """A result of Cohere's: {call: {name, parameters}, outputs: [...]}."""
    if not isinstance(body, dict):
        return parts.result_of({"content": body})
    call = body.get("call")
    rest = {k: v for k, v in body.items() if k != "call"}
    return parts.result_of(rest | ({"name": call.get("name")} if isinstance(call, dict) else {}))


def _made(found: Iterable[tuple[str, Any]], message: Message) -> list[Message]:
    """The messages of a turn's pieces: results are turns of their own between what is said."""
    out: list[Message] = []
    now = message
    for kind, value in found:
        if kind == "text":
            now = replace(now, content=now.content + value)
        elif kind == "thought":
            now = replace(now, thought="\n".join(filter(None, (now.thought, value))))
        elif kind == "call" and now.role == "assistant":
            fresh = unlike(message.tool_calls, (value,))[len(message.tool_calls) :]
            now = replace(now, tool_calls=(*now.tool_calls, *fresh))
        elif kind == "result":
            key = value.tool_call_id or message.tool_call_id
            value = replace(value, tool_call_id=key, name=value.name or message.name)
            out += [*_unless_empty(now), value]
            now = Message(message.role, loss=message.loss)
    # a system turn of tools that are added (Anthropic's) says nothing
    return out + _unless_empty(now, bool(out) or message.role == "system")


def _unless_empty(message: Message, optional: bool = True) -> list[Message]:
    """The message, or nothing where it holds nothing and is not all there is."""
    holds = message.content or message.thought or message.tool_calls
    return [message] if holds or not optional else []


def message_of(item: Any) -> Message:
    """A turn that is one message. Raises RecordError where it is more, or none."""
    found = turns_of(item)
    if len(found) != 1:
        raise RecordError("a turn of calls and their results" if found else "an empty turn")
    return found[0]


# --- turns ------------------------------------------------------------------------------------


def messages_of(value: Any, tools: Sequence[ToolSpec] = ()) -> list[Message]:
    """A column of turns: a list, or JSON text of one. Raises RecordError."""
    items = value_of(value)
    if not isinstance(items, list):
        raise RecordError(f"messages are {type(items).__name__}, not a list")
    out: list[Message] = []
    joins = False  # whether a turn of calls, or a thought, goes on with the next one
    for item in items:
        if blank(item):  # what a table puts for no turn
            continue
        for message in turns_of(item, tools):
            last = out[-1] if out else None
            if last is not None and joins and message.role == "assistant" and _goes_on(item, last):
                out[-1] = as_one(last, message, message)
            else:
                out.append(message)
            joins = _word(item) in JOINED
    return out


def as_one(first: Message, more: Message, about: Message) -> Message:
    """What two turns say, think and call as one turn, with the role, loss and ids of `about`."""
    content = "\n\n".join(filter(None, (first.content, more.content)))
    thought = "\n".join(filter(None, (first.thought, more.thought)))
    calls = (*first.tool_calls, *more.tool_calls)
    return replace(about, content=content, thought=thought, tool_calls=calls)


def _word(item: JsonObject) -> str:
    """The word for who speaks; Harmony's channels tell a thought from an answer."""
    if item.get("channel") == "analysis":
        return "thought"
    word = item.get("role") or item.get("from") or item.get("message_type") or item.get("type")
    return fold(str(word))


def _goes_on(item: JsonObject, last: Message) -> bool:
    """Turns of calls in a row are calls of one turn; a turn of thought belongs to the next."""
    return not last.content and (_word(item) in shapes.CALL_ROLES or not last.tool_calls)


def results_apart(messages: Sequence[Message]) -> list[Message]:
    """The turns with an observation of several calls as one for each, see `_shared`."""
    out: list[Message] = []
    calls: tuple[ToolCall, ...] = ()  # that results may answer
    for i, turn in enumerate(messages):
        if turn.role != "tool":
            out.append(turn)
            calls = turn.tool_calls
            continue
        beside = (*messages[i - 1 : i], *messages[i + 1 : i + 2])
        alone = not turn.tool_call_id and not turn.name and all(m.role != "tool" for m in beside)
        out += _shared(turn, calls, alone)
    return out


def _shared(message: Message, calls: Sequence[ToolCall], alone: bool) -> Iterable[Message]:
    """One observation of several calls is as many observations: a JSON list of as many texts (only
    if each names its call, where the turn is not `alone`), or an object of a text for each
    tool. One whose text names its call, or has its id, is that call's."""
    names = [c.name for c in calls]

    def named(value: Any) -> bool:
        known = isinstance(value, dict) and (
            value.get("name") in names or Fields(value).have(aliases.TURN_ID)
        )
        return bool(known)

    many = len(calls) > 1 or (calls and any(w in message.content[:200] for w in _NAMES_CALL))
    if not many or message.content[:1] not in ("[", "{"):
        return (message,)
    value = value_or(message.content)
    if isinstance(value, dict):
        if len(calls) > 1 and sorted(value) == sorted(set(names)) == sorted(names):
            return [replace(message, content=as_text(value[n]), name=n) for n in names]
        return (in_text.result_in_text(message.content, message),) if named(value) else (message,)
    whole = isinstance(value, list) and len(value) == len(calls) > 1
    if whole and (alone or all(named(t) for t in value)):
        return [in_text.result_in_text(as_text(t), message) for t in value]
    return (message,)


@dataclass(frozen=True, slots=True)
class Transcript:
    """A conversation of a chat format, taken apart."""

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...]
    meta: JsonObject = field(default_factory=dict)
    react: bool = False  # it was ReAct text: a run

    def trajectory(self, meta: JsonObject, **fields: Any) -> Trajectory:
        """The row of it, with `meta` beside its own; a run ends on its last answer. Raises
        RecordError where it is about pictures: no answer to them can be learned without them."""
        for key, value in meta.items():
            name = fold(str(key))
            if name in MEDIA.every and not blank(value) and (name[-1] == "s" or self._has_marks()):
                raise RecordError(f"pictures, sound or films beside the turns: {key}")
        finished = self.react or fields.get("outcome") is not None
        make = episode if finished else Trajectory
        return make(self.messages, self.tools, meta=meta | self.meta, **fields)

    def _has_marks(self) -> bool:
        """Whether the turns mark the places of media."""
        marks = ("<image", "<video", "<audio")
        return any(mark in m.content for m in self.messages for mark in marks)


def transcript(turns: Any, tools: Any = None, system: Any = None, react: bool = True) -> Transcript:
    """Turns, a column of tools and a system text -> messages with calls and observations apart,
    whatever text they stood in: tags, Python, JSON or (with `react`) ReAct. Raises RecordError."""
    turns = template_turns(turns) or value_of(turns)
    known = shapes.read_tools(tools)
    if own := listed_tools.turn_tools(turns):
        known = tuple(dict.fromkeys((*known, *own)))
    messages = with_system(system, messages_of(turns, known))
    known, messages, meta = listed_tools.tools_in(messages, known)
    messages = [part for m in messages for part in in_text.observations_in(m)]
    if not _has_calls(messages):
        messages = [part for m in messages for part in steps_of(m)]
        structured, style = react_run(messages, known) if react else (messages, {})
        if style:
            return Transcript(tuple(structured), known, meta | style, True)
    called = [in_text.with_calls(m, known) for m in messages]
    return Transcript(tuple(in_text.program_turns(called)), known, meta)


def react_run(
    messages: Sequence[Message], tools: tuple[ToolSpec, ...]
) -> tuple[list[Message], JsonObject]:
    """The turns of ReAct text with thoughts, calls and observations apart, and `meta` to write it
    back; other turns as they are, and {}."""
    structured, style = ([], {}) if _has_calls(messages) else structure(messages)
    return (structured, style) if style and _fits(structured, tools) else (list(messages), {})


def _has_calls(messages: Iterable[Message]) -> bool:
    return any(m.tool_calls or m.role == "tool" for m in messages)


def _fits(messages: list[Message], tools: tuple[ToolSpec, ...]) -> bool:
    """Whether ReAct text calls the row's tools, with arguments that they have; true without tools,
    as text agents have none."""
    known = {t.name: parameter_names(t.parameters) for t in tools}
    calls = [c for m in messages for c in m.tool_calls]
    return not tools or all(c.name in known and c.args.keys() <= known[c.name] for c in calls)


def with_system(system: Any, messages: list[Message]) -> list[Message]:
    """The turns with a system text in front, where there is one; one that begins so already takes
    it in."""
    text = parts.flat_text(system)
    if not text:
        return messages
    first = messages[0] if messages and messages[0].role == "system" else None
    if first is None:
        return [Message("system", text), *messages]
    if text in first.content:
        return messages
    both = text if first.content in text else f"{text}\n\n{first.content}"
    return [replace(first, content=both), *messages[1:]]


def episode(
    messages: Iterable[Message], tools: Iterable[ToolSpec] = (), **fields: Any
) -> Trajectory:
    """A finished run: it ends on its last assistant turn, later turns go to `meta["after"]`."""
    turns = list(messages)
    last = max((i for i, m in enumerate(turns) if m.role == "assistant"), default=len(turns) - 1)
    meta = fields.pop("meta", {})
    if turns[last + 1 :]:
        meta = meta | {"after": [m.content for m in turns[last + 1 :]]}
    return Trajectory(tuple(turns[: last + 1]), tuple(tools), meta=meta, **fields)
