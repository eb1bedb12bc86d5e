"""One run of the whole loop at its smallest, shared by the tests that look at it: a job on a head
node with token authentication. For tests of faults it is killed in a training and in the search."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI

from raytune_agents.config import ResourcesConfig
from raytune_agents.infra import cluster
from raytune_agents.infra.watchdog import processes_below
from raytune_agents.pipeline.generate import HELD, PARTS
from raytune_agents.records import Trajectory
from raytune_agents.storage import read_rows

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "ray" / "tiny.yaml"
SERVER_READY_S = 400
RAY = str(Path(sys.executable).with_name("ray"))


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "raytune_agents", *words]


def cli(*words: str, timeout: float = 1800) -> subprocess.CompletedProcess[str]:
    """Run the command line in its own process, as a user does."""
    return subprocess.run(
        command(*words), cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
    )


def job(*words: str) -> list[str]:
    """`ray job submit` of jobs/run.py; its exit code and log are the job's."""
    script = [sys.executable, "jobs/run.py", *words]
    return [RAY, "job", "submit", "--working-dir", ".", "--", *script]


def submit(env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        job(*words), cwd=ROOT, env=env, capture_output=True, text=True, timeout=1800, check=False
    )


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextmanager
def vllm_server(line: str, folder: Path, log: Path) -> Iterator[OpenAI]:
    """A client of the server that a printed line starts, typed in `folder`."""
    words, port = shlex.split(line), free_port()
    assert words[0] == "python"
    env = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    running = subprocess.Popen(
        [sys.executable, *words[1:], "--host", "127.0.0.1", "--port", str(port)],
        cwd=folder, env=env, stdout=log.open("w"), stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        stop = time.monotonic() + SERVER_READY_S
        while True:
            assert running.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < stop, log.read_text()[-3000:]
            try:
                if httpx.get(f"{address}/health", timeout=5).status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(1)
        yield OpenAI(base_url=f"{address}/v1", api_key="none")
    finally:
        os.killpg(running.pid, signal.SIGINT)
        try:
            running.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)


@dataclass(frozen=True)
class Head:
    """A head node: its process, and the environment of its clients."""

    pid: int
    env: dict[str, str]

    def kill(self, word: str) -> None:
        """kill -9 of the processes on the node that have the word in their command line."""
        for pid in processes_below(self.pid):
            try:
                if word.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
            except OSError:  # it has just ended
                continue


@pytest.fixture(scope="session")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """A local head node, which is bound to loopback."""
    port, temp = free_port(), tmp_path_factory.mktemp("ray")
    env = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32),
                        "RAY_USAGE_STATS_ENABLED": "0",
                        "TUNE_GLOBAL_CHECKPOINT_S": "0.3"}  # fmt: skip
    env.pop("RAY_ADDRESS", None)
    env.pop(cluster.LOOPBACK, None)  # of a local Ray that a module before has started
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
    yield Head(node.pid, env)
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


@dataclass
class Story:
    """The tiny run, what its jobs printed, and what was on the disk when they were killed."""

    folder: Path
    printed: str = ""
    codes: tuple[int, ...] = ()
    worker_killed: float = 0.0  # seconds since 1970
    arm_done: bool = True
    reports: tuple[dict[str, Any], ...] = ()  # of the search


FIRST_ARM = "nat"


def kill_training(head: Head, story: Story, wait: Callable[[Callable[[], bool]], bool]) -> None:
    """First the worker that trains, after step 3; then the driver, before the last step."""
    arm = story.folder / "train" / FIRST_ARM
    if not wait(lambda: last_line(arm).get("step", 0) >= 3):
        return
    head.kill("RayTrainWorker")
    story.worker_killed = time.time()

    def went_on() -> bool:
        last = last_line(arm)
        return last.get("time", 0) > story.worker_killed and last["step"] >= last["of"] - 1

    if wait(went_on):
        head.kill("jobs/run.py")
        story.arm_done = (arm / "manifest.json").exists()


def kill_search(head: Head, story: Story, wait: Callable[[Callable[[], bool]], bool]) -> None:
    """The driver, once Ray Tune has saved the first report of the second trial."""
    folder = story.folder / "tune"

    def saved() -> bool:
        state = [f.stat().st_mtime for f in (folder / "ray/search").glob("experiment_state*")]
        reported = [x["session"] + x["wall"] for x in second_of(search_reports(folder))]
        return bool(reported) and max(state, default=0) > reported[0] + 0.5

    if wait(saved):
        head.kill("jobs/run.py")
        story.reports = tuple(search_reports(folder))


def last_line(arm: Path) -> dict[str, Any]:
    """The last line of a training's metrics, {} before the first."""
    path = arm / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    return json.loads(lines[-1]) if lines and lines[-1].endswith("}") else {}


def search_reports(folder: Path) -> list[dict[str, Any]]:
    """The reports of the search; the base mix, which is run before it, is no trial of it."""
    path = folder / "metrics.jsonl"
    text = path.read_text().splitlines() if path.is_file() else []
    lines = [json.loads(line) for line in text if line.endswith("}")]
    return [line for line in lines if line["stage"] == "search"]


def second_of(reports: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The reports of the second trial."""
    ids = list(dict.fromkeys(x["trial_id"] for x in reports))
    return [x for x in reports if x["trial_id"] == ids[1]] if len(ids) > 1 else []


@pytest.fixture(scope="session")
def story(request: pytest.FixtureRequest, head: Head, runs_dir: Path) -> Story:
    """The same job until it ends. Where tests marked `faults` run, it is killed in its first
    training, started again, killed in its search, then let run; a kill that comes too late fails
    these tests alone."""
    made, log = Story(runs_dir / "tiny"), runs_dir / "job.log"
    words = job("--config", "tests/ray/tiny.yaml", f"runs_dir={runs_dir}")
    killed = any(item.get_closest_marker("faults") for item in request.session.items)
    for kill in (kill_training, kill_search, None) if killed else (None,):
        with log.open("w") as file:
            running = subprocess.Popen(words, cwd=ROOT, env=head.env, stdout=file, stderr=file)

        def wait(ready: Callable[[], bool], running: subprocess.Popen = running) -> bool:
            stop = time.monotonic() + 1800
            while running.poll() is None and time.monotonic() < stop:
                if ready():
                    return True
                time.sleep(0.02)
            return False

        if kill:
            kill(head, made, wait)
        made.codes += (running.wait(1800),)
        made.printed += log.read_text()
    assert made.codes[-1] == 0, made.printed[-5000:]
    return made


@pytest.fixture(scope="session")
def tiny(story: Story) -> tuple[Path, str]:
    """The folder of the finished tiny run, and what its jobs printed."""
    return story.folder, story.printed


SHARING = ("test_api_run", "test_data", "test_engine", "test_engine_client", "test_engine_ends")


@pytest.fixture(scope="module", autouse=True)
def _ray_of_other_modules(request: pytest.FixtureRequest) -> None:
    """What modules share is gone before one that starts or joins a Ray of its own."""
    ray = sys.modules.get("ray")
    if request.module.__name__ not in SHARING and ray and ray.is_initialized():
        cluster.disconnect()  # which puts Ray Data's settings back
        ray.shutdown()


@pytest.fixture(scope="module")
def local_ray() -> None:
    """The Ray that the modules of SHARING have in common, started by the first of them."""
    cluster.connect(ResourcesConfig(cpus=2), keep=True)


def generated(run: Path) -> list[Trajectory]:
    """Every row that a run's generation gave."""
    folders = (run / "generate" / part for part in (*PARTS, HELD))
    return [row for folder in folders if folder.is_dir() for row in read_rows(folder)]


@pytest.fixture(scope="module")
def labelled(tiny, tmp_path_factory) -> Path:
    """A runs_dir with the tiny run up to its labels."""
    runs = tmp_path_factory.mktemp("search")
    for step in ("read", "generate", "label"):
        shutil.copytree(tiny[0] / step, runs / "tiny" / step)
    return runs
