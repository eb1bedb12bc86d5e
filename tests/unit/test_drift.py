"""Answers in use against the evaluation's: shares by hand, and the command on a captured file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from raytune_agents.cli.app import app
from raytune_agents.evaluate.drift import (
    NO_CALL,
    UNKNOWN_TOOL,
    UNPARSABLE,
    rows_to_train_on,
    share_drifts,
    signs_in_use,
)
from raytune_agents.evaluate.measured import AnswerRow
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory

TOOLS = (ToolSpec("add", "", '{"type": "object"}'),)
CUT = '<tool_call>{"name": "add", "arguments": {"a": '


def answers(arm: str, n: int, split: str = "test_seen", **values: float) -> list[AnswerRow]:
    right = {"format_adherence": 1.0, "hallucinated_tool": 0.0, "relevance": 1.0} | values
    return [AnswerRow(arm=arm, split=split, id=f"r{i}", values=dict(right)) for i in range(n)]


def used(arm: str, content: str = "", *names: str, outcome: float | None = None) -> Trajectory:
    turn = Message("assistant", content, tool_calls=tuple(ToolCall.of(n, a=1) for n in names))
    messages = (Message("user", "1 + 1?"), turn)
    return Trajectory(messages, TOOLS, meta={"arm": arm}, outcome=outcome, source_id=content[:9])


@pytest.mark.parametrize(("content", "names", "signs"), [
    ("", ["add"], (False, False, False)),
    ("", ["add", "sub"], (False, True, False)),
    ("Two.", [], (False, False, True)),
    (CUT, [], (True, None, True)),
    (CUT + "1}}</tool_call>", [], (True, None, True)),  # a call that the server did not read
])  # fmt: skip
def test_the_signs_of_an_answer(content: str, names: list[str], signs: tuple) -> None:
    row = used("sft", content, *names)
    assert tuple(signs_in_use(row.messages[1], row.tools).values()) == signs
    assert signs_in_use(row.messages[1], ())[UNKNOWN_TOOL] is None


def test_shares_and_p_by_hand() -> None:
    known = answers("sft", 8) + answers("base", 5) + answers("sft", 90, "bfcl", relevance=0.0)
    found = share_drifts(known, [used("sft", CUT)] * 4 + [used("other", CUT)])
    assert [(d.arm, d.sign, d.evaluated, d.used) for d in found] == [
        ("sft", UNPARSABLE, (0, 8), (4, 4)), ("sft", UNKNOWN_TOOL, (0, 8), (0, 0)),
        ("sft", NO_CALL, (0, 8), (4, 4))]  # fmt: skip
    # one of the C(12, 4) = 495 ways to choose four answers of twelve; two tests by Holm
    assert [d.p_holm for d in found] == pytest.approx([2 / 495, 1.0, 2 / 495])
    assert [d.drifted for d in found] == [True, False, True]
    same = share_drifts(known, [used("sft", "", "add")] * 4)
    assert not any(d.drifted for d in same)


def test_rows_to_train_on_next() -> None:
    rows = [used("sft", "Two."), used("sft", "", "sub"), used("sft", CUT), used("sft", "", "add"),
            used("sft", "", "add", outcome=0.0)]  # fmt: skip
    chosen = [(why, rows.index(row)) for why, row in rows_to_train_on(rows, [])]
    assert chosen == [("failed", 4), (UNPARSABLE, 2), (UNKNOWN_TOOL, 1)]
    drifts = share_drifts(answers("sft", 40), [used("sft", "Two.")] * 9)
    assert [why for why, _ in rows_to_train_on(rows, drifts)][-1] == NO_CALL


def exchange(i: int, message: dict[str, Any], **more: str) -> dict[str, Any]:
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
    body = {"messages": [{"role": "user", "content": f"{i} + 1?"}], "tools": tools}
    answer = {"id": f"a{i}", "choices": [{"message": {"role": "assistant", **message}}]}
    return {"type": "exchange", "session": f"s{i}", "id": f"a{i}", "at": float(i), "seconds": 1.0,
            "request": body, "response": answer} | more  # fmt: skip


def test_the_command_reads_what_capture_wrote(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "evaluate").mkdir(parents=True)
    model = {"name": "m", "revision": None, "dtype": "auto"}
    (run / "config.json").write_text(json.dumps({"seed": 1, "model": model, "read": {"split": {}}}))
    known = [a.record() for a in answers("sft", 40)]
    pq.write_table(pa.Table.from_pylist(known), run / "evaluate/answers.parquet")
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    lines = [exchange(i, {"content": CUT}, arm="sft") for i in range(5)]
    lines += [exchange(i, {"content": None, "tool_calls": [call]}, arm="sft") for i in range(5, 9)]
    lines.append({"type": "outcome", "session": "s7", "id": "", "outcome": False})
    file = tmp_path / "captured.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = CliRunner().invoke(app, ["compare", str(run), str(file)])
    text = re.sub(r"\s+", " ", done.output)
    assert done.exit_code == 0, done.output
    assert "DRIFT: sft answers with unparsable" in text
    assert "train on next, failed: 1 rows, s7" in text
    assert "train on next, unparsable: 5 rows, s0, s1, s2, s3, s4" in text
    lost = [line | {"response": None, "error": "status 500"} for line in lines[:3]]
    lost.append({"type": "outcome", "session": "gone", "outcome": True})
    file.write_text("".join(json.dumps(line) + "\n" for line in lost))
    done = CliRunner().invoke(app, ["compare", str(run), str(file)])
    text = re.sub(r"\s+", " ", done.output)
    assert "sft: 3 requests have no answer that can be read: status 500" in text
    assert "1 rows could not be read (an outcome of a session that is not in the file)" in text
    file.write_text(json.dumps(exchange(1, {"content": "Two."})) + "\n")
    done = CliRunner().invoke(app, ["compare", str(run), str(file)])
    assert done.exit_code == 2
    assert "--arm-b ARM" in re.sub(r"\s+", " ", done.output)
    done = CliRunner().invoke(app, ["compare", str(run), str(file), "--arm-b", "sft"])
    assert done.exit_code == 0, done.output
