"""Every source format: what a row becomes, its outcome, and that nothing of it is lost.

Rows in the shape of each source are written out here; real files are read in test_readers_samples.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from raytune_agents import readers
from raytune_agents.records import RecordError, Trajectory


def read(raw: dict[str, Any], format: str = "auto", **options: Any) -> list[Trajectory]:
    return readers.read_row(json.loads(json.dumps(raw)), "file.jsonl:3", format, **options)


def one(raw: dict[str, Any], format: str = "auto", **options: Any) -> Trajectory:
    [row] = read(raw, format, **options)
    return row


def shape(row: Trajectory) -> str:
    """The turns in short: s system, u user, a words, c call, o observation; x = never trained."""
    letters = {"system": "s", "user": "u", "tool": "o"}
    return "".join(
        letters.get(m.role) or ("x" if not m.trained else "c" if m.tool_calls else "a")
        for m in row.messages
    )


# --- BFCL ----------------------------------------------------------------------------------------


def bfcl_row(truth: Any, required: list[str] = (), types: str = "string") -> dict[str, Any]:
    properties = {k: {"type": types} for k in ("a", "b")}
    parameters = {"type": "dict", "properties": properties, "required": list(required)}
    function = [{"name": "f", "description": "d", "parameters": parameters}]
    question = [[{"role": "user", "content": "q"}]]
    return {"id": "simple_python_0", "question": question, "function": function,
            "ground_truth": truth}  # fmt: skip


@pytest.mark.parametrize(("allowed", "required", "wanted"), [
    ({"a": [1, 2]}, [], {"a": 1}),  # the first allowed value
    ({"a": ["", 2]}, [], {}),  # "" first: left out
    ({"a": [2, ""]}, [], {"a": 2}),
    ({"a": [""]}, ["a"], {"a": ""}),  # required: then "" is the value
    ({"a": ["", 2]}, ["a"], {"a": 2}),
    ({"c": [2, ""]}, [], {}),  # not in the schema and may be left out
    ({"c": [2]}, [], {"c": 2}),
    ({"a": []}, [], {}),
    ({"a": [{"k": ["x", "y"], "l": ["", 3]}]}, [], {"a": {"k": "x"}}),  # members list values too
    ({"a": [[{"k": ["x"]}, {"k": ["y"]}]]}, [], {"a": [{"k": "x"}, {"k": "y"}]}),
])  # fmt: skip
def test_bfcl_target(allowed: dict, required: list[str], wanted: dict) -> None:
    row = one(bfcl_row([{"f": allowed}], required))
    assert row.target.tool_calls[0].args == wanted
    assert json.loads(row.gold) == [{"f": allowed}]


def test_bfcl_type_words_become_json_schema() -> None:
    row = one(bfcl_row([{"f": {"a": [1.5]}}], types="float"))
    assert row.tools[0].schema["properties"]["a"] == {"type": "number"}
    assert row.tools[0].schema["type"] == "object"
    row = one(bfcl_row([{"f": {"a": [1]}}], types="any"))
    assert row.tools[0].schema["properties"]["a"] == {}


# --- one request, one answer of calls ------------------------------------------------------------


def test_xlam_flat_parameters() -> None:
    parameters = {
        "n": {"type": "int", "description": "how many"},
        "type": {"type": "str, optional", "description": "a parameter called type"},
        "xs": {"type": "List[str]", "description": "", "default": ""},
    }
    tools = json.dumps([{"name": "f", "description": "d", "parameters": parameters}])
    answers = '[{"name": "f", "arguments": {"n": 1e2,  "xs": ["\\u00e9"]}}]'
    row = one({"id": 5, "query": "q", "tools": tools, "answers": answers})
    assert row.tools[0].schema == {
        "type": "object",
        "properties": {
            "n": {"type": "integer", "description": "how many"},
            "type": {"type": "string", "description": "a parameter called type"},
            "xs": {"type": "array", "items": {"type": "string"}, "description": "", "default": ""},
        },
        "required": ["n"],
    }
    assert row.calls[0].arguments == '{"n": 1e2,  "xs": ["\\u00e9"]}'  # byte for byte
    assert (row.source_id, shape(row)) == ("5", "uc")


def test_hammer() -> None:
    tool = {"name": "f", "description": "", "parameters": {
        "a": {"type": "str", "description": "", "required": True},
        "b": {"type": "str", "description": ""},
        "c": {"type": "int", "required": False}}}  # fmt: skip
    query = [{"role": "user", "content": "q1"}, {"role": "agent", "content": "a"},
             {"role": "user", "content": "q2"}]  # fmt: skip
    answers = [{"tool": "f", "parameters": {"a": "x"}}]
    row = one({"query": query, "tools": [tool], "answers": answers}, "hammer")
    assert shape(row) == "uauc"
    assert row.tools[0].schema["required"] == ["a", "b"]
    assert (row.calls[0].name, row.calls[0].args) == ("f", {"a": "x"})


# --- chat shapes ---------------------------------------------------------------------------------

CALL = {"name": "f", "arguments": {"a": 1}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
TOOL = {"name": "f", "description": "d", "parameters": SCHEMA}


def turns(*pairs: tuple[str, str], keys: tuple[str, str] = ("from", "value")) -> list[dict]:
    return [dict(zip(keys, pair)) for pair in pairs]


@pytest.mark.parametrize("wrapped", [False, True])
def test_openai_also_as_json_text(wrapped: bool) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":  1}'}}
    messages = [
        {"role": "developer", "content": [{"type": "text", "text": "rules"}]},
        {"role": "user", "content": "q", "name": "ann"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
        {"role": "assistant", "content": "draft", "weight": 0},
        {"role": "assistant", "content": "done", "reasoning_content": "so"},
    ]
    tools = [{"type": "function", "function": TOOL}]
    raw = {"messages": messages, "tools": tools, "seen": 3}
    if wrapped:
        raw = {k: json.dumps(v) if k != "seen" else v for k, v in raw.items()}
    row = one(raw)
    assert shape(row) == "sucoxa"
    assert row.calls[0].arguments == '{"a":  1}'
    assert row.messages[0].content == "rules"
    assert (row.messages[1].name, row.messages[3].tool_call_id) == ("ann", "c1")
    assert row.target.thought == "so"
    assert row.meta == {"seen": 3}
    assert row.tools[0].parameters == json.dumps(SCHEMA)


def test_sharegpt_tool_calls() -> None:
    raw = {
        "conversations": turns(("human", "q"), ("function_call", json.dumps(CALL)),
                               ("observation", "seen"), ("gpt", "done")),
        "tools": json.dumps([TOOL]), "system": "rules",
    }  # fmt: skip
    row = one(raw)
    assert (readers.detect(raw), shape(row)) == ("sharegpt", "sucoa")
    mixed = '{"name": "f", "arguments": \'{"a": 1}\'}'  # Glaive: Python quotes around JSON
    raw["conversations"][1]["value"] = mixed
    assert one(raw).calls[0].arguments == '{"a": 1}'


def test_agent_flan_tolerates_type_instead_of_loss() -> None:
    pairs = turns(("system", "s"), ("user", "q"), ("assistant", "a"), ("user", "r"),
                  ("assistant", "b"), keys=("role", "content"))  # fmt: skip
    flags = [False, False, False, False, True]
    for key in ("loss", "type"):
        raw = {"id": "1", "conversation": [t | {key: f} for t, f in zip(pairs, flags)]}
        assert (readers.detect(raw), shape(one(raw))) == ("agent_flan", "suxua")
    assert shape(one({"id": "1", "conversation": pairs})) == "suaua"
    words = [t | {"type": "chat"} for t in pairs]  # a word there is no flag
    assert shape(one({"id": "1", "conversation": words})) == "suaua"


def test_agenttraj_and_nat_and_eto() -> None:
    said = turns(("human", "q"), ("gpt", "Ok."), ("human", "go"),
                 ("gpt", "Thought: t\nAction: look"), ("human", "Observation: x"),
                 ("gpt", "Thought: t\nAction: click[Buy]"))  # fmt: skip
    flags = [None, False, None, True, None, True]
    raw = {"item_id": "webshop_1", "conversations": [t | {"loss": f} for t, f in zip(said, flags)]}
    row = one(raw)
    assert (readers.detect(raw), row.source_id, shape(row)) == ("agenttraj", "webshop_1", "uxucoc")
    assert [c.name for c in row.calls] == ["look", "click"]
    with pytest.raises(RecordError, match="null"):
        read({"item_id": "1", "conversations": None})
    nat = {"id": "7", "conversations": turns(("user", "q"), ("assistant", "a")), "source": "gsm8k",
           "info": {"reward": False, "gt": "4", "pred": "5"}}  # fmt: skip
    row = one(nat)
    assert (row.outcome, row.outcome_word, row.pool) == (0.0, "reward=False", "negative.observed")
    assert one({"id": "1", "conversations": said, "reward": 0.75}, "eto").outcome == 0.75


def test_pairs_of_eto_and_trl() -> None:
    eto = {"id": "3", "prompt": turns(("human", "q")),
           "chosen": turns(("gpt", "Thought: a\nAction: f[x]"), ("human", "Observation: 1"),
                           ("gpt", "Thought: b\nAction: finish[1]")),
           "rejected": turns(("gpt", "Thought: c\nAction: finish[2]"))}  # fmt: skip
    good, bad = read(eto)
    assert [shape(good), shape(bad)] == ["ucoc", "uc"]
    assert (good.outcome, bad.outcome, bad.pool) == (1.0, 0.0, "negative.rejected")
    assert bad.parents == (good.id,)
    good, bad = read({"prompt": "q", "chosen": "yes", "rejected": "no"})
    assert (good.target.content, bad.target.content, good.query) == ("yes", "no", "q")
    row = one({"prompt": "q", "completion": "no", "label": False})
    assert (row.outcome, row.pool) == (0.0, "negative.observed")


def test_toolace() -> None:
    system = f"You may call tools:\n{json.dumps([TOOL])}\nWrite [f(a=1)]."
    raw = {"system": system, "conversations": turns(
        ("user", "q"), ("assistant", '[f(a=1), f(a="é")]'), ("tool", "[1, 2]"),
        ("assistant", "Done [really]."))}  # fmt: skip
    row = one(raw)
    assert (readers.detect(raw), shape(row)) == ("toolace", "sucooa")
    assert [c.args for c in row.calls] == [{"a": 1}, {"a": "é"}]
    assert row.tools[0].schema == SCHEMA
    assert json.dumps([TOOL]) not in row.messages[0].content


def test_apigen_mt() -> None:
    raw = {"system": "policy", "tools": json.dumps([TOOL]), "conversations": turns(
        ("human", "q"), ("gpt", "which?"), ("human", "1"), ("function_call", json.dumps(CALL)),
        ("observation", "{}"), ("gpt", "done"))}  # fmt: skip
    assert (readers.detect(raw), shape(one(raw))) == ("sharegpt", "suaucoa")
    assert shape(one(raw, "apigen_mt")) == "suaucoa"


def test_orca_messages_as_one_json_text() -> None:
    messages = turns(("system", ""), ("user", "q"), ("assistant", "a"), keys=("role", "content"))
    row = one({"messages": json.dumps(messages)})
    assert shape(row) == "sua"


def test_when2call_sft() -> None:
    said = "<TOOLCALL>[" + json.dumps(CALL) + "]</TOOLCALL>"
    raw = {"tools": [json.dumps(TOOL)], "messages": turns(
        ("user", "q"), ("assistant", said), keys=("role", "content"))}  # fmt: skip
    row = one(raw)
    assert (shape(row), row.calls[0].args) == ("uc", {"a": 1})


def test_agentgen_planning_text() -> None:
    raw = {"id": "blocks_1", "conversations": turns(
        ("human", "Domain: blocks\nGoal: (on a b)"),
        ("gpt", "Thought: free a\nAction: (unstack a c)"), ("human", "a is held."),
        ("gpt", "Thought: put it\nAction: (stack a b)"),
        ("human", "The goal is reached."))}  # fmt: skip
    row = one(raw, "agentgen")
    assert shape(row) == "ucoc"
    assert [c.args for c in row.calls] == [{"command": "(unstack a c)"}, {"command": "(stack a b)"}]
    assert row.meta["after"] == ["The goal is reached."]


# --- runs with an outcome ------------------------------------------------------------------------


def test_tau2_whole_file_hides_the_users_tools() -> None:
    call = {"id": "1", "name": "f", "arguments": {"a": 1}, "requestor": "assistant"}
    own = call | {"id": "2", "requestor": "user"}
    messages = [
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": None, "tool_calls": [own]},
        {"role": "tool", "id": "2", "content": "on", "requestor": "user"},
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "id": "1", "content": "1", "requestor": "assistant"},
        {"role": "assistant", "content": "done"},
        {"role": "user", "content": "###STOP###"},
    ]
    run = {"id": "r", "task_id": "4", "termination_reason": "user_stop", "messages": messages}
    raw = {"simulations": [run | {"reward_info": {"reward": 0.65}}, run], "tasks": [],
           "info": {"environment_info": {"policy": "rules"}}}  # fmt: skip
    first, second = read(raw)
    assert shape(first) == "saucoa"
    assert [h["role"] for h in first.meta["user_calls"]] == ["user", "tool"]
    assert first.messages[-2].name == "f"
    assert (first.outcome, second.outcome) == (0.65, None)
    assert "on" not in [m.content for m in first.messages]
    assert first.meta["after"] == ["###STOP###"]


def test_mind2web_raw() -> None:
    def action(op: str, value: str, page: str, node: str | None) -> dict:
        found = [{"tag": "a", "attributes": "{}", "backend_node_id": node}] if node else []
        return {"action_uid": "x", "raw_html": "<html>" * 9, "cleaned_html": page,
                "operation": {"op": op, "original_op": op, "value": value},
                "pos_candidates": found, "neg_candidates": [{"tag": "b"}]}  # fmt: skip

    raw = {"website": "w", "domain": "d", "annotation_id": "1", "confirmed_task": "buy",
           "action_reprs": ["r"], "actions": [action("CLICK", "", "<p1>", "7"),
                                               action("TYPE", "hat", "<p2>", None)]}  # fmt: skip
    row = one(raw)
    assert shape(row) == "ucoc"
    assert [c.args for c in row.calls] == [{"element": "7"}, {"element": "none", "value": "hat"}]
    assert row.messages[2].content == "<p2>"
    assert row.meta == {"website": "w", "domain": "d", "action_reprs": ["r"]}


def rated(rating: Any, **more: Any) -> dict[str, Any]:
    return {"input": "q", "output": "a", "task_type": "summary", "rating": rating} | more


def test_ratings() -> None:
    row = one(rated(0.8))
    assert (row.outcome, row.pool, row.meta) == (0.8, "positive", {"task_type": "summary"})
    assert one(rated("0.79")).pool == "negative.rated"
    assert one(rated(4), rating_max=5.0).pool == "positive"
    assert one(rated(3), rating_max=5.0).outcome == pytest.approx(0.6)
    assert one(rated(3, rating_max=10)).outcome == pytest.approx(0.3)
    assert one(rated(0.5), min_rating=0.5).pool == "positive"
    for rating, reason in [(4, "outside the scale 0 to 1"), (-1, "outside"), ("good", "number"),
                           (None, "number"), (float("nan"), "outside")]:  # fmt: skip
        with pytest.raises(RecordError, match=reason):
            readers.read_row(rated(rating), "f:1", "ratings")
    call = "[f(a=1)]"
    assert one(rated(1, tools=[TOOL], output=call)).calls[0].args == {"a": 1}
    assert one(rated(1, output=call)).target.content == call  # no tools: words


# --- the table -----------------------------------------------------------------------------------


def own_reader(raw: dict[str, Any]) -> Trajectory:
    from raytune_agents.records import Message

    return Trajectory((Message("user", raw["ask"]), Message("assistant", raw["say"])))


def test_a_users_own_reader() -> None:
    row = one({"ask": "q", "say": "a"}, f"{__name__}:own_reader")
    assert (row.query, row.source, row.source_id) == ("q", f"{__name__}:own_reader/file.jsonl", "3")
    with pytest.raises(RecordError, match="KeyError 'say'"):
        read({"ask": "q"}, f"{__name__}:own_reader")


@pytest.mark.parametrize("name", ["xlma", "no.such.module:f", "json:no_such_function"])
def test_an_unknown_format_names_the_known(name: str) -> None:
    with pytest.raises(readers.SourceError, match=r"read.sources.format="):
        read({"messages": []}, name)


def test_api_bank_training_rows() -> None:
    said = "API-Request: [AddAlarm(time='2023-09-12 13:50:00', n=2)]"
    raw = {"file": "a.json", "id": 1, "instruction": "i", "input": "q", "expected_output": said}
    row = one(raw)
    assert (readers.detect(raw), shape(row), row.source_id) == ("api_bank", "suc", "a.json.1")
    assert row.calls[0].args == {"time": "2023-09-12 13:50:00", "n": 2}
    assert shape(one(raw | {"expected_output": "Hello."})) == "sua"
    with pytest.raises(RecordError, match="cannot be parsed"):
        read(raw | {"expected_output": "API-Request: [AddAlarm("})


def test_responses_put_reasoning_and_parallel_calls_together() -> None:
    def call(key: str) -> dict[str, Any]:
        return {"type": "function_call", "name": "f", "arguments": "{}", "call_id": key}

    def seen(key: str) -> dict[str, Any]:
        return {"type": "function_call_output", "call_id": key, "output": key}

    reasoning = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "why"}]}
    said = [{"type": "output_text", "text": "done"}]
    output = [reasoning, call("1"), call("2"), seen("2"), seen("1"),
              {"type": "message", "role": "assistant", "content": said}]  # fmt: skip
    raw = {"responses_create_params": {"input": "q", "tools": [TOOL]},
           "response": {"id": "r", "output": output}, "reward": 0.0}  # fmt: skip
    row = one(raw)
    assert shape(row) == "ucooa"
    assert row.messages[1].thought == "why"
    assert [m.tool_call_id for m in row.messages[2:4]] == ["1", "2"]  # as they were called
    assert (row.target.content, row.pool) == ("done", "negative.observed")


def test_agentbank_and_a_row_from_a_table() -> None:
    raw = {"id": "alfred_3", "conversations": turns(("human", "q"), ("gpt", "a"))}
    assert one(raw, "agentbank").source == "agentbank/file.jsonl"
    table = {"id": "1", "conversations": raw["conversations"], "tools": None, "system": None,
             "reward": None}  # fmt: skip
    row = one(table)  # Parquet fills what a row has not with nulls
    assert (shape(row), row.outcome, row.outcome_word, row.tools) == ("ua", None, "", ())
