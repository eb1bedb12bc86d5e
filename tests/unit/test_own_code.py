"""Functions of the user's that raise, or give what is no answer: the row is counted, the step goes
on; a function that never works stops it with one line."""

import json
import re
import sys
from types import ModuleType

import numpy as np
import pytest

from raytune_agents import exports, filters, negatives, readers
from raytune_agents.config import ConfigError, LabelConfig
from raytune_agents.dedup.step import embed_texts
from raytune_agents.evaluate.measured import AnswerRow
from raytune_agents.evaluate.own_metrics import load_metrics, with_own
from raytune_agents.records import Message, RecordError, ToolCall, ToolSpec, Trajectory, to_row
from raytune_agents.train.rewards import OwnReward, functions

RAW = {
    "messages": [
        {"role": "user", "content": "Weather in Paris?"},
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {
            "name": "weather", "arguments": '{"city": "Paris"}'}}]},
    ],
    "tools": [{"type": "function", "function": {"name": "weather", "description": "of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}],
}  # fmt: skip


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError


def stops(*args: object) -> None:
    raise SystemExit(3)


def mute(*args: object) -> None:
    raise Mute


def asserts(*args: object) -> None:
    raise AssertionError("no")


RAISING = (stops, mute, asserts)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch):
    """A user's module with this function: its name in a config."""

    def named(function) -> str:
        module = ModuleType("own_code")
        module.function = function
        monkeypatch.setitem(sys.modules, "own_code", module)
        return "own_code:function"

    return named


@pytest.fixture
def row() -> Trajectory:
    return readers.read_row(RAW, "rows.jsonl:1")[0]


@pytest.mark.parametrize("function", RAISING)
def test_what_it_raises_costs_the_row(own, row: Trajectory, function) -> None:
    name = own(function)
    kind = {stops: "SystemExit", mute: "Mute", asserts: "AssertionError"}[function]
    label = LabelConfig(rules=[name])
    assert filters.label(row, label).reject_reason == f"label_error:{name}:{kind}"
    assert negatives.edit(row, name, seed=1) == (None, f"edit_error:{kind}")
    with pytest.raises(RecordError, match=f"{name}: {kind}"):
        readers.read_row(RAW, "rows.jsonl:1", name)


ASKED = Message("user", "q")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "the reader gives a NoneType, not a Trajectory"),
        ({"messages": []}, "the reader gives a dict, not a Trajectory"),
        (Trajectory((ASKED,), (ToolSpec("a", "", {}),)), "ToolSpec.parameters is a dict, not text"),
        (Trajectory((ASKED,), (ToolSpec("a", "", "[]"),)), "ToolSpec.parameters is no JSON object"),
        (Trajectory((ASKED,), (ToolSpec("a", "", "no"),)), "not JSON"),
        (
            Trajectory((ASKED, Message("assistant", tool_calls=(ToolCall("a", {}),)))),
            "ToolCall.arguments is a dict, not text",
        ),
        (Trajectory((ASKED, Message("assistant", None))), "Message.content is a NoneType"),
        (Trajectory((ASKED,), gold=[]), "Trajectory.gold is a list, not text"),
    ],
)
def test_a_reader_gives_what_a_file_can_hold(own, value, reason: str) -> None:
    with pytest.raises(RecordError, match=re.escape(reason)):
        readers.read_row(RAW, "rows.jsonl:1", own(lambda row: value))


@pytest.mark.parametrize("value", [True, 5, float("nan"), ["why"], b"why", np.float64(1)])
def test_a_rule_gives_text(own, row: Trajectory, value) -> None:
    name = own(lambda row: value)
    reason = filters.label(row, LabelConfig(rules=[name])).reject_reason
    assert reason == f"label_error:{name}:TypeError"
    long = own(lambda row: "x" * 10_000)
    assert len(filters.label(row, LabelConfig(rules=[long])).reject_reason) == 200


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "good", [1.0], 10**400])
def test_a_metric_and_a_reward_give_numbers(own, row: Trajectory, value) -> None:
    name = own(lambda answer, row: value)
    answer = AnswerRow("nat", "test_seen", row.id, answer="x")
    (found,), errors = with_own([answer], {("test_seen", row.id): row}, load_metrics([name]))
    assert found.values == {"function": None}
    assert errors.total() == 1
    rows = [json.dumps(to_row(row))] * 4
    assert functions([name], False)[0](["x"] * 4, row=rows) == [None] * 4


def test_a_reward_that_fails_on_some_answers_goes_on(own, row: Trajectory, caplog) -> None:
    name = own(lambda answer, row: 1.0 / len(answer))
    (reward,) = functions([name], False)
    rows = [json.dumps(to_row(row))] * 100
    assert reward(["", "ab"] * 50, row=rows) == [None, 0.5] * 50
    assert caplog.text.count("ZeroDivisionError") == 1


@pytest.mark.parametrize("function", RAISING)
def test_a_reward_that_never_works_stops_the_training(own, row: Trajectory, function) -> None:
    name = own(function)
    rows = [json.dumps(to_row(row))] * OwnReward.PATIENCE
    with pytest.raises(ConfigError, match="gives no number for 32 answers"):
        functions([name], False)[0](["x"] * len(rows), row=rows)


def test_an_embedding_is_a_vector_of_each_text(own) -> None:
    def vectors(value) -> np.ndarray:
        config = LabelConfig(embed=own(lambda texts: value), duplicates="minhash")
        return embed_texts(["a", "b"], config)

    found = vectors([[3.0, 4.0], [float("nan"), 1.0]])
    assert found.tolist() == [[np.float16(0.6), np.float16(0.8)], [0, 0]]
    for value in ([1.0, 2.0], [[1.0]], None, [[1.0], [1.0, 2.0]], ["a", "b"]):
        with pytest.raises(ConfigError, match=r"label\.embed='own_code:function'"):
            vectors(value)


class Empty: ...


@pytest.mark.parametrize("function", [lambda: None, lambda a, b, c: None, lambda *, row: 0, Empty])
def test_what_cannot_be_called_is_refused_before_anything_starts(own, function) -> None:
    name = own(function)
    for load in (
        lambda: readers.reader_named(name),
        lambda: filters.active_rules(LabelConfig(rules=[name])),
        lambda: load_metrics([name]),
        lambda: OwnReward(name),
        lambda: negatives.fault_named(name),
        lambda: exports.writer_named(name),
    ):
        with pytest.raises(ConfigError, match=r"it is called with \(.*row.*\) and takes \("):
            load()


def test_a_module_that_ends_the_program_is_a_wrong_option(tmp_path, monkeypatch) -> None:
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="'leaves:read' cannot be loaded"):
        readers.reader_named("leaves:read")
