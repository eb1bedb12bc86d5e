"""LangSmith's runs, one per line or as a tree of `child_runs`: as `list_runs` and exports give, or
as the SDK sends them, in two parts.

Runs of type llm are the model calls, in LangChain's messages or in the provider's own bodies; runs
of type tool are the calls. The feedback of the trace's first run is its outcome. Samples: the runs
that LangChain 1.8.3 sent by langsmith 0.15.1 to a server of ours, run for the tests;
langchain-ai/langsmith-sdk `js/src/tests/test_data/langsmith_js_wrap_openai_default.json`, MIT.
"""

from __future__ import annotations

from typing import Any

from raytune_agents.readers import spans
from raytune_agents.readers.exchanges import model_call_of
from raytune_agents.readers.fields import blank, object_of
from raytune_agents.readers.sessions import EVENTS, Event, run_id
from raytune_agents.readers.strict import as_text
from raytune_agents.readers.turn_fields import unwrapped_turn
from raytune_agents.records import Trajectory


def read(row: Event) -> list[Trajectory]:
    """The gathered runs of one trace. Raises RecordError where no messages were recorded."""
    parts: dict[str, Event] = {}
    for run in row[EVENTS]:
        before = parts.get(key := run_id(run), {})
        told = {k: v for k, v in run.items() if not blank(v) or k not in before}
        parts[key] = before | told | {"id": key}
    runs = list(parts.values())
    root = next((r for r in runs if blank(r.get("parent_run_id"))), runs[0])
    stats = object_of(spans.exported_value(root.get("feedback_stats")))
    averages = {name: s.get("avg") for name, s in stats.items() if isinstance(s, dict)}
    outcome, word = spans.outcome_of_scores(list(averages.items()))
    about = {k: root[k] for k in ("name", "tags", "session_name") if not blank(root.get(k))}
    about |= {"scores": averages} if averages else {}
    steps = spans.spans_read(_span, runs)
    return spans.trajectories_of(steps, row["session"], about, outcome, word)


def _span(run: Event) -> spans.Span:
    base = spans.base_span(run, as_text(run.get("error")))
    inputs, outputs = (spans.exported_value(run.get(k)) for k in ("inputs", "outputs"))
    extra = object_of(spans.exported_value(run.get("extra")))
    if run.get("run_type") == "llm":
        return spans.model_span(base, _model_call(run, inputs, outputs, extra))
    if run.get("run_type") == "tool":
        output = outputs.get("output", outputs) if isinstance(outputs, dict) else outputs
        message = object_of(output) if object_of(output).get("type") == "tool" else {}
        key = message.get("tool_call_id") or extra.get("tool_call_id")
        # LangChain's older tracers write the arguments as one text
        named = inputs["input"] if object_of(inputs).keys() == {"input"} else inputs
        return spans.tool_span(base, run.get("name"), named, key, message.get("content", output))
    return base


def _model_call(run: Event, inputs: Any, outputs: Any, extra: Event) -> Event:
    """The fields of a model call's span."""
    params, about = object_of(extra.get("invocation_params")), object_of(extra.get("metadata"))
    call_fields = langchain_call(inputs, outputs, params.get("tools"))
    counts = (run, about.get("usage_metadata"), object_of(outputs).get("usage_metadata"))
    counted = next((t for t in map(spans.token_counts, counts) if any(t)), (0, 0))
    call_fields |= {"tokens": counted} if any(counted) else {}
    model = about.get("ls_model_name") or params.get("model") or call_fields.get("model")
    return call_fields | {"model": as_text(model)}


def langchain_call(inputs: Any, outputs: Any, tools: Any = None) -> Event:
    """The fields of a Span from a request of LangChain's tracers, whose turns are a batch of one,
    and its generations; or from bodies of a provider's."""
    if isinstance(inputs, dict):
        turns = inputs.get("messages", inputs.get("prompts"))
        if isinstance(turns, list) and turns and isinstance(turns[0], list):
            turns = turns[0]
        inputs = inputs | ({"messages": turns} if isinstance(turns, list) else {})
        inputs = {"tools": tools} | inputs
    return model_call_of(inputs, _answer(outputs))


def _answer(answered: Any) -> Any:
    """What the model said: LangChain's first generation, else the provider's own body."""
    if not isinstance(answered, dict):
        return answered
    first = answered.get("generations")
    while isinstance(first, list) and first:
        first = first[0]
    if isinstance(first, dict):
        said = first.get("message")
        return unwrapped_turn(said) if isinstance(said, dict) else as_text(first.get("text"))
    only = answered.get("output")
    return only if isinstance(only, str) and len(answered) == 1 else answered
