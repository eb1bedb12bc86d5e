"""`export --serve`: Ray Serve's LLM app with the base and a merged arm, and the router in front of
it, asked by the openai client on loopback.

    pytest -m slow tests/ray/test_serve.py
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from conftest import RAY, ROOT, TINY, cli, free_port
from openai import OpenAI

pytest.importorskip("grpc_reflection", reason="needs the extra serve")
pytestmark = pytest.mark.slow
READY_S = 400


def wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    stop = time.monotonic() + READY_S
    while time.monotonic() < stop:
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(1)
    pytest.fail(log.read_text()[-3000:])


@pytest.fixture
def served(tiny, tmp_path: Path) -> Iterator[tuple[OpenAI, Path]]:
    """A client of the router, and the exported folder: base and one arm of the tiny run."""
    shutil.copytree(tiny[0] / "train" / "nat", tmp_path / "tiny" / "train" / "nat")
    out, port, front = tmp_path / "app", free_port(), free_port()
    done = cli("export", str(TINY), f"runs_dir={tmp_path}", "--serve", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "serve run" in done.stdout
    tree = yaml.safe_load((out / "serve.yaml").read_text())
    tree["http_options"]["port"] = port
    (out / "serve.yaml").write_text(yaml.safe_dump(tree))
    routes = json.loads((out / "routes.json").read_text())
    (out / "routes.json").write_text(
        json.dumps(routes | {"upstream": f"http://127.0.0.1:{port}", "agents": {"qa": {"nat": 1}}})
    )
    env = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    serve = Path(RAY).with_name("serve")
    commands = [[str(serve), "run", str(out / "serve.yaml")],
                [sys.executable, "-m", "raytune_agents.serving", str(out / "routes.json"),
                 "--port", str(front)]]  # fmt: skip
    running = []
    try:
        for number, command in enumerate(commands):
            log = tmp_path / f"{number}.log"
            running.append(
                subprocess.Popen(command, cwd=ROOT, env=env, stdout=log.open("w"),
                                 stderr=subprocess.STDOUT, start_new_session=True)
            )  # fmt: skip
            url = f"http://127.0.0.1:{(port, front)[number]}/v1/models"
            wait_for(url, running[-1], log)
        client = OpenAI(base_url=f"http://127.0.0.1:{front}/v1", api_key="none", max_retries=3)
        yield client, out
    finally:
        for process in running:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def test_base_arm_agent_and_unknown_name(served) -> None:
    client, out = served
    assert {m.id for m in client.models.list().data} == {"base", "nat", "qa"}
    said = {}
    for model in ("base", "nat", "qa", "nobody"):
        done = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "What is two and two?"}],
            max_tokens=8, temperature=0, user="u1",
        )  # fmt: skip
        said[model] = done.choices[0].message.content
    assert said["nobody"] == said["base"]
    assert said["qa"] == said["nat"]
    assert said["nat"].strip()
    lines = [json.loads(x) for x in (out / "served.jsonl").read_text().splitlines()]
    assert [x["arm"] for x in lines] == ["base", "nat", "nat", "base"]
    assert all(x["status"] == 200 for x in lines)
