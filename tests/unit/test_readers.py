"""Every source format: what a row becomes, its outcome, and that nothing of it is lost.

Rows in the shape of sets that cannot be shipped are written out here; real files of every format
are read from shared/data where that folder is there.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raytune_agents import readers
from raytune_agents.config import SourceSection
from raytune_agents.readers import bfcl, shapes, strict
from raytune_agents.records import RecordError, Trajectory, from_row, to_row

DATA = Path(__file__).parents[2].parent / "shared/data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="shared/data is not here")


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


# --- real files ----------------------------------------------------------------------------------

# file -> (format, rows, trajectories, successes, failures)
SAMPLES = {
    "xlam.jsonl": ("xlam", 100, 100, 0, 0),
    "xlam_model_failures.jsonl": ("model_failures", 100, 100, 10, 90),
    "agenttuning.jsonl": ("agenttuning", 30, 30, 0, 0),
    "agentflan_reshaped.jsonl": ("agent_flan", 30, 30, 0, 0),
    "sharegpt_toolcalls.jsonl": ("sharegpt", 100, 100, 0, 0),
    "fireact_alpaca.jsonl": ("fireact", 100, 100, 99, 1),
    "fireact_gpt.jsonl": ("fireact", 60, 60, 57, 3),
    "fireact_trajs.jsonl": ("fireact", 100, 100, 40, 60),
    "tau_bench.jsonl": ("tau_bench", 20, 20, 10, 10),
    "tau2.jsonl": ("tau2", 14, 14, 8, 6),
    "openai_tools.jsonl": ("openai", 20, 20, 0, 0),
    "swe_gym.jsonl": ("swe_gym", 5, 5, 5, 0),
    "nebius_swe_agent.jsonl": ("nebius", 5, 5, 5, 0),
    "swe_agent_traj.jsonl": ("swe_agent", 10, 10, 0, 0),
    "mind2web_agenttuning.jsonl": ("agenttuning", 5, 5, 0, 0),
    "toolbench_dfs.jsonl": ("toolbench", 12, 78, 7, 71),
    "toolbench_cot_runs.jsonl": ("toolbench_runs", 60, 60, 27, 33),
    "toolalpaca.jsonl": ("toolalpaca", 21, 214, 0, 0),
    "toolalpaca_instances.jsonl": ("toolalpaca", 36, 306, 0, 298),
    "when2call_test.jsonl": ("when2call", 100, 100, 0, 0),
    "when2call_pref.jsonl": ("when2call_pref", 200, 400, 200, 200),
    "bfcl.jsonl": ("bfcl", 100, 100, 0, 0),
    "mint.jsonl": ("mint", 64, 64, 32, 32),
    "api_bank.jsonl": ("api_bank", 60, 60, 0, 0),
    "seal_tools.jsonl": ("seal_tools", 60, 60, 0, 0),
    "nestful.jsonl": ("nestful", 60, 60, 0, 0),
    "tooltalk.jsonl": ("tooltalk", 30, 30, 0, 0),
    "nemo_gym_rollouts.jsonl": ("responses", 10, 10, 7, 3),
}


def trajectories(path: Path | str) -> list[Trajectory]:
    out: list[Trajectory] = []
    for where, raw in readers.list_raw(SourceSection(path=str(path))):
        assert isinstance(raw, dict), raw
        out += readers.read_row(raw, where)
    return out


@needs_data
@pytest.mark.parametrize("name", SAMPLES)
def test_samples(name: str) -> None:
    format, n_raw, n, successes, failures = SAMPLES[name]
    path = DATA / "samples" / name
    raw = list(readers.list_raw(SourceSection(path=str(path))))
    assert len(raw) == n_raw
    assert {readers.detect(r) for _, r in raw} == {format}
    rows = trajectories(path)
    assert len(rows) == n
    outcomes = Counter(None if r.outcome is None else r.outcome >= 0.5 for r in rows)
    assert (outcomes[True], outcomes[False]) == (successes, failures)
    assert len({r.id for r in rows}) == n
    for row in rows:
        assert row.pool.startswith("negative.") == (row.outcome is not None and row.outcome < 0.5)
        assert row.source == f"{format}/{name}"
        assert not any(m.trained for m in row.messages if m.role != "assistant")
        assert from_row(to_row(row)) == row  # also: everything in it can be stored
        for tool in row.tools:
            assert tool.schema["type"] == "object"


@needs_data
def test_every_sample_file_is_listed() -> None:
    assert {p.name for p in (DATA / "samples").glob("*.jsonl")} == SAMPLES.keys()


@needs_data
def test_fireact_runs() -> None:
    folder = DATA / "fireact"
    for name, n, right in [("runs_gpt35", 465, 200), ("runs_llama2_13b", 499, 172),
                           ("runs_llama2_7b", 500, 131)]:  # fmt: skip
        rows = trajectories(folder / f"{name}.json.gz")
        assert (len(rows), sum(r.outcome == 1.0 for r in rows)) == (n, right)
        assert all(r.outcome == float(r.meta["em"]) for r in rows)
    assert len(trajectories(folder / "sft_alpaca_format_hotpotqa.json.gz")) == 500
    assert len(trajectories(folder / "sft_gpt_format_multitask.jsonl.gz")) == 1_344


@needs_data
def test_prepared_rows_keep_their_bytes() -> None:
    path = DATA / "prepared" / "val.jsonl.gz"
    for where, raw in readers.list_raw(SourceSection(path=str(path))):
        [row] = readers.read_row(raw, where)
        for tool in row.tools:
            assert f'"parameters": {tool.parameters}' in raw["tools"]
        for call in row.calls:
            assert f'"arguments": {call.arguments}' in raw["answers"]
        assert len(row.calls) == len(json.loads(raw["answers"]))


# --- BFCL ----------------------------------------------------------------------------------------


def test_bfcl_package() -> None:
    pytest.importorskip("bfcl_eval")
    rows = trajectories("bfcl")
    counts = Counter(r.source for r in rows)
    assert counts == {
        "bfcl/simple_python": 400, "bfcl/multiple": 200, "bfcl/parallel": 200,
        "bfcl/parallel_multiple": 200, "bfcl/live_simple": 258, "bfcl/live_multiple": 1053,
        "bfcl/irrelevance": 240,
    }  # fmt: skip
    for row in rows:
        quiet = row.source == "bfcl/irrelevance"
        assert (row.gold == "[]") == quiet == (row.target is None)
    with pytest.raises(readers.SourceError, match="multi_turn_base"):
        list(bfcl.rows(["multi_turn_base"]))


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


# --- type words ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("word", "schema", "optional"), [
    ("str", {"type": "string"}, False),
    ("str, optional", {"type": "string"}, True),
    ("List[int]", {"type": "array", "items": {"type": "integer"}}, False),
    ("List[List[float]], optional", {"type": "array", "items": {"type": "array", "items":
                                     {"type": "number"}}}, True),
    ("Dict[str, int]", {"type": "object", "additionalProperties": {"type": "integer"}}, False),
    ("Union[int, str]", {"anyOf": [{"type": "integer"}, {"type": "string"}]}, False),
    ("Optional[str]", {"anyOf": [{"type": "string"}, {"type": "null"}]}, True),
    ("int | None", {"anyOf": [{"type": "integer"}, {"type": "null"}]}, False),
    ("Tuple[float, float]", {"type": "array", "items": {"type": "number"}}, False),
    ("np.ndarray", {"type": "array"}, False),
    ("str, default is 'x'", {"type": "string"}, False),
    ("Literal['a', 'b']", {"enum": ["a", "b"]}, False),
    ("dict", {"type": "object"}, False),
    ("Whatever", {}, False),
    ("", {}, False),
    ("List[" * 50, None, False),  # hostile nesting ends
])  # fmt: skip
def test_type_words(word: str, schema: dict | None, optional: bool) -> None:
    found = shapes.type_schema(word)
    assert found == (schema if schema is not None else found[0], optional)


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


def test_tables_of_unlike_schemas_lose_their_nulls() -> None:
    properties = {"a": {"type": "string", "enum": None, "default": None}, "b": None}
    schema = shapes.clean_schema({"type": "object", "properties": properties, "required": None})
    assert schema == {"type": "object", "properties": {"a": {"type": "string", "default": None}}}


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
    assert (readers.detect(raw), shape(row)) == ("toolace", "sucoa")
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


@needs_data
def test_toolbench_dead_branches_point_to_the_answer() -> None:
    rows = trajectories(DATA / "samples/toolbench_dfs.jsonl")
    best = {r.id for r in rows if r.outcome == 1.0}
    dead = [r for r in rows if r.pool == "negative.dead_branch"]
    wins = {r.source_id for r in rows if r.outcome == 1.0}
    for row in dead:
        twin = row.source_id.partition("#")[0] in wins
        assert set(row.parents) <= best
        assert bool(row.parents) == twin
    assert all(r.calls[-1].name == "Finish" for r in rows if r.outcome == 1.0)


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


def test_every_format_that_is_detected_has_a_reader() -> None:
    assert {name for name, _, _ in readers.SIGNS} <= readers.READERS.keys()


# --- strict JSON ---------------------------------------------------------------------------------


def test_raw_items_slices_every_value() -> None:
    text = ' [ {"a" : 1.50 , "b":{"c": [1,  2]}} ,\n{} , {"d":"\\u00e9]"} ] '
    assert strict.raw_items(text) == [
        ({"a": 1.5, "b": {"c": [1, 2]}}, {"a": "1.50", "b": '{"c": [1,  2]}'}),
        ({}, {}),
        ({"d": "é]"}, {"d": '"\\u00e9]"'}),
    ]
    assert strict.raw_items("[]") == []


@pytest.mark.parametrize(("text", "reason"), [
    ("{}", "a list of objects"), ("[1]", "a list of objects"), ("[{}, 1]", "a list of objects"),
    ("[{}", "not JSON"), ("[{}] x", "not JSON"), ("[{},]", "not JSON"), ("[{} {}]", "not JSON"),
    ("", "not JSON"), ("[", "not JSON"), ("[{'a': 1}]", "not JSON"), ('[{"a" 1}]', "not JSON"),
    ('[{"a": 1,}]', "not JSON"), ("[{1: 1}]", "not JSON"), ('[{"a": 1]', "not JSON"),
    ('[{"a": 1, "a": 2}]', "duplicate key 'a'"), ('[{"a": {"b": 1, "b": 1}}]', "duplicate key"),
    ('[{"a": NaN}]', "NaN"), ('[{"a": "\\ud800"}]', "surrogate"),
    ('[{"a": ' + "[" * 70 + "]" * 70 + "}]", "nested deeper than 66"),
])  # fmt: skip
def test_raw_items_is_strict(text: str, reason: str) -> None:
    with pytest.raises(RecordError, match=f"^{reason}" if "JSON" in reason else reason):
        strict.raw_items(text)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=4), JSON_VALUES, max_size=4), max_size=4),
       st.sampled_from([None, 0, 2]), st.integers(0, 10_000))  # fmt: skip
def test_raw_items_agrees_with_json(rows: list[dict], indent: int | None, cut: int) -> None:
    text = json.dumps(rows, indent=indent)
    found = strict.raw_items(text)
    assert [v for v, _ in found] == rows
    assert [{k: json.loads(r) for k, r in raws.items()} for _, raws in found] == rows
    part = text[: cut % len(text)]  # cut anywhere: always our error, never another
    with pytest.raises(RecordError, match=r"^not JSON"):
        strict.raw_items(part)


def test_depth_of() -> None:
    assert [strict.depth_of(v) for v in (1, [], {"a": []}, [[1], {"b": [2]}])] == [0, 1, 2, 3]


def test_value_of_literals_has_a_limit() -> None:
    assert strict.value_of("[{'a': None, 'b': True}]") == [{"a": None, "b": True}]
    with pytest.raises(RecordError, match="Python literal"):
        strict.value_of("__import__('os')")
    with pytest.raises(RecordError, match="not JSON"):
        strict.value_of("['" + "x" * strict.MAX_LITERAL_CHARS + "']")


def test_explain_names_where_fields_go() -> None:
    from rich.console import Console

    if not DATA.is_dir():
        pytest.skip("shared/data is not here")
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(readers.explain(str(DATA / "samples/xlam.jsonl")))
    text = console.export_text()
    assert "xlam" in text
    assert [w for w in ("messages (user)", "tool_calls, gold", "source_id") if w not in text] == []
