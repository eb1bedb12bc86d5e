"""The line that `export --serve` prints starts vLLM's own OpenAI server. It asks a merged arm
with the prompts of its evaluation, byte for byte, and gives the calls that it gave there.

    pytest -m slow tests/ray/test_openai_server.py
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, TINY, cli, vllm_server
from openai import OpenAI

from raytune_agents import models
from raytune_agents.calls import parse
from raytune_agents.chat import Chat
from raytune_agents.config import load_config
from raytune_agents.records import Trajectory
from raytune_agents.storage import StoredRows
from raytune_agents.train.methods import METHODS

pytestmark = pytest.mark.slow
ARM, LONG = "nat", 96


@pytest.fixture
def taught(labelled: Path) -> Path:
    """A run whose arm has learned enough to call: that of the tiny one takes a step."""
    run = labelled / "taught"
    run.mkdir()
    for step in ("read", "generate", "label"):
        (run / step).symlink_to(labelled / "tiny" / step)
    words = ("mix.tokens=3000", "train.arms={nat: {method: nat}}", "evaluate.perturbations=[]",
             "evaluate.latency.rows=0", "evaluate.judge.rows=0", "evaluate.trajectories.tasks=0",
             "evaluate.few_shot=0", f"evaluate.max_tokens={LONG}")  # fmt: skip
    steps = ("--steps", "mix,train,evaluate", f"runs_dir={labelled}", "name=taught")
    done = cli("run", str(TINY), *steps, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return run


@pytest.fixture
def server(taught: Path, tmp_path: Path) -> Iterator[OpenAI]:
    """A client of the server that the printed line starts."""
    shutil.copytree(taught / "train" / ARM, tmp_path / "tiny" / "train" / ARM)
    done = cli("export", str(TINY), f"runs_dir={tmp_path}", "--serve", str(tmp_path / "app"))
    assert done.returncode == 0, done.stdout + done.stderr
    line = next(x for x in done.stdout.splitlines() if f"--served-model-name {ARM}" in x)
    with vllm_server(line, ROOT, tmp_path / "server.log") as client:
        yield client


def evaluated(run: Path) -> list[tuple[Trajectory, str]]:
    """The rows with tools that the arm was asked as they are, and its answers."""
    rows = {row.id: row for row in StoredRows(run / "read")}
    table = pq.read_table(run / "evaluate" / "answers.parquet").to_pylist()
    mine = [x for x in table if x["arm"] == ARM and not x["perturbation"] and x["id"] in rows]
    return [(rows[x["id"]], x["answer"]) for x in mine if rows[x["id"]].tools]


def test_a_merged_arm_calls_as_in_its_evaluation(server: OpenAI, taught: Path) -> None:
    config = load_config(TINY)
    chat = Chat.of(models.resolve(config.model), config.model)
    marker = METHODS[ARM].inference_marker(config.train.of(config.train.arms[ARM]))
    assert marker
    called = 0
    for row, answer in evaluated(taught):
        prompt = chat.prompt_ids(row, marker)
        messages = [{"role": m.role, "content": m.content} for m in row.prompt]
        tools = [tool.openai() for tool in row.tools]
        told = {"model": ARM, "messages": messages, "tools": tools}
        tokens = httpx.post(str(server.base_url).replace("/v1/", "/tokenize"), json=told).json()
        assert tokens["tokens"] == prompt
        raw = server.completions.create(
            model=ARM, prompt=prompt, max_tokens=LONG, temperature=0,
            extra_body={"skip_special_tokens": False},
        ).choices[0].text  # fmt: skip
        raw = raw.removesuffix(chat.tokenizer.eos_token)
        assert raw.startswith(answer[:40])
        said = server.chat.completions.create(
            model=ARM, messages=messages, tools=tools, max_tokens=LONG, temperature=0
        ).choices[0].message  # fmt: skip
        if not said.tool_calls:
            assert not parse(raw, row.tools).calls or not raw.startswith("<tool_call>")
            continue
        called += len(said.tool_calls)
        given = [(c.function.name, json.loads(c.function.arguments)) for c in said.tool_calls]
        assert given == [(c.name, c.args) for c in parse(raw, row.tools).calls]
    assert called
