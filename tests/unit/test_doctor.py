"""The cheap checks of `doctor`, one thing wrong at a time."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from raytune_agents.agents.init import init_spec, to_yaml
from raytune_agents.config import ConfigError, load_config
from raytune_agents.pipeline.doctor import CheckWarning, Doctor
from raytune_agents.pipeline.plan import read_sample

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


def test_tools_alone_need_no_rows_and_an_empty_file_is_no_source(tmp_path) -> None:
    tools = Path(__file__).parents[2] / "jobs/examples/mcp/tools.json"
    agent = tmp_path / "board.yaml"
    agent.write_text(to_yaml(init_spec(tools, "board")))
    alone = load_config(None, ["read.sources=[]", f"generate.agents=[{agent}]"])
    assert Doctor(alone, None).data().startswith("no sources: every row is generated; model.max_")
    with pytest.raises(ConfigError, match=r"1 of the first 1 rows are bad.*the file holds no rows"):
        patient(tmp_path, []).data()


def test_chats_alone_are_no_question_of_the_engine(tmp_path) -> None:
    doctor = patient(tmp_path, [GOOD] * 20)
    doctor.plan = SimpleNamespace(sample=read_sample(doctor.config))
    with pytest.raises(CheckWarning, match=r"of \d+ training rows 0 have a call; add rows with"):
        doctor.rows(1)


def test_every_check_is_in_the_list() -> None:
    names = list(Doctor(load_config(None), None).checks())
    assert names[:3] == ["config", "model", "data"]  # cheap ones first
    assert names[-2:] == ["answer", "training"]
