"""ReAct text becomes structured turns and is written back letter for letter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raytune_agents import readers
from raytune_agents.readers import react
from raytune_agents.readers.decode import file_rows
from raytune_agents.records import Message, Trajectory

DATA = Path(__file__).parents[2].parent / "shared/data"


def react_text(row: Trajectory) -> str:
    """The one text after the question that the row's turns were read from, letter for letter."""
    parts = [t["content"] for t in react.conversation(row)[1:]]
    lead = row.meta.get("lead", "")
    inner = "\n".join([lead] * bool(lead) + parts)
    return row.meta.get("front", "") + inner + row.meta.get("tail", "")


@pytest.mark.parametrize(("text", "thought", "name", "arguments"), [
    ("Thought: t\nAction: search[a [b]]", "t", "search", {"input": "a [b]"}),
    ("Action: finish[]", "", "finish", {"input": ""}),
    ('Thought: t\nAction: f\nAction Input: {"a":  1}', "t", "f", {"a": 1}),
    ("Thought 1: t\nAction 1: f\nAction Input 1: words", "t", "f", {"action_input": "words"}),
    ("Thought: t\nAction: rel(a, b (c))", "t", "rel", {"args": "a, b (c)"}),
    ("THOUGHT: t u\nACTION: go to shelf 1", "t u", "act", {"command": "go to shelf 1"}),
    ("Think: t\n\nAct: bash\n\n```bash\nls\n```", "t", "bash", {"lang": "bash", "code": "ls"}),
    ("Thought:\nt\n\nAction:\nclick[Buy Now]", "t", "click", {"input": "Buy Now"}),
    ("Thought: t \nAction:  look", "t", "look", {}),
    ("Thought: a\nb\n\nc\nAction: f[x\ny]", "a\nb\n\nc", "f", {"input": "x\ny"}),
])  # fmt: skip
def test_one_turn(text: str, thought: str, name: str, arguments: dict) -> None:
    turns, meta = react.structure([Message("user", "q"), Message("assistant", text)])
    [call] = turns[1].tool_calls
    assert (turns[1].thought, turns[1].content, call.name) == (thought, "", name)
    assert call.args == arguments
    row = Trajectory(tuple(turns), meta=meta)
    assert react.conversation(row)[1]["content"] == text


@pytest.mark.parametrize("text", [
    "Just words.", "Thought: only a thought", "I think.\nAction: f[x]", "Action:", "",
    "Thought: t\nAnswer: B.\nAction: CLICK",  # a choice, not a call
])  # fmt: skip
def test_what_is_no_react_stays(text: str) -> None:
    messages = [Message("user", "q"), Message("assistant", text), Message("user", "Observation: x")]
    assert react.structure(messages) == (messages, {})


def test_observations_become_tool_turns_and_are_never_trained() -> None:
    text = ["Thought: t\nAction: f[1]", "Thought: u\nAction: g[2]", "Thought: v\nFinal Answer: 3"]
    messages = [Message("user", "q")]
    for t in text:
        messages += [Message("assistant", t), Message("user", "Observation: seen")]
    turns, meta = react.structure(messages)
    assert [m.role for m in turns] == ["user", *["assistant", "tool"] * 2, "assistant", "user"]
    assert [(m.content, m.name) for m in turns if m.role == "tool"] == [
        ("seen", "f"),
        ("seen", "g"),
    ]
    assert not any(m.trained for m in turns if m.role != "assistant")
    assert (turns[5].thought, turns[5].content) == ("v", "Final Answer: 3")
    out = react.conversation(Trajectory(tuple(turns), meta=meta))
    assert [m["content"] for m in out] == [m.content for m in messages]


def test_a_turn_that_spells_otherwise_is_kept_apart() -> None:
    texts = ["Thought: t\nAction: f[1]", "Thought: t\n\nAction:  f[2]", "Thought: t\nAction: f[3]"]
    messages = [Message("user", "q")]
    for t in texts:
        messages += [Message("assistant", t), Message("user", "seen")]
    turns, meta = react.structure(messages[:-1])
    assert [m.tool_calls[0].args["input"] for m in turns if m.tool_calls] == ["1", "2", "3"]
    assert list(meta["react"]["turns"]) == ["3"]
    out = react.conversation(Trajectory(tuple(turns), meta=meta))
    assert [m["content"] for m in out] == [m.content for m in messages[:-1]]


def test_text_before_the_first_thought_belongs_to_the_question() -> None:
    row = {"instruction": "Which?", "input": "", "output": "A. x\nB. y\nThought: t\n"
           "Action: finish[B]\nObservation: Episode finished, reward = False\n"}  # fmt: skip
    [got] = readers.read_row(row, "f:1")
    assert got.query == "Which?\nA. x\nB. y"
    assert (got.outcome, got.outcome_word) == (0.0, "reward = False")
    assert got.pool == "negative.observed"
    assert got.target.tool_calls[0].args == {"input": "B"}
    assert react_text(got) == row["output"]


@pytest.mark.parametrize("labels", [
    ("Function Name", "Function Input", "Function Output"),  # BeeAI
    ("Tool Name", "Tool Input", "Tool Output"),
    ("Action", "Action Input", "Action Result"),
    ("Action", "Action Input", "Observation"),
])  # fmt: skip
def test_what_was_observed_is_never_a_part_of_the_assistants_turn(
    labels: tuple[str, str, str],
) -> None:
    name, given, seen = labels
    step = f'Thought: I look.\n{name}: find\n{given}: {{"q": "a"}}\n{seen}: [7]\n'
    more = f'Thought: Once more.\n{name}: find\n{given}: {{"q": "b"}}\n{seen}: [8]\nx\n'
    end = "Thought: I know it.\nFinal Answer: 15"
    turns = [{"role": "user", "content": "Sum?"}]
    for texts in ((step, more, end), (step + more + end,), (step + more, end)):
        said = [{"role": "assistant", "content": text} for text in texts]
        [row] = readers.read_row({"messages": [*turns, *said]}, "f:1")
        assert [m.role for m in row.messages] == ["user", *["assistant", "tool"] * 2, "assistant"]
        assert [c.args for c in row.calls] == [{"q": "a"}, {"q": "b"}]
        assert [m.content for m in row.messages[2::2]] == ["[7]", "[8]\nx"]
        assert (row.messages[5].thought, row.messages[5].content) == (
            "I know it.",
            "Final Answer: 15",
        )


def test_what_follows_the_last_call_is_a_new_request() -> None:
    bash = ("assistant", "Think: t\n\nAct: bash\n\n```bash\nls\n```")
    said = [("user", "q"), bash, ("user", "The output of the OS:\n\na b"),
            ("assistant", "Think: t\n\nAct: answer(2)"), ("user", "A new problem."), bash,
            ("user", "The output of the OS:\nc"), ("assistant", "Act: answer(1)")]  # fmt: skip
    turns, meta = react.structure(Message(r, c) for r, c in said)
    assert [m.role[0] for m in turns] == list("uatauata")
    assert [m.content for m in turns if m.role == "tool"] == ["a b", "c"]
    out = react.conversation(Trajectory(tuple(turns), meta=meta))
    assert [(m["role"], m["content"]) for m in out] == said


WORDS = st.text(st.sampled_from("ab [](){}:,.\"'\\é"), max_size=12)
LABELS = st.sampled_from(
    ["Thought: ", "Action: ", "Action Input: ", "Observation: ", "\n", "f[", "]",
     "Function Name: ", "Function Input: ", "Function Output: ", "Final Answer: "]
)  # fmt: skip
TEXTS = st.lists(WORDS | LABELS, max_size=8).map("".join)


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_any_conversation_comes_back(texts: list[str]) -> None:
    messages = [
        Message("assistant" if i % 2 else "user", text) for i, text in enumerate(["q", *texts])
    ]
    turns, meta = react.structure(messages)
    out = react.conversation(Trajectory(tuple(turns), meta=meta))
    assert [m["content"] for m in out] == [m.content for m in messages]
    assert [m["role"] for m in out] == [m.role for m in messages]


@settings(max_examples=300, deadline=None)
@given(TEXTS.filter(lambda t: t.strip("\n")))
def test_any_text_comes_back(text: str) -> None:
    row = {"instruction": "q", "input": "", "output": text}
    [got] = readers.read_row(row, "f:1", "fireact")
    assert react_text(got) == text


@pytest.mark.skipif(not DATA.is_dir(), reason="shared/data is not here")
@pytest.mark.parametrize("name", [
    "samples/fireact_alpaca.jsonl", "samples/fireact_gpt.jsonl", "samples/fireact_trajs.jsonl",
    "samples/agenttuning.jsonl", "samples/agentflan_reshaped.jsonl",
    "samples/mind2web_agenttuning.jsonl", "fireact/runs_gpt35.json.gz",
    "fireact/runs_llama2_7b.json.gz", "fireact/runs_llama2_13b.json.gz",
    "fireact/sft_alpaca_format_hotpotqa.json.gz", "fireact/sft_gpt_format_multitask.jsonl.gz",
])  # fmt: skip
def test_real_rows_come_back(name: str) -> None:
    plain = structured = 0
    for where, raw in file_rows(str(DATA / name)):
        [row] = readers.read_row(raw, where)
        if "output" in raw:
            assert react_text(row) == raw["output"]
        elif isinstance(raw.get("traj"), str):
            assert row.meta["head"] + react_text(row) == raw["traj"]
        else:
            keys = ("messages", "traj", "conversations", "conversation")
            turns = next(raw[k] for k in keys if k in raw)
            assert react.conversation(row) == [
                {"role": t["role"], "content": t["content"]} for t in turns
            ]
        for m in row.messages:
            plain += m.role == "assistant" and not (m.tool_calls or m.thought)
            structured += bool(m.tool_calls)
    if name.split("/")[1].startswith(("fireact", "runs", "sft")):
        assert plain <= 1 < structured  # one run ends in the middle of a thought
    json.dumps(row.meta)  # what is kept to write it back can be stored
