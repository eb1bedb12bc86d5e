"""Secrets planted in the environment and in the config, a real run, and a search of everything it
wrote and said: the run folder, the terminal, Ray's session folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, TINY, command

pytestmark = pytest.mark.slow
PLANTED = {
    "TEACHER_API_KEY": "pl4nted-teacher-0123456789", "HF_TOKEN": "hf_" + "pl4nted" * 5,
    "DB_PASSWORD": "pl4nted password 0123456789",
}  # fmt: skip
INSIDE = ("pl4nted", "pl%34nted")


def found(folder: Path) -> list[str]:
    """Files with a planted secret in them."""
    out = []
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            data = file.read_bytes()
            out += [f"{file}: {word}" for word in INSIDE if word.encode() in data]
    return out


@pytest.mark.parametrize("ends", ["well", "badly"])
def test_nothing_that_a_run_leaves_or_says_holds_a_secret(ends, tmp_path) -> None:
    tree = yaml.safe_load(TINY.read_text())
    tree["runs_dir"] = str(tmp_path / "runs")
    tree["generate"]["teacher"] = {
        "base_url": "https://me:pl4nted@host/v1?token=pl4nted",
        "model": "none",
        "key_env": "TEACHER_API_KEY",
    }
    if ends == "badly":
        tree["read"]["sources"].append({"path": "none://me:pl4nted@host/rows.jsonl?sig=pl4nted"})
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(tree))
    ray_folder = Path("/tmp") / f"rs-{os.getpid()}-{ends}"  # a socket's path must be short
    env = os.environ | PLANTED | {"RAY_TMPDIR": str(ray_folder)}
    ray_folder.mkdir()
    try:
        done = subprocess.run(
            command("run", "--steps", "read", str(config)),
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert (done.returncode == 0) is (ends == "well"), done.stdout + done.stderr
        assert not any(word in done.stdout + done.stderr for word in INSIDE)
        assert found(tmp_path / "runs") == []
        assert found(ray_folder) == []
        assert ends == "badly" or any(ray_folder.rglob("*.log"))
    finally:
        shutil.rmtree(ray_folder, ignore_errors=True)
