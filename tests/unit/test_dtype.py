"""bf16 or not is measured once per kind of CPU, and then known to every process."""

from __future__ import annotations

from pathlib import Path

import pytest

from raytune_agents import models


@pytest.fixture
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    models.bf16_pays.cache_clear()
    yield tmp_path
    models.bf16_pays.cache_clear()


def test_what_was_measured_is_kept(cache_home: Path) -> None:
    first = models.bf16_pays()
    (kept,) = (cache_home / "raytune-agents" / "bf16").iterdir()
    assert kept.read_text() == ("pays" if first else "slow")
    kept.write_text("slow" if first else "pays")  # as another process would have found it
    models.bf16_pays.cache_clear()
    assert models.bf16_pays() is not first


def test_a_home_that_cannot_be_written_is_measured_again(cache_home: Path) -> None:
    (cache_home / "raytune-agents").write_text("a file where a folder should be")
    assert models.bf16_pays() in (True, False)
