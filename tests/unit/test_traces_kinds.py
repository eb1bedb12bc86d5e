"""Second and third samples of each kind of trace: their structure, with words of our own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from soon import ends_soon

from raytune_agents import readers
from raytune_agents.config import SourceConfig
from raytune_agents.records import Trajectory

Event = dict[str, Any]


def read_log(path: Path, events: list[Event]) -> list[readers.SourceRow]:
    """The rows of a file of these lines."""
    path = path / "log.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return list(readers.read_source(SourceConfig(path=str(path))))


def rows_of(path: Path, events: list[Event]) -> list[Trajectory]:
    [found] = read_log(path, events)
    assert not found.error, found.error
    return list(found.rows)


def shape(row: Trajectory) -> str:
    """The roles of the turns by their first letter; C for a turn that calls."""
    return "".join("C" if m.tool_calls else m.role[0] for m in row.messages)


# --- Claude Code -------------------------------------------------------------------------------


def said(role: str, content: Any, **more: Any) -> Event:
    """A turn as Claude Code writes it."""
    made = {"id": f"msg_{more['uuid']}", "model": "claude"} if role == "assistant" else {}
    return {"type": role, "message": {"role": role, "content": content} | made} | more


USE = [{"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}}]
SEEN = [{"type": "tool_result", "tool_use_id": "t1", "content": "a.txt"}]
DONE = [{"type": "text", "text": "One file."}]


def test_notes_of_any_kind_belong_to_their_session(tmp_path: Path) -> None:
    """As in kirilligum/codex-langfuse-tracer testdata/sources/claude/live-metadata-records.jsonl:
    later versions write notes of new types, also before the first turn."""
    log = [
        {"type": "permission-mode", "permissionMode": "default", "sessionId": "s"},
        {"type": "mode", "mode": "normal", "content": "x", "sessionId": "s"},
        {"type": "pr-link", "url": "https://x.org", "sessionId": "s"},
        said("user", "List.", uuid="1", parentUuid=None, sessionId="s"),
        said("assistant", DONE, uuid="2", parentUuid="1", sessionId="s"),
    ]
    [row] = rows_of(tmp_path, log)
    assert shape(row) == "ua"
    other = {"type": "Started", "sessionId": "s"}
    assert [f.error[:15] for f in read_log(tmp_path, [other])] == ["no known format"]


def test_the_summary_of_a_compaction_is_the_prompt_of_what_follows(tmp_path: Path) -> None:
    """As in marot/spotter test/fixtures/transcripts: it is marked as for the transcript alone."""
    log = [
        said("user", "List.", uuid="1", parentUuid=None, sessionId="s"),
        said("assistant", DONE, uuid="2", parentUuid="1", sessionId="s"),
        {
            "type": "system",
            "subtype": "compact_boundary",
            "uuid": "b",
            "sessionId": "s",
            "parentUuid": None,
            "logicalParentUuid": "2",
        },
        said(
            "user",
            "So far: listed.",
            uuid="3",
            parentUuid="b",
            sessionId="s",
            isCompactSummary=True,
            isVisibleInTranscriptOnly=True,
        ),
        said("assistant", DONE, uuid="4", parentUuid="3", sessionId="s"),
        said(
            "user",
            "seen by no model",
            uuid="5",
            parentUuid="4",
            sessionId="s",
            isVisibleInTranscriptOnly=True,
        ),
    ]
    first, second = rows_of(tmp_path, log)
    assert [m.content for m in second.messages] == ["So far: listed.", "One file."]
    assert shape(first) == "ua"


def test_what_claude_code_prints_as_stream_json(tmp_path: Path) -> None:
    """As its documentation shows `claude -p --output-format stream-json --verbose`."""
    own = {"session_id": "s", "parent_tool_use_id": None}
    sub = own | {"parent_tool_use_id": "t9"}
    task = [{"type": "tool_use", "id": "t9", "name": "Task", "input": {"prompt": "Look."}}]
    end = [{"type": "tool_result", "tool_use_id": "t9", "content": "Nothing."}]
    result = {
        "type": "result",
        "subtype": "success",
        "is_error": False,
        "result": "One file.",
        "session_id": "s",
        "uuid": "9",
    }
    log = [
        {"type": "system", "subtype": "init", "tools": ["Bash"], "session_id": "s", "uuid": "0"},
        said("user", "List.", uuid="1", **own),
        {"type": "stream_event", "event": {"type": "message_start"}, **own},
        said("assistant", USE, uuid="2", **own),
        said("user", SEEN, uuid="3", **own),
        said("assistant", task, uuid="4", **own),
        said("user", "Look.", uuid="5", **sub),
        said("assistant", DONE, uuid="6", **sub),
        said("user", end, uuid="7", **own),
        said("assistant", DONE, uuid="8", **own),
        result,
    ]
    main, agent = rows_of(tmp_path, log)
    assert (shape(main), shape(agent)) == ("uCtCta", "ua")
    assert (main.outcome, main.source_id) == (None, "s/0")
    bad = result | {"subtype": "error_max_turns", "is_error": True}
    main, agent = rows_of(tmp_path, [*log[:-1], bad])
    assert (main.outcome, main.outcome_word) == (0.0, "is_error=True, error_max_turns")
    assert (main.pool, agent.outcome) == ("negative.observed", None)


# --- Codex -------------------------------------------------------------------------------------

ITEMS = [
    {
        "type": "message",
        "id": None,
        "role": "user",
        "content": [{"type": "input_text", "text": "List."}],
    },
    {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "I list."}],
        "content": None,
        "encrypted_content": "x",
    },
    {
        "type": "function_call",
        "id": "fc_1",
        "name": "shell",
        "call_id": "c1",
        "arguments": '{"command": ["ls"]}',
    },
    {"type": "function_call_output", "call_id": "c1", "output": "a.txt"},
    {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "txt"},
    },
    {
        "type": "message",
        "id": None,
        "role": "assistant",
        "content": [{"type": "output_text", "text": "One file."}],
    },
]
HEADER = {
    "id": "7e3f",
    "timestamp": "2025-08-20T13:20:47Z",
    "instructions": "Be brief.",
    "git": {"branch": "main"},
}


def test_codex_before_its_events_had_envelopes(tmp_path: Path) -> None:
    """As in yoavf/ai-sessions src/lib/providers/__tests__/fixtures/codex-sample.ts."""
    mark = {"record_type": "state"}
    log = [HEADER, mark, *(line for item in ITEMS for line in (item, mark))]
    [row] = rows_of(tmp_path, log)
    assert shape(row) == "suCtCa"
    assert (row.source_id, row.messages[0].content) == ("7e3f", "Be brief.")
    assert [(c.name, c.id) for c in row.calls] == [("shell", "c1"), ("web_search", "ws_1")]
    assert (row.messages[2].thought, [t.name for t in row.tools]) == (
        "I list.",
        ["shell", "web_search"],
    )
    # the first version wrote one document
    [old] = rows_of(tmp_path, [{"session": HEADER, "items": ITEMS}])
    assert (old.messages, old.source_id) == (row.messages, "7e3f")


def test_later_kinds_of_lines_belong_to_their_session(tmp_path: Path) -> None:
    """As in crispierry/codex-log-viewer fixtures/codex/event-shapes.jsonl."""
    meta = {"timestamp": "t", "type": "session_meta", "payload": {"id": "s"}}
    later = {"timestamp": "t", "type": "world_state", "payload": {"type": "x"}}
    items = [{"timestamp": "t", "type": "response_item", "payload": item} for item in ITEMS]
    [found] = read_log(tmp_path, [meta, later, *items, later])
    [row] = found.rows
    assert (shape(row), row.source_id) == ("uCtCa", "s")
    assert found.unread == {"event.world_state": "{type}"}
    assert [f.error[:15] for f in read_log(tmp_path, [later])] == ["no known format"]


def codex_log(*items: Event) -> list[Event]:
    """A session of Codex with these items."""
    meta = {"timestamp": "t", "type": "session_meta", "payload": {"id": "s"}}
    return [meta, *({"timestamp": "t", "type": "response_item", "payload": i} for i in items)]


@pytest.mark.parametrize(
    "item",
    [
        {"type": "token_report", "info": {"total": 5}},
        {"type": "banner", "message": "A new version is there."},
        {"type": "sealed_reasoning", "content": "gAAAA"},
    ],
)
@pytest.mark.parametrize("place", [0, 2, 4, 6])
def test_an_item_of_codex_that_is_no_part_of_the_conversation_is_passed(
    item: Event, place: int, tmp_path: Path
) -> None:
    items: list[Event] = list(ITEMS)
    [whole] = rows_of(tmp_path, codex_log(*items))
    items.insert(place, item)
    [found] = read_log(tmp_path, codex_log(*items))
    [row] = found.rows
    assert (row.messages, row.meta.get("errors")) == (whole.messages, None)
    assert list(found.unread) == [f"output.{item['type']}"]


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({"type": "page_visit", "call_id": "p1", "name": "visit", "arguments": "{}"}, "page_visit"),
        ({"type": "page_visit_call", "id": "p1", "page": "a"}, "page_visit_call"),
        ({"type": "thinking_call", "id": "p1"}, "thinking_call"),
        ({"type": "page", "content": [{"type": "input_text", "text": "a"}]}, "page"),
        ({"type": "function_call_output", "call_id": "p1", "output": "x"}, "functioncalloutput"),
    ],
)
def test_a_session_of_codex_ends_before_what_was_said_or_called_and_is_not_known(
    item: Event, reason: str, tmp_path: Path
) -> None:
    [row] = rows_of(tmp_path, codex_log(*ITEMS[:4], item, *ITEMS[4:]))
    assert shape(row) == "uC"
    [error] = row.meta["errors"]
    assert error.endswith(f": {reason}")


def test_what_another_agent_tells_one_of_codex_is_as_a_request(tmp_path: Path) -> None:
    """As in the roll-outs of Codex' sub-agents."""
    told = {
        "type": "agent_message",
        "author": "/root",
        "recipient": "/root/list",
        "content": [{"type": "input_text", "text": "Message Type: NEW_TASK"}],
    }
    [row] = rows_of(tmp_path, codex_log(told, *ITEMS[1:]))
    assert (shape(row), row.messages[0].content) == ("uCtCa", "Message Type: NEW_TASK")
    sealed = told | {"content": [{"type": "encrypted_content", "encrypted_content": "x"}]}
    [found] = read_log(tmp_path, codex_log(sealed, *ITEMS[1:]))
    assert not found.rows
    assert "encrypted_content" in found.error


def test_what_codex_exec_prints_says_where_the_log_is(tmp_path: Path) -> None:
    """As openai/codex documents `codex exec --json`: no prompt, and of a patch only the paths."""
    change = {"id": "item_1", "type": "file_change", "changes": [{"path": "a", "kind": "add"}]}
    log = [
        {"type": "thread.started", "thread_id": "0199"},
        {"type": "turn.started"},
        {"type": "item.completed", "item": change},
        {"type": "turn.completed", "usage": {"input_tokens": 5, "output_tokens": 1}},
    ]
    [found] = read_log(tmp_path, log)
    assert found.error.startswith("what codex exec --json prints has no prompt")
    assert "rollout-" in found.error


# --- OpenTelemetry -----------------------------------------------------------------------------

LOOK = {"id": "c1", "name": "look", "arguments": '{"n": 1}'}
CALLED = {"id": "c1", "type": "function",
          "function": {"name": "look", "arguments": '{"n": 1}'}}


def span(key: str, about: Event, parent: str = "", at: int = 0, **more: Any) -> Event:
    """A span as CloudWatch and others export it: its ids at the top."""
    return {"traceId": "t", "spanId": key, "parentSpanId": parent, "name": key,
            "startTimeUnixNano": at * 10**9, "endTimeUnixNano": (at + 1) * 10**9,
            "attributes": about} | more


def asked(text: str) -> str:
    return json.dumps([{"role": "user", "parts": [{"type": "text", "content": text}]}])


def answered(*parts: Event) -> str:
    return json.dumps([{"role": "assistant", "parts": list(parts)}])


CHAT = {"gen_ai.operation.name": "chat"}


def told(name: str, **about: Any) -> Event:
    return {"name": f"gen_ai.{name}", "attributes": about}


def test_messages_as_events_of_a_span(tmp_path: Path) -> None:
    """As in aws/bedrock-agentcore-sdk-python e2e_tests/fixtures/strands_tool_call_spans.json."""
    use = {"toolUse": {"toolUseId": "c1", "name": "look", "input": {"n": 1}}}
    seen = {"toolResult": {"toolUseId": "c1", "status": "success", "content": [{"text": "7"}]}}
    first = [told("user.message", content='[{"text": "Look."}]')]
    second = [*first, told("assistant.message", content=json.dumps([use])),
              told("tool.message", content=json.dumps([seen]))]
    schema = '{"type": "object", "properties": {"n": {"type": "integer"}}}'
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look",
            "gen_ai.tool.call.id": "c1", "gen_ai.tool.json_schema": schema}
    agent = {"gen_ai.operation.name": "invoke_agent", "system_prompt": "Be brief."}
    log = [
        span("m1", CHAT, "a", 1, events=[
            *first, told("choice", message=json.dumps([{"text": "I look."}, use]),
                         finish_reason="tool_use")]),
        span("x", tool, "a", 2, events=[
            told("tool.message", role="tool", content='{"n": 1}', id="c1"),
            told("choice", message='[{"text": "7"}]', id="c1")]),
        span("m2", CHAT, "a", 3, events=[
            *second, told("choice", message='[{"text": "Seven."}]', finish_reason="end_turn")]),
        span("a", agent, "", 0, events=[*first, told("choice", message="Seven.")]),
    ]
    [row] = rows_of(tmp_path, [{"sessionSpans": log}])
    # what the later prompt leaves out of the first answer stands in that answer alone
    assert [m.content for m in row.messages] == ["Be brief.", "Look.", "I look.", "7", "Seven."]
    # one run whose second call was not recorded: the tool's own span says what it gave
    [row] = rows_of(tmp_path, [{"sessionSpans": [log[0], log[1], log[3]]}])
    assert (shape(row), row.meta["after"]) == ("suC", ["7"])
    assert (row.calls[0].name, row.calls[0].args, row.calls[0].id) == ("look", {"n": 1}, "c1")
    assert row.tools[0].schema["properties"] == {"n": {"type": "integer"}}


def test_messages_as_log_records_beside_the_spans(tmp_path: Path) -> None:
    """As opentelemetry-instrumentation-openai-v2 writes with events, exported as OTLP."""
    def record(name: str, body: Event, at: int) -> Event:
        pairs = [{"key": k, "value": value(v)} for k, v in body.items()]
        return {"traceId": "t", "spanId": "m1", "timeUnixNano": str(at), "eventName": name,
                "attributes": [], "body": {"kvlistValue": {"values": pairs}}}

    def value(given: Any) -> Event:
        if isinstance(given, dict):
            inner = [{"key": k, "value": value(v)} for k, v in given.items()]
            return {"kvlistValue": {"values": inner}}
        if isinstance(given, list):
            return {"arrayValue": {"values": [value(v) for v in given]}}
        return {"intValue": str(given)} if isinstance(given, int) else {"stringValue": given}

    records = [
        record("gen_ai.system.message", {"content": "Be brief."}, 1),
        record("gen_ai.user.message", {"content": "Look."}, 2),
        record("gen_ai.assistant.message", {"tool_calls": [CALLED]}, 3),
        record("gen_ai.tool.message", {"id": "c1", "content": "7"}, 4),
        record("gen_ai.choice", {"index": 0, "finish_reason": "stop", "message": {
            "role": "assistant", "content": "Seven."}}, 5),
        record("gen_ai.choice", {"index": 1, "finish_reason": "stop", "message": {
            "role": "assistant", "content": "It is 7."}}, 6),
    ]
    logs = {"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}
    chat = span("m1", [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}])
    spans = {"resourceSpans": [{"scopeSpans": [{"spans": [chat]}]}]}
    for log in ([spans, logs], [logs, spans], [logs]):
        [row] = rows_of(tmp_path, log)
        assert shape(row) == "suCta"
        assert (row.messages[3].tool_call_id, row.messages[4].content) == ("c1", "Seven.")


def test_one_event_has_the_messages_of_a_call(tmp_path: Path) -> None:
    """As strands-agents/evals tests/strands_evals/mappers/fixtures/otel_genai_convention_spans."""
    details = {"event_name": "gen_ai.client.inference.operation.details", "attributes": {
        "gen_ai.input.messages": json.loads(asked("Look.")),
        "gen_ai.output.messages": json.loads(answered({"type": "tool_call"} | LOOK))}}
    one = {"trace_id": "t", "span_id": "m", "parent_span_id": None, "start_time": 5,
           "attributes": CHAT, "span_events": [details]}
    [row] = rows_of(tmp_path, [{"session_id": "s", "span_count": 1, "spans": [one]}])
    assert (shape(row), row.calls[0].args, row.source_id) == ("uC", {"n": 1}, "t")


def flat(column: str, turns: list[Event]) -> Event:
    """Turns as OpenInference flattens them."""
    about: Event = {}
    for i, turn in enumerate(turns):
        at = f"llm.{column}.{i}.message"
        about |= {f"{at}.{k}": v for k, v in turn.items() if k != "calls"}
        for j, call in enumerate(turn.get("calls", [])):
            use = f"{at}.tool_calls.{j}.tool_call"
            about |= {f"{use}.id": call["id"], f"{use}.function.name": call["name"],
                      f"{use}.function.arguments": call["arguments"]}
    return about


USER = {"role": "user", "content": "Look twice."}
TWICE = [LOOK, LOOK | {"id": "c2", "arguments": '{"n": 2}'}]
SEVEN = [{"role": "tool", "content": str(n), "tool_call_id": f"c{n}"} for n in (1, 2)]


def phoenix(key: str, kind: str, about: Event, at: int = 0, parent: str | None = None) -> Event:
    """A span as Phoenix's API exports it."""
    times = {"start_time": f"2026-01-01T00:00:0{at}Z", "end_time": f"2026-01-01T00:00:0{at}Z"}
    return {"id": f"row-{key}", "name": key, "context": {"trace_id": "t", "span_id": key},
            "span_kind": kind, "parent_id": parent, "status_code": "OK", "status_message": "",
            "attributes": about, "events": []} | times


def test_spans_as_phoenix_exports_them(tmp_path: Path) -> None:
    """As Arize-ai/phoenix tests/unit/pxi/evals/online_evals/fixtures/pxi_turn_trace.json; the calls
    of one answer may stand in turns of their own, as in strands-agents/evals
    tests/strands_evals/mappers/fixtures/openai_agents_openinference_live_spans.json."""
    first = flat("input_messages", [USER]) | flat(
        "output_messages", [{"role": "assistant", "calls": TWICE}])
    apart = [{"role": "assistant", "calls": [call]} for call in TWICE]
    second = flat("input_messages", [USER, *apart, *SEVEN]) | flat(
        "output_messages", [{"role": "assistant", "content": "1 and 2."}])
    log = [phoenix("m1", "LLM", first | {"llm.tools.0.tool.json_schema": "{}"}, 1, "a"),
           phoenix("m2", "LLM", second, 3, "a"), phoenix("a", "AGENT", {})]
    [row] = rows_of(tmp_path, log)
    assert (shape(row), [c.id for c in row.calls]) == ("uCtta", ["c1", "c2"])
    # and its table, whose lists are nested
    def listed(turns: list[Event]) -> list[Event]:
        return [{f"message.{k}": v for k, v in turn.items()} for turn in turns]

    table = [{"name": "m1", "span_kind": "LLM", "parent_id": None, "context.trace_id": "t",
              "context.span_id": "m1", "start_time": "2026-01-01T00:00:00Z", "events": [],
              "attributes.llm.input_messages": listed([USER]),
              "attributes.llm.output_messages": listed([{"role": "assistant", "content": "Ok."}]),
              "attributes.llm.model_name": "m", "attributes.tool.name": None}]
    [row] = rows_of(tmp_path, table)
    assert (shape(row), row.meta["model"], row.source_id) == ("ua", "m", "t")


def test_an_agents_span_alone_is_its_conversation(tmp_path: Path) -> None:
    """As in strands-agents/evals tests/strands_evals/mappers/fixtures/claude_live_spans.json: no
    call of the model has a span; results stand in those of the tools."""
    thought = {"role": "assistant", "contents.0.message_content.type": "reasoning",
               "contents.0.message_content.text": "I look."}
    run = {"openinference.span.kind": "AGENT", "input.value": "Look twice."} | flat(
        "output_messages", [thought, *[{"role": "assistant", "calls": [call]} for call in TWICE],
                            {"role": "assistant", "content": "1 and 2."}])
    tools = [{"openinference.span.kind": "TOOL", "tool.name": "look", "tool.id": f"c{n}",
              "input.value": json.dumps({"n": n}), "output.value": str(n)} for n in (1, 2)]
    log = [span("a", run), *(span(f"x{i}", t, "a", i + 1) for i, t in enumerate(tools))]
    [row] = rows_of(tmp_path, log)
    assert (shape(row), [m.content for m in row.messages[2:4]]) == ("uCtta", ["1", "2"])
    assert row.messages[1].thought == "I look."


def test_what_vercels_sdk_and_googles_write(tmp_path: Path) -> None:
    """As ai-sdk.dev documents its telemetry; as in strands-agents/evals
    tests/strands_evals/mappers/fixtures/adk_live_spans.json."""
    tool = json.dumps({"type": "function", "name": "look", "description": "Looks.",
                       "inputSchema": {"type": "object", "properties": {}}})
    calls = [{"toolCallId": "c1", "toolName": "look", "input": '{"n": 1}'}]
    sdk = {"ai.operationId": "ai.generateText.doGenerate", "ai.prompt.tools": [tool],
           "ai.prompt.messages": '[{"role": "user", "content": [{"type": "text", "text": "Hi."}]}]',
           "ai.response.toolCalls": json.dumps(calls), "ai.usage.promptTokens": 5}
    ran = {"ai.operationId": "ai.toolCall", "ai.toolCall.name": "look", "ai.toolCall.id": "c1",
           "ai.toolCall.args": '{"n": 1}', "ai.toolCall.result": "7"}
    [row] = rows_of(tmp_path, [span("o", {"ai.operationId": "ai.generateText"}),
                               span("m", sdk, "o", 1), span("x", ran, "o", 2)])
    assert (shape(row), row.meta["after"], row.meta["tokens"]) == ("uC", ["7"], [5, 0])
    assert row.tools[0].description == "Looks."
    config = {"system_instruction": "Be brief.",
              "tools": [{"function_declarations": [{"name": "look", "description": "Looks."}]}]}
    hi = {"role": "user", "parts": [{"text": "Hi."}]}
    adk = {"gen_ai.system": "gcp.vertex.agent", "gcp.vertex.agent.llm_request": json.dumps(
        {"model": "gemini", "config": config, "contents": [hi]})}
    adk["gcp.vertex.agent.llm_response"] = json.dumps({"content": {"role": "model", "parts": [
        {"function_call": {"id": "c1", "name": "look", "args": {"n": 1}}}]}})
    inner = {"gen_ai.operation.name": "generate_content", "gen_ai.request.model": "gemini"}
    [row] = rows_of(tmp_path, [span("m", adk), span("i", inner, "m", 1)])
    assert (shape(row), row.calls[0].args, row.tools[0].description) == ("suC", {"n": 1}, "Looks.")


def test_records_of_awss_distribution(tmp_path: Path) -> None:
    """As in aws/bedrock-agentcore-sdk-python e2e_tests/fixtures/openinference_langchain_spans.json,
    and of Strands: one record has all messages of a call."""
    def record(asked: list[Event], answered: list[Event]) -> Event:
        body = {"input": {"messages": asked}, "output": {"messages": answered}}
        return {"traceId": "t", "spanId": "m", "timeUnixNano": 5, "severityText": "",
                "attributes": {"event.name": "strands.telemetry.tracer"}, "body": body}

    use = {"toolUse": {"toolUseId": "c1", "name": "look", "input": {"n": 1}}}
    strands = record(
        [{"role": "system", "content": "Be brief."},
         {"role": "user", "content": {"content": '[{"text": "Look."}]'}}],
        [{"role": "assistant", "content": {"message": json.dumps([use]),
                                           "finish_reason": "tool_use"}}])
    [row] = rows_of(tmp_path, [span("m", CHAT), strands])
    assert (shape(row), row.calls[0].args) == ("suC", {"n": 1})
    human = {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "HumanMessage"],
             "kwargs": {"content": "Look.", "type": "human"}}
    reply = {"text": "", "message": {"kwargs": {"content": "", "type": "ai", "tool_calls": [
        {"name": "look", "args": {"n": 1}, "id": "c1", "type": "tool_call"}]},
        "lc": 1, "type": "constructor", "id": ["langchain", "schema", "AIMessage"]}}
    chain = record(
        [{"role": "user", "content": json.dumps({"messages": [[human]]})},
         {"role": "user", "content": "Look."}],
        [{"role": "assistant", "content": json.dumps({"generations": [[reply]]})},
         {"role": "assistant", "content": ""}])
    [row] = rows_of(tmp_path, [span("m", {"openinference.span.kind": "LLM"}), chain])
    assert (shape(row), row.calls[0].args) == ("uC", {"n": 1})


def test_spans_of_mlflow(tmp_path: Path) -> None:
    """As `mlflow.entities.Trace.to_json` writes them: values are JSON texts."""
    def own(kind: str, given: Any, gave: Any) -> Event:
        return {"mlflow.spanType": json.dumps(kind), "mlflow.spanInputs": json.dumps(given),
                "mlflow.spanOutputs": json.dumps(gave)}

    body = {"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": [CALLED]},
                         "finish_reason": "tool_calls", "index": 0}]}
    ask = {"model": "m", "messages": [{"role": "user", "content": "Look."}]}
    log = [span("a", own("AGENT", "Look.", "7")), span("m", own("CHAT_MODEL", ask, body), "a", 1),
           span("look", own("TOOL", {"n": 1}, "7"), "a", 2)]
    [row] = rows_of(tmp_path, [{"info": {"trace_id": "t"}, "data": {"spans": log}}])
    assert (shape(row), row.meta["after"]) == ("uC", ["7"])


ASKED = {"model": "m", "messages": [{"role": "user", "content": "Hi."}]}
ANSWERED = {"choices": [{"index": 0, "finish_reason": "stop", "message": {
    "role": "assistant", "content": "Hello."}}]}


@pytest.mark.parametrize("about", [
    {"langfuse.observation.type": "generation",
     "langfuse.observation.input": json.dumps(ASKED["messages"]),
     "langfuse.observation.output": "Hello."},  # Langfuse's SDK
    {"langsmith.span.kind": "llm", "gen_ai.prompt": json.dumps(ASKED),
     "gen_ai.completion": json.dumps(ANSWERED)},  # LangSmith's
    {"gen_ai.request.model": "m", "request_data": json.dumps(ASKED), "response_data": json.dumps(
        {"message": {"role": "assistant", "content": "Hello."}, "usage": None})},  # Logfire
    {"ai.operationId": "ai.generateText", "ai.prompt": '{"prompt": "Hi."}',
     "ai.response.text": "Hello."},
    {"openinference.span.kind": "LLM", "input.value": json.dumps(ASKED),
     "output.value": json.dumps(ANSWERED)},
])
def test_bodies_under_the_names_of_each_program(about: Event, tmp_path: Path) -> None:
    """As in langfuse/langfuse web/src/__tests__/server/api/otel/otelMapping.servertest.ts and
    pydantic/logfire tests/otel_integrations."""
    [row] = rows_of(tmp_path, [span("m", about)])
    assert [m.content for m in row.messages] == ["Hi.", "Hello."]


@pytest.mark.parametrize("given", [
    {"args": [], "kwargs": {"n": 1}}, {"inputs": {"n": 1}, "input_str": "x", "tags": []},
])
def test_what_a_tracer_says_of_a_tools_call(given: Event, tmp_path: Path) -> None:
    """As in strands-agents/evals tests/strands_evals/mappers/fixtures/smolagents_live_spans, and
    as OpenLLMetry writes LangChain's."""
    said = CHAT | {"gen_ai.input.messages": asked("Look."),
                   "gen_ai.output.messages": answered({"type": "tool_call", "name": "look",
                                                       "arguments": {"n": 1}})}
    ran = {"traceloop.span.kind": "tool", "traceloop.entity.name": "look",
           "traceloop.entity.input": json.dumps(given), "traceloop.entity.output": '"7"'}
    [row] = rows_of(tmp_path, [span("m", said), span("x", ran, at=1)])
    assert row.meta["after"] == ["7"]


def test_what_smolagents_says_it_ran(tmp_path: Path) -> None:
    """As in strands-agents/evals tests/strands_evals/mappers/fixtures/smolagents_live_spans."""
    ran = {"id": "c1", "type": "function", "function": {
        "name": "python_interpreter", "arguments": "print(look(n=1))"}}
    turns = [{"role": "user", "content": "Look."},
             {"role": "assistant", "content": "Thought: I look."},
             {"role": "tool-call", "content": f"Calling tools:\n{[ran]}"},
             {"role": "tool-response", "content": "Observation:\n7"}]
    about = {"openinference.span.kind": "LLM"} | flat("input_messages", turns) | flat(
        "output_messages", [{"role": "assistant", "content": "Seven."}])
    [row] = rows_of(tmp_path, [span("m", about)])
    assert (shape(row), row.calls[0].args) == ("uCta", {"code": "print(look(n=1))"})


def test_a_call_that_is_told_twice_counts_once(tmp_path: Path) -> None:
    """As in langfuse/langfuse worker/src/__tests__/chatml/framework-traces/agno-2025-06-11: two
    instrumentations describe each call, one inside the other."""
    outer = CHAT | {"gen_ai.input.messages": asked("Look."),
                    "gen_ai.output.messages": answered({"type": "tool_call"} | LOOK)}
    inner = CHAT | {"gen_ai.input.messages": asked("user: Look."),
                    "gen_ai.output.messages": answered({"type": "text", "content": "None"})}
    [row] = rows_of(tmp_path, [span("o", outer), span("i", inner, "o", 1)])
    assert (shape(row), row.meta["model_calls"]) == ("uC", 1)
    # an agent that a tool runs stands below a call, too, and is one of its own
    run = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look"}
    rows = rows_of(tmp_path, [span("o", outer), span("x", run, "o", 1), span("i", inner, "x", 2)])
    assert sorted(shape(row) for row in rows) == ["uC", "ua"]


def test_a_prompt_without_the_turn_that_called_goes_on(tmp_path: Path) -> None:
    """As in langfuse/langfuse worker/src/__tests__/chatml/framework-traces/
    microsoft-agent-2025-12-17: the server holds what was said before."""
    seen = {"type": "tool_call_response", "id": "c1", "response": "7"}
    result = {"role": "tool", "parts": [seen]}
    end = answered({"type": "text", "content": "Seven."})
    first = CHAT | {"gen_ai.input.messages": asked("Look."),
                    "gen_ai.output.messages": answered({"type": "tool_call"} | LOOK)}
    for turns in ([result], [*json.loads(asked("Look.")), result]):
        second = CHAT | {"gen_ai.input.messages": json.dumps(turns), "gen_ai.output.messages": end}
        [row] = rows_of(tmp_path, [span("m1", first), span("m2", second, at=1)])
        assert (shape(row), row.meta["model_calls"]) == ("uCta", 2)


def test_deep_and_round_traces_take_linear_time(tmp_path: Path) -> None:
    said = CHAT | {"gen_ai.input.messages": asked("Look."),
                   "gen_ai.output.messages": answered({"type": "text", "content": "Seven."})}
    deep = [span(f"s{i}", {}, f"s{i - 1}") for i in range(4000)]
    record = {"traceId": "t", "spanId": "m1", "attributes": {}, "body": "x"}
    log = [*deep, *(span(f"m{i}", said, "s3999", i) for i in range(400)), *[record] * 20_000,
           span("s0", {}, "s1"), span("r1", said, "r2"), span("r2", said, "r1")]
    with ends_soon():
        rows = rows_of(tmp_path, log)
        # 400 walks of 4,000 spans each, or 20,000 growing lists, would be millions of steps
    assert len(rows) == 401


def test_an_answer_without_its_prompt_is_no_conversation(tmp_path: Path) -> None:
    alone = CHAT | {"gen_ai.output.messages": answered({"type": "text", "content": "Seven."})}
    [found] = read_log(tmp_path, [span("m", alone)])
    assert found.error.startswith("no model call with its messages")


def test_a_printed_object_is_no_content(tmp_path: Path) -> None:
    """As in strands-agents/evals tests/strands_evals/mappers/fixtures/
    openai_agents_genai_adot_spans.json."""
    text = "ResponseFunctionToolCall(arguments='{}', call_id='c1', name='look')"
    log = CHAT | {"gen_ai.input.messages": asked("Look."),
                  "gen_ai.output.messages": answered({"type": "text", "content": text})}
    [found] = read_log(tmp_path, [span("m", log)])
    assert found.error == "content that is a printed object: ResponseFunctionToolCall"


# --- LangSmith ---------------------------------------------------------------------------------

ASK = {"messages": [{"role": "user", "content": "Hi."}], "model": "m"}
REPLY = {"model": "m-1", "choices": [{"index": 0, "finish_reason": "stop", "message": {
    "role": "assistant", "content": "Hello."}}]}


def test_runs_as_the_sdk_sends_them(tmp_path: Path) -> None:
    """As in langchain-ai/langsmith-sdk js/src/tests/test_data/langsmith_js_wrap_openai_default:
    what came back is sent later, and names the run by its place alone."""
    order = "20260101T000000000001Zr1"
    post = {"id": "r1", "name": "Chat", "run_type": "llm", "inputs": ASK, "trace_id": "r1",
            "dotted_order": order, "outputs": {}, "start_time": "2026-01-01T00:00:00Z"}
    patch = {"trace_id": "r1", "dotted_order": order, "outputs": REPLY, "inputs": {},
             "end_time": "2026-01-01T00:00:02Z"}
    [row] = rows_of(tmp_path, [{"post": [post], "patch": [patch]}])
    assert (shape(row), row.source_id, row.meta["seconds"]) == ("ua", "r1", 2.0)
    assert rows_of(tmp_path, [post, patch])[0].messages == row.messages
    [found] = read_log(tmp_path, [post])
    assert found.error == "a request without an answer"


def test_runs_as_langsmiths_tools_export_them(tmp_path: Path) -> None:
    """As langchain-ai/langchain-skills documents: `run_id` for the id; and an answer of the API."""
    runs = [{"run_id": "a", "trace_id": "a", "run_type": "chain", "name": "agent", "inputs": {},
             "outputs": {}, "parent_run_id": None},
            {"run_id": "b", "trace_id": "a", "run_type": "llm", "name": "model", "inputs": ASK,
             "outputs": REPLY, "parent_run_id": "a"}]
    for log in (runs, [{"runs": runs, "cursors": {}}]):
        [row] = rows_of(tmp_path, log)
        assert (shape(row), row.source_id) == ("ua", "a")


# --- Langfuse ----------------------------------------------------------------------------------


def generation(key: str, asked: Any, said: Any, at: int, **more: Any) -> Event:
    return {"id": key, "traceId": "t", "type": "GENERATION", "name": "chat", "level": "DEFAULT",
            "startTime": f"2026-01-01T00:00:0{at}Z", "endTime": f"2026-01-01T00:00:0{at}Z",
            "parentObservationId": None, "input": json.dumps(asked),
            "output": json.dumps(said)} | more


def traced(path: Path, observations: list[Event]) -> list[Trajectory]:
    trace = {"id": "t", "name": "run", "scores": []}
    return rows_of(path, [{"trace": trace, "observations": observations}])


def of_langfuse(path: Path, observations: list[Event]) -> Trajectory:
    [row] = traced(path, observations)
    return row


HI = {"role": "user", "content": "Look."}
CALLS = {"role": "assistant", "content": "", "tool_calls": [CALLED]}
END = {"role": "assistant", "content": "Seven."}


def test_a_tools_name_in_place_of_its_role(tmp_path: Path) -> None:
    """As in langfuse/langfuse worker/src/__tests__/chatml/framework-traces/
    langgraph-js-2025-10-30."""
    row = of_langfuse(tmp_path, [
        generation("1", [HI], CALLS, 1),
        generation("2", [HI, CALLS, {"role": "look", "content": "7"}], END, 2)])
    assert (shape(row), row.messages[2].name) == ("uCta", "look")


def test_calls_as_the_text_of_their_turns(tmp_path: Path) -> None:
    """As in langfuse/langfuse worker/src/__tests__/chatml/framework-traces/koog-2025-08-26."""
    text = json.dumps([CALLED])
    row = of_langfuse(tmp_path, [
        generation("1", [HI], [{"role": "assistant", "content": text}], 1),
        generation("2", [HI, {"role": "tool", "content": text}, {"role": "tool", "content": "7"}],
                   END, 2)])
    assert (shape(row), row.calls[0].args) == ("uCta", {"n": 1})


def test_what_was_observed_in_an_assistants_text(tmp_path: Path) -> None:
    """As in langfuse/langfuse worker/src/__tests__/chatml/framework-traces/beeai-2025-08-01."""
    text = 'Thought: I look.  \nFunction Name: look\nFunction Input: {"n": 1}'
    act = {"role": "assistant", "content": text}
    seen = act | {"content": f"{text}\nFunction Output: [7]\n\n"}
    end = {"role": "assistant", "content": "Thought: I see.\nFinal Answer: Seven."}
    log = [generation("1", [HI], act, 1), generation("2", [HI, seen], end, 2)]
    row = of_langfuse(tmp_path, log)
    assert (shape(row), row.meta["model_calls"]) == ("uCta", 2)
    assert (row.messages[1].thought, row.messages[2].content) == ("I look.", "[7]")
    assert [c.args for c in row.calls] == [{"n": 1}]


def test_a_conversation_that_begins_another_of_its_trace_is_none_of_its_own(
    tmp_path: Path,
) -> None:
    """As Koog and smolagents tell a model what it said: its calls one by one, each with its result,
    or its text with the word that ended it, and the code in it as a call."""
    def call(key: str, n: int) -> Event:
        return {"id": key, "type": "function",
                "function": {"name": "look", "arguments": json.dumps({"n": n})}}

    calls = [call("a", 1), call("b", 2)]
    results = [{"role": "tool", "content": text} for text in ("1", "2")]
    both = {"role": "assistant", "content": None, "tool_calls": calls}
    apart = [{"role": "assistant", "content": None, "tool_calls": [c]} for c in calls]
    told_apart = [HI, apart[0], results[0], apart[1], results[1]]
    text = {"role": "assistant", "content": "I look.\n<code>\nlook(1)\n"}
    code = [{"id": "c", "type": "function",
             "function": {"name": "py", "arguments": '{"code": "look(1)"}'}}]
    with_stop = {"role": "assistant", "content": text["content"] + "</code>", "tool_calls": code}
    for answer, later in ((both, told_apart), (text, [HI, with_stop, results[0]])):
        log = [generation("1", [HI], answer, 1), generation("2", later, END, 2)]
        row = of_langfuse(tmp_path, log)
        assert (len(row.messages), row.meta["model_calls"]) == (len(later) + 1, 2)
        # in the other order of time as well
        turned = [generation("1", [HI], answer, 3), generation("2", later, END, 2)]
        assert of_langfuse(tmp_path, turned).messages == row.messages
    # an alternative, another call or the start of a sentence begins no other conversation
    said = {"role": "assistant", "content": "I look. And then"}
    for other in (said, {"role": "assistant", "content": None, "tool_calls": [call("a", 3)]}):
        log = [generation("1", [HI], other, 1), generation("2", told_apart, END, 2)]
        assert len(traced(tmp_path, log)) == 2
    short = generation("1", [HI], {"role": "assistant", "content": "I"}, 1)
    assert len(traced(tmp_path, [short, generation("2", [HI, said, HI], END, 2)])) == 2


def test_the_same_conversation_logged_at_an_earlier_step_is_counted(tmp_path: Path) -> None:
    logged = [generation(str(i), [HI], CALLS, i) for i in (1, 2)]
    whole = generation("3", [HI, CALLS, {"role": "tool", "content": "7"}], END, 3)
    trace = {"trace": {"id": "t", "name": "run"}, "observations": [*logged, whole]}
    [found] = read_log(tmp_path, [trace])
    assert [shape(row) for row in found.rows] == ["uCta"]
    assert found.unread["conversation"] == "one that is the start of another of its trace"


def test_parts_that_are_named_as_classes_of_dotnet(tmp_path: Path) -> None:
    """As in langfuse/langfuse worker/src/__tests__/chatml/framework-traces/
    csharp-agent-with-gemini-2026-03-09."""
    thought = {"type": "Microsoft.Extensions.AI.TextReasoningContent",
               "content": {"text": "I look.", "protectedData": "x"}}
    parts = [{"type": "tool_call"} | LOOK, thought]
    row = of_langfuse(tmp_path, [
        generation("1", [HI], [{"role": "assistant", "parts": parts}], 1)])
    assert (shape(row), row.messages[1].thought) == ("uC", "I look.")


def test_what_python_printed_gives_way_to_the_attributes(tmp_path: Path) -> None:
    """As in langfuse/langfuse worker/src/__tests__/chatml/framework-traces/agno-2025-06-11: the
    same call is told by a wrapper and by what it wraps."""
    printed = {"messages": ["role='user' content='Look.' name=None"]}
    about = flat("input_messages", [{"role": "user", "content": "Look."}])
    body = {"choices": [{"message": CALLS, "finish_reason": "tool_calls", "index": 0}]}
    row = of_langfuse(tmp_path, [
        generation("1", printed, body, 1, metadata=json.dumps({"attributes": about})),
        generation("2", "user: Look.", "None", 2, parentObservationId="1"),
        {"id": "3", "type": "TOOL", "name": "look", "input": '{"n": 1}', "output": "7",
         "startTime": "2026-01-01T00:00:03Z", "traceId": "t", "parentObservationId": None}])
    assert (shape(row), row.meta["model_calls"], row.meta["after"]) == ("uC", 1, ["7"])


# --- OpenHands ---------------------------------------------------------------------------------


def test_an_evaluation_of_openhands_sdk(tmp_path: Path) -> None:
    """As in OpenHands/benchmarks benchmarks/openagentsafety/outputs/…/output.jsonl: the events of
    its SDK as `history`, what was asked beside them."""
    about = {"timestamp": "2026-01-01T00:00:00", "tool_name": "execute_bash", "tool_call_id": "c1"}
    act = about | {
        "kind": "ActionEvent", "id": "e1", "source": "agent", "thought": [], "action": {},
        "tool_call": {"id": "c1", "name": "execute_bash", "arguments": '{"command": "ls"}',
                      "origin": "completion"}, "llm_response_id": "r1"}
    seen = about | {
        "kind": "ObservationEvent", "id": "e2", "source": "environment", "action_id": "e1",
        "observation": {"kind": "ExecuteBashObservation", "output": "a.txt",
                        "metadata": {"exit_code": 0, "prefix": "", "suffix": "\n[exit 0]"}}}
    end = {"kind": "MessageEvent", "id": "e3", "source": "agent", "timestamp": "2026",
           "llm_message": {"role": "assistant", "content": [{"type": "text", "text": "One."}]}}
    row = {"instance_id": "i1", "instruction": "List.", "history": [act, seen, end],
           "metadata": {"llm": {}}, "test_result": {"report": {"resolved": True}}, "error": None}
    [made] = rows_of(tmp_path, [row])
    assert (shape(made), made.source_id, made.outcome) == ("uCta", "i1", 1.0)
    assert [m.content for m in made.messages] == ["List.", "", "a.txt\n[exit 0]", "One."]
    failed = row | {"error": "time-out", "test_result": {}}
    assert rows_of(tmp_path, [failed])[0].outcome == 0.0
