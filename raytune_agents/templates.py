"""What a chat template does with tools, calls, results and thoughts: found by rendering it.

A template is probed once with a made-up tool. From what comes back `Habits` says how turns must be
given to it (arguments as objects or as text, one call per turn, where a thought goes), which tokens
end its turns, and which parser of vLLM's reads its calls. Left out: rows and tokens (`chat`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

from raytune_agents.calls import parse
from raytune_agents.calls.families import PARSERS, REASONING
from raytune_agents.calls.parse import CLOSE
from raytune_agents.calls.thoughts import answer_with_thought, answer_without_thought
from raytune_agents.records import JsonObject, Message, RecordError, ToolCall, ToolSpec, canonical

TEXT, TYPES = "probe 'text'", {"word": "string", "count": "integer", "inner": "object"}
PARAMETERS = {k: {"type": kind, "description": f"The {k}."} for k, kind in TYPES.items()}
TOOL = ToolSpec(
    "probe_tool",
    "Probe tool.",
    json.dumps({"type": "object", "properties": PARAMETERS, "required": ["word"]}),
)
CALLS = (
    ToolCall.of("probe_tool", word=TEXT, count=3, inner={"a": [1, None]}),
    ToolCall.of("probe_tool", word="other", count=4),
)
SYSTEM, REQUEST = Message("system", "Probe system."), Message("user", "Probe question?")
THOUGHT, WORDS, RESULT = "Probe thought.", "Probe words.", "Probe result."
ALL = frozenset({"calls", "words"})
Turns = Sequence[Message]


@dataclass(frozen=True, slots=True)
class ServingOptions:
    """What an engine must know of a template, by the names of vLLM's options. An empty parser:
    vLLM has none for the family."""

    tool_call_parser: str = ""
    reasoning_parser: str = ""
    stop_token_ids: tuple[int, ...] = ()
    chat_template_kwargs: str = "{}"  # JSON


# messages, tools and whether the model goes on -> the text
Write = Callable[[list[JsonObject], Sequence[ToolSpec], bool], str]


@dataclass(frozen=True, slots=True)
class Habits:
    """What a template does. The three `shows` are False where it drops them."""

    shows_tools: bool = False
    shows_calls: bool = False
    shows_results: bool = False
    text_arguments: bool = False  # it wants arguments as JSON text, not as an object
    null_content: bool = False  # it wants no content beside calls, not an empty one
    parallel: bool = False  # a turn may hold several calls
    system: bool = True  # it has a system turn
    thinks: frozenset[str] = frozenset()  # of calls, words: the turns whose thought has a field
    call_end: str = ""  # what ends a turn with calls, as the template or the next turn writes it
    words_end: str = ""
    parser: str = ""  # vLLM's name of the parser of its calls, "" where it has none
    unread: str = ""  # a call as it writes it, where that cannot be read back
    refused: str = ""  # what it raised most often
    words_first: bool = True  # words beside calls stand before them

    @property
    def reasoning_parser(self) -> str:
        """vLLM's name of the parser of its thoughts, "" where it has none."""
        return REASONING.get(self.parser, "") if self.thinks else ""

    @property
    def native(self) -> bool:
        """Whether tools can be used with it."""
        return self.shows_tools and self.shows_calls and self.shows_results

    def lacks(self) -> str:
        """What it drops, in words."""
        lost = {"tools": self.shows_tools, "calls": self.shows_calls, "results": self.shows_results}
        return " and ".join(name for name, shown in lost.items() if not shown)

    @property
    def ends(self) -> tuple[str, str]:
        """What ends turns of words and of calls."""
        return self.words_end, self.call_end

    def end_of(self, message: Message) -> str:
        """What ends that turn."""
        return self.call_end if message.tool_calls else self.words_end


# --- turns as templates take them ---


def call_ids(messages: Turns) -> Iterator[tuple[Message, list[str]]]:
    """Each message and the ids of its calls, or of the call that a tool turn answers. Ids are
    counted anew: Mistral refuses those that are not nine letters and digits."""
    number, waiting = 0, []
    for message in messages:
        if message.tool_calls:
            made = [f"call{number + i:05d}" for i in range(len(message.tool_calls))]
            number += len(made)
            waiting = list(zip(message.tool_calls, made))
            yield message, made
        elif message.role == "tool":
            known = [w for w in waiting if message.tool_call_id and w[0].id == message.tool_call_id]
            mine = next(iter(known or waiting), None)
            if mine:
                waiting.remove(mine)
                message = message if message.name else replace(message, name=mine[0].name)
            yield message, [mine[1] if mine else "call00000"]
        else:
            yield message, []


def openai_turns(messages: Turns, habits: Habits) -> list[JsonObject]:
    """The messages as the template takes them. Raises RecordError where arguments are no object."""
    if not habits.system:
        messages = without_system(messages)
    if not habits.parallel:
        messages = one_call_each(messages)
    return [openai_turn(m, ids, habits) for m, ids in call_ids(messages)]


def openai_turn(message: Message, ids: Sequence[str], habits: Habits) -> JsonObject:
    kind = "calls" if message.tool_calls else "words"
    thought = message.thought if kind in habits.thinks else ""
    content = message.content if thought else spoken_words(message, habits)
    out: JsonObject = {"role": message.role, "content": content}
    if thought:  # the names that templates read it by
        out |= dict.fromkeys(("reasoning_content", "reasoning", "thinking", "thought"), thought)
    if message.tool_calls:
        out["content"] = content or (None if habits.null_content else "")
        out["tool_calls"] = [
            {"id": i, "type": "function", "function": {"name": c.name, "arguments": a}}
            for c, i, a in zip(message.tool_calls, ids, arguments(message, habits))
        ]
    if message.role == "tool":
        out["tool_call_id"] = ids[0]
    if message.name:
        out["name"] = message.name
    return out


def spoken_words(message: Message, habits: Habits) -> str:
    """Its words, after its thought, which has no field; a thought does not follow its own calls."""
    first = habits.words_first or not message.tool_calls
    return "\n".join(filter(None, (message.thought if first else "", message.content)))


def arguments(message: Message, habits: Habits) -> list[Any]:
    if habits.text_arguments:
        return [c.arguments for c in message.tool_calls]
    try:
        return [c.args for c in message.tool_calls]
    except ValueError as error:
        raise RecordError(f"template: {error}") from None


def without_system(messages: Turns) -> Turns:
    """The system turn's words at the head of the first request."""
    first = next((i for i, m in enumerate(messages) if m.role == "user"), 0)
    if not messages or messages[0].role != "system" or not first:
        return messages
    words = f"{messages[0].content}\n\n{messages[first].content}"
    return (*messages[1:first], replace(messages[first], content=words), *messages[first + 1 :])


def one_call_each(messages: Turns) -> Turns:
    """A turn of several calls as several turns, each with its own result; a turn whose results are
    not all there stays as it is."""
    out: list[Message] = []
    at = 0
    while at < len(messages):
        message, many = messages[at], len(messages[at].tool_calls)
        results = list(messages[at + 1 : at + 1 + many])
        at += 1
        if many < 2 or len(results) < many or any(m.role != "tool" for m in results):
            out.append(message)
            continue
        for i, call in enumerate(message.tool_calls):
            mine = next((m for m in results if call.id and m.tool_call_id == call.id), results[0])
            results.remove(mine)
            head = message if i == 0 else replace(message, content="", thought="")
            out += [replace(head, tool_calls=(call,)), mine]
        at += many
    return out


# --- a turn's own text ---


def prompt_and_answer(
    write: Write, before: Turns, turn: Message, tools: Any, habits: Habits
) -> tuple[str, str]:
    """The prompt of `before`, and what the model writes as `turn` behind it, to where the template
    stops.

    The whole chat does not always begin with that prompt. The prompt may open or shut a thought
    that the turn has or lacks, and a later answer may drop thoughts of earlier ones: then it is
    what follows in a chat that differs in just that. Raises RecordError."""
    tried: list[tuple[str, str, Turns, Message]] = []
    for history, answered in variants(before, turn, habits):
        prompt = write(openai_turns(history, habits), tools, True)
        whole = write(openai_turns([*history, answered], habits), tools, False)
        # The first variant is the chat as it is, and its prompt the one that is asked.
        tried.append((prompt, whole, history, answered))
        for head in (prompt, prompt.rstrip()):
            if head and whole.startswith(head):
                return tried[0][0], whole[len(head) :]
    for prompt, whole, history, answered in tried:
        if answered.thought:
            if answer := answer_with_thought(prompt, whole, answered.thought):
                return tried[0][0], answer
            continue
        # the template's own way to shut a thought: what stands behind one that is then left out
        thinking = [*history, replace(answered, thought=THOUGHT)]
        turns = openai_turns(thinking, replace(habits, thinks=ALL))
        head, thought, rest = write(turns, tools, False).partition(THOUGHT)
        if thought and head == prompt:
            return tried[0][0], rest
        if (answer := answer_without_thought(prompt, whole)) is not None:
            return tried[0][0], answer
    raise RecordError("template: the prompt is no prefix of the whole chat")


def variants(before: Turns, turn: Message, habits: Habits) -> Iterator[tuple[Turns, Message]]:
    yield before, turn
    forgotten = [replace(m, thought="") for m in before]
    aloud = replace(turn, thought="", content=spoken_words(turn, habits))
    if any(m.thought for m in before):
        yield forgotten, turn
    if turn.thought:
        yield before, aloud
        yield forgotten, aloud


def same_calls(text: str, calls: Sequence[ToolCall], tools: Sequence[ToolSpec]) -> bool:
    """Whether just these calls come back from the text."""
    found = parse(text, tools)
    try:
        return not found.error and [(c.name, canonical(c.args)) for c in found.calls] == [
            (c.name, canonical(c.args)) for c in calls
        ]
    except ValueError:
        return False


# --- probing ---


def study(write: Write, known: Callable[[str], bool], eos: str) -> Habits:
    """The template's habits. `known`: whether a text is one token of the vocabulary; `eos`: the
    tokenizer's own end, behind which some templates open the next answer unasked."""
    raised: list[str] = []

    def text(messages: Turns, habits: Habits, generation: bool = False) -> str:
        make = partial(write, openai_turns(messages, habits), (TOOL,), generation)
        return unless_refused(make, raised)

    def answer(turn: Message, habits: Habits) -> str:
        def make() -> str:
            return prompt_and_answer(write, (REQUEST,), turn, (TOOL,), habits)[1]

        text = unless_refused(make, raised)
        head, found, _ = text.rpartition(eos) if eos else ("", "", "")
        return head + found or text

    def called(count: int, habits: Habits) -> tuple[str, bool]:
        """What is written for so many calls, and whether they come back from it."""
        text = answer(Message("assistant", tool_calls=CALLS[:count]), habits)
        return text, same_calls(text, CALLS[:count], (TOOL,))

    prompt = text((REQUEST,), Habits(), True)
    habits = Habits(
        shows_tools=all(x in prompt for x in (TOOL.name, *TYPES)),
        system=SYSTEM.content in text((SYSTEM, REQUEST), Habits(), True),
    )
    for as_text, null in product((False, True), repeat=2):
        one = replace(habits, text_arguments=as_text, null_content=null)
        written, comes_back = called(1, one)
        if comes_back:
            habits = replace(one, shows_calls=True, unread="")
            break
        if TOOL.name in written and not habits.unread:
            habits = replace(habits, unread=written)
    several = replace(habits, parallel=True)
    habits = several if called(2, several)[1] else habits
    call, words = Message("assistant", tool_calls=CALLS[:1]), Message("assistant", WORDS)
    result = Message("tool", RESULT, name=TOOL.name)
    habits = replace(habits, shows_results=RESULT in text((REQUEST, call, result), habits, True))
    for kind, turn in (("calls", call), ("words", words)):
        thinks = replace(habits, thinks=habits.thinks | {kind})
        if THOUGHT in text((REQUEST, replace(turn, thought=THOUGHT)), thinks):
            habits = thinks
    spoken = answer(replace(call, content=WORDS), habits)

    def ending(turn: Message, after: Message) -> str:
        reply = answer(turn, habits)
        own = bool(eos) and reply.endswith(eos)
        return eos if own else end_of(text, (REQUEST, turn), after, reply, habits, known)

    return replace(
        habits,
        call_end=ending(call, result),
        words_end=ending(words, REQUEST),
        words_first=spoken.find(WORDS) <= spoken.find(TOOL.name),
        refused=max(raised, key=raised.count, default=""),
        parser=next((name for mark, name in PARSERS.items() if mark in answer(call, habits)), ""),
    )


def unless_refused(make: Callable[[], str], raised: list[str]) -> str:
    """The text, or "" where the template raises, whose words are then added to `raised`."""
    try:
        return make()
    except RecordError as error:
        raised.append(str(error))
        return ""


def end_of(
    text: Callable[..., str],
    turns: Turns,
    after: Message,
    answer: str,
    habits: Habits,
    known: Callable[[str], bool],
) -> str:
    """The token that ends the last turn: the template's own, or that which opens the next turn;
    "" where neither is a token. A mark that stands once per call is no end."""
    own = last_mark(answer)
    if own and known(own) and not closes_call(own, turns, text, habits):
        return own
    whole = text(turns, habits)
    following = text((*turns, after), habits)[len(whole) :] if whole else ""
    opened = first_mark(following)
    return opened if opened and known(opened) else ""


def closes_call(mark: str, turns: Turns, text: Callable[..., str], habits: Habits) -> bool:
    if CLOSE.fullmatch(mark):
        return True
    if not turns[-1].tool_calls or not habits.parallel:
        return False
    one, two = (
        text((*turns[:-1], replace(turns[-1], tool_calls=CALLS[:n])), habits).count(mark)
        for n in (1, 2)
    )
    return two > one


def last_mark(text: str) -> str:
    """The mark in angle brackets at the end of a text, or ""."""
    bare = text.rstrip()
    at = bare.rfind("<")
    return bare[at:] if at >= 0 and bare.endswith(">") else ""


def first_mark(text: str) -> str:
    """The mark in angle brackets at the head of a text, or ""."""
    bare = text.lstrip()
    return bare[: bare.find(">") + 1] if bare.startswith("<") else ""
