"""Negatives that mean something: near misses, shares of faults, the model's dialect and words."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest
import trl
from transformers import AutoTokenizer

from raytune_agents import agents, models, negatives
from raytune_agents.calls import fault_of, parse
from raytune_agents.chat import Chat
from raytune_agents.config import NegativesConfig
from raytune_agents.generate import rewrite
from raytune_agents.generate.tasks import tasks
from raytune_agents.inference.client import Reply
from raytune_agents.negatives import Setting, answer_text, choice
from raytune_agents.negatives.wrong_values import (
    Near,
    next_of,
    other_text,
    other_value,
    seen_values,
)
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish

SEEDS = range(20)


def every(value: object, schema: dict, near: Near = Near()) -> set:  # noqa: B008
    return {other_value(value, schema, random.Random(s), near) for s in SEEDS}


def test_a_city_becomes_a_city_that_other_rows_name() -> None:
    cities = Near(["Oslo", "Bern", "Rome", "oslo"], "a room in Oslo")
    assert every("Oslo", {"type": "string"}, cities) == {"Bern", "Rome"}


def test_dates_and_times_are_shifted_and_ids_differ_in_a_digit() -> None:
    days = every("2025-03-31", {"type": "string"})
    assert days == {"2025-03-01", "2025-03-24", "2025-03-30", "2025-04-01", "2025-04-07"}
    assert every("09:00", {}) == {"08:00", "08:30", "09:30", "10:00"}
    for code in every("R-2417", {}):
        assert len(code) == 6
        assert sum(a != b for a, b in zip(code, "R-2417")) == 1


def test_an_enumeration_gives_a_neighbour() -> None:
    levels = ["low", "medium", "high", "urgent"]
    assert {next_of(levels, "medium", random.Random(s)) for s in SEEDS} == {"low", "high"}
    assert every("urgent", {"enum": levels}) == {"high", "medium"}
    assert every("only", {"enum": ["only"]}) == {None}


def test_no_text_is_cut() -> None:
    assert every("Marta", {}) == {None}  # nothing is known that could stand there
    asked = Near(request="please call Marta tomorrow")
    assert every("Marta", {}, asked) == {"call Marta", "Marta tomorrow"}
    assert other_text("a lone wolf", random.Random(1), Near(request="sing it")) is None


def test_values_of_other_rows_are_found_by_tool_and_parameter() -> None:
    rows = [asked(f"to {c}", {"city": c}) for c in ("Oslo", "Bern", "Oslo")]
    assert seen_values(rows) == {("go", "city"): ["Oslo", "Bern"]}
    made, why = negatives.edit(rows[0], "wrong_value", 1, Setting(seen_values(rows)))
    assert why == ""
    assert made.target.tool_calls[0].args == {"city": "Bern"}


CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
GO = ToolSpec("go", "Go to a city.", json.dumps(CITY))


def asked(query: str, arguments: dict) -> Trajectory:
    call = ToolCall("go", json.dumps(arguments))
    turns = (Message("user", query), Message("assistant", tool_calls=(call,)))
    return finish(Trajectory(turns, (GO,)))


# --- shares ---


@pytest.mark.parametrize(
    ("counts", "kept"),
    [
        ({"a": 100, "b": 10, "c": 10, "d": 10}, {"a": 10, "b": 10, "c": 10, "d": 10}),  # 1/4 each
        (dict.fromkeys("abcdefgh", 5), dict.fromkeys("abcdefgh", 5)),
        ({"a": 60} | dict.fromkeys("bcdefghijk", 6), {"a": 10} | dict.fromkeys("bcdefghijk", 6)),
        ({"a": 7}, {"a": 7}),
        ({}, {}),
    ],
)
def test_no_fault_is_above_its_share(counts: dict, kept: dict) -> None:
    assert choice.within_share(counts, 0.15) == kept


def test_rows_beyond_the_share_are_named() -> None:
    rows = [asked(str(i), {"city": str(i)}) for i in range(6)]
    bad = [negatives.mined(r, "I went there.") for r in rows]
    over = choice.over_share(bad, {"answered_directly": 2}, 1)
    assert len(over) == 4
    assert over < {r.id for r in bad}


def test_a_run_has_no_canned_sentence_where_the_model_has_its_own() -> None:
    good = [r for name in agents.shipped() for r in tasks(agents.load_spec(name), 20, 2)]
    config = NegativesConfig(per_positive=1.0)
    found, _ = choice.edited(good, {"answered_directly": 30}, config, 1)
    faults = Counter(row.fault for row in found)
    assert "answered_directly" not in faults
    assert max(faults.values()) <= 0.15 * sum(faults.values()) + 1
    asked_for = NegativesConfig(per_positive=1.0, faults=["wrong_value"])
    found, _ = choice.edited(good, {}, asked_for, 1)
    assert {row.fault for row in found} == {"wrong_value"}
    assert len(found) > 60


# --- the model's own words ---


def test_prose_that_was_cut_ends_with_its_last_whole_sentence() -> None:
    row = asked("to Oslo", {"city": "Oslo"})
    texts = [
        "Sure! You can take the train to Oslo. It leaves at",
        '<tool_call>{"name": "go", "argu',
        "No sentence is whole here",
        "Use this. {",
    ]
    reply = Reply(texts, [16] * 4, 10, 0.0, 0.0, cut=[True] * 4)
    shard = rewrite.Shard()
    rewrite.failures(row, reply, NegativesConfig(mined_samples=4, max_tokens=16), shard)
    assert [r.target.content for r in shard.rows] == [
        "Sure! You can take the train to Oslo.", "Use this.",
    ]  # fmt: skip
    assert {r.fault for r in shard.rows} == {"answered_directly"}
    assert shard.rejected == {"cut_at_max_tokens": 2}
    assert shard.notes == {"cut_to_whole_sentences": 2, "answered_directly": 2}


# --- the model's own dialect ---

SHIPPED = Path(trl.__file__).parent / "chat_templates"


@pytest.mark.parametrize("family", ["qwen3", "qwen3_5_think", "glm4moe", "llama3_1"])
def test_broken_calls_are_broken_in_the_dialect(family: str, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(models.embedded())
    tokenizer.chat_template = (SHIPPED / f"{family}.jinja").read_text()
    marks = ["<|start_header_id|>", "<|eot_id|>", "<tool_call>", "</tool_call>"]
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    tokenizer.save_pretrained(tmp_path)
    chat = Chat(tmp_path, "native")
    rows = tasks(agents.load_spec("support"), 12, 3)
    made = 0
    for row in rows:
        written = chat.written_turn(row)
        assert [c.args for c in parse(written, row.tools).calls] == [c.args for c in row.calls]
        bad, _ = negatives.edit(row, "malformed_json", 1, Setting(written=chat.written_turn))
        if bad is None:
            continue
        made += 1
        text = answer_text(bad.target)
        assert fault_of(text, row) == "malformed_json"
        lost = set(re.findall(r"\w+", written)) - set(re.findall(r"\w+", text))
        assert len(lost) <= 2  # broken in one place of what the model writes
    assert made >= 6
