"""Second samples of batch files, of logs of Anthropic's and OpenAI's APIs and of SWE agents: their
structure, with words of our own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_traces_kinds import read_log, rows_of, shape

Event = dict[str, Any]

# --- SWE-agent, mini-swe-agent ------------------------------------------------------------------


def talk(*said: str) -> list[Event]:
    """System, user, then answers and what was seen after them in turn."""
    roles = ("system", "user", *("assistant", "user") * len(said))
    return [
        {"role": role, "content": text}
        for role, text in zip(roles, ("Be an agent.", "Fix it.", *said), strict=False)
    ]


SEEN = "<returncode>0</returncode>\n<output>\na.txt\n</output>"
EXAMPLE = "THOUGHT: it says\n```python\nx = 1\n```\nLet me see.\n\n```bash\nls\n```"
DIALOGUE = {"info": {"exit_status": "Submitted"}, "trajectory_format": "mini-swe-agent-1"}


def test_the_command_among_other_blocks_is_the_one_that_was_asked_for(tmp_path: Path) -> None:
    """As in gruckion/mini-swe-agent swebench_results: a thought quotes code, a block holds one."""
    nested = "I write.\n\n```bash\ncat > a.md <<'E'\ntext ```x``` here\nE\n```\nThat is all."
    turns = talk(EXAMPLE, SEEN, nested, SEEN, "```bash\na\n```\n```bash\nb\n```", "Exactly ONE.")
    end = {"role": "assistant", "content": "```bash\necho done\n```"}
    [row] = rows_of(tmp_path, [DIALOGUE | {"messages": [*turns, end]}])
    assert shape(row) == "suCtCtauC"
    assert [c.arguments for c in row.calls] == [
        '{"command": "ls"}',
        '{"command": "cat > a.md <<\'E\'\\ntext ```x``` here\\nE"}',
        '{"command": "echo done"}',
    ]
    assert row.messages[2].thought == "THOUGHT: it says\n```python\nx = 1\n```\nLet me see."
    assert row.messages[4].thought == "I write.\nThat is all."


def test_the_list_of_turns_of_the_first_mini_swe_agent(tmp_path: Path) -> None:
    """As in SWE-agent/mini-swe-agent tests/test_data/local.traj.json of its first releases."""
    turns = talk("I list.\n\n```bash\nls\n```", SEEN, "```bash\necho END\n```", "")
    [found] = read_log(tmp_path, [{"messages": turns}])
    assert (found.format, [shape(row) for row in found.rows]) == ("mini_swe", ["suCtC"])
    # a conversation about bash is none
    turns = talk("I list.\n\n```bash\nls\n```", "Thank you.", "Welcome.")
    [found] = read_log(tmp_path, [{"messages": turns}])
    assert (found.format, [shape(row) for row in found.rows]) == ("openai", ["suaua"])


def test_swe_agent_runs_the_last_block_of_a_turn(tmp_path: Path) -> None:
    turns = [
        {"role": "user", "text": "Fix it."},
        {"role": "ai", "text": "It says\n```\nx = 1\n```\nI make it.\n```\ncreate a.py\n```\n"},
        {"role": "user", "text": "[File: a.py]"},
        {"role": "ai", "text": "Just text, in ```one``` line."},
    ]
    row = {"instance_id": "a__b-1", "target": True, "exit_status": "submitted", "trajectory": turns}
    [read] = rows_of(tmp_path, [row])
    assert (shape(read), read.calls[0].arguments) == ("uCta", '{"command": "create a.py"}')
    assert read.messages[1].thought == "It says\n```\nx = 1\n```\nI make it."


OPENED: Event = {
    "role": "assistant",
    "content": "I open it.",
    "thought": "I open it.",
    "action": "open a.py",
    "agent": "main",
    "message_type": "action",
    "tool_calls": [
        {"id": "c", "type": "function", "function": {"name": "open", "arguments": '{"path": "a"}'}}
    ],
}
FILE = {"role": "tool", "content": "[File: a]", "agent": "main", "tool_call_ids": ["c"]}
LAST = {"role": "assistant", "content": "Done.", "thought": "Done.", "action": "", "agent": "main"}
HISTORY = [
    {"role": "user", "content": "Fix it.", "agent": "main", "message_type": "observation"},
    OPENED,
    FILE | {"message_type": "observation"},
    LAST | {"message_type": "action"},
]


def test_a_history_of_swe_agent_alone(tmp_path: Path) -> None:
    """As in SWE-agent/SWE-agent trajectories/demonstrations/function_calling_simple.traj."""
    [found] = read_log(tmp_path, [{"history": HISTORY}])
    [row] = found.rows
    assert (found.format, shape(row)) == ("swe_agent", "uCta")
    assert (row.messages[1].thought, row.messages[1].content) == ("I open it.", "")


@pytest.mark.parametrize("said", ["I open it.", [{"type": "text", "text": "I open it.\n"}]])
def test_a_thought_that_is_the_text_is_told_once(said: Any, tmp_path: Path) -> None:
    """SWE-smith's rows have SWE-agent's turns as `messages`."""
    turns = [HISTORY[0], OPENED | {"content": said}, *HISTORY[2:]]
    [row] = rows_of(tmp_path, [{"messages": turns, "instance_id": "a", "resolved": True}])
    assert shape(row) == "uCta"
    assert (row.messages[1].thought, row.messages[1].content) == ("I open it.", "")
    assert (row.messages[3].thought, row.messages[3].content) == ("", "Done.")


# --- Responses: what its provider keeps ---------------------------------------------------------


def response(key: str, *output: Event) -> Event:
    return {"id": key, "object": "response", "output": list(output)}


def text(said: str) -> Event:
    content = [{"type": "output_text", "text": said}]
    return {"type": "message", "role": "assistant", "content": content}


def user(said: str) -> Event:
    return {"role": "user", "content": said}


CALL = {"type": "function_call", "call_id": "c", "name": "now", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c", "output": "noon"}


def captured(at: int, request: Event, answer: Event) -> Event:
    about = {"type": "exchange", "session": "s", "at": at, "seconds": 0.5, "id": answer["id"]}
    return about | {"request": request, "response": answer}


def chained(**more: str) -> list[Event]:
    """Two requests of which the second has no more than what is new."""
    asked = {"input": [user("What time is it?")], "instructions": "Be brief."}
    after = {"input": [RESULT], "instructions": "Be brief."} | more
    return [
        captured(
            1, asked | {k: v for k, v in more.items() if k == "conversation"}, response("r1", CALL)
        ),
        captured(2, after, response("r2", text("Noon."))),
    ]


@pytest.mark.parametrize("more", [{"previous_response_id": "r1"}, {"conversation": "conv_1"}])
def test_a_request_goes_on_from_what_its_provider_keeps(
    more: dict[str, str], tmp_path: Path
) -> None:
    """As in pydantic/pydantic-ai tests/models/cassettes/test_openai_responses."""
    log = chained(**more)
    [row] = rows_of(tmp_path, log)
    assert (shape(row), row.messages[-1].content) == ("suCta", "Noon.")
    assert [m.content for m in row.messages if m.role == "system"] == ["Be brief."]
    [alone] = read_log(tmp_path, [{k: log[1][k] for k in ("request", "response")}])
    assert (alone.rows, alone.error[:15]) == ((), "it goes on from")


def test_a_request_after_one_that_is_not_in_the_log_is_not_read(tmp_path: Path) -> None:
    log = chained(previous_response_id="r0")
    [row] = rows_of(tmp_path, log)
    assert shape(row) == "suC"
    packed = {"type": "compaction", "id": "x", "encrypted_content": "gAAA"}
    request = {"input": [packed, user("And 5+5?")]}
    [found] = read_log(tmp_path, [{"request": request, "response": response("r", text("10"))}])
    assert found.error == "it goes on from a compaction whose turns are not there"
    # after turns that are there, or in an answer, it hides nothing
    request = {"input": [user("2+2?"), text("4"), packed, user("And 5+5?")]}
    [row] = rows_of(tmp_path, [{"request": request, "response": response("r", packed, text("10"))}])
    assert shape(row) == "uaua"


# --- logs of a proxy ----------------------------------------------------------------------------

STARTED = {"type": "message_start", "message": {"id": "m", "role": "assistant", "content": []}}
BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
PIECES = [
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    for text in ("It is ", "noon.")
]
STOPPED = [{"type": "content_block_stop", "index": 0}, {"type": "message_stop"}]


@pytest.mark.parametrize(
    ("events", "said"),
    [([STARTED, BLOCK, *PIECES, *STOPPED], "It is noon."), ([STARTED, BLOCK, PIECES[0]], "")],
)
def test_an_answer_as_the_stream_that_it_came_in(
    events: list[Event], said: str, tmp_path: Path
) -> None:
    """As claude-trace (badlogic/lemmy) logs them; one that was broken off is no answer."""
    stream = "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events)
    request = {"method": "POST", "url": "/v1/messages", "headers": {}, "timestamp": 1.5}
    answer = {"status_code": 200, "headers": {}, "timestamp": 2.5, "body_raw": stream}
    body = {"model": "claude", "messages": [user("What time is it?")], "stream": True}
    [found] = read_log(tmp_path, [{"request": request | {"body": body}, "response": answer}])
    assert [row.messages[-1].content for row in found.rows] == ([said] if said else [])
    assert found.error == ("" if said else "a request without an answer")


# --- Anthropic's messages -----------------------------------------------------------------------


def test_a_system_turn_of_tools_that_are_added_says_nothing(tmp_path: Path) -> None:
    """As in pydantic/pydantic-ai tests/cassettes: a tool is made known while a run goes on."""
    tool = {"name": "now", "description": "The time.", "input_schema": {"type": "object"}}
    added = {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "now"}}
    asked = [user("What time is it?"), {"role": "system", "content": [added]}]
    answer = {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": "t", "name": "now", "input": {}}],
        "stop_reason": "tool_use",
    }
    request = {"system": "Be brief.", "messages": asked, "tools": [tool]}
    [row] = rows_of(tmp_path, [{"request": request, "response": answer}])
    assert shape(row) == "suC"
