"""One run of the whole loop at its smallest, as a job on a head node with token authentication,
shared by the tests that look at it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "ray" / "tiny.yaml"
RAY = str(Path(sys.executable).with_name("ray"))


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "raytune_agents", *words]


def cli(*words: str, timeout: float = 1800) -> subprocess.CompletedProcess[str]:
    """Run the command line in its own process, as a user does."""
    return subprocess.run(
        command(*words), cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
    )


def submit(env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """`ray job submit` of jobs/run.py; its exit code and log are the job's."""
    return subprocess.run(
        [RAY, "job", "submit", "--working-dir", ".", "--", sys.executable, "jobs/run.py", *words],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=1800, check=False)  # fmt: skip


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="session")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a client of a local head node, which is bound to loopback."""
    port, temp = free_port(), tmp_path_factory.mktemp("ray")
    env = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32),
                        "RAY_USAGE_STATS_ENABLED": "0"}  # fmt: skip
    env.pop("RAY_ADDRESS", None)
    short = Path("/tmp") / f"rt-{os.getpid()}"  # a socket path may not be long
    start = f"start --head --block --disable-usage-stats --num-cpus=2 --temp-dir={short}"
    start += f" --node-ip-address=127.0.0.1 --port={free_port()} --object-store-memory=300000000"
    start += f" --dashboard-host=127.0.0.1 --dashboard-port={port}"
    start += f" --dashboard-agent-listen-port={free_port()}"  # its default may be another head's
    log = (temp / "head.log").open("w")
    node = subprocess.Popen([RAY, *start.split()], env=env, stdout=log, stderr=subprocess.STDOUT)
    env["RAY_ADDRESS"] = f"http://127.0.0.1:{port}"
    probe = [RAY, "job", "submit", "--no-wait", "--", "true"]  # until its agent takes jobs, too
    for _ in range(20):
        if not subprocess.run(probe, env=env, capture_output=True, check=False).returncode:
            break
        time.sleep(0.5)
    else:
        pytest.fail((temp / "head.log").read_text()[-2000:])
    yield env
    node.kill()  # its reaper ends the other processes; asked to end, it waits half a minute
    node.wait(60)
    shutil.rmtree(short, ignore_errors=True)


def own_task(folder: Path) -> None:
    """An lm-eval task from local files: no network."""
    folder.mkdir(parents=True)
    asked = [{"question": f"What is {k} + {3 - k}?", "answer": 0} for k in range(4)]
    data = folder / "sums.jsonl"
    data.write_text("".join(json.dumps(x) + "\n" for x in asked))
    task = {
        "task": "our_sums",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": ["3", "4"],
        "doc_to_target": "{{answer}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    (folder / "our_sums.yaml").write_text(json.dumps(task))


@pytest.fixture(scope="session")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def tiny(head: dict[str, str], runs_dir: Path) -> tuple[Path, str]:
    """The folder of a finished tiny run, and what the job printed."""
    done = submit(head, "--config", "tests/ray/tiny.yaml", f"runs_dir={runs_dir}")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    return runs_dir / "tiny", done.stdout


@pytest.fixture(scope="module")
def labelled(tiny, tmp_path_factory) -> Path:
    """A runs_dir with the tiny run up to its labels."""
    runs = tmp_path_factory.mktemp("search")
    for step in ("read", "generate", "label"):
        shutil.copytree(tiny[0] / step, runs / "tiny" / step)
    return runs
