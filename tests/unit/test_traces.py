"""Traces and agents' logs: real ones from tests/unit/traces, then what is torn, hostile or huge."""

from __future__ import annotations

import copy
import itertools
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raytune_agents import readers
from raytune_agents.config import SourceConfig
from raytune_agents.readers.notes import SourceNotes
from raytune_agents.readers.spans import Span, outcome_of_scores, trajectories_of
from raytune_agents.records import Message, ToolCall, Trajectory

TRACES = Path(__file__).parent / "traces"


def read_file(path: Path, **options: Any) -> list[readers.SourceRow]:
    return list(readers.read_source(SourceConfig(path=str(path), **options)))


def only(path: Path, **options: Any) -> Trajectory:
    [found] = read_file(path, **options)
    assert not found.error, found.error
    [row] = found.rows
    return row


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (TRACES / name).read_text().splitlines()]


def written(tmp_path: Path, events: list[Any], name: str = "log.jsonl") -> Path:
    path = tmp_path / name
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


def shape(row: Trajectory) -> str:
    """The roles of the turns by their first letter; C for a turn that calls."""
    return "".join("C" if m.tool_calls else m.role[0] for m in row.messages)


# file -> (format, turns, calls, tools)
REAL = {
    "claude_code.jsonl": ("claude_code", "uCtCtCuCtC", 5, ["TodoWrite", "Write", "Read"]),
    "codex.jsonl": ("codex", "uuCtCtCta", 3, ["shell", "update_plan"]),
    "openhands.jsonl": ("openhands", "suCtCtua", 2, ["terminal", "finish"]),
    "openhands_goal.jsonl": ("openhands", "CttC", 2, ["terminal"]),
    "langfuse_openai_agents.json": ("langfuse", "suCta", 1, ["get_weather"]),
    "langfuse_langgraph.json": ("langfuse", "uuCta", 1, ["Web-Search"]),
    "genai_otlp.json": ("otel", "suCta", 1, ["get_weather"]),
    "openinference_otlp.json": ("otel", "suCta", 1, ["get_weather"]),
    "openinference_sdk.jsonl": ("otel", "suCta", 1, ["get_weather"]),
    "mini_swe_1.traj.json": ("mini_swe", "suCtC", 2, ["bash"]),
    "mini_swe_tool.traj.json": ("mini_swe", "suCtC", 2, ["bash"]),
    "mini_swe_text.traj.json": ("mini_swe", "suCtC", 2, ["bash"]),
    "mini_swe_resp.traj.json": ("mini_swe", "suCtC", 2, ["bash"]),
    "pydantic_ai.jsonl": ("pydantic_ai", "suCtCttaua", 3, ["get_weather"]),
    "autogen.jsonl": ("autogen", "uCtta", 2, ["get_weather"]),
    "adk_session.json": ("adk", "uCta", 1, ["get_weather"]),
    "adk_parallel.json": ("adk", "uCtta", 2, ["get_weather"]),
    "smolagents_tools.jsonl": ("smolagents", "uCtC", 2, ["get_weather", "final_answer"]),
    "smolagents_code.json": ("smolagents", "uCtC", 2, ["python_interpreter"]),
    "atif_claude_code.json": ("atif", "uCtCtCuCtC", 5, ["TodoWrite", "Write", "Read"]),
    "atif_mini_swe.json": ("atif", "suCtC", 2, ["bash"]),
    "langsmith_langchain.jsonl": ("langsmith", "suCta", 1, ["get_weather"]),
    "langsmith_openai.json": ("langsmith", "ua", 0, []),
    "cohere_request.json": ("cohere", "suCta", 1, ["magic_function"]),
    "cohere_response.json": ("cohere", "suCta", 1, ["magic_function"]),
    "gemini_cli.json": ("gemini_cli", "uCttauCta", 3, ["write_file", "replace"]),
    "llamaindex_store.json": ("llamaindex", "uCta", 1, ["get_weather"]),
    "cohere_2.json": ("exchange", "suCtCta", 2, ["web_search", "python_interpeter_temp"]),
    "adk_eval.json": ("adk", "uCuC", 2, ["trigger_elicitation", "book_flight"]),
    "openhands_app.json": ("openhands", "uCta", 1, ["execute_bash"]),
    "openhands_resolver.jsonl": ("openhands", "uCtCtCtC", 4, ["run", "run_ipython", "finish"]),
    "swe_agent.traj": ("swe_agent", "suCtCtCtC", 4, ["find_file", "open", "edit", "bash"]),
    "swe_smith.jsonl": ("openai", "suCtCtCtCtCtC", 6, []),
    "anthropic_request.json": ("exchange", "uCta", 1, ["get_user_country"]),
    "gemini_request.json": ("exchange", "suCtCtCtauC", 4,
                            ["load_capability", "lookup_refund_policy", "search_tools"]),
    "responses_request.json": ("exchange", "suCtCtauC", 3, ["tool_search", "get_exchange_rate"]),
    "responses_later_tools.json": ("exchange", "suCtCtauC", 3,
                                   ["load_capability", "lookup_refund_policy"]),
    "nemo_gym_aviary.jsonl": ("responses", "uCta", 1, ["calculator", "submit_answer"]),
}


@pytest.mark.parametrize("name", REAL)
def test_real_traces(name: str) -> None:
    format, turns, calls, tools = REAL[name]
    [found] = read_file(TRACES / name)
    [row] = found.rows
    assert (found.format, found.error) == (format, "")
    assert shape(row) == turns
    assert (len(row.calls), [t.name for t in row.tools]) == (calls, tools)
    ids = [c.id for c in row.calls if c.id]
    assert [m.tool_call_id for m in row.messages if m.role == "tool" and m.tool_call_id in ids] == [
        i for i in ids if i in {m.tool_call_id for m in row.messages}
    ]
    assert all(c.args is not None for c in row.calls)


def test_openinference_and_gen_ai_say_the_same() -> None:
    one, other = only(TRACES / "genai_otlp.json"), only(TRACES / "openinference_otlp.json")
    assert [m.content for m in one.messages] == [m.content for m in other.messages]
    assert [(c.name, c.args) for c in one.calls] == [("get_weather", {"city": "Paris"})]
    assert [(c.name, c.args) for c in other.calls] == [("get_weather", {"city": "Paris"})]
    assert one.tools[0].schema == other.tools[0].schema | {"additionalProperties": False}
    assert one.messages[2].thought == "I need the weather."
    assert (one.meta["tokens"], other.meta["tokens"]) == ([117, 28], [100, 24])
    assert one.source_id == "20697dfc7479c1bf591dae4639b193c3"


def test_a_trace_without_content_says_how_to_record_it() -> None:
    [found] = read_file(TRACES / "genai_without_content.jsonl")
    assert "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT" in found.error


OPENLLMETRY = {
    "gen_ai.system": "openai", "llm.request.type": "chat", "gen_ai.request.model": "gpt-4o",
    "gen_ai.prompt.0.role": "system", "gen_ai.prompt.0.content": "Be brief.",
    "gen_ai.prompt.1.role": "user",
    "gen_ai.prompt.1.content": '[{"type": "text", "text": "Weather in Paris?"}]',
    "llm.request.functions.0.name": "get_weather",
    "llm.request.functions.0.description": "Weather of a city.",
    "llm.request.functions.0.parameters":
        '{"type": "object", "properties": {"city": {"type": "string"}}}',
    "gen_ai.usage.prompt_tokens": 20, "gen_ai.usage.completion_tokens": 5,
}
CALLED = {"tool_calls.0.id": "c1", "tool_calls.0.name": "get_weather",
          "tool_calls.0.arguments": '{"city": "Paris"}'}


def test_openllmetry_flattens_turns_calls_and_functions(tmp_path: Path) -> None:
    """The attributes that `_set_prompts`, `_set_completions` and `set_tools_attributes` write."""
    asked = OPENLLMETRY | {"gen_ai.completion.0.role": "assistant",
                           "gen_ai.completion.0.finish_reason": "tool_calls"}
    asked |= {f"gen_ai.completion.0.{k}": v for k, v in CALLED.items()}
    told = OPENLLMETRY | {"gen_ai.prompt.2.role": "assistant"}
    told |= {f"gen_ai.prompt.2.{k}": v for k, v in CALLED.items()}
    told |= {"gen_ai.prompt.3.role": "tool", "gen_ai.prompt.3.tool_call_id": "c1",
             "gen_ai.prompt.3.content": "20 C",
             "gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": "20 C.",
             "gen_ai.completion.0.finish_reason": "stop",
             "gen_ai.completion.1.role": "assistant", "gen_ai.completion.1.content": "Warm."}
    log = [{"name": "openai.chat", "context": {"trace_id": "t", "span_id": str(i)},
            "start_time": f"2025-01-01T00:00:0{i}Z", "attributes": about}
           for i, about in enumerate((asked, told))]
    row = only(written(tmp_path, log))
    assert (shape(row), row.source_id) == ("suCta", "t")
    assert said(row) == ["Be brief.", "Weather in Paris?", "", "20 C", "20 C."]
    assert row.calls[0] == ToolCall("get_weather", '{"city": "Paris"}', "c1")
    assert row.tools[0].description == "Weather of a city."
    assert row.tools[0].schema["properties"] == {"city": {"type": "string"}}
    assert (row.meta["model"], row.meta["tokens"]) == ("gpt-4o", [40, 10])


def test_claude_code_joins_the_blocks_of_a_reply() -> None:
    row = only(TRACES / "claude_code.jsonl", redact=False)
    first = row.messages[1]
    assert first.content.startswith("I'll help you build")
    assert len(first.tool_calls) == 1
    assert row.messages[7].thought.startswith("The user wants to add smooth transitions")
    assert row.calls[2].args["file_path"] == "/Users/yoavfarhi/dev/pomodoro/claude/index.html"
    assert row.meta["model"] == "claude-sonnet-4-5-20250929"


def test_a_session_of_claude_code_on_the_web(tmp_path: Path) -> None:
    turns = [{"type": "user", "message": {"role": "user", "content": "I am ann@firm.io."}},
             {"type": "assistant", "message": {"role": "assistant", "content": [
                 {"type": "text", "text": "Hello."}]}}]
    (tmp_path / "session.json").write_text(json.dumps({"loglines": turns}))
    [found] = read_file(tmp_path / "session.json")
    assert (found.format, said(found.rows[0])) == ("claude_code", ["I am [email].", "Hello."])


def test_codex_reads_items_and_the_last_count_of_tokens() -> None:
    row = only(TRACES / "codex.jsonl")
    assert row.messages[2].thought == "**Examining repository structure**"
    assert row.calls[0].args["command"] == ["zsh", "-lc", "ls"]
    assert (row.meta["model"], row.source_id[:8]) == ("gpt-5-codex", "019a085e")
    assert json.loads(row.tools[0].parameters) == {
        "type": "object",
        "properties": {"command": {"type": "array"}, "workdir": {"type": "string"}},
        "required": ["command", "workdir"],
    }


def test_free_text_of_a_codex_tool_is_an_argument(tmp_path: Path) -> None:
    item = {"type": "custom_tool_call", "call_id": "c9", "name": "apply_patch", "input": "*** End"}
    event = {"timestamp": "2025-10-21T20:04:59Z", "type": "response_item", "payload": item}
    row = only(written(tmp_path, [*lines("codex.jsonl"), event]))
    assert row.calls[-1] == ToolCall("apply_patch", '{"input": "*** End"}', "c9")


def test_openhands_shows_what_the_model_saw() -> None:
    row = only(TRACES / "openhands.jsonl")
    assert row.messages[3].content == "\n[The command completed with exit code 0.]"
    terminal = row.tools[0]
    assert terminal.description.startswith("Execute a bash command")
    assert list(terminal.schema["properties"]) == ["command", "security_risk", "summary"]


def test_openhands_before_its_sdk() -> None:
    row = only(TRACES / "openhands_app.json")
    assert said(row)[2] == "\n[The command completed with exit code 0.]"
    assert row.calls[0] == ToolCall("execute_bash", '{"command": "mkdir -p /workspace/todo-app"}',
                                    "toolu_01W9Z8jBctr8X2frZV9p1RYs")
    assert row.meta["model"] == "claude-3-5-sonnet-20241022"
    row = only(TRACES / "openhands_resolver.jsonl")
    assert (row.outcome, row.outcome_word) == (1.0, "success=True")
    assert row.calls[0].args == {"command": "touch LICENSE"}
    assert said(row)[1].startswith("Certainly! I'll add the MIT license")


def test_calls_of_one_response_and_of_the_user_in_older_openhands(tmp_path: Path) -> None:
    calls = [{"id": f"c{i}", "function": {"name": "run", "arguments": "{}"}} for i in (1, 2)]
    answer = {"id": "r", "model": "m", "usage": {"prompt_tokens": 3, "completion_tokens": 2},
              "choices": [{"message": {"content": "Both.", "tool_calls": calls}}]}

    def act(key: int, call: int | None, source: str = "agent") -> dict[str, Any]:
        about = {"tool_call_id": f"c{call}", "function_name": "run", "model_response": answer}
        more = {"tool_call_metadata": about} if call else {}
        return {"id": key, "source": source, "action": "run", "args": {"command": "ls"}} | more

    def seen(key: int, cause: int) -> dict[str, Any]:
        return {"id": key, "source": "agent", "observation": "run", "cause": cause, "content": key}

    go = {"id": 0, "source": "user", "action": "message", "args": {"content": "Go."}}
    log = [go, act(1, 1), act(2, 2), seen(4, 2), seen(3, 1), act(5, None, "user"), seen(6, 5),
           act(7, None)]
    pairs = [[log[0], seen(9, 0)], [log[1], log[4]], [log[2], log[3]]]
    row = only(written(tmp_path, log))
    assert (shape(row), said(row)[1:4]) == ("uCttC", ["Both.", "3", "4"])
    assert (row.meta["tokens"], row.calls[2].args) == ([3, 2], {"command": "ls"})
    report = {"history": pairs, "instance_id": "i", "report": {"resolved": False}}
    row = only(written(tmp_path, [report]))
    assert (shape(row), row.outcome, row.source_id) == ("uC", 0.0, "i")
    assert (len(row.calls), sorted(row.meta["after"])) == (2, ["3", "4"])
    picture = go | {"args": {"content": "See.", "image_urls": ["data:"]}}
    row = only(written(tmp_path, [*log, picture, act(8, None)]))
    assert row.meta["errors"] == ["unread: a content part that is no text: image"]
    [found] = read_file(written(tmp_path, [picture, act(8, None)]))
    assert found.error == "a content part that is no text: image"


def test_langfuse_scores_of_other_things_are_no_outcome() -> None:
    row = only(TRACES / "langfuse_openai_agents.json")
    assert row.outcome is None
    assert row.meta["scores"] == {"toxicity": 0.8, "hallucination": 0}
    assert row.meta["seconds"] == 2.188  # 09:03:59.963 to 09:04:02.151
    assert outcome_of_scores([("toxicity", 1), ("user-feedback", "bad")])[0] == 0.0
    assert outcome_of_scores([("quality", 3), ("success", 0.75)]) == (0.75, "success=0.75")


def test_observations_line_by_line_are_the_same_trace(tmp_path: Path) -> None:
    trace = json.loads((TRACES / "langfuse_langgraph.json").read_text())
    row = only(written(tmp_path, trace["observations"]))
    assert row.messages == only(TRACES / "langfuse_langgraph.json").messages


def test_gemini_cli_has_thoughts_results_and_what_tools_are_for() -> None:
    [found] = read_file(TRACES / "gemini_cli.json", redact=False)
    [row] = found.rows
    assert row.messages[1].thought.startswith("Beginning the Build: I'm starting the Pomodoro")
    assert said(row)[2] == ("Successfully created and wrote to new file: "
                            "/Users/yoavfarhi/dev/pomodoro/gemini/index.html.")
    assert row.tools[0].description.startswith("Writes content to a specified file")
    # 0 + 7269 + 7320 + 7598 tokens asked, 0 + 46 + 250 + 23 answered
    assert (row.meta["model"], row.meta["tokens"]) == ("gemini-2.5-pro", [22187, 319])
    assert (row.source_id, found.unread) == ("0b23371a-ce2e-4b1c-81a0-44af5d94d9ce", {})


def test_records_of_gemini_cli_say_what_its_document_said(tmp_path: Path) -> None:
    """As version 0.40 writes them: a head, messages anew when they have grown, changes, rewinds."""
    document = json.loads((TRACES / "gemini_cli.json").read_text())
    messages = document.pop("messages")
    first, called, *others = messages
    grown = {k: v for k, v in called.items() if k != "toolCalls"}
    lost = {"id": "x", "timestamp": "t", "type": "user", "content": "taken back"}
    tokens = {"type": "message_update", "id": others[0]["id"], "tokens": others[0].pop("tokens")}
    again = {"id": "y", "timestamp": "t", "type": "user",
             "content": [called["toolCalls"][0]["result"][0]]}
    log = [document, first, {"$set": {"lastUpdated": "t"}}, grown, called, again, others[0], tokens,
           lost, {"$rewindTo": "x"}, *others[1:]]
    whole, row = only(TRACES / "gemini_cli.json"), only(written(tmp_path, log))
    assert (row.messages, row.tools, row.meta["tokens"], row.source_id) == (
        whole.messages, whole.tools, whole.meta["tokens"], whole.source_id)


# --- what agent frameworks save ----------------------------------------------------------------


def test_pydantic_ai_puts_instructions_first_and_retries_back_to_their_call() -> None:
    row = only(TRACES / "pydantic_ai.jsonl")
    assert said(row)[:2] == ["Be brief.\n\nYou know the weather.", "Weather in Paris and Rome?"]
    assert (row.messages[2].thought, row.messages[2].content) == (
        "I need the weather.", "Let me look.")
    assert [(m.tool_call_id, m.content) for m in row.messages if m.role == "tool"] == [
        ("c1", "No such city: Pari."), ("c2", '{"temperature": 20, "unit": "C"}'),
        ("c3", '{"temperature": 25, "unit": "C"}')]
    # 60 + 67 + 79 + 80 tokens asked, 14 + 24 + 31 + 35 answered
    assert (row.meta["model"], row.meta["tokens"]) == ("local", [286, 104])
    assert read_file(TRACES / "pydantic_ai.jsonl")[0].unread == {}


def test_an_older_history_of_pydantic_ai_in_a_column_and_as_a_line(tmp_path: Path) -> None:
    asked = {"kind": "request", "parts": [{"part_kind": "user-prompt", "content": ["Hi", {
        "kind": "text-content", "content": " there"}]}]}
    called = {"kind": "response", "parts": [
        {"part_kind": "tool-call", "tool_name": "add", "args": None, "tool_call_id": "c"}]}
    retry = {"kind": "request", "parts": [
        {"part_kind": "retry-prompt", "tool_name": "add", "tool_call_id": "c",
         "content": [{"type": "missing", "loc": ["a"], "msg": "Field required"}]},
        {"part_kind": "retry-prompt", "content": "Say more."}]}
    cut = {"kind": "response", "state": "interrupted", "finish_reason": None,
           "parts": [{"part_kind": "text", "content": "I"}]}
    messages = [asked, called, retry, cut]
    for path in (written(tmp_path, [{"messages": messages}]), written(tmp_path, [messages])):
        row = only(path)
        assert (shape(row), row.pool) == ("uCtua", "negative.observed")
        assert (said(row)[0], said(row)[3]) == ("Hi there", "Say more.")
        assert said(row)[2].startswith('[{"type": "missing"')
        assert said(row)[2].endswith("Fix the errors and try again.")
    picture = {"part_kind": "user-prompt", "content": [{"kind": "image-url", "url": "http://h/x"}]}
    [found] = read_file(written(tmp_path, [messages, [asked | {"parts": [picture]}, cut]]))[1:]
    assert found.error == "a content part that is no text: image-url"


def test_each_agent_of_a_team_has_its_own_conversation() -> None:
    for name in ("autogen_team.json", "autogen_team_state.json"):
        [found] = read_file(TRACES / name)
        solver, critic = found.rows
        assert (found.format, shape(solver), shape(critic)) == ("autogen", "uCtta", "uua")
        assert [r.meta["agent"] for r in found.rows] == ["assistant", "critic"]
        assert solver.messages[1].thought == "I need the weather."
        assert said(critic) == ["Weather in Paris?", "20 C in Paris. TERMINATE", "Good. APPROVE"]
        assert (solver.calls[1].args, said(solver)[3]) == ({"city": "Pari"}, "no such city")


def test_the_programs_summary_of_results_is_no_answer(tmp_path: Path) -> None:
    *log, last = lines("autogen.jsonl")
    last |= {"type": "ToolCallSummaryMessage", "content": "Paris: 20 C\nno such city"}
    row = only(written(tmp_path, [*log, last]))
    assert (shape(row), row.meta["after"]) == ("uC", ["Paris: 20 C", "no such city"])


def adk_event(author: str, text: str, **more: Any) -> dict[str, Any]:
    role = "user" if author == "user" else "model"
    return {"author": author, "content": {"role": role, "parts": [{"text": text}]},
            "invocationId": "1"} | more


def test_adk_drops_chunks_and_what_a_rewind_took_back(tmp_path: Path) -> None:
    log = [
        adk_event("user", "Hi"),
        adk_event("bot", "Hel", partial=True),
        adk_event("bot", "Hello"),
        adk_event("user", "Wrong", invocationId="2"),
        adk_event("bot", "Lost", invocationId="2"),
        {"author": "user", "invocationId": "3", "actions": {"rewindBeforeInvocationId": "2"},
         "content": {"parts": []}},
        adk_event("user", "Better", invocationId="4"),
        adk_event("bot", "Kept", invocationId="4"),
    ]
    assert said(only(written(tmp_path, log))) == ["Hi", "Hello", "Better", "Kept"]


def test_agents_of_adk_side_by_side_are_conversations(tmp_path: Path) -> None:
    log = [adk_event("user", "Hi"), adk_event("a", "one", branch="p.a"),
           adk_event("b", "two", branch="p.b"), adk_event("a", "three", branch="p.a")]
    [found] = read_file(written(tmp_path, log))
    assert [said(t) for t in found.rows] == [["Hi", "one", "three"], ["Hi", "two"]]
    assert [t.source_id for t in found.rows] == ["p.a", "p.b"]


def test_more_agents_than_any_run_has_are_refused(tmp_path: Path) -> None:
    """Each is read from the start, so that thousands would take for ever."""
    side = [adk_event("a", "x", branch=f"p.{i}") for i in range(5_000)]
    [found] = read_file(written(tmp_path, [adk_event("user", "Hi"), *side]))
    assert found.error == "more than 100 agents side by side"
    many = [{"type": "TextMessage", "source": f"a{i}", "content": "x"} for i in range(5_000)]
    [found] = read_file(written(tmp_path, many))
    assert found.error == "more than 100 agents in one conversation"


def test_an_answer_to_results_that_nobody_saw_is_not_trained_on(tmp_path: Path) -> None:
    row = only(TRACES / "adk_eval.json")
    assert row.meta["final_response"].startswith("Successfully booked flight to London")
    case = json.loads((TRACES / "adk_eval.json").read_text())
    case["eval_cases"][0]["conversation"].append(
        {"user_content": {"parts": [{"text": "Thanks!"}]},
         "final_response": {"parts": [{"text": "You are welcome."}]}})
    (tmp_path / "eval.json").write_text(json.dumps(case))
    row = only(tmp_path / "eval.json")
    assert (shape(row), [m.trained for m in row.messages]) == (
        "uCuCaua", [False, True, False, True, False, False, True])


def test_tools_of_an_evaluation_set_of_adk(tmp_path: Path) -> None:
    case = json.loads((TRACES / "adk_eval.json").read_text())
    said_so = case["eval_cases"][0]["conversation"][1]
    said_so["intermediate_data"]["tool_responses"] = [
        {"name": "book_flight", "response": {"status": "booked"}}]
    said_so["app_details"] = {"agent_details": {"flights": {
        "name": "flights", "instructions": "Book flights.", "tool_declarations": [
            {"function_declarations": [{"name": "book_flight", "description": "Books."}]}]}}}
    (tmp_path / "eval.json").write_text(json.dumps(case))
    row = only(tmp_path / "eval.json")
    assert (shape(row), row.tools[0].description) == ("suCuCta", "Books.")
    assert (said(row)[0], said(row)[5]) == ("Book flights.", '{"status": "booked"}')


def test_a_store_of_llamaindex_has_a_conversation_per_key(tmp_path: Path) -> None:
    store = json.loads((TRACES / "llamaindex_store.json").read_text())
    row = only(TRACES / "llamaindex_store.json")
    assert (row.source_id, said(row)) == (
        "user1", ["Weather in Paris?", "I look.", "Paris: 20 C", "20 C in Paris."])
    assert row.calls[0] == ToolCall("get_weather", '{"city": "Paris"}', "c1")
    turns = store["store"]["user1"]
    store["store"] |= {"user2": turns[:2], "asked": turns[:1]}
    memory = {"chat_store": store, "chat_store_key": "user1", "token_limit": 3000}
    [found] = read_file(written(tmp_path, [memory]))
    assert [(r.source_id, shape(r)) for r in found.rows] == [("user1", "uCta"), ("user2", "uC")]
    [found] = read_file(written(tmp_path, [{"store": {"asked": turns[:1]}}]))
    assert found.error == "a chat store without an answer"


def test_tools_that_a_prompt_of_smolagents_lists() -> None:
    [found] = read_file(TRACES / "smolagents_tools.jsonl")
    [row] = found.rows
    assert row.tools[0].description == "Weather of a city."
    assert row.tools[0].schema["properties"]["city"] == {
        "type": "string", "description": "the city"}
    assert (said(row), row.meta["after"]) == (
        ["Weather in Paris?", "I look.", "Paris: 20 C", ""], ["20 C in Paris."])
    assert (row.meta["tokens"], found.unread) == ([100, 20], {})


def test_code_of_smolagents_is_a_call_of_its_interpreter() -> None:
    row = only(TRACES / "smolagents_code.json")
    assert row.calls[0].args == {"code": 'w = get_weather(city="Paris")\nprint(w)'}
    assert (row.messages[1].thought, said(row)[1]) == ("I need the weather.", "")
    assert said(row)[2].startswith("Execution logs:\nParis: 20 C")


def test_plans_errors_and_the_limit_of_steps_of_smolagents(tmp_path: Path) -> None:
    def call(key: str) -> dict[str, Any]:
        return {"id": key, "type": "function",
                "function": {"name": "add", "arguments": {"a": key}}}

    step = {"step_number": 1, "code_action": None, "error": None, "observations": None}
    steps = [
        {"task": "Add.", "task_images": None},
        {"plan": "I add. ", "model_output_message": {}},
        step | {"model_output": 'I try.\nAction:\n{"name": "add"}',
                "tool_calls": [call("1"), call("2")], "observations": "3\n4"},
        step | {"model_output": "add", "tool_calls": None,
                "error": {"type": "AgentParsingError", "message": "no call"}},
        step | {"model_output": None, "tool_calls": [call("3")],
                "error": {"type": "AgentToolExecutionError", "message": "no such tool"}},
    ]
    (tmp_path / "run.json").write_text(json.dumps({"steps": steps, "state": "max_steps_error"}))
    row = only(tmp_path / "run.json")
    assert shape(row) == "uauCttauC"
    assert said(row)[1:6] == ["I add.", "Now proceed and carry out this plan.", "I try.", "3", "4"]
    assert (said(row)[7], row.meta["after"]) == ("Error: no call", ["Error: no such tool"])
    assert (row.outcome, row.outcome_word) == (0.0, "state=max_steps_error")


def test_atif_says_what_the_log_said_that_it_was_made_from() -> None:
    """Harbor's converter and our reader of Claude Code read the same log."""
    atif, log = only(TRACES / "atif_claude_code.json"), only(TRACES / "claude_code.jsonl")
    assert atif.calls == log.calls
    assert [m.thought for m in atif.messages] == [m.thought for m in log.messages]
    assert [m.content for m in atif.messages if m.role != "tool"] == [
        m.content for m in log.messages if m.role != "tool"]
    assert atif.meta["agent"] == "claude-code 2.0.24"


def test_steps_of_atif_that_are_not_trained_on_and_sub_agents(tmp_path: Path) -> None:
    call = {"tool_call_id": "c", "function_name": "run", "arguments": {}, "extra": {"retry": 1}}
    steps = [
        {"step_id": 1, "source": "user", "message": "Go."},
        {"step_id": 2, "source": "agent", "message": "Copied.", "is_copied_context": True},
        {"step_id": 3, "source": "agent", "message": "Executed run c", "tool_calls": [call],
         "observation": {"results": [{"source_call_id": "c", "content": None}]}},
        {"step_id": 4, "source": "agent", "message": "Wait.", "llm_call_count": 0,
         "observation": {"results": [{"content": "still going"}]}},
        {"step_id": 5, "source": "agent", "message": "Done."},
    ]
    agent = {"name": "a", "version": "1", "tool_definitions": [
        {"type": "function", "function": {"name": "run", "description": "Runs."}}]}
    inner = {"schema_version": "ATIF-v1.7", "trajectory_id": "sub", "agent": agent,
             "steps": steps[:1] + steps[4:]}
    outer = {"schema_version": "ATIF-v1.7", "session_id": "s", "agent": agent, "steps": steps,
             "subagent_trajectories": [inner], "reward": 1.0}
    [found] = read_file(written(tmp_path, [outer]))
    row, sub = found.rows
    assert (shape(row), row.outcome, row.source_id) == ("uaCtaua", 1.0, "s")
    assert [m.loss for m in row.messages] == [None, False, None, None, False, None, None]
    assert (said(row)[2], said(row)[5], row.tools[0].description) == ("", "still going", "Runs.")
    assert (said(sub), sub.source_id) == (["Go.", "Done."], "sub")
    bad = outer | {"steps": [{"source": "robot", "message": "x"}], "subagent_trajectories": []}
    [found] = read_file(written(tmp_path, [bad]))
    assert found.error == "a step of an unknown source: robot"


def test_runs_of_langsmith_by_line_as_a_tree_and_as_a_table_keeps_them(tmp_path: Path) -> None:
    runs = lines("langsmith_langchain.jsonl")
    root = runs[0] | {"feedback_stats": {"correctness": {"n": 1, "avg": 0.0}}}
    row = only(written(tmp_path, [root | {"child_runs": runs[1:]}]))
    assert row.messages == only(TRACES / "langsmith_langchain.jsonl").messages
    assert (row.outcome, row.outcome_word) == (0.0, "correctness=0.0")
    assert (row.meta["tokens"], row.meta["model_calls"]) == ([50, 10], 2)
    assert row.tools[0].description == "Weather of a city."
    quoted = [r | {k: json.dumps(r[k]) for k in ("inputs", "outputs", "extra")} for r in runs]
    assert only(written(tmp_path, quoted)).messages == row.messages


def test_a_run_of_langsmith_that_ends_at_a_call_has_its_tools_result(tmp_path: Path) -> None:
    root, asked, ran, _ = lines("langsmith_langchain.jsonl")
    row = only(written(tmp_path, [root, asked, ran]))
    assert (shape(row), row.meta["after"]) == ("suC", ["Paris: 20 C"])
    row = only(TRACES / "langsmith_openai.json")
    assert (said(row)[1], row.meta["model"], row.meta["tokens"]) == (
        "Howdy! How can I assist you today?", "gpt-4o-mini", [9, 9])


def test_requests_and_responses_of_coheres_first_api() -> None:
    for name in ("cohere_request.json", "cohere_response.json"):
        [found] = read_file(TRACES / name)
        [row] = found.rows
        # the response's history has null for the parameters, which the result repeats
        assert [(c.name, c.args) for c in row.calls] == [("magic_function", {"input": 3})]
        assert said(row)[3:] == ['[{"output": "5"}]', "The value of magic_function(3) is **5**."]
        assert (row.meta["tokens"], found.unread) == ([998, 59], {})
    row = only(TRACES / "cohere_request.json")
    assert row.tools[0].schema["properties"]["input"]["type"] == "integer"


def test_an_answer_of_cohere_that_was_cut_and_a_request_without_one(tmp_path: Path) -> None:
    row = json.loads((TRACES / "cohere_response.json").read_text())
    cut = only(written(tmp_path, [row | {"finish_reason": "MAX_TOKENS"}]))
    assert cut.pool == "negative.observed"
    asked = {"message": "Hi", "chat_history": [{"role": "SYSTEM", "message": "Be brief."}]}
    [found] = read_file(written(tmp_path, [asked]))
    assert found.error == "a conversation without an answer"


# --- conversations of a trace ------------------------------------------------------------------

ASKED, SAID = Message("user", "2 + 2?"), Message("assistant", "4")
CALL = Message("assistant", tool_calls=(ToolCall("add", '{"a": 2, "b": 2}', "c1"),))
SUM = Message("tool", "4", tool_call_id="c1")


def model(*prompt: Message, answer: Message | None = None, at: float = 0.0, **more: Any) -> Span:
    return Span("model", f"m{at}", start=at, end=at + 1, prompt=prompt,
                answer=(answer,) if answer else (), **more)


def test_calls_that_go_on_are_one_conversation_others_their_own() -> None:
    judge = model(Message("user", "Is 4 right?"), answer=Message("assistant", "yes"), at=9)
    spans = [judge, model(ASKED, CALL, SUM, answer=SAID, at=2), model(ASKED, answer=CALL, at=1)]
    one, other = trajectories_of(spans, "t", {}, 1.0, "good")
    assert one.messages == (ASKED, CALL, SUM, SAID)
    assert (one.outcome, one.source_id, one.meta["model_calls"]) == (1.0, "t/0", 2)
    assert (other.outcome, [m.content for m in other.messages]) == (None, ["Is 4 right?", "yes"])


def test_a_repeated_turn_needs_no_thought_and_no_spacing_of_arguments() -> None:
    thinking = Message("assistant", thought="add them", tool_calls=CALL.tool_calls)
    again = Message("assistant", tool_calls=(ToolCall("add", '{"b":2,"a":2}', "other"),))
    spans = [model(ASKED, answer=thinking, at=1), model(ASKED, again, SUM, answer=SAID, at=2)]
    [row] = trajectories_of(spans, "t", {})
    assert row.messages == (ASKED, thinking, SUM, SAID)


def test_a_trace_that_ends_at_a_call_has_the_tools_own_result() -> None:
    tool = Span("tool", "s", start=1.5, call=ToolCall("add", '{"b":2,"a":2}'), result="4")
    [row] = trajectories_of([model(ASKED, answer=CALL, at=1), tool], "t", {})
    assert row.messages == (ASKED, CALL)
    assert row.meta["after"] == ["4"]


def test_a_trace_that_failed_is_a_failure() -> None:
    root = Span("", "root", error="rate limited")
    [row] = trajectories_of([root, model(ASKED, answer=SAID, at=1, parent="root")], "t", {})
    assert (row.outcome, row.outcome_word) == (0.0, "error: rate limited")


def exchange(key: str, at: Any, text: Any, answer: str | None, why: str = "stop",
             **more: Any) -> dict[str, Any]:
    """A line of `raytune-agents capture`."""
    choice = {"message": {"role": "assistant", "content": answer}, "finish_reason": why}
    body = {"id": key, "choices": [choice]} if answer else None
    return {"type": "exchange", "session": "", "at": at, "id": key, "seconds": 1.0,
            "request": {"messages": [{"role": "user", "content": text}]}, "response": body} | more


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


def outcomes(path: Path) -> list[tuple[str, float | None]]:
    [found] = read_file(path)
    assert not found.error
    return [(said(row)[0], row.outcome) for row in found.rows]


def test_a_failed_exchange_is_no_failure_of_the_conversation_beside_it(tmp_path: Path) -> None:
    good = exchange("a", 1.0, "good", "yes")
    cut = exchange("b", 2.0, "cut", "no and", why="length")
    assert outcomes(written(tmp_path, [good, cut])) == [("good", None), ("cut", 0.0)]
    picture = exchange("b", 2.0, [PICTURE], "a cat")
    busy = exchange("", 0.5, "busy", None, error="status 429")
    assert outcomes(written(tmp_path, [good, picture])) == [("good", None)]
    # an endpoint that is down is no answer of the model's
    assert outcomes(written(tmp_path, [busy, good])) == [("busy", None), ("good", None)]
    unnamed = [exchange("", 1.0, "good", "yes"), exchange("", 2.0, "cut", "no", why="length")]
    assert outcomes(written(tmp_path, unnamed)) == [("good", None), ("cut", 0.0)]
    stray = {"type": "outcome", "session": "", "outcome": False}
    assert outcomes(written(tmp_path, [exchange("", 1.0, "good", "yes"), stray])) == [
        ("good", None)]


@pytest.mark.parametrize(("name", "value"), [
    ("at", "x"), ("at", "nan"), ("seconds", [1]), ("request", {"messages": 5}),
    ("response", {"choices": [{"message": {"role": "assistant", "content": [[]]}}]})])
def test_a_strange_exchange_costs_its_line(name: str, value: Any, tmp_path: Path) -> None:
    log = [exchange("a", 1.0, "good", "yes"), exchange("b", 2.0, "bad", "no") | {name: value}]
    [found] = read_file(written(tmp_path, log))
    assert [said(row) for row in found.rows] == [["good", "yes"]]
    assert "span" in found.unread


# --- torn and hostile --------------------------------------------------------------------------


LOGS = [n for n in REAL if n.endswith(".jsonl") and len(lines(n)) > 1]


@pytest.mark.parametrize("name", LOGS)
def test_half_a_log_is_read_as_far_as_it_goes(name: str, tmp_path: Path) -> None:
    """Each line may be missing, and the last one torn."""
    events = lines(name)
    for i in range(len(events)):
        for found in read_file(written(tmp_path, events[:i] + events[i + 1 :])):
            assert found.rows or found.error
    text = "".join(json.dumps(e) + "\n" for e in events)
    (tmp_path / "torn.jsonl").write_text(text[: len(text) - 40])
    found = read_file(tmp_path / "torn.jsonl")
    assert [bool(f.error) for f in found].count(True) == 1
    assert any(f.rows for f in found)


@pytest.mark.parametrize("name", sorted(REAL.keys() - set(LOGS)))
def test_half_a_document_is_one_counted_reason(name: str, tmp_path: Path) -> None:
    text = (TRACES / name).read_text()
    for part in (1 / 3, 0.9):
        path = tmp_path / f"torn{Path(name).suffix}"
        path.write_text(text[: int(len(text) * part)])
        if text.startswith("["):  # what stands behind the torn item cannot be found
            with pytest.raises(readers.SourceError, match="not JSON"):
                read_file(path)
            continue
        [found] = read_file(path)
        assert not found.rows
        assert found.error.startswith(("the file is no JSON to its end", "not JSON"))


BAD = (None, 7, [], {"a": {"b": [[]]}}, "\ud800", "{" * 50)


def hostile(value: Any, most: int) -> Any:
    """Every leaf replaced, one after the other, by what no writer meant; at most `most` of them."""
    changes = [(path, bad) for path in leaves(value) for bad in BAD]
    for path, bad in changes[:: max(1, len(changes) // most)]:
        changed = copy.deepcopy(value)
        at = changed
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = bad
        yield changed


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, dict | list) and inner:
            yield from leaves(inner, (*path, key))


def check_hostile(name: str, most: int) -> None:
    """Whatever stands in any field: a trajectory or a counted reason."""
    path = TRACES / name
    raw = next(r for _, r in readers.list_raw(SourceConfig(path=str(path))))
    assert isinstance(raw, dict)
    source = SourceConfig(path=str(path), format=REAL[name][0], redact=False)
    for changed in hostile(raw, most):
        found = readers.read_raw(changed, "x:1", source)
        assert bool(found.rows) != bool(found.error)


@pytest.mark.parametrize("name", sorted(REAL))
def test_no_value_of_a_trace_breaks_its_reader(name: str) -> None:
    check_hostile(name, 70)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(REAL))
def test_no_value_of_any_field_breaks_its_reader(name: str) -> None:
    check_hostile(name, 100_000)


def test_cycles_end(tmp_path: Path) -> None:
    events = lines("claude_code.jsonl")
    for i, event in enumerate(events):
        if "uuid" in event:
            event["uuid"] = f"u{i}"
            event["parentUuid"] = f"u{(i + 1) % len(events)}"
    [found] = read_file(written(tmp_path, events))
    assert found.rows
    assert found.rows[0].calls
    trace = json.loads((TRACES / "langfuse_langgraph.json").read_text())
    ids = [o["id"] for o in trace["observations"]]
    for seen, parent in zip(trace["observations"], ids[1:] + ids[:1]):
        seen["parentObservationId"] = parent
    path = tmp_path / "cycle.json"
    path.write_text(json.dumps(trace))
    assert shape(only(path)) == "uuCta"


def test_a_picture_costs_its_call_not_the_trace(tmp_path: Path) -> None:
    trace = json.loads((TRACES / "langfuse_langgraph.json").read_text())
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    last = trace["observations"][1]
    last["input"][0]["content"] = [part]
    path = tmp_path / "picture.json"
    path.write_text(json.dumps(trace))
    row = only(path)
    assert shape(row) == "uuC"
    assert len(row.meta["after"]) == 1
    assert (row.outcome, row.pool) == (None, "positive")
    trace["observations"][0]["input"][0]["content"] = [part]
    path.write_text(json.dumps(trace))
    assert read_file(path)[0].error == "a content part that is no text: image_url"


# --- Claude Code's tree ------------------------------------------------------------------------


def event(uuid: str, parent: str | None, role: str, content: Any, **more: Any) -> dict[str, Any]:
    message = {"role": role, "content": content} | (
        {"id": more.pop("id", f"msg_{uuid}")} if role == "assistant" else {}
    )
    return {"type": role, "uuid": uuid, "parentUuid": parent, "sessionId": "s", "message": message,
            "isSidechain": False} | more


def said(row: Trajectory) -> list[str]:
    return [m.content for m in row.messages]


def test_a_prompt_that_was_taken_back_leaves_with_what_followed(tmp_path: Path) -> None:
    log = [
        event("1", None, "user", "first"),
        event("2", "1", "assistant", [{"type": "text", "text": "answer"}]),
        event("3", "2", "user", "wrong words"),
        event("4", "3", "assistant", [{"type": "text", "text": "lost"}]),
        event("5", "2", "user", "better words"),
        event("6", "5", "assistant", [{"type": "text", "text": "kept"}]),
    ]
    row = only(written(tmp_path, log))
    assert said(row) == ["first", "answer", "better words", "kept"]
    assert row.meta["abandoned_events"] == 2


def test_results_of_calls_side_by_side_all_stay(tmp_path: Path) -> None:
    def use(key: str) -> list[Any]:
        return [{"type": "tool_use", "id": key, "name": "Read", "input": {"path": key}}]

    def result(key: str) -> list[Any]:
        return [{"type": "tool_result", "tool_use_id": key, "content": f"of {key}"}]

    log = [
        event("1", None, "user", "read both"),
        event("2", "1", "assistant", use("a"), id="m"),
        event("3", "2", "assistant", use("b"), id="m"),
        event("4", "3", "user", result("b")),
        event("5", "2", "user", result("a")),
        event("6", "5", "assistant", [{"type": "text", "text": "done"}]),
    ]
    row = only(written(tmp_path, log))
    assert shape(row) == "uCtta"
    assert [c.id for c in row.calls] == ["a", "b"]
    assert said(row)[2:4] == ["of a", "of b"]


def test_agents_and_compactions_are_conversations_of_their_own(tmp_path: Path) -> None:
    text = [{"type": "text", "text": "ok"}]
    log = [
        event("1", None, "user", "main"),
        event("2", "1", "assistant", text),
        event("x", None, "user", "sub task", isSidechain=True),
        event("y", "x", "assistant", text, isSidechain=True),
        {"type": "system", "subtype": "compact_boundary", "uuid": "b", "sessionId": "s"},
        event("3", "b", "user", "summary of it", isCompactSummary=True),
        event("4", "3", "assistant", text),
    ]
    [found] = read_file(written(tmp_path, log))
    assert [said(t)[0] for t in found.rows] == ["main", "summary of it", "sub task"]


def test_a_branch_is_left_however_the_program_notes_its_progress(tmp_path: Path) -> None:
    text = [{"type": "text", "text": "ok"}]

    def noted(key: str, parent: str) -> dict[str, Any]:
        return {"type": "progress", "uuid": key, "parentUuid": parent, "sessionId": "s", "data": {}}

    log = [
        event("1", None, "user", "first"), event("2", "1", "assistant", text),
        event("3", "2", "user", "wrong words"), noted("x", "3"), noted("y", "x"),
        event("4", "y", "assistant", [{"type": "text", "text": "lost"}]),
        event("5", "2", "user", "better words"), event("6", "5", "assistant", text),
    ]
    row = only(written(tmp_path, log))
    assert said(row) == ["first", "ok", "better words", "ok"]
    assert row.meta["abandoned_events"] == 2
    # notes between a reply and the prompts that compete for what follows it
    log[2]["parentUuid"], log[6]["parentUuid"] = "a", "b"
    aside = [noted("a", "2"), noted("b", "a"), noted("c", "d"), noted("d", "c")]
    assert only(written(tmp_path, [*aside, *log])).messages == row.messages


def test_an_id_that_is_no_text_costs_no_session(tmp_path: Path) -> None:
    log = [event("1", None, "user", "hi"),
           event("2", "1", "assistant", [{"type": "text", "text": "ok"}])]
    for key, value in itertools.product(("uuid", "parentUuid"), ([1], {"a": [{}]}, 7)):
        assert said(only(written(tmp_path, [log[0], log[1] | {key: value}]))) == ["hi", "ok"]


def seen_picture(key: str) -> list[Any]:
    """What Claude Code writes of a picture that a tool read."""
    source = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    inside = [{"type": "image", "source": source}]
    return [{"type": "tool_result", "tool_use_id": key, "content": inside}]


def test_a_screenshot_costs_what_follows_it_in_its_conversation(tmp_path: Path) -> None:
    text = [{"type": "text", "text": "ok"}]
    use = [{"type": "tool_use", "id": "t", "name": "Read", "input": {"path": "a.png"}}]
    log = [
        event("1", None, "user", "main"), event("2", "1", "assistant", use),
        event("3", "2", "user", seen_picture("t")), event("4", "3", "assistant", text),
        event("x", None, "user", "sub task", isSidechain=True),
        event("y", "x", "assistant", text, isSidechain=True),
        event("z", None, "user", seen_picture("u")[0]["content"], isSidechain=True),
        event("w", "z", "assistant", text, isSidechain=True),
    ]
    [found] = read_file(written(tmp_path, log))
    assert [shape(row) for row in found.rows] == ["uC", "ua"]
    reason = "a content part that is no text: image"
    assert found.rows[0].meta["errors"] == [f"unread: {reason}"]
    assert found.rows[0].meta["unread_events"] == 2
    assert found.unread["event"] == reason
    [found] = read_file(written(tmp_path, log[6:]))
    assert found.error == reason


def test_a_picture_in_codex_costs_what_follows_it(tmp_path: Path) -> None:
    log = lines("codex.jsonl")
    shown = {"type": "message", "role": "user", "content": [
        {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}]}
    event = {"timestamp": "t", "type": "response_item", "payload": shown}
    row = only(written(tmp_path, [*log[:-2], event, *log[-2:]]))
    assert shape(row) == "uuCtCtC"
    assert row.meta["errors"] == ["unread: a content part that is no text: input_image"]
    [found] = read_file(written(tmp_path, [log[0], event, *log[1:]]))
    assert found.error == "a content part that is no text: input_image"


def test_turns_that_were_rolled_back_in_codex_are_left_out(tmp_path: Path) -> None:
    def item(role: str, text: str) -> dict[str, Any]:
        part = {"type": "output_text" if role == "assistant" else "input_text", "text": text}
        return {"timestamp": "t", "type": "response_item",
                "payload": {"type": "message", "role": role, "content": [part]}}

    def back(turns: Any) -> dict[str, Any]:
        return {"timestamp": "t", "type": "event_msg",
                "payload": {"type": "thread_rolled_back", "num_turns": turns}}

    start = [item("user", "<environment_context>\n</environment_context>"),
             item("user", "one"), item("assistant", "1"),
             item("user", "two"), item("assistant", "2"),
             item("user", "<turn_aborted>x</turn_aborted>"),
             item("user", "three"), item("assistant", "3")]
    kept = [item("user", "four"), item("assistant", "4")]
    row = only(written(tmp_path, [*start, back(2), *kept]))
    assert said(row)[1:] == ["one", "1", "four", "4"]
    assert row.meta["abandoned_events"] == 5
    assert said(only(written(tmp_path, [*start, back(9), *kept])))[1:] == ["four", "4"]
    for nothing in (0, None, "x", -1):
        assert len(only(written(tmp_path, [*start, back(nothing), *kept])).messages) == 10
    [found] = read_file(written(tmp_path, [*start, back(3)]))
    assert found.error == "a session without an answer"


def test_a_picture_costs_what_follows_it_in_what_frameworks_save(tmp_path: Path) -> None:
    reason = "unread: a content part that is no text: "
    shown = {"kind": "request", "parts": [{"part_kind": "user-prompt", "content": [
        {"kind": "image-url", "url": "http://h/x"}]}]}
    log = lines("pydantic_ai.jsonl")
    row = only(written(tmp_path, [{"messages": [*log, shown, log[-1]]}]))
    assert (shape(row), row.meta["errors"]) == ("suCtCttaua", [f"{reason}image-url"])
    events = lines("openhands.jsonl")
    seen = next(e for e in events[::-1] if e["kind"] == "ObservationEvent")
    seen["observation"]["content"] = [{"type": "image", "image_urls": ["data:image/png;base64,"]}]
    row = only(written(tmp_path, events))
    assert (shape(row), row.meta["errors"]) == ("suCtC", [f"{reason}image"])


def test_a_picture_costs_its_agent_not_those_beside_it(tmp_path: Path) -> None:
    shown = {"inline_data": {"mime_type": "image/png", "data": "iVBORw0KGgo="}}
    log = [adk_event("user", "Hi"), adk_event("a", "one", branch="p.a"),
           adk_event("b", "two", branch="p.b")]
    log[1]["content"]["parts"].append(shown)
    [found] = read_file(written(tmp_path, log))
    assert [said(t) for t in found.rows] == [["Hi", "two"]]
    store = json.loads((TRACES / "llamaindex_store.json").read_text())
    picture = {"role": "user", "blocks": [{"block_type": "image", "url": "http://h/x.png"}]}
    store["store"]["shown"] = [picture, store["store"]["user1"][-1]]
    [found] = read_file(written(tmp_path, [store]))
    assert [t.source_id for t in found.rows] == ["user1"]
    assert found.unread["conversation"].startswith("a content part that is no text")


def test_a_conversation_that_cannot_be_held_costs_itself(tmp_path: Path) -> None:
    """A client that cut its history sends a result without its call."""
    torn = exchange("b", 2.0, "torn", "no")
    torn["request"]["messages"] += [{"role": "assistant", "content": ""},
                                    {"role": "tool", "tool_call_id": "c", "content": "4"}]
    [found] = read_file(written(tmp_path, [exchange("a", 1.0, "good", "yes"), torn]))
    assert [said(t) for t in found.rows] == [["good", "yes"]]
    assert found.unread["conversation"].startswith("an observation after")


# --- software-engineering runs and providers' requests -----------------------------------------


def test_swe_smith_puts_observations_into_turns_of_the_user() -> None:
    """SWE-smith marks them, but for those of commands that put nothing out."""
    row = only(TRACES / "swe_smith.jsonl")
    seen = [m for m in row.messages if m.role == "tool"]
    assert [m.name for m in seen] == ["bash", "str_replace_editor", "bash", "submit", "bash"]
    assert seen[0].content.startswith("/testbed/scripts/pandas_errors_documented.py")
    assert seen[-1].content == "Your command ran successfully and did not produce any output."
    assert row.calls[1].args == {"command": "view", "view_range": "[6035, 6050]",
                                 "path": "/testbed/pandas/core/indexes/base.py"}
    labelled = {"role": "user", "content": "EXECUTION RESULT of [execute_bash]:\nls: ok"}
    call = {"role": "assistant", "content":
            "<function=execute_bash>\n<parameter=command>ls</parameter>\n</function>"}
    turns = [{"role": "user", "content": "List."}, call]
    for answer, roles in ((labelled, "uCta"), (labelled | {"content": "Not so fast."}, "uCua")):
        rows = [{"messages": [*turns, answer, {"role": "assistant", "content": "Done."}]}]
        [found] = readers.read_raw(rows[0], "x:1", SourceConfig(path="x")).rows
        assert shape(found) == roles
        assert said(found)[2] == answer["content"].rpartition("\n")[2]


def test_a_traj_of_swe_agent_has_its_thoughts_and_results_by_id() -> None:
    row = only(TRACES / "swe_agent.traj")
    assert row.messages[2].thought.startswith("To start addressing this issue")
    assert [c.name for c in row.calls] == ["find_file", "open", "edit", "bash"]


def test_tools_that_come_later_and_are_searched_for() -> None:
    row = only(TRACES / "responses_request.json")
    assert [c.name for c in row.calls] == ["tool_search", "get_exchange_rate", "get_exchange_rate"]
    assert json.loads(said(row)[3])[0]["name"] == "get_exchange_rate"
    assert row.tools[1].description == "Look up the exchange rate for a currency pair."
    later = only(TRACES / "responses_later_tools.json")
    assert later.tools[1].description == "Look up the refund policy for an order."
    both = [{"type": "namespace", "name": "shop", "tools": [ADD[0]["function"]]},
            {"googleSearch": {}}, {"functionDeclarations": [{"name": "mul"}], "urlContext": {}}]
    row = readers.read_row({"messages": PLAIN, "tools": both}, "x:1")[0]
    assert [t.name for t in row.tools] == ["add", "google_search", "mul", "url_context"]


def test_geminis_requests_have_their_system_text_and_searches_of_its_own() -> None:
    row = only(TRACES / "gemini_request.json")
    assert said(row)[0].startswith("The following capabilities are deferred")
    searched = {"toolCall": {"id": "s", "toolType": "GOOGLE_SEARCH_WEB", "args": {"queries": []}}}
    seen = {"toolResponse": {"id": "s", "toolType": "GOOGLE_SEARCH_WEB", "response": {"n": 1}}}
    answer = {"candidates": [{"content": {"role": "model", "parts": [
        searched, seen, {"text": "Two."}]}}]}
    request = {"contents": [{"parts": [{"text": "How many?"}], "role": "user"}],
               "tools": [{"googleSearch": {}}]}
    [row] = readers.read_row({"request": request, "response": answer}, "x:1")
    assert (shape(row), row.calls[0].name, said(row)[2]) == (
        "uCta", "GOOGLE_SEARCH_WEB", '{"n": 1}')


def test_a_key_in_a_field_that_nothing_reads_is_no_example() -> None:
    server = {"type": "mcp", "name": "shop", "authorization": "no known shape"}
    [found] = [readers.read_raw({"messages": PLAIN, "tools": [server]}, "x:1",
                                SourceConfig(path="x"))]
    assert found.unread["tool.authorization"] == "[secret]"


def test_an_empty_call_is_none() -> None:
    empty = {"role": "assistant", "content": "4", "function_call": {"name": "", "arguments": ""}}
    [row] = readers.read_row({"messages": [*PLAIN[:1], empty]}, "x:1")
    assert (row.calls, said(row)[1]) == ((), "4")


def test_a_real_batch_of_openai_and_its_answers() -> None:
    good, cut = read_file(TRACES / "openai_batch.jsonl")
    assert said(good.rows[0]) == ["You are a helpful assistant.", "Hello world!",
                                  "Hello! How can I assist you today?"]
    assert (good.rows[0].meta["tokens"], good.rows[0].source_id) == ([20, 10], "request-1")
    assert (cut.rows[0].outcome, cut.rows[0].pool) == (0.0, "negative.observed")


# --- batches -----------------------------------------------------------------------------------

COMPLETION = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "logprobs": None,
                 "message": {"role": "assistant", "content": "4", "refusal": None}}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6},
}
MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "container": None,
    "content": [{"type": "tool_use", "id": "t", "name": "add", "input": {"a": 2}}],
    "stop_reason": "tool_use", "stop_sequence": None,
    "usage": {"input_tokens": 5, "output_tokens": 3},
}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "2 + 2?"}]}


def test_a_request_of_openais_batch_meets_its_answer(tmp_path: Path) -> None:
    asked = {"custom_id": "r-1", "method": "POST", "url": "/v1/chat/completions", "body": CHAT}
    answer = {"id": "b-1", "custom_id": "r-1", "error": None,
              "response": {"status_code": 200, "request_id": "q", "body": COMPLETION}}
    failed = answer | {"custom_id": "r-2", "response": None, "error": {"message": "expired"}}
    path = written(tmp_path, [asked, asked | {"custom_id": "r-2"}, answer, failed])
    good, bad = read_file(path)
    [row] = good.rows
    assert (said(row), row.meta["tokens"], row.source_id) == (["2 + 2?", "4"], [5, 1], "r-1")
    assert bad.error == 'a batch request without an answer: {"message": "expired"}'
    [alone] = read_file(written(tmp_path, [answer]))
    assert alone.error.startswith("a batch answer without its request")


def test_a_request_of_anthropics_batch_meets_its_answer(tmp_path: Path) -> None:
    answer = {"custom_id": "r", "result": {"type": "succeeded", "message": MESSAGE}}
    tool = {"name": "add", "description": "Adds.", "input_schema": {"type": "object"}}
    asked = {"custom_id": "r", "params": CHAT | {"system": "Add.", "tools": [tool]}}
    row = only(written(tmp_path, [asked, answer]))
    assert shape(row) == "suC"
    assert row.calls[0] == ToolCall("add", '{"a": 2}', "t")
    assert [t.name for t in row.tools] == ["add"]


ADD = [{"type": "function", "function": {"name": "add", "description": "Adds."}}]
BEDROCK = {"schemaType": "ModelInvocationLog", "input": {"inputBodyJson": {"messages": [
    {"role": "user", "content": [{"text": "2 + 2?"}]}]}}, "output": {"outputBodyJson": {
        "output": {"message": {"role": "assistant", "content": [{"text": "4"}]}}}}}


@pytest.mark.parametrize("row", [
    {"inputs": CHAT, "outputs": {"message": {"role": "assistant", "content": "4"}}},
    {"inputs": CHAT, "outputs": {"output": "4"}},
    {"inputs": json.dumps(CHAT), "outputs": json.dumps(COMPLETION)},
    {"op_name": "openai.chat", "inputs": CHAT, "output": COMPLETION},
    {"request": CHAT, "response": COMPLETION}, {"kwargs": CHAT, "response": COMPLETION},
    {"request_body": CHAT, "response_body": COMPLETION},
    {"input": CHAT["messages"], "output": COMPLETION["choices"], "span_id": "s"},
    {"input": CHAT["messages"], "ideal": ["4", "four"]},
    {"input": CHAT, "expectedOutput": {"role": "assistant", "content": "4"}},
    BEDROCK,
])
def test_a_request_and_its_answer_in_one_row(row: dict[str, Any], tmp_path: Path) -> None:
    [found] = read_file(written(tmp_path, [row]))
    assert (found.format, found.error) == ("exchange", "")
    assert said(found.rows[0]) == ["2 + 2?", "4"]


def test_requests_in_one_row_as_langsmith_recorded_them_cut_and_unanswered(tmp_path: Path) -> None:
    run = json.loads((TRACES / "langsmith_openai.json").read_text())
    pair = {"inputs": run["inputs"] | {"tools": ADD}, "outputs": run["outputs"]}
    cut = copy.deepcopy(pair)
    cut["outputs"]["choices"][0]["finish_reason"] = "length"
    lost = pair | {"outputs": {}}
    picture = copy.deepcopy(pair)
    picture["inputs"]["messages"][0]["content"] = [{"type": "image_url", "image_url": {}}]
    good, bad, *broken = read_file(written(tmp_path, [pair, cut, lost, picture]))
    assert said(good.rows[0]) == ["howdy", "Howdy! How can I assist you today?"]
    assert good.rows[0].tools[0].description == "Adds."
    assert (good.rows[0].meta["model"], bad.rows[0].pool) == (
        "gpt-4o-mini-2024-07-18", "negative.observed")
    assert [f.error for f in broken] == [
        "a request without an answer", "a content part that is no text: image_url"]


def test_a_conversation_one_level_down(tmp_path: Path) -> None:
    turns = [{"type": "human", "content": "2 + 2?"}, {"type": "ai", "content": "4"}]
    path = written(tmp_path, [{"values": {"messages": turns}, "next": []},
                              {"a": {"messages": turns}, "b": {"messages": turns}}])
    one, two = read_file(path)
    assert (said(one.rows[0]), one.unread) == (["2 + 2?", "4"], {})
    assert two.error.startswith("no known format")


PLAIN = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]


@pytest.mark.parametrize("name", ["dialogue", "history", "turns", "trajectory", "all_messages"])
def test_turns_under_any_name(name: str, tmp_path: Path) -> None:
    rows = [{name: PLAIN, "id": "a"}, {name: json.dumps(PLAIN), "id": "a"},
            {"run": {"messages": PLAIN, "id": "a"}, "tools": ADD}]
    for row in rows:
        [found] = read_file(written(tmp_path, [row]))
        assert (found.format, found.unread) == ("openai", {})
        assert (said(found.rows[0]), found.rows[0].source_id) == (["2 + 2?", "4"], "a")
    assert [t.name for t in found.rows[0].tools] == ["add"]


@pytest.mark.parametrize("name", ["history", "messages"])
def test_messages_of_frameworks_under_any_name(name: str, tmp_path: Path) -> None:
    for log in ("pydantic_ai.jsonl", "autogen.jsonl"):
        for column in (lines(log), json.dumps(lines(log))):
            row = only(written(tmp_path, [{name: column}]))
            assert row.messages == only(TRACES / log).messages


@pytest.mark.parametrize("row", [
    {"history": PLAIN, "other": PLAIN},  # which of them?
    {"prompts": PLAIN[:1]},  # nobody answers
    {"catalogue": ADD}, {"tools": PLAIN}, {"history": [{"role": "robot", "content": "x"}]},
    {"history": [*PLAIN, {"role": "assistant"}]},  # a turn that says nothing
])
def test_lists_that_are_no_conversation(row: dict[str, Any], tmp_path: Path) -> None:
    [found] = read_file(written(tmp_path, [row]))
    assert found.error.startswith("no known format")


@pytest.mark.slow
def test_the_providers_own_types_take_these_answers() -> None:
    chat = pytest.importorskip("openai.types.chat", reason="the openai package is not installed")
    messages = pytest.importorskip("anthropic.types.messages", reason="anthropic is not installed")
    assert chat.ChatCompletion.model_validate(COMPLETION).choices[0].message.content == "4"
    result = {"custom_id": "r", "result": {"type": "succeeded", "message": MESSAGE}}
    messages.MessageBatchIndividualResponse.model_validate(result)


def test_turns_and_items_as_lines_are_one_conversation(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    assert said(only(written(tmp_path, turns))) == ["hi", "hello"]
    items = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "function_call", "call_id": "c", "name": "wave", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "waved"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "o"}]},
    ]
    assert shape(only(written(tmp_path, items))) == "uCta"


# --- private data ------------------------------------------------------------------------------

PRIVATE = "I am ann@firm.io, +1 212-736-5000; key sk-abcdefghijklmnopqrstuvwx in /home/ann/x"


def test_private_data_of_a_log_is_replaced_and_counted(tmp_path: Path) -> None:
    call = {"type": "tool_use", "id": "t", "name": "mail", "input": {"to": "ann@firm.io", "n": 1}}
    log = [event("1", None, "user", PRIVATE), event("2", "1", "assistant", [call])]
    path = written(tmp_path, log)
    [found] = read_file(path)
    [row] = found.rows
    assert row.messages[0].content == "I am [email], [phone]; key [token] in /home/user/x"
    assert row.calls[0].arguments == '{"to": "[email]", "n": 1}'
    counts = {"email": 2, "home": 1, "phone": 1, "token": 1}
    assert (dict(found.redacted), row.meta["redacted"]) == (counts, counts)
    notes = SourceNotes()
    notes.add(found.format, found.sure, found.unread, found.redacted)
    assert notes.lines() == ["replaced as private: 2 email, 1 home, 1 phone, 1 token; "
                             "read.sources.redact=false keeps them"]
    assert said(only(path, redact=False))[0] == PRIVATE


@pytest.mark.parametrize(("request_text", "arguments", "hidden_text", "hidden_arguments"), [
    ("Log in as Ana, password: hunter22", {"user": "Ana", "pw": "hunter22"},
     "Log in as Ana, password: [secret]", {"user": "Ana", "pw": "[secret]"}),
    ("Log Ana in with the password hunter22.", {"who": {"password": "hunter22"}},
     "Log Ana in with the password [secret].", {"who": {"password": "[secret]"}}),
    ("Ana's PIN is 2222", {"pin": "2222"}, "Ana's PIN is 2222", {"pin": "2222"}),
    ("Mail it to ana@corp.io", {"to": "ana@corp.io"}, "Mail it to [email]", {"to": "[email]"}),
])  # fmt: skip
def test_request_and_call_agree_where_a_secret_is_one_by_its_place(
    tmp_path: Path, request_text: str, arguments: dict[str, Any], hidden_text: str,
    hidden_arguments: dict[str, Any],
) -> None:  # fmt: skip
    function = {"name": "log_in", "arguments": json.dumps(arguments)}
    call = {"id": "c", "type": "function", "function": function}
    turns = [{"role": "user", "content": request_text},
             {"role": "assistant", "content": "", "tool_calls": [call]}]  # fmt: skip
    row = only(written(tmp_path, [{"messages": turns}]), redact=True)
    assert row.messages[0].content == hidden_text
    assert row.calls[0].args == hidden_arguments


def test_data_sets_keep_what_they_say_unless_asked(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": PRIVATE}, {"role": "assistant", "content": "ok"}]
    path = written(tmp_path, [{"messages": turns}])
    assert said(only(path))[0] == PRIVATE
    assert "[email]" in said(only(path, redact=True))[0]


# --- size --------------------------------------------------------------------------------------


def long_trace(calls: int) -> list[dict[str, Any]]:
    """Spans of one agent run as an exporter writes them, each with the conversation so far."""
    turns: list[dict[str, Any]] = [{"role": "user", "parts": [{"type": "text", "content": "go"}]}]
    out = []
    for i in range(calls):
        use = {"type": "tool_call", "id": f"c{i}", "name": "look", "arguments": {"n": i}}
        reply = {"role": "assistant", "parts": [use]}
        values = {"gen_ai.operation.name": "chat", "gen_ai.input.messages": json.dumps(turns),
                  "gen_ai.output.messages": json.dumps([reply])}
        span = {"traceId": "t", "spanId": str(i), "startTimeUnixNano": str(i * 10**9),
                "attributes": [{"key": k, "value": {"stringValue": v}} for k, v in values.items()]}
        out.append({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
        seen = {"type": "tool_call_response", "id": f"c{i}", "result": "x" * 200}
        turns += [reply, {"role": "tool", "parts": [seen]}]
    return out


@pytest.mark.slow
def test_a_trace_of_100_mb_takes_linear_time(tmp_path: Path) -> None:
    """Per megabyte the large trace may take at most twice what a small one does."""
    speeds = []
    for calls in (160, 820):
        path = written(tmp_path, long_trace(calls), f"{calls}.jsonl")
        size, start = path.stat().st_size / 1e6, time.process_time()
        row = only(path)
        speeds.append((time.process_time() - start) / size)
        assert len(row.calls) == calls
    assert size > 100
    assert speeds[1] < 2 * speeds[0], (size, speeds)


IDS = re.compile(r'"(?:\w*(?:[iI]d|ID|uuid|Uuid))": ?"([^"\\\\]{4,})"')
DOCUMENTS = {"langfuse_langgraph.json": "observations", "mini_swe_tool.traj.json": "messages",
             "swe_agent.traj": "history", "atif_claude_code.json": "steps",
             "gemini_cli.json": "messages"}


def renamed(text: str, times: int) -> Iterator[str]:
    """The text again and again, each time with ids of its own."""
    ids = sorted(set(IDS.findall(text)), key=len, reverse=True)
    parts = re.split(f"({'|'.join(map(re.escape, ids))})", text) if ids else [text]
    for i in range(times):
        yield "".join(f"{part}-{i}" if j % 2 else part for j, part in enumerate(parts))


def grown(name: str, megabytes: float, path: Path) -> int:
    """Write a log of that size: sessions one after the other; of a document a longer list. Returns
    how often what is in it stands there."""
    text = (TRACES / name).read_text()
    tree = json.loads(text) if name in DOCUMENTS else {}
    start, rest = (items := tree.get(DOCUMENTS.get(name, ""), []))[:2], json.dumps(items[2:])
    times = int(megabytes * 1e6 / len(rest if tree else text)) + 1
    with path.open("w") as file:
        if not tree:
            file.writelines(renamed(text, times))
            return times
        head, _, tail = json.dumps(tree | {DOCUMENTS[name]: "@list"}).partition('"@list"')
        file.write(f"{head}{json.dumps(start)[:-1]}")
        file.writelines(f", {part[1:-1]}" for part in renamed(rest, times))
        file.write(f"]{tail}")
    return times


@pytest.mark.slow
@pytest.mark.parametrize(("large", "name"), [
    *((100, n) for n in (
        "claude_code.jsonl", "codex.jsonl", "openhands.jsonl", "openinference_sdk.jsonl",
        "langsmith_langchain.jsonl", "openai_batch.jsonl", "swe_smith.jsonl",
        "nemo_gym_aviary.jsonl", *list(DOCUMENTS)[:3])),
    *((16, n) for n in (
        "pydantic_ai.jsonl", "autogen.jsonl", "smolagents_tools.jsonl", *list(DOCUMENTS)[3:])),
])  # fmt: skip
def test_a_large_log_takes_linear_time(large: float, name: str, tmp_path: Path) -> None:
    """Per megabyte the large log may take at most three times what an eighth of it does (busy
    neighbours cost time, too); nothing is lost in it."""
    path, own = tmp_path / f"log{Path(name).suffix}", read_file(TRACES / name)
    sessions = sum(len(found.rows) for found in own)
    speeds, read = [], []
    for size in (large / 8, large):
        times, start, rows, calls = grown(name, size, path), time.process_time(), 0, 0
        for found in readers.read_source(SourceConfig(path=str(path))):
            assert not found.error
            rows += len(found.rows)
            calls += sum(len(row.calls) for row in found.rows)
        speeds.append((time.process_time() - start) / size)
        read.append(calls / times)
        assert rows in (1, sessions * times)
    assert speeds[1] < 3 * speeds[0], speeds
    # Langfuse: the same conversation in every observation is one
    assert read[0] == pytest.approx(read[1], rel=0.01) or calls == len(own[0].rows[0].calls)
