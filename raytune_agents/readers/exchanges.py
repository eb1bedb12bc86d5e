"""Requests to a model with their answers: what `raytune-agents capture` wrote, and batch files.

Chat completions, Responses and Anthropic's messages have bodies of their own; each becomes one
model call of a trace, and calls that go on from one another become one conversation.
"""

from __future__ import annotations

from typing import Any

from raytune_agents.readers.fields import TOOLS, Fields, blank
from raytune_agents.readers.outcomes import outcome_score
from raytune_agents.readers.sessions import EVENTS, Event
from raytune_agents.readers.spans import Span, read_model_call, token_counts, trajectories_of
from raytune_agents.readers.strict import as_text
from raytune_agents.records import RecordError, Trajectory


def read(row: Event) -> list[Trajectory]:
    """The exchanges of one session, or one request of a batch with its answer. Raises
    RecordError."""
    events = row[EVENTS]
    if any("custom_id" in e for e in events):
        return trajectories_of([_batched(events)], row["session"], {})
    told: dict[str, tuple[float | None, str]] = {}  # of an answer by its id, "" = of the session
    for event in events:
        if event["type"] == "outcome":  # the last one holds
            note = as_text(event.get("note"))
            word = f"outcome={event.get('outcome')}" + (f", {note}" if note else "")
            told[as_text(event.get("id"))] = outcome_score(event.get("outcome")), word
    spans = [_exchanged(e) for e in events if e["type"] == "exchange"]
    outcome, word = told.pop("", (None, "")) if row["session"] else (None, "")
    arms = list(dict.fromkeys(as_text(e["arm"]) for e in events if not blank(e.get("arm"))))
    meta = {"arm": arms[0] if len(arms) == 1 else arms} if arms else {}
    return trajectories_of(spans, row["session"], meta, outcome, word, told)


def _exchanged(event: Event) -> Span:
    told = model_call_of(event.get("request"), event.get("response"))
    start = float(event.get("at") or 0.0)
    error = as_text(event.get("error")) or told.pop("error", "")
    end = start + float(event.get("seconds") or 0.0)
    return Span("model", as_text(event.get("id")), start=start, end=end, error=error, **told)


def _batched(events: list[Event]) -> Span:
    """Lines of OpenAI's ({body} and {response: {body}}) or Anthropic's ({params}, {result:
    {message}}) batch files that share their custom_id."""
    asked = next((e[k] for e in events for k in ("body", "params") if k in e), None)
    answered, error = None, ""
    for event in events:
        given = event.get("response", event.get("result"))
        if isinstance(given, dict):
            answered = given.get("body", given.get("message"))
            error = as_text(given.get("error"))
        error = error or as_text(event.get("error"))
    if asked is None:
        raise RecordError("a batch answer without its request; put both files' lines in one file")
    told = model_call_of(asked, answered if not error else None)
    if not told.get("answer"):
        raise RecordError(f"a batch request without an answer: {error or told.get('error', '')}")
    return Span("model", as_text(events[0]["custom_id"]), **told)


def model_call_of(asked: Any, answered: Any) -> Event:
    """The fields of a Span from the bodies of a request and its answer, of any provider's API, or
    from the turns alone. What cannot be read is its `error`."""
    request = Fields(asked) if isinstance(asked, dict) else None
    body = answered if isinstance(answered, dict) else {}
    tools = (request(TOOLS) if request else None) or body.get("tools")
    system = (request("system", "instructions") if request else None) or body.get("instructions")
    prompt = request("messages", "input", "contents", "prompt") if request else asked
    if request and prompt is None and request.peek("role") is not None:  # one turn
        prompt = asked
    told = read_model_call(prompt, answer_turns(answered), tools, system)
    model = body.get("model") or (request("model") if request else "")
    if (answer := told.get("answer")) and answer[-1].loss is False:  # as its turn says of itself
        told |= {"error": "the answer was cut at its limit, or is marked bad"}
    return told | {"model": as_text(model), "tokens": token_counts(body.get("usage"))}


def answer_turns(answered: Any) -> Any:
    """The turns or items of an answer: the first choice, the items of a response, a turn."""
    if not isinstance(answered, dict):
        return answered
    choices = answered.get("choices", answered.get("candidates"))
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        fields = Fields(choices[0])
        said, why = fields("message", "content", "text"), fields(ENDED)
        return said | {ENDED: why} if isinstance(said, dict) and why else said
    for name in ("output", "messages"):
        if isinstance(answered.get(name), list):
            return answered[name]
    for name in ("message", "output"):  # Cohere's and Ollama's bodies, Bedrock's
        if isinstance(answered.get(name), dict):
            said, why = answer_turns(answered[name]), Fields(answered)(ENDED, "done_reason")
            return said | {ENDED: why} if isinstance(said, dict) and why else said
    turn = {k: answered[k] for k in TURN if not blank(answered.get(k))}
    return turn or None


TURN = ("role", "content", "tool_calls", "function_call", "additional_kwargs", "parts",
        "reasoning_content", "reasoning", "thinking", "tool_plan", "refusal", "stop_reason")
ENDED = "finish_reason"
