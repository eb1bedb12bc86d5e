"""Any input to the call parser, the readers, the files and the config: a result or a named error,
never another exception, never a second of time. `make slow` tries 100,000 inputs."""

from __future__ import annotations

import gzip
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raytune_agents import readers
from raytune_agents.calls import parse, render_calls
from raytune_agents.config import Config, ConfigError, load_config
from raytune_agents.config.loading import known_keys
from raytune_agents.readers import SourceError, decode
from raytune_agents.records import RecordError, Trajectory, from_row, to_row

COUNTS = [pytest.param(120, id="few"), pytest.param(25_000, id="many", marks=pytest.mark.slow)]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
JSON = st.recursive(
    SCALARS,
    lambda x: st.lists(x, max_size=4) | st.dictionaries(st.text(max_size=12), x, max_size=4),
    max_leaves=12,
)


def fuzz(check: Callable[[Any], None], inputs: st.SearchStrategy, count: int) -> None:
    """`check` on `count` inputs, each within a second."""
    many = settings(
        max_examples=count,
        deadline=1000,
        database=None,
        derandomize=count < 1000,
        suppress_health_check=list(HealthCheck),
    )
    many(given(inputs)(check))()


# --- the call parser ---

PIECES = st.sampled_from(
    [
        "<tool_call>", "</tool_call>", "<think>", "</think>", "```json\n", "```", "Action:", "\n",
        "Action Input:", '{"name": "f", "arguments": {"a": 1}}', '{"name"', "[f(a=1), g(b='x')]",
        "f(", ")", "[", "]", "{", "}", '"', "\\", ",", ":", "NaN", "1e999", "-", "'", "<|im_end|>",
        "<|python_tag|>", "[TOOL_CALLS]", "é", "\x00", "\ud800", "(" * 50, "[" * 200, "a" * 300,
    ]
)  # fmt: skip
TEXT = st.lists(PIECES | st.text(max_size=8), max_size=14).map("".join) | st.text(max_size=200)


def check_parser(text: str) -> None:
    found = parse(text)
    assert not (found.calls and found.error)
    for call in found.calls:
        json.loads(call.arguments)
    if found.calls:
        again = parse(render_calls(found.calls))
        assert [c.name for c in again.calls] == [c.name for c in found.calls]


@pytest.mark.parametrize("count", COUNTS)
def test_any_text_is_parsed_or_named(count: int) -> None:
    fuzz(check_parser, TEXT, count)


# --- rows ---

KEYS = st.sampled_from(
    [
        "messages", "conversations", "tools", "query", "answers", "question", "function", "role",
        "content", "tool_calls", "from", "value", "chosen", "rejected", "prompt", "name", "id",
        "arguments", "parameters", "type", "properties", "trajectory", "system", "instruction",
        "contents", "parts", "functionCall", "reward", "label", "rating", "ground_truth", "items",
    ]
)  # fmt: skip
WORDS = st.sampled_from(["user", "assistant", "tool", "system", "human", "gpt", "object", "f"])
ROWS = st.dictionaries(
    KEYS,
    st.recursive(
        SCALARS | WORDS | JSON.map(lambda v: json.dumps(v, default=str)),
        lambda x: st.lists(x, max_size=4) | st.dictionaries(KEYS, x, max_size=4),
        max_leaves=16,
    ),
    max_size=6,
)


def check_reader(row: dict) -> None:
    for name in ("auto", *readers.READERS):
        try:
            found = readers.read_row(row, "fuzz.jsonl:1", name)
        except RecordError as error:
            str(error)
            continue
        for made in found:
            assert isinstance(made, Trajectory)
            assert from_row(to_row(made)).id == made.id


@pytest.mark.parametrize("count", COUNTS)
def test_any_row_is_read_or_refused(count: int) -> None:
    fuzz(check_reader, ROWS, count)


def test_mutated_rows_go_through_all_steps() -> None:
    """`make fuzz` in small: read, label, mix and export, each row within two seconds of CPU."""
    path = Path(__file__).parents[2] / "benchmarks/fuzz_rows.py"
    spec = importlib.util.spec_from_file_location("fuzz_rows", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.run_chunk(7, 300, None, 2.0)
    assert (found["crashes"], found["uncounted"], found["rows"]) == ({}, 0, 300)
    assert found["outcomes"]["kept"] > 50


# --- files ---

SUFFIXES = [s + p for s in (".jsonl", ".json", ".csv", ".tsv", ".parquet") for p in ("", ".gz")]
LINES = st.lists(
    st.binary(max_size=40) | ROWS.map(lambda r: json.dumps(r, default=str).encode()), max_size=5
).map(b"\n".join)


@pytest.mark.parametrize("count", COUNTS)
def test_any_file_is_read_or_refused(count: int, tmp_path) -> None:
    def check_file(given: tuple[str, bytes, bool]) -> None:
        suffix, data, packed = given
        path = tmp_path / f"rows{suffix}"
        path.write_bytes(gzip.compress(data) if packed else data)
        try:
            for _, row in decode.file_rows(str(path)):
                assert isinstance(row, dict | RecordError)
        except SourceError:
            return

    fuzz(check_file, st.tuples(st.sampled_from(SUFFIXES), LINES, st.booleans()), count)


# --- the config ---

NAMES = st.sampled_from(sorted(known_keys())) | st.text(max_size=12)
VALUES = JSON | st.sampled_from(["auto", "none", -1, 0, 1e400, [], {}, {"a": {"b": 1}}, "2", [{}]])


@pytest.mark.parametrize("count", COUNTS)
def test_any_config_loads_or_is_refused(count: int, tmp_path) -> None:
    path = tmp_path / "config.yaml"

    def check_config(given: tuple[dict, list[tuple[str, Any]], bytes]) -> None:
        tree, overrides, raw = given
        words = [f"{k}={json.dumps(v, default=str)}" for k, v in overrides]
        path.write_bytes(raw or yaml.safe_dump(tree).encode("utf-8", "surrogatepass"))
        try:
            assert isinstance(load_config(path, words), Config)
        except ConfigError:
            return

    sections = st.dictionaries(
        st.sampled_from(sorted(Config.model_fields)) | st.text(max_size=8), VALUES, max_size=3
    )
    overrides = st.lists(st.tuples(NAMES, VALUES), max_size=3)
    fuzz(check_config, st.tuples(sections, overrides, st.just(b"") | st.binary(max_size=30)), count)
