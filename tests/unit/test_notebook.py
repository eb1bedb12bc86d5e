"""benchmarks/analysis.ipynb reads a run folder through the public API, cell by cell."""

import json
import os
from pathlib import Path

import pytest
from report_run import make_run

NOTEBOOK = Path(__file__).parents[2] / "benchmarks" / "analysis.ipynb"


def cells() -> list[str]:
    book = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return ["".join(c["source"]) for c in book["cells"] if c["cell_type"] == "code"]


def test_every_cell_runs_on_a_run_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RAYTUNE_RUN", str(make_run(tmp_path / "demo")))
    space: dict = {}
    for number, source in enumerate(cells()):
        exec(compile(source, f"{NOTEBOOK.name} cell {number}", "exec"), space)
    printed = capsys.readouterr().out
    assert "nat beats the base model" in printed
    assert "answered_directly" in printed
    assert "typos" in printed
    assert "n = " in printed
    assert "<svg" in str(space["figure"].svg)


@pytest.mark.skipif(not os.environ.get("RAYTUNE_RUN"), reason="RAYTUNE_RUN names no finished run")
def test_jupyter_executes_it():
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient")
    nbformat = pytest.importorskip("nbformat", reason="needs nbformat")
    nbclient.NotebookClient(nbformat.read(NOTEBOOK, as_version=4), timeout=120).execute()


def test_it_is_stored_without_outputs():
    book = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = [c for c in book["cells"] if c["cell_type"] == "code"]
    assert all(c["outputs"] == [] and c["execution_count"] is None for c in code)
