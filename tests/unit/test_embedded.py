"""The embedded model's folder in the user's cache: whole, and converted by a transformers that
gives it the right end token."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import transformers

from raytune_agents import models
from raytune_agents.config import ConfigError

ROOT = Path(__file__).parents[2]


def put(folder: Path, version: str, weights: str) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"transformers_version": version}))
    (folder / "model.safetensors").write_text(weights)


@pytest.fixture
def cache(monkeypatch, tmp_path) -> Path:
    """An empty cache; a conversion writes a mark in place of weights."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(
        models, "convert_gguf", lambda folder, name, out: put(out, transformers.__version__, "new")
    )
    return tmp_path / "raytune-agents" / models.EMBEDDED


@pytest.mark.parametrize(
    ("there", "weights"),
    [(None, "new"), ("5.17.0", "new"), ("4.57.1", "new"), ("", "new"),
     ("5.19.0", "old"), ("5.20.0.dev0", "old"), ("6.0.1", "old")],
)  # fmt: skip
def test_a_conversion_of_an_old_transformers_is_made_anew(cache, there, weights) -> None:
    if there is not None:
        put(cache, there, "old")
    assert models.embedded() == cache
    assert (cache / "model.safetensors").read_text() == weights
    assert [path.name for path in cache.parent.iterdir()] == [models.EMBEDDED]  # nothing is left


def test_a_killed_conversion_is_not_taken(cache) -> None:
    put(cache, "5.19.0", "old")
    (cache / "model.safetensors").unlink()
    models.embedded()
    assert (cache / "model.safetensors").read_text() == "new"


def test_an_old_transformers_is_refused(cache, monkeypatch) -> None:
    # By name: importing its processors puts a second module object under that name.
    monkeypatch.setattr("transformers.__version__", "5.17.0")
    with pytest.raises(ConfigError, match=r"5\.17\.0 converts .*pip install 'transformers>=5\.19'"):
        models.embedded()
    assert not cache.exists()


def test_the_package_asks_for_that_release() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (asked,) = [p for p in project["dependencies"] if p.startswith("transformers")]
    assert asked.startswith(f"transformers>={models.RIGHT_SINCE[0]}.{models.RIGHT_SINCE[1]},")
    for lock in ("requirements-cpu.txt", "requirements-gpu.txt"):
        (pinned,) = [x for x in (ROOT / lock).read_text().splitlines() if "transformers==" in x]
        assert models.release(pinned.split("==")[1]) >= models.RIGHT_SINCE
