"""The cheap checks of `doctor`, one thing wrong at a time."""

from __future__ import annotations

import json

import pytest

from raytune_agents.config import ConfigError, load_config
from raytune_agents.pipeline.doctor import CheckWarning, Doctor

GOOD = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}


def patient(tmp_path, rows: list) -> Doctor:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return Doctor(load_config(None, [f"read.sources=[{{path: {path}}}]"]), None)


def test_a_few_bad_rows_are_said_and_many_are_refused(tmp_path) -> None:
    assert patient(tmp_path, [GOOD] * 60).data().startswith("60 rows read")
    with pytest.raises(CheckWarning, match=r"3 of the first 63 rows are bad"):
        patient(tmp_path, [GOOD] * 60 + [{"x": 1}] * 3).data()
    with pytest.raises(ConfigError, match=r"4 of the first 64 rows are bad.*rows.jsonl:61: no kno"):
        patient(tmp_path, [GOOD] * 60 + [{"x": 1}] * 90).data()


def test_every_check_is_in_the_list() -> None:
    names = list(Doctor(load_config(None), None).checks())
    assert names[:3] == ["config", "model", "data"]  # cheap ones first
    assert names[-2:] == ["answer", "training"]
