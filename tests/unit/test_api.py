"""The Python API without Ray: lazy, callable rooms, errors that say what to write."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from report_run import make_run

import raytune_agents as rt
from raytune_agents import api


def test_the_import_loads_nothing() -> None:
    code = (
        "import sys, raytune_agents as rt\n"
        "print(sorted({'pydantic', 'yaml', 'ray', 'torch', 'pyarrow'} & set(sys.modules)))\n"
        "rt.load_config(None, ['name=mine'])\n"
        "print(sorted({'ray', 'torch', 'pyarrow', 'transformers'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split("\n")[:2] == ["[]", "[]"]


def test_every_name_is_there_typed_and_documented() -> None:
    for name in rt.__all__:
        made = getattr(api, name)
        assert made.__doc__
        if inspect.isfunction(made):
            assert inspect.signature(made).return_annotation not in (inspect.Signature.empty, "Any")
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        rt.trian  # noqa: B018


def test_a_room_is_a_module_and_a_step() -> None:
    import raytune_agents.train.batches
    from raytune_agents import mix

    assert rt.mix is mix
    assert mix.choose_rows is sys.modules["raytune_agents.mix"].choose_rows
    assert callable(rt.train)
    assert rt.train.batches is raytune_agents.train.batches


def test_the_report_of_a_folder(tmp_path: Path) -> None:
    page = rt.report(make_run(tmp_path / "demo"))
    assert page == tmp_path / "demo" / "report.html"
    assert page.read_text().startswith("<!doctype html>")


def test_what_a_user_can_mend_is_said(tmp_path: Path) -> None:
    with pytest.raises(rt.ConfigError, match=r"did you mean train\.learning_rate"):
        rt.load_config(None, ["train.learning_rat=1"])
    config = rt.load_config(None, [f"runs_dir={tmp_path}"])
    with pytest.raises(rt.ConfigError, match="steps: no step 'lable'; write read,"):
        rt.run(config, ["lable"])
    with pytest.raises(FileNotFoundError, match="step mix needs step label first"):
        rt.run(config, ["mix"])
