"""Spans of a trace -> trajectories, one for each conversation in it.

Which call goes on with which conversation is found by `threads`. What tools answered after a call
of the model that no prompt repeats is taken from the tools' own spans.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from types import MappingProxyType
from typing import Any, TypeVar

from raytune_agents.calls.schema import JSON_TYPES
from raytune_agents.readers.fields import Fields, blank, fold, names_of, note, object_of, words_of
from raytune_agents.readers.listed_tools import turn_tools
from raytune_agents.readers.outcomes import OUTCOMES
from raytune_agents.readers.responses import has_items, item_messages
from raytune_agents.readers.shapes import read_tools
from raytune_agents.readers.span_turns import calls_together, with_named_results, written_calls
from raytune_agents.readers.strict import as_text, dump, value_or
from raytune_agents.readers.threads import CallThread, conversations, once_told
from raytune_agents.readers.turn_fields import unwrapped_turn
from raytune_agents.readers.turns import episode, react_run, transcript, with_system
from raytune_agents.records import JsonObject, Message, RecordError, ToolCall, ToolSpec, Trajectory

NO_CONTENT = (
    "no model call with its messages in the trace; record the content (for OpenTelemetry: "
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=span_only)"
)
UNREAD = "unread: "  # before the error of a step that we cannot read: no failure of the trace's own
OF_USAGE = names_of("prompt_tokens"), names_of("answer_tokens")
ABOUT_A_TURN = words_of("trace_turn")
# what Python prints of an SDK's object, where a program recorded that in place of its content
PRINTED = re.compile(r"(?:[A-Z]\w+\(\w+=.*\)|role='\w+' content=.*)\s*", re.DOTALL)

Line = TypeVar("Line")


@dataclass(frozen=True, slots=True)
class Span:
    """One step of a trace. Times are in seconds, `tokens` are those of prompt and answer."""

    kind: str = ""  # "model", "tool", or "" for what holds others
    id: str = ""
    parent: str = ""
    start: float = 0.0
    end: float = 0.0
    prompt: tuple[Message, ...] = ()
    answer: tuple[Message, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    call: ToolCall | None = None  # of a tool's span
    result: str = ""
    error: str = ""
    model: str = ""
    tokens: tuple[int, int] = (0, 0)


def model_span(base: Span, found: JsonObject) -> Span:
    """The span of a model call, with what was found of it."""
    return replace(base, kind="model", **{k: v for k, v in found.items() if v})


def tool_span(base: Span, name: Any, arguments: Any, key: Any, result: Any) -> Span:
    """The span of a tool that ran; `key` is the call's id."""
    call = ToolCall(as_text(name), as_text(arguments) or "{}", as_text(key))
    return replace(base, kind="tool", call=call, result=as_text(result))


PARENT = names_of("parent_span")


def base_span(step: JsonObject, error: str = "") -> Span:
    """A step as any exporter describes it: its ids and times."""
    fields = Fields(step)
    key, parent = as_text(fields("span_id", "id")), as_text(fields(PARENT))
    start = seconds_of(fields("start_time_unix_nano", "start_time"))
    end = seconds_of(fields("end_time_unix_nano", "end_time"))
    return Span("", key, parent, start, end, error=error)


def seconds_of(value: Any) -> float:
    """Nanoseconds since 1970 (a number, or its text), or an ISO time; 0 for anything else."""
    try:
        if isinstance(value, str) and not value.isdecimal():
            return datetime.fromisoformat(value).timestamp()
        return int(value) / 1e9
    except (ValueError, TypeError, OverflowError):
        return 0.0


def exported_value(value: Any) -> Any:
    """Input or output: exports hold it as it was, or as JSON text, even twice; else plain text."""
    for _ in range(2):
        if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "[", '"'):
            return value
        value = value_or(value, value)
    return value


def token_counts(usage: Any) -> tuple[int, int]:
    """Tokens of the prompt and of the answer, in the words of any provider; 0 where not said."""
    fields = Fields(object_of(usage))
    prompt, answer = (n if isinstance(n := fields(k), int) else 0 for k in OF_USAGE)
    return prompt, answer


def model_calls(calls: Iterable[tuple[Any, Any]]) -> JsonObject:
    """What `meta` says of model calls, each (model, usage): the last model, and tokens in sum."""
    named = list(calls)
    counts = [token_counts(usage) for _, usage in named]
    models = [m for m, _ in named if isinstance(m, str) and m]
    meta: JsonObject = {"model": models[-1]} if models else {}
    if any(map(any, counts)):
        meta["tokens"] = [sum(c[0] for c in counts), sum(c[1] for c in counts)]
    return meta


def read_model_call(prompt: Any, answer: Any, tools: Any = None, system: Any = None) -> JsonObject:
    """`prompt`, `answer` and `tools` of a Span from what a trace says of a model call, in turns or
    Responses items; `error` with the reason where they cannot be read, as for a picture: the calls
    around it still can."""
    try:
        prompt_turns, known = _turns_read(prompt, read_tools(tools), system)
        answer_turns, known = _turns_read(answer, known, None, "assistant")
        return {"prompt": prompt_turns, "answer": answer_turns, "tools": known}
    except RecordError as error:
        note("span", str(error))
        return {"error": f"{UNREAD}{error}"}


def unread_meta(reason: str) -> JsonObject:
    """What `meta` says of a conversation that ends before what cannot be read; {} without one."""
    return {"errors": [f"{UNREAD}{reason}"]} if reason else {}


def spans_read(read: Callable[[Line], Span], lines: Iterable[Line]) -> Iterator[Span]:
    """The span of each line of a log. One that cannot be read costs itself, not its neighbours."""
    for line in lines:
        try:
            yield read(line)
        except Exception as error:  # a gathered line is a boundary, as a row is
            kind = "" if isinstance(error, RecordError) else f"{type(error).__name__} "
            reason = f"{kind}{error}"[:120]
            note("span", reason)
            yield Span(error=f"{UNREAD}{reason}")


def _turns_read(
    turns: Any, tools: tuple[ToolSpec, ...], system: Any, role: str = "user"
) -> tuple[tuple[Message, ...], tuple[ToolSpec, ...]]:
    """Messages, and the tools with those that stand among the turns."""
    items = [t for t in (turns if isinstance(turns, list) else [turns]) if not blank(t)]
    if has_items(items):
        tools = tuple(dict.fromkeys((*tools, *turn_tools(items))))
        return tuple(with_system(system, item_messages(items, tools))), tools
    bare = with_named_results([_bare(i, role) for i in items])
    listed = [t for turn in bare if _lists_tool(turn) for t in read_tools(turn["content"])]
    tools = tuple(dict.fromkeys((*tools, *listed)))
    kept = [turn for turn in bare if not _lists_tool(turn)]
    found = transcript(kept, [t.openai() for t in tools], system, react=False)
    printed = next((m.content for m in found.messages if PRINTED.fullmatch(m.content)), "")
    if printed:
        raise RecordError(f"content that is a printed object: {printed.partition('(')[0][:40]}")
    return tuple(calls_together(found.messages)), found.tools


def _bare(turn: Any, role: str) -> Any:
    """A turn without what its provider says about it; text alone is a turn of `role`."""
    if isinstance(turn, str):
        return {"role": role, "content": turn}
    if not isinstance(turn, dict):
        return turn
    kept = {k: v for k, v in unwrapped_turn(turn).items() if k not in ABOUT_A_TURN}
    if calls := written_calls(kept):
        return {"role": "assistant", "tool_calls": calls}
    return kept if kept.keys() & {"role", "type"} else {"role": role} | kept


def _lists_tool(turn: Any) -> bool:
    """LangChain's tracer puts each tool among the turns: role tool, content {type: function}."""
    content = turn.get("content") if isinstance(turn, dict) else None
    return isinstance(content, dict) and content.get("type") == "function" and "function" in content


def trajectories_of(
    spans: Iterable[Span],
    source_id: str,
    meta: JsonObject,
    outcome: float | None = None,
    word: str = "",
    by_span: Mapping[str, tuple[float | None, str]] = MappingProxyType({}),
    ran: Mapping[str, ToolSpec] = MappingProxyType({}),
) -> list[Trajectory]:
    """The conversations of one trace; the longest has the outcome, others one of `by_span` (span's
    id -> outcome, its word). Tools that no call lists are as those that `ran` say, by name. Where
    nothing else is known, a trace whose first span failed is a failure, and so is a conversation
    whose last answer was cut or is marked bad. Raises RecordError where no messages were
    recorded."""
    steps = sorted(spans, key=lambda s: (s.start, s.end))
    models = [s for s in steps if s.kind == "model" and s.prompt]
    if any(s.answer and not s.prompt for s in steps):
        note("span", "a model's answer without its prompt")
    if not models:
        unread = next((s.error for s in steps if s.error.startswith(UNREAD)), "")
        raise RecordError(unread.removeprefix(UNREAD) or NO_CONTENT)
    results = _Results(steps)
    found = conversations(once_told(models, steps))
    failed = any(s.error and not s.error.startswith(UNREAD) for s in models)
    # a request that failed stays: what is captured is compared by arm, with its errors
    if not failed and all(m.role != "assistant" for c in found for m in c.turns):
        errors = (s.error.removeprefix(UNREAD) for s in models)
        raise RecordError(next(filter(None, errors), "a request without an answer"))
    longest = max(found, key=lambda c: len(c.turns))
    ids = {s.id for s in steps if s.id}

    def failure(span: Span) -> tuple[float | None, str]:
        # a retry may have mended an inner failure, so only spans without a parent count
        if not span.error or span.error.startswith(UNREAD) or span.parent in ids:
            return None, ""
        return 0.0, f"error: {span.error[:200]}"

    if outcome is None:
        # exchanges have no parent: a failed call, or tool, is none of the conversations beside it
        holders = (failure(s) for s in steps if not s.kind)
        outcome, word = next((f for f in holders if f[1]), (None, ""))
    out = []
    for c in found:
        known = (outcome, word) if c is longest else (None, "")
        if known[0] is None and c.spans[-1].answer:  # an endpoint that gave none failed, no model
            known = failure(c.spans[-1])
        known = next((by_span[s.id] for s in reversed(c.spans) if s.id in by_span), known)
        said, style = react_run(c.turns, tuple(c.tools))
        turns, tools = list(results.among(said)), tuple(c.tools) or seen_tools(said, ran)
        about = meta | _about(c) | style
        out.append(episode(turns, tools, outcome=known[0], outcome_word=known[1], meta=about))
    return with_source_ids(out, source_id)


def with_source_ids(rows: Sequence[Trajectory], source_id: str) -> list[Trajectory]:
    """The conversations of one source; of several each has its number behind the id."""
    if len(rows) == 1:
        return [replace(rows[0], source_id=source_id)]
    return [replace(r, source_id=f"{source_id}/{i}".lstrip("/")) for i, r in enumerate(rows)]


class _Results:
    """What the tools' own spans gave, by the call's id, then by name and arguments."""

    def __init__(self, steps: Iterable[Span]) -> None:
        ran = [(step.call, step) for step in steps if step.call is not None]
        self.by_id = {call.id: step for call, step in ran if call.id}
        self.by_call: dict[str, list[Span]] = defaultdict(list)
        for call, step in ran:
            self.by_call[call.key].append(step)

    def among(self, turns: Sequence[Message]) -> Iterator[Message]:
        """The turns, with the results of calls that are followed by none: those of the last turn,
        and of a run that was recorded without them."""
        for i, turn in enumerate(turns):
            yield turn
            if turn.tool_calls and (i + 1 == len(turns) or turns[i + 1].role != "tool"):
                yield from self._of(turn)

    def _of(self, turn: Message) -> Iterator[Message]:
        for call in turn.tool_calls:
            alike = self.by_call.get(call.key, [])
            span = self.by_id.get(call.id) or (alike.pop(0) if alike else None)
            if span is not None:
                text = span.result or span.error
                yield Message("tool", text, name=call.name, tool_call_id=call.id)


def _about(found: CallThread) -> JsonObject:
    spans = found.spans
    models = Counter(s.model for s in spans if s.model)
    errors = [s.error[:200] for s in spans if s.error]
    meta: JsonObject = {"model_calls": len(spans)}
    if models:
        meta["model"] = models.most_common(1)[0][0]
    if any(s.tokens != (0, 0) for s in spans):
        meta["tokens"] = [sum(s.tokens[0] for s in spans), sum(s.tokens[1] for s in spans)]
    if spans[-1].end > spans[0].start:
        meta["seconds"] = round(spans[-1].end - spans[0].start, 3)
    return meta | ({"errors": errors[:20]} if errors else {})


def outcome_of_scores(scores: Iterable[tuple[str, Any]]) -> tuple[float | None, str]:
    """The outcome among named scores ("success" 1, "user-feedback" "bad"), and its own word. A
    score of anything else (toxicity, latency) says nothing of success."""
    kept = [(fold(name), name, value) for name, value in scores]
    for names, known, wrong in OUTCOMES:
        for folded, name, value in kept:
            found = known(value) if folded in names.every else None
            if found is not None:
                return (1.0 - found if wrong else found), f"{name}={value}"
    return None, ""


# --- tools that nothing lists ---


def seen_tools(
    turns: Iterable[Message], ran: Mapping[str, ToolSpec] = MappingProxyType({})
) -> tuple[ToolSpec, ...]:
    """The tools that a conversation calls, as `ran` has them by name, else as far as its calls show
    them: names, the types of arguments, and as required those that every call has. For logs that
    keep no tool list."""
    calls: dict[str, list[JsonObject]] = {}
    for call in chain.from_iterable(turn.tool_calls for turn in turns):
        known = calls.setdefault(call.name, [])
        with suppress(ValueError):
            known.append(call.args)
    return tuple(ran.get(n) or ToolSpec(n, "", _seen_schema(args)) for n, args in calls.items())


def _seen_schema(arguments: list[JsonObject]) -> str:
    kinds: dict[str, dict[str, None]] = {}
    for args in arguments:
        for key, value in args.items():
            kinds.setdefault(key, {})[JSON_TYPES[type(value)]] = None
    needed = [key for key in kinds if all(key in args for args in arguments)]
    types = {k: next(iter(v)) if len(v) == 1 else list(v) for k, v in kinds.items()}
    properties = {key: {"type": kind} for key, kind in types.items()}
    schema = {"type": "object", "properties": properties}
    return dump(schema | ({"required": needed} if needed else {}))
