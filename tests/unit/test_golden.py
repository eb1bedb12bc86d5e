"""What benchmarks rest on: options that an old revision has not, files that are measured, results
of one part beside those of another; and the parts of the slow tests."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
import bench_search  # noqa: E402
import golden  # noqa: E402

pytest_plugins = ["pytester"]


def test_what_a_revision_does_not_know_is_left_out_of_sections_and_arms(tmp_path: Path) -> None:
    config = golden.config_for(False, tmp_path)
    assert golden.unknown_options(ROOT, config, tmp_path) == []
    config["train"]["arms"]["dpo"]["later"] = 1
    config["evaluate"]["later"] = {"x": 1}
    names = golden.unknown_options(ROOT, config, tmp_path)
    assert sorted(names) == ["evaluate.later", "train.arms.dpo.later"]
    assert golden.without(config, names) == golden.config_for(False, tmp_path)
    assert yaml.safe_load((tmp_path / "all.yaml").read_text()) == config  # not changed in place


def test_what_is_measured_is_there() -> None:
    for file in sorted((ROOT / "benchmarks").glob("*.py")):
        for node in [n for n in ast.parse(file.read_text()).body if isinstance(n, ast.Assign)]:
            names = {getattr(target, "id", "") for target in node.targets}
            if {"MEASURED", "ENGINE"} & names and isinstance(node.value, ast.Tuple):
                for part in ast.walk(node.value):
                    if isinstance(part, ast.Constant):
                        assert (ROOT / "raytune_agents" / part.value).exists(), (file, part.value)


def test_the_real_search_leaves_the_figures_of_the_grid() -> None:
    first = {"hardware": {"cpu": "a"}, "revision": "1"}
    grid = bench_search.with_part({}, {"compute_ratio_random": 0.5, "grid": 21}, first)
    assert (grid["revision"], grid["busy_share"]) == ("1", None)
    second = {"hardware": {"cpu": "b"}, "revision": "2"}
    both = bench_search.with_part(grid, {"busy_share": 0.9, "real": {"runs": 15}}, second)
    assert both["real"] == {"runs": 15} | second
    assert (both["revision"], both["hardware"]) == ("1", {"cpu": "a"})
    assert (both["compute_ratio_random"], both["busy_share"]) == (0.5, 0.9)
    again = bench_search.with_part(both, {"compute_ratio_random": 0.6}, {"revision": "3"})
    assert (again["revision"], again["real"]["revision"]) == ("3", "2")


def test_the_parts_are_all_tests_and_none_twice(pytester: pytest.Pytester) -> None:
    pytester.makeconftest((ROOT / "tests" / "conftest.py").read_text())
    pytester.makepyfile("import pytest\n@pytest.mark.parametrize('n', range(7))\ndef test(n): pass")
    counts = [pytester.runpytest(f"--part={k}/3").parseoutcomes()["passed"] for k in (1, 2, 3)]
    assert counts == [2, 2, 3]
    assert pytester.runpytest("--part=4/3").ret == pytest.ExitCode.USAGE_ERROR
