"""Exported rows obey the providers' documented rules; presets, cards, plans and counts add up."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raytune_agents import exports, readers
from raytune_agents.config import ConfigError, ExportConfig
from raytune_agents.exports.files import write_files
from raytune_agents.exports.pricing import LIMITS
from raytune_agents.readers.decode import file_rows
from raytune_agents.records import Message, RecordError, ToolCall, ToolSpec, Trajectory, finish

DATA = Path(__file__).parents[2].parent / "shared/data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="shared/data is not here")
SCHEMA = '{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}'


def sample(i: int = 0, **more: Any) -> Trajectory:
    messages = (
        Message("system", "rules"),
        Message("user", f"q{i}"),
        Message("assistant", "", "think", (ToolCall.of("math.add", a=i), ToolCall("g", "{}"))),
        Message("tool", "1", name="math.add"),
        Message("tool", '{"x": 2}', name="g"),
        Message("assistant", "done"),
    )
    tools = (ToolSpec("math.add", "adds", SCHEMA), ToolSpec("g", "gets"))
    fields = {"source_id": str(i), "source": "agent/qa"} | more
    return finish(Trajectory(messages, tools, **fields))


# --- the providers' rules ------------------------------------------------------------------------

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_openai(row: dict[str, Any]) -> None:
    """platform.openai.com: fine-tuning chat format."""
    assert row.keys() <= {"messages", "tools", "parallel_tool_calls"}
    waiting: set[str] = set()
    for m in row["messages"]:
        assert m["role"] in ("system", "user", "assistant", "tool")
        if m["role"] == "tool":
            waiting.remove(m["tool_call_id"])
            assert m.keys() == {"role", "tool_call_id", "content"}
            continue
        assert not waiting, "calls without a result before the next turn"
        if m["role"] == "assistant":
            assert m.get("weight", 1) in (0, 1)
            assert m.get("content") or m["tool_calls"]
            for call in m.get("tool_calls", []):
                assert call["type"] == "function"
                assert NAME.fullmatch(call["function"]["name"])
                assert isinstance(json.loads(call["function"]["arguments"]), dict)
                assert call["id"] not in waiting
                waiting.add(call["id"])
        else:
            assert "weight" not in m
            assert isinstance(m["content"], str)
    assert row["messages"][-1]["role"] == "assistant"
    assert any(m["role"] == "assistant" and m.get("weight") != 0 for m in row["messages"])
    names = [t["function"]["name"] for t in row.get("tools", [])]
    assert len(set(names)) == len(names) <= 128
    assert all(NAME.fullmatch(n) for n in names)
    assert ("parallel_tool_calls" in row) == bool(names)
    assert len(json.dumps(row)) / 4 < 65_536


def check_gemini(row: dict[str, Any]) -> None:
    """cloud.google.com: supervised tuning data, function calling."""
    assert row.keys() <= {"systemInstruction", "contents", "tools"}
    sides = [c["role"] for c in row["contents"]]
    assert sides == ["user", "model"] * (len(sides) // 2)
    asked: list[str] = []
    for content in row["contents"]:
        assert content["parts"]
        for part in content["parts"]:
            assert len(part.keys() & {"text", "functionCall", "functionResponse"}) == 1
        seen = [p["functionResponse"]["name"] for p in content["parts"] if "functionResponse" in p]
        assert seen == asked
        asked = [p["functionCall"]["name"] for p in content["parts"] if "functionCall" in p]
    declared = [f for t in row.get("tools", []) for f in t["functionDeclarations"]]

    def schema(node: dict[str, Any]) -> None:
        assert node.get("type", "STRING") in (
            "STRING", "INTEGER", "NUMBER", "BOOLEAN", "ARRAY", "OBJECT")  # fmt: skip
        assert not node.keys() & {"additionalProperties", "$defs", "$ref", "oneOf", "const"}
        for part in [*node.get("properties", {}).values(), *node.get("anyOf", [])]:
            schema(part)
        if "items" in node:
            schema(node["items"])

    for f in declared:
        assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", f["name"])
        schema(f["parameters"])


def check_sharegpt(row: dict[str, Any]) -> None:
    """LLaMA-Factory data/README: human, observation at odd places, gpt, function_call at even."""
    tags = [t["from"] for t in row["conversations"]]
    assert len(tags) % 2 == 0
    assert set(tags[0::2]) <= {"human", "observation"}
    assert set(tags[1::2]) <= {"gpt", "function_call"}
    for turn in row["conversations"]:
        assert isinstance(turn["value"], str)
        if turn["from"] == "function_call":
            json.loads(re.sub(r"^<think>.*?</think>\s*", "", turn["value"], flags=re.DOTALL))
    assert isinstance(json.loads(row.get("tools", "[]")), list)


def check_agent_flan(row: dict[str, Any]) -> None:
    labels = {"agent", "type", "hallucination_type"}
    assert row.keys() == {"id", "conversation"} | labels
    for turn in row["conversation"]:
        assert turn.keys() == {"role", "content", "loss"}
        assert turn["role"] in ("system", "user", "assistant")
        assert not (turn["loss"] and turn["role"] != "assistant")


def check_xlam(row: dict[str, Any]) -> None:
    assert row.keys() == {"id", "query", "tools", "answers"}
    assert all(isinstance(t["parameters"], dict) for t in json.loads(row["tools"]))
    assert all(isinstance(a["arguments"], dict) for a in json.loads(row["answers"]))


def check_trl(row: dict[str, Any]) -> None:
    assert {"prompt", "completion"} <= row.keys() <= {"prompt", "completion", "tools", "label"}
    assert row["prompt"]
    assert [m["role"] for m in row["completion"]] == ["assistant"]
    for m in row["prompt"] + row["completion"]:
        assert isinstance(m["content"], str)
        for call in m.get("tool_calls", []):
            assert isinstance(call["function"]["arguments"], dict)


def check_axolotl(row: dict[str, Any]) -> None:
    assert all(isinstance(m["train"], bool) for m in row["messages"])
    assert all(m["role"] == "assistant" for m in row["messages"] if m["train"])


CHECKS = {
    "openai": check_openai, "gemini": check_gemini, "sharegpt": check_sharegpt,
    "agent_flan": check_agent_flan, "react": check_agent_flan, "xlam": check_xlam,
    "trl": check_trl, "trl_label": check_trl, "axolotl": check_axolotl,
}  # fmt: skip


def test_every_writer_is_checked_and_says_what_it_loses() -> None:
    assert CHECKS.keys() == exports.WRITERS.keys()
    assert exports.LOSES.keys() == exports.WRITERS.keys() | exports.PAIR_WRITERS.keys()


@pytest.mark.parametrize("name", sorted(CHECKS.keys() - {"xlam", "react"}))
def test_a_row_with_everything(name: str) -> None:
    written = exports.WRITERS[name](sample())
    CHECKS[name](json.loads(json.dumps(written, allow_nan=False)))


@pytest.mark.parametrize("name", ["openai", "gemini"])
def test_a_whole_file_obeys_the_providers_rules(name: str, tmp_path: Path) -> None:
    config = ExportConfig(format=name, val_share=0.1)
    whole = write_files([sample(i) for i in range(120)], tmp_path / "whole", config)
    lines = (tmp_path / "whole" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 108 >= LIMITS[name].min_rows
    assert max(map(len, lines)) / 4 <= LIMITS[name].max_row_tokens
    for line in lines:
        CHECKS[name](json.loads(line))
    assert whole["would_be_refused"] == {}
    long = replace(sample(9), messages=(Message("user", "x" * 600_000), Message("assistant", "a")))
    refused = write_files([finish(long), sample(1)], tmp_path / "small", config)
    reasons = [f"2 rows, fewer than {LIMITS[name].min_rows}",
               f"1 rows are longer than {LIMITS[name].max_row_tokens:,} tokens"]  # fmt: skip
    assert refused["would_be_refused"] == {"train.jsonl": reasons}


FILES = """
xlam sharegpt_toolcalls openai_tools tau_bench swe_gym toolbench_dfs fireact_trajs agenttuning
nemo_gym_rollouts bfcl mint when2call_pref
""".split()  # noqa: SIM905
REFUSED = {  # how many rows of a file a format cannot carry
    ("openai", "xlam"): 1,  # two different tools of one name
    ("xlam", "xlam"): 0,
    ("sharegpt", "sharegpt_toolcalls"): 0,
    ("gemini", "nemo_gym_rollouts"): 0,
    ("agent_flan", "fireact_trajs"): 0,
    ("openai", "bfcl"): 20,  # irrelevance rows have no answer
}


@needs_data
@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("file", FILES)
def test_real_rows_obey_the_rules_or_are_refused(name: str, file: str) -> None:
    refused: Counter[str] = Counter()
    for where, raw in file_rows(str(DATA / f"samples/{file}.jsonl")):
        for row in readers.read_row(raw, where):
            try:
                written = exports.WRITERS[name](row)
            except RecordError as error:
                refused[str(error)] += 1
                continue
            CHECKS[name](json.loads(json.dumps(written, allow_nan=False)))
    assert refused.total() == REFUSED.get((name, file), refused.total())


def test_a_call_without_a_result_gets_an_empty_one() -> None:
    calls = (ToolCall("f", "{}"), ToolCall("g", "{}"))
    row = Trajectory((
        Message("user", "q"), Message("assistant", tool_calls=calls),
        Message("tool", "1", name="f"), Message("user", "r"),
        Message("assistant", tool_calls=calls),
    ))  # fmt: skip
    written = exports.WRITERS["openai"](row)["messages"]
    check_openai({"messages": written})
    assert [m.get("content") for m in written] == ["q", None, "1", "", "r", None]
    check_gemini(exports.WRITERS["gemini"](row))


def test_openai_details() -> None:
    row = sample()
    row = replace(row, messages=(*row.messages[:-1], Message("assistant", "no", loss=False),
                                 Message("assistant", "done")))  # fmt: skip
    written = exports.WRITERS["openai"](row)
    call, other = written["messages"][2]["tool_calls"]
    assert call["function"] == {"name": "math_add", "arguments": '{"a": 0}'}
    assert [m.get("tool_call_id") for m in written["messages"][3:5]] == [call["id"], other["id"]]
    assert [m.get("weight") for m in written["messages"]] == [None] * 5 + [0, None]
    assert written["parallel_tool_calls"] is True
    twins = replace(row, tools=(ToolSpec("a.b"), ToolSpec("a_b"), ToolSpec("a/b")))
    names = [t["function"]["name"] for t in exports.WRITERS["openai"](twins)["tools"]]
    assert names == ["a_b_2", "a_b", "a_b_3"]


@pytest.mark.parametrize(("name", "messages", "reason"), [
    ("openai", [("user", "q")], "no assistant turn"),
    ("openai", [("tool", "x"), ("assistant", "a")], "follows no call"),
    ("gemini", [("assistant", "a"), ("user", "q"), ("assistant", "a")], "first turn"),
    ("gemini", [("user", "q"), ("system", "s"), ("assistant", "a")], "system turn"),
    ("sharegpt", [("user", "q"), ("user", "r"), ("assistant", "a")], "take turns"),
    ("sharegpt", [("user", "q")], "take turns"),
    ("trl", [("user", "q")], "no assistant turn"),
    ("xlam", [("user", "q"), ("assistant", "words")], "calls alone"),
    ("xlam", [("system", "s"), ("user", "q"), ("assistant", "")], "one request"),
])  # fmt: skip
def test_what_a_format_cannot_carry_is_refused(name: str, messages: list, reason: str) -> None:
    row = Trajectory(tuple(Message(r, c) for r, c in messages))
    with pytest.raises(RecordError, match=reason):
        exports.WRITERS[name](row)


def test_react_text_has_one_call_a_turn() -> None:
    with pytest.raises(RecordError, match="one call a turn"):
        exports.WRITERS["react"](sample())


def test_untrained_turns_are_not_trained_by_formats_without_flags() -> None:
    row = Trajectory((Message("user", "q"), Message("assistant", "a", loss=False),
                      Message("user", "q"), Message("assistant", "b")))  # fmt: skip
    for name in ("gemini", "sharegpt"):
        with pytest.raises(RecordError, match="untrained"):
            exports.WRITERS[name](row)
    flags = [t["loss"] for t in exports.WRITERS["agent_flan"](row)["conversation"]]
    assert flags == [False, False, False, True]


def test_gemini_schema() -> None:
    from raytune_agents.exports.gemini import schema

    xs = {"type": "array", "items": {"type": "number"}}
    properties = {"type": {"type": ["string", "null"]}, "xs": xs}
    node = {"type": "object", "additionalProperties": False, "properties": properties}
    assert schema(node) == {"type": "OBJECT", "properties": {
        "type": {"type": "STRING", "nullable": True},
        "xs": {"type": "ARRAY", "items": {"type": "NUMBER"}}}}  # fmt: skip


def test_pairs_share_their_prompt() -> None:
    good = sample()
    call = Message("assistant", "", "", (ToolCall.of("math.add", a=9),))
    bad = replace(good, messages=(*good.messages[:2], call))
    written = exports.PAIR_WRITERS["trl_pairs"](good, bad)
    assert [len(written[k]) for k in ("prompt", "chosen", "rejected")] == [2, 4, 1]
    back_good, back_bad = readers.read_row(json.loads(json.dumps(written)), "f:1")
    assert [m.content for m in back_good.messages] == [m.content for m in good.messages]
    assert back_bad.calls[-1].args == {"a": 9}
    with pytest.raises(RecordError, match="no prompt in common"):
        exports.PAIR_WRITERS["trl_pairs"](good, Trajectory((Message("assistant", "x"),)))


@pytest.mark.parametrize("name", ["opanai", "no.such:f", "json:nothing"])
def test_unknown_writer(name: str) -> None:
    with pytest.raises(ConfigError, match=r"export.format="):
        exports.writer_named(name)


# --- results of parallel calls -------------------------------------------------------------------


def parallel(*results: Message) -> Trajectory:
    asked = Message("assistant", tool_calls=tuple(ToolCall(f"f{i}", "{}", i) for i in "abc"))
    turns = (Message("user", "q"), asked, *results, Message("assistant", "done"))
    return finish(Trajectory(turns, tuple(ToolSpec(f"f{i}", "d") for i in "abc")))


ANY_ORDER = [Message("tool", f"r{i}", tool_call_id=i) for i in "cab"]


def test_results_are_paired_by_id_in_every_format() -> None:
    row = parallel(*ANY_ORDER)
    seen = [p["functionResponse"] for c in exports.gemini.write(row)["contents"]
            for p in c["parts"] if "functionResponse" in p]
    assert [(s["name"], s["response"]["result"]) for s in seen] == [
        ("fa", "ra"), ("fb", "rb"), ("fc", "rc")]
    for write in (exports.openai.write, exports.openai.axolotl):
        tools = [m for m in write(row)["messages"] if m["role"] == "tool"]
        assert [(m["tool_call_id"], m["content"]) for m in tools] == [
            ("a", "ra"), ("b", "rb"), ("c", "rc")]
    tools = [m for m in exports.trl.write(row)["prompt"] if m["role"] == "tool"]
    assert [m["content"] for m in tools] == ["ra", "rb", "rc"]
    [seen] = [t for t in exports.sharegpt.write(row)["conversations"] if t["from"] == "observation"]
    assert json.loads(seen["value"]) == ["ra", "rb", "rc"]


def test_a_result_that_is_missing_stays_with_its_call() -> None:
    row = parallel(*ANY_ORDER[:1])  # the third call's alone
    seen = [p["functionResponse"] for c in exports.gemini.write(row)["contents"]
            for p in c["parts"] if "functionResponse" in p]
    assert [(s["name"], s["response"]["result"]) for s in seen] == [
        ("fa", ""), ("fb", ""), ("fc", "rc")]
    named = parallel(Message("tool", "rb", name="fb"))
    tools = [m for m in exports.openai.write(named)["messages"] if m["role"] == "tool"]
    assert [(m["tool_call_id"], m["content"]) for m in tools] == [("a", ""), ("b", "rb"), ("c", "")]


def test_parameters_that_are_no_schema_are_refused() -> None:
    row = replace(sample(), tools=(ToolSpec("g", "", "{'a': 1}"), ToolSpec("math.add")))
    for write in (exports.openai.write, exports.gemini.write, exports.trl.write):
        with pytest.raises(RecordError, match="parameters of 'g' are no schema"):
            write(row)
