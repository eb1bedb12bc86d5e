"""`ray job submit` to a token-authenticated head: the loop runs, its log comes back."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

RAY = str(Path(sys.executable).with_name("ray"))
SMALL = (
    "train.arms={sft: {method: sft, weights: {positive: 1}}}",
    "tune.trials=0",
    "evaluate.limit=2",
    "generate.rows=2",
    "generate.agents=[qa]",
    "negatives.mined_tasks=2",
    "mix.tokens=100",
)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    """A local head node with token authentication, bound to loopback; ends with the module."""
    port, temp = free_port(), tmp_path_factory.mktemp("ray")
    env = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32),
                        "RAY_USAGE_STATS_ENABLED": "0"}  # fmt: skip
    env.pop("RAY_ADDRESS", None)
    short = Path("/tmp") / f"rt-{os.getpid()}"  # a socket path may not be long
    start = f"start --head --block --disable-usage-stats --num-cpus=2 --temp-dir={short}"
    start += f" --node-ip-address=127.0.0.1 --port={free_port()} --object-store-memory=300000000"
    start += f" --dashboard-host=127.0.0.1 --dashboard-port={port}"
    log = (temp / "head.log").open("w")
    node = subprocess.Popen([RAY, *start.split()], env=env, stdout=log, stderr=subprocess.STDOUT)
    env["RAY_ADDRESS"] = f"http://127.0.0.1:{port}"
    for _ in range(60):
        if (
            subprocess.run(
                [RAY, "job", "list"], env=env, capture_output=True, check=False
            ).returncode
            == 0
        ):
            break
    else:
        pytest.fail((temp / "head.log").read_text()[-2000:])
    yield env
    node.terminate()
    node.wait(60)
    shutil.rmtree(short, ignore_errors=True)


def submit(env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [RAY, "job", "submit", "--working-dir", ".", "--", sys.executable, "jobs/run.py", *words],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=900, check=False)  # fmt: skip


def test_the_loop_runs_as_a_job(head, tmp_path) -> None:
    done = submit(head, "--config", "tests/ray/tiny.yaml", f"runs_dir={tmp_path}", *SMALL)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "succeeded" in done.stdout
    assert f"report: {tmp_path}/tiny/report.html" in done.stdout
    assert (tmp_path / "tiny" / "report.html").stat().st_size > 10_000


def test_a_failing_job_exits_non_zero_and_says_why(head, tmp_path) -> None:
    done = submit(
        head, "--config", "tests/ray/tiny.yaml", f"runs_dir={tmp_path}", "train.lerning_rate=1"
    )
    assert done.returncode != 0
    assert "train.learning_rate" in done.stdout + done.stderr


def test_without_the_token_a_job_is_refused(head, tmp_path) -> None:
    env = {k: v for k, v in head.items() if k != "RAY_AUTH_TOKEN"} | {"HOME": str(tmp_path)}
    assert submit(env, "--config", "tests/ray/tiny.yaml").returncode != 0
