"""The shape of the code: imports run one way, files and functions keep their budgets."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "raytune_agents"
FILES = sorted(ROOT.rglob("*.py"))
TESTS = sorted(Path(__file__).parents[1].rglob("test_*.py"))
LAYERS = [
    {"config", "records", "redact"},
    {"infra", "runs", "storage", "mirror", "models", "progress"},
    {"chat", "templates", "calls", "sandbox"},
    {"inference", "readers", "exports", "agents"},
    {"generate", "negatives", "filters", "dedup", "mix", "situations", "split"},
    {"train"},
    {"evaluate", "report", "serving"},
    {"tune"},
    {"pipeline"},
    {"cli", "__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def module(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Modules of the package that a file imports at its top level."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module == "raytune_agents":
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("raytune_agents."):
            found.add(node.module.split(".")[1])
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    if module(path) == "__init__":
        return
    own = LEVEL[module(path)]
    up = {name for name in imported(path) if LEVEL[name] > own}
    assert not up, f"{path} imports {up}, which stand above it"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_budgets(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{node.name} is longer than 60 lines"


def test_a_training_method_is_a_small_module() -> None:
    for name in ("sft", "nat", "dpo", "kto", "grpo", "rloo"):
        assert (ROOT / "train" / f"{name}.py").read_text(encoding="utf-8").count("\n") <= 150


def test_light_modules_load_no_ray_torch_or_vllm() -> None:
    code = (
        "import sys, raytune_agents.cli.app, raytune_agents.config, raytune_agents.records, "
        "raytune_agents.runs, raytune_agents.report\n"
        "print(sorted({'ray', 'torch', 'vllm', 'transformers'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_only_the_engine_imports_vllm() -> None:
    users = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            users += [path.name for name in names if name.split(".")[0] == "vllm"]
    assert set(users) == {"engine.py"}


def test_test_files_have_names_of_their_own() -> None:
    """pytest imports them by name: two of one name cannot be collected together."""
    names = [path.name for path in TESTS]
    assert len(names) == len(set(names))
