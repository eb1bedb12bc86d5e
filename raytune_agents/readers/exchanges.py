"""Requests to a model with their answers: what `raytune-agents capture` wrote, batch files, and the
rows of logs and data sets that have both (LangSmith's and Weave's data sets, Braintrust, Helicone,
LiteLLM, Bedrock's invocation log, OpenAI's evals, claude-trace).

Chat completions, Responses and Anthropic's messages have bodies of their own; each becomes one
model call of a trace, and calls that go on from one another become one conversation.
"""

from __future__ import annotations

import math
from typing import Any

from raytune_agents.readers import aliases, spans
from raytune_agents.readers.fields import Fields, blank, first_object, names_of, object_of, words_of
from raytune_agents.readers.outcomes import metadata_fields, outcome_of, outcome_score
from raytune_agents.readers.sessions import EVENTS, Event
from raytune_agents.readers.strict import as_text
from raytune_agents.readers.turns import episode
from raytune_agents.records import JsonObject, Message, RecordError, Trajectory
from raytune_agents.streams import joined_stream


def read(row: Event) -> list[Trajectory]:
    """The exchanges of one session, or one request of a batch with its answer. Raises
    RecordError."""
    events = row[EVENTS]
    if any("custom_id" in e for e in events):
        return spans.trajectories_of([_batched(events)], row["session"], {})
    if all(event["type"] == "outcome" for event in events):
        raise RecordError("an outcome of a session that is not in the file")
    # of an answer by its id, "" = of the session
    outcomes: dict[str, tuple[float | None, str]] = {}
    for event in events:
        if event["type"] == "outcome":  # the last one holds
            note = as_text(event.get("note"))
            word = f"outcome={event.get('outcome')}" + (f", {note}" if note else "")
            outcomes[as_text(event.get("id"))] = outcome_score(event.get("outcome")), word
    said: Said = {}
    exchanged = (e for e in events if e["type"] == "exchange")
    steps = spans.spans_read(lambda event: _exchanged(event, said), exchanged)
    stated = outcomes.pop("", (None, ""))
    outcome, word = stated if row["session"] else (None, "")
    arms = list(dict.fromkeys(as_text(e["arm"]) for e in events if not blank(e.get("arm"))))
    meta = {"arm": arms[0] if len(arms) == 1 else arms} if arms else {}
    return spans.trajectories_of(steps, row["session"], meta, outcome, word, outcomes)


# the turns after which a later request of a log may go on: of a response, of a conversation
Said = dict[str, tuple[Message, ...]]


def _exchanged(event: Event, said: Said) -> spans.Span:
    call_fields = model_call_of(event.get("request"), event.get("response"), said=said)
    start, seconds = (float(event.get(name) or 0.0) for name in ("at", "seconds"))
    if not math.isfinite(start + seconds):
        raise RecordError("a time that is no number")
    unread = call_fields.pop("error", "")
    error, key = as_text(event.get("error")) or unread, as_text(event.get("id"))
    return spans.Span("model", key, start=start, end=start + seconds, error=error, **call_fields)


def _batched(events: list[Event]) -> spans.Span:
    """Lines of OpenAI's ({body} and {response: {body}}) or Anthropic's ({params}, {result:
    {message}}) batch files that share their custom_id."""
    request = next((e[k] for e in events for k in ("body", "params") if k in e), None)
    answer, error = None, ""
    for event in events:
        response = event.get("response", event.get("result"))
        if isinstance(response, dict):
            answer = response.get("body", response.get("message"))
            error = as_text(response.get("error"))
        error = error or as_text(event.get("error"))
    if request is None:
        raise RecordError("a batch answer without its request; put both files' lines in one file")
    call_fields = model_call_of(request, answer if not error else None)
    if not call_fields.get("answer"):
        reason = error or call_fields.get("error", "")
        raise RecordError(f"a batch request without an answer: {reason}")
    return spans.Span("model", as_text(events[0]["custom_id"]), **call_fields)


# --- one request a row ------------------------------------------------------------------------

REQUEST, ANSWER, BODY = names_of("request"), names_of("answer"), names_of("body")
WANTED = names_of("wanted_answer")  # names that data sets have for an answer
STREAMED = ("event: ", "data: {", "data:{")  # how the text of server-sent events begins


def one(row: JsonObject) -> Trajectory:
    """A request and its answer, under the names of a log or of a data set. Raises RecordError."""
    fields = Fields(row)
    request, answer = (body_of(fields(names)) for names in (REQUEST, ANSWER))
    if isinstance(answer, str) and answer.lstrip().startswith(STREAMED):
        body, ended = joined_stream(answer)
        answer = body if ended else None
    if isinstance(answer, list) and answer and isinstance(answer[0], str):  # alternatives
        answer = answer[0]
    asked = Fields(request, "request") if isinstance(request, dict) else request
    tools = fields(aliases.TOOLS) or metadata_fields(fields).peek(aliases.TOOLS)
    call_fields = model_call_of(asked, answer, tools, fields(aliases.SYSTEM))
    if isinstance(asked, Fields):
        asked.rest("stream")  # how it came says nothing
    error = as_text(call_fields.get("error"))
    if not call_fields.get("answer"):
        raise RecordError(error.removeprefix(spans.UNREAD) or "a request without an answer")
    outcome, word = outcome_of(fields)
    if error and outcome is None:
        outcome, word = 0.0, error
    key = as_text(fields(aliases.ROW_ID) or object_of(answer).get("id"))
    about = spans.model_calls([(call_fields.get("model"), None)])
    return episode(
        (*call_fields["prompt"], *call_fields["answer"]),
        call_fields["tools"],
        source_id=key,
        outcome=outcome,
        outcome_word=word,
        meta=about | fields.rest(),
    )


def is_exchange(row: JsonObject) -> bool:
    """Whether a row has a request's body, or turns, beside what was answered."""
    fields = Fields(row)
    request, answer = body_of(fields.peek(REQUEST)), body_of(fields.peek(ANSWER))
    if isinstance(request, dict):
        inside = Fields(request).peek("messages", "contents", "input")
        return has_turns(inside) and not blank(inside)
    asked = has_turns(request) and not blank(request)
    return asked and (is_body(answer) or not WANTED.every.isdisjoint(fields.left))


def has_turns(value: Any) -> bool:
    """Whether a value is a list of turns, or JSON text of a list."""
    if isinstance(value, str):
        return value.lstrip()[:1] == "["
    return isinstance(value, list) and all(t is None or isinstance(t, dict) for t in value)


def body_of(value: Any) -> Any:
    """A body, out of what a log wraps around it."""
    value = spans.exported_value(value)
    inside = Fields(value).peek(BODY) if isinstance(value, dict) else None
    return value if inside is None else spans.exported_value(inside)


def is_body(answer: Any) -> bool:
    """Whether an answer is the body that a provider's API gave, rather than a turn."""
    own = ("choices", "candidates", "output")
    held = [answer.get(k) for k in own] if isinstance(answer, dict) else ()
    return _are_choices(answer) or any(isinstance(v, list) for v in held)


def _are_choices(value: Any) -> bool:
    items = value if isinstance(value, list) else ()
    return bool(items) and all(isinstance(object_of(c).get("message"), dict) for c in items)


# --- bodies -----------------------------------------------------------------------------------


def model_call_of(
    asked: Any, answered: Any, tools: Any = None, system: Any = None, said: Said | None = None
) -> Event:
    """The fields of a Span from the bodies of a request and its answer, of any provider's API, or
    from the turns alone; `tools` and `system` where the bodies have none, `said` in the calls
    before. What cannot be read is its `error`."""
    request = Fields(asked) if isinstance(asked, dict) else asked
    body, prompt, model = object_of(answered), asked, ""
    if isinstance(request, Fields):
        tools = request(aliases.TOOLS) or tools
        system = request(aliases.SYSTEM) or system
        prompt = request("messages", "input", "contents", "prompt")
        if prompt is None and request.peek("role") is not None:  # one turn
            prompt = request.item
        model = request("model")
        # Gemini's SDK has the rest of a request under `config`
        settings = Fields(object_of(request("config")))
        tools, system = tools or settings(aliases.TOOLS), system or settings(aliases.SYSTEM)
    tools, system = tools or body.get("tools"), system or body.get("instructions")
    system = object_of(system).get("parts", system)  # Gemini's
    call_fields = spans.read_model_call(prompt, answer_turns(answered), tools, system)
    if isinstance(request, Fields):
        call_fields = _after_earlier(call_fields, request, body, said)
    model = body.get("model") or body.get("model_version") or model
    answer = call_fields.get("answer")
    if answer and answer[-1].loss is False:  # as its turn says of itself
        call_fields |= {"error": "the answer was cut at its limit, or is marked bad"}
    return call_fields | {
        "model": as_text(model),
        "tokens": spans.token_counts(body.get("usage", body.get("usage_metadata"))),
    }


def _after_earlier(call_fields: Event, request: Fields, body: Event, said: Said | None) -> Event:
    """A call of Responses with the turns that its provider keeps: those before another response,
    or of a conversation, which its request names. Where they are not in `said`, its prompt is not
    known, nor is that of one that begins with a compaction."""
    after, held = as_text(request("previous_response_id")), request.peek("conversation")
    held = as_text(object_of(held).get("id", held))
    if held.startswith("conv"):
        request.skip("conversation")
    else:  # another API's word
        held = ""
    missing = "a conversation" if held and said is None else ""
    missing = "a response" if after and (said is None or after not in said) else missing
    first = first_object(request.item.get("input"))
    if first.get("type") == "compaction" and not blank(first.get("encrypted_content")):
        missing = "a compaction"
    if missing:
        return {"error": f"{spans.UNREAD}it goes on from {missing} whose turns are not there"}
    if said is None or not call_fields.get("answer") or not isinstance(body.get("output"), list):
        return call_fields
    system = [m for m in call_fields["prompt"] if m.role == "system"]
    fresh = [m for m in call_fields["prompt"] if m.role != "system"]
    # instructions hold for their own request alone
    earlier = [m for m in said.get(after or held, ()) if m.role != "system"]
    prompt = (*system, *earlier, *fresh) if earlier else call_fields["prompt"]
    for key in filter(None, (as_text(body.get("id")), held)):
        said[key] = (*prompt, *call_fields["answer"])
    return call_fields | {"prompt": prompt}


def answer_turns(answered: Any) -> Any:
    """The turns or items of an answer: the first choice, the items of a response, a turn."""
    if _are_choices(answered):
        answered = {"choices": answered}
    if not isinstance(answered, dict):
        return answered
    choices = answered.get("choices", answered.get("candidates"))
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        fields = Fields(choices[0])
        content, why = fields("message", "content", "text"), fields(ENDED)
        return content | {ENDED: why} if isinstance(content, dict) and why else content
    inner = answered.get("content")
    if isinstance(inner, dict) and isinstance(inner.get("parts"), list):  # a candidate by itself
        return inner | {k: v for k, v in answered.items() if k == ENDED}
    for name in ("output", "messages"):
        if isinstance(found := answered.get(name), list):
            steps = bool(found) and all(isinstance(step, list) for step in found)
            return found[-1] if steps else found  # NeMo Gym: each with all before it
    for name in ("message", "output"):  # Cohere's and Ollama's bodies, Bedrock's
        if isinstance(answered.get(name), dict):
            content, why = answer_turns(answered[name]), Fields(answered)(ENDED, "done_reason")
            return content | {ENDED: why} if isinstance(content, dict) and why else content
    turn = {k: answered[k] for k in TURN if not blank(answered.get(k))}
    only = answered.get("output")
    return turn or (only if isinstance(only, str) else None)


TURN = words_of("answer_turn")
ENDED = "finish_reason"
