"""What a limit of length costs, and what auto stands for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from raytune_agents.config import ConfigError, load_config
from raytune_agents.pipeline.row_lengths import RowLengths, with_kept_length, with_max_length


def test_auto_has_room_for_98_of_100_rows() -> None:
    lengths = RowLengths(range(1, 101))
    assert lengths.auto(5000) == 128  # the 98th row has 98 tokens: the next multiple of 64
    assert lengths.auto(100) == 100  # the model reads no more
    assert lengths.lost(98) == pytest.approx(0.02)
    assert RowLengths([]).auto(5000) == 1024


def test_what_a_limit_costs_is_said_and_what_to_write() -> None:
    lengths = RowLengths([100] * 9 + [700])
    assert lengths.describe(384) == (
        "model.max_length=384 leaves out 10% of 10 rows looked at (longest 700); write 700"
    )
    text = "model.max_length=704 leaves out 0% of 10 rows looked at (longest 700)"
    assert lengths.describe(704) == text


def test_rows_longer_than_the_engine_has_room_for_raise_its_room(tmp_path: Path) -> None:
    tool = {"name": "look", "description": "Looks.", "parameters": {"type": "object", "properties":
            {"where": {"type": "string"}}}}  # fmt: skip
    call = {"id": "1", "type": "function",
            "function": {"name": "look", "arguments": '{"where": "there"}'}}  # fmt: skip
    asked = " ".join(["look"] * 1200)
    row = {"messages": [{"role": "user", "content": asked},
                        {"role": "assistant", "content": None, "tool_calls": [call]}],
           "tools": [{"type": "function", "function": tool}]}  # fmt: skip
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    source = f"read.sources=[{{path: {path}, format: openai}}]"
    config, lengths = with_max_length(load_config(None, [source, "generate.rows=0"]))
    assert 1200 < lengths.tokens[0] <= config.model.max_length < lengths.tokens[0] + 64
    assert config.engine.max_model_len == config.model.max_length + 128
    fixed = load_config(None, [source, "model.max_length=512"])
    assert with_max_length(fixed)[0] == fixed


def test_a_limit_without_room_is_refused() -> None:
    with pytest.raises(ConfigError, match="write auto, or 32 and more"):
        load_config(None, ["model.max_length=8"])


def test_a_finished_run_is_recognised_by_the_length_that_it_was_begun_with(tmp_path: Path) -> None:
    """Without a look at rows or model: neither is there."""
    words = ["name=r", f"runs_dir={tmp_path}", "model.name=/nowhere", "engine.max_model_len=512"]
    auto = load_config(None, [*words, "model.max_length=auto"])
    assert with_kept_length(auto) == auto  # no run yet
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "config.json").write_text('{"model": {"max_length": 640}}')
    kept = with_kept_length(auto)
    assert (kept.model.max_length, kept.engine.max_model_len) == (640, 768)
    own = load_config(None, [*words, "model.max_length=300"])
    assert with_kept_length(own) == own
