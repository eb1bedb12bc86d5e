"""Second and third samples of each kind of trace: their structure, with words of our own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
