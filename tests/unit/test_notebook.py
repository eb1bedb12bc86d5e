"""Notebooks of jobs/examples: valid, stored without outputs; that of the report runs cell by cell.
(That of a search needs one: tests/ray/test_evaluate.py.)"""

import json
import os
import re
from pathlib import Path

import pytest
from report_run import make_run

EXAMPLES = Path(__file__).parents[2] / "jobs" / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
REPORT = EXAMPLES / "report.ipynb"


def code_cells(path: Path) -> list[str]:
    book = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(c["source"]) for c in book["cells"] if c["cell_type"] == "code"]


def test_every_cell_runs_on_a_run_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RAYTUNE_RUN", str(make_run(tmp_path / "demo")))
    space: dict = {}
    for number, source in enumerate(code_cells(REPORT)):
        exec(compile(source, f"{REPORT.name} cell {number}", "exec"), space)
    printed = capsys.readouterr().out
    assert "nat beats the base model" in printed
    assert "answered_directly" in printed
    assert "typos" in printed
    assert "n = " in printed
    assert "&lt;svg" in str(space["show"](space["figure"]))


@pytest.mark.skipif(not os.environ.get("RAYTUNE_RUN"), reason="RAYTUNE_RUN names no finished run")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_jupyter_executes_it(path):
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient")
    nbformat = pytest.importorskip("nbformat", reason="needs nbformat")
    nbclient.NotebookClient(nbformat.read(path, as_version=4), timeout=120).execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_is_valid_and_stored_without_outputs(path):
    """As nbformat 4.5 has it: ids that differ, and of code no output and no count."""
    book = json.loads(path.read_text(encoding="utf-8"))
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    assert set(book) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    ids = [c["id"] for c in book["cells"]]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", i) for i in ids)
    for cell in book["cells"]:
        kept = {"outputs": [], "execution_count": None} if cell["cell_type"] == "code" else {}
        rest = {k: v for k, v in cell.items() if k not in ("id", "source", "cell_type")}
        assert rest == {"metadata": {}} | kept
    for number, source in enumerate(code_cells(path)):
        compile(source, f"{path.name} cell {number}", "exec")
