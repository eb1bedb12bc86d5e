"""Rules on the form of a row: calls parse and fit their tools, an answer is there, no dead loop."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import groupby

from raytune_agents.calls import parse, schema_errors
from raytune_agents.calls.families import TAGS
from raytune_agents.calls.json_text import strict_arguments
from raytune_agents.readers.in_text import CODE
from raytune_agents.readers.parameters import parameter_names
from raytune_agents.records import Message, ToolCall, Trajectory

OPENING_TAGS = (*(t for t in TAGS if t[0] in "<["), "<tool_call:", "<tool_calls:")  # any family's


def row_family(row: Trajectory) -> str:
    """The pool's first word: positive, synthetic or negative."""
    return row.pool.split(".", 1)[0]


def is_held_out(row: Trajectory) -> bool:
    """Whether the row belongs to an evaluation split."""
    return row.split not in ("", "train")


@lru_cache(maxsize=8192)  # several rules and, after a whole batch, the duplicate search ask
def call_key(call: ToolCall) -> str:
    return call.key


def parses(row: Trajectory) -> str | None:
    """Every call's arguments are a JSON object; no call is left in the text of a trained turn."""
    for call in row.calls:
        try:
            strict_arguments(call)
        except ValueError:
            return f"parses:arguments of {call.name}"
    for turn in row.messages:
        if not turn.trained or turn.tool_calls or not turn.content:
            continue
        if any(tag in turn.content for tag in OPENING_TAGS):
            found = parse(turn.content, row.tools)
            if found.error or found.calls:
                return f"parses:{found.error or 'a call that stands as text'}"
        if name := _unread_call(turn.content, row):
            return f"parses:the text of the answer calls {name}"
    return None


def _unread_call(text: str, row: Trajectory) -> str | None:
    """The first tool that a text calls in a form that nothing reads: as gold it would say that no
    call is right."""
    block = CODE.search(text)
    for name, parameters in ((t.name, t.parameters) for t in row.tools if t.name in text):
        escaped = re.escape(name)
        keys = "|".join(map(re.escape, sorted(parameter_names(parameters)))) or "(?!)"
        if block and re.search(rf"\b{escaped}\(", block["code"]):
            return name
        forms = (
            rf"""["']{escaped}["']\s*,\s*["'](?:arguments|parameters|args|input)["']\s*:""",
            rf"""<{escaped}>\s*<|\b{escaped}\(\s*(?:[{{"']|(?:{keys})\s*=\s*["'\d\[{{])""",
            rf"""\A\s*\[\s*{escaped}\(|\A\s*{escaped}\(.*\)\s*\Z""",
            rf"""<\w+ name=["']?{escaped}["']?>""",
            rf"""^Action(?: ?\d+)?:\s*{escaped}\b""",
            rf"""\b{escaped}[\s"'`:>)]{{1,5}}\{{\s*["'](?:{keys})["']\s*:""",
        )
        if re.search("|".join(forms), text, re.DOTALL | re.MULTILINE):
            return name
    return None


def tool_exists(row: Trajectory) -> str | None:
    """Every called name is a tool of the row. Rows without a tool list (text agents) pass."""
    names = {tool.name for tool in row.tools}
    missing = next((c.name for c in row.calls if c.name not in names), None) if names else None
    return None if missing is None else f"tool_exists:{missing}"


def arguments_valid(row: Trajectory) -> str | None:
    """Trained calls of known tools validate against the tool's JSON Schema; the first error is
    named."""
    names = {tool.name for tool in row.tools}
    for call in row.trained_calls:
        if call.name in names and (errors := schema_errors(call, row.tools)):
            return f"arguments_valid:{errors[0]}"
    return None


def empty_target(row: Trajectory) -> str | None:
    """The last turn is an assistant turn that says or calls something.

    A row of an evaluation split needs none where `gold` says what is right.
    """
    if is_held_out(row) and row.gold:
        return None
    if row.target is None:
        return "empty_target:no final answer"
    return None if row.target.tool_calls or row.target.content.strip() else "empty_target"


def too_long(row: Trajectory, max_chars: int = 20_000) -> str | None:
    """Characters of all turns (text, thoughts, calls) and tool schemas are at most `max_chars`."""
    size = sum(len(m.content) + len(m.thought) for m in row.messages)
    size += sum(len(c.name) + len(c.arguments) for m in row.messages for c in m.tool_calls)
    size += sum(len(t.name) + len(t.description) + len(t.parameters) for t in row.tools)
    return f"too_long:{size}" if size > max_chars else None


def outcome_reached(row: Trajectory, min_outcome: float = 0.5) -> str | None:
    """A known outcome is at least `min_outcome`; an unknown one passes."""
    known = row.outcome is not None and row.outcome < min_outcome
    return f"outcome:{row.outcome:g}" if known else None


def _output_key(message: Message) -> tuple[str, ...]:
    return (message.content.strip(), *map(call_key, message.tool_calls))


def dead_loop(row: Trajectory, max_repeats: int = 2) -> str | None:
    """No call, and no assistant turn, comes more than `max_repeats` times in a row.

    Three identical outputs in a row are a failed run (AgentTuning, 2310.12823, section 2). Calls
    of parallel and of successive turns count alike; empty turns do not count.
    """
    for _, run in groupby(row.calls, key=call_key):
        if len(calls := list(run)) > max_repeats:
            return f"dead_loop:{calls[0].name}"
    turns = [words for m in row.messages if m.role == "assistant" and any(words := _output_key(m))]
    for _, run in groupby(turns):
        if sum(1 for _ in run) > max_repeats:
            return "dead_loop:turn"
    return None
