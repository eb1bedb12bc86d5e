"""What `export --model` writes, as its reader uses it: vLLM's server by the line in the folder's
README, the base with the adapter on top, and a GGUF file.

    pytest -m slow tests/ray/test_export_model.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import TINY, cli, vllm_server
from openai import OpenAI

from raytune_agents import models
from raytune_agents.chat import Chat
from raytune_agents.config import TrainConfig
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish
from raytune_agents.runs import STARTED, Counts, Step
from raytune_agents.storage import write_json
from raytune_agents.train import column_files, sft, worker
from raytune_agents.train.job import Job

pytestmark = pytest.mark.slow
CITIES = ("Paris", "Rome", "Oslo", "Lima", "Cairo", "Delhi", "Tokyo", "Quito", "Accra", "Berne")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = ToolSpec("get_weather", "Weather of a city.", json.dumps(SCHEMA))


def row_of(city: str) -> Trajectory:
    asked = Message("user", f"How is the weather in {city}?")
    called = Message("assistant", tool_calls=(ToolCall.of(TOOL.name, city=city),))
    return finish(Trajectory((asked, called), (TOOL,), source="t"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose one arm has learned to call the tool."""
    run = tmp_path_factory.mktemp("runs") / "taken"
    arm, base = run / "train" / "sft", str(models.embedded())
    given = TrainConfig(
        arms={"sft": {"method": "sft"}}, global_batch_size=2, learning_rate=1e-3,
        num_train_epochs=4.0, save_steps=100, warmup_ratio=0.0, report_to=[],
    )  # fmt: skip
    config, chat = given.of(given.arms["sft"]), {"path": base, "max_length": 512}
    columns = [c for city in CITIES for c in sft.columns(row_of(city), Chat(**chat), config, None)]
    column_files.write_columns(run / "columns" / "rows-00000.arrow", columns)
    job = Job(base, "float32", str(run / "columns"), "sft", config, chat, str(arm), 17, 1)
    worker.save_result(worker.fit(job), job, first=True)
    model = {"name": models.EMBEDDED, "revision": None}
    step = Step("sft", arm, {"train": config.model_dump(mode="json"), "model": model}, {}, seed=17)
    write_json(arm / STARTED, {"key": step.key, "started": 0.0})
    step.finish(Counts())
    (run / "mix").mkdir()
    pq.write_table(pa.table({"id": CITIES, "pool": ["positive"] * 10}), run / "mix/sft.parquet")
    return run


def calls(client: OpenAI, model: str) -> list[tuple[str, str]]:
    found = []
    for city in CITIES:
        said = client.chat.completions.create(
            model=model, temperature=0, max_tokens=64, tools=[TOOL.openai()],
            messages=[{"role": "user", "content": f"How is the weather in {city}?"}],
        ).choices[0]  # fmt: skip
        assert said.finish_reason == "tool_calls", said
        assert not said.message.content
        [call] = said.message.tool_calls
        found.append((call.function.name, json.loads(call.function.arguments)["city"]))
    return found


def test_a_server_reads_the_calls_of_the_folder_and_of_the_adapter(run, tmp_path) -> None:
    out, adapter = tmp_path / "tuned", run / "train" / "sft" / "adapter"
    where = (f"runs_dir={run.parent}", f"name={run.name}")
    done = cli("export", str(TINY), *where, "--model", "sft", "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    text = (out / "README.md").read_text()
    line = re.search(r"In this folder:\n\n```bash\n(.*)\n```", text)[1]
    with vllm_server(line, out, tmp_path / "folder.log") as client:
        merged = calls(client, "sft")
    assert merged == [("get_weather", city) for city in CITIES]
    base = line.replace("name sft", "name base")
    base = base.replace("--model .", f"--model {models.embedded()}")
    base += " --enable-lora --max-lora-rank 16 --lora-modules sft=."
    with vllm_server(base, adapter, tmp_path / "adapter.log") as client:
        assert [m.id for m in client.models.list().data] == ["base", "sft"]
        assert calls(client, "sft") == merged


def test_a_tuned_model_calls_the_same_from_a_gguf_file(run, tmp_path) -> None:
    """In q8_0, the only form that is written: a tie of two tokens may fall the other way, so of ten
    answers one may differ. llama.cpp itself is not asked here."""
    pytest.importorskip("gguf", reason="package gguf is not installed")
    import torch
    from transformers import AutoModelForCausalLM

    from raytune_agents.gguf_file import write_gguf

    adapter, merged = run / "train" / "sft" / "adapter", tmp_path / "merged"
    models.save_merged(models.embedded(), adapter, "float32", merged)
    write_gguf(merged, tmp_path / "sft.gguf")
    both = [
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **kind).eval()
        for folder, kind in ((merged, {}), (tmp_path, {"gguf_file": "sft.gguf"}))
    ]
    chat, same = Chat(adapter), 0
    for city in CITIES:
        ids = torch.tensor([chat.prompt_ids(row_of(city))])
        one, other = (
            m.generate(ids, max_new_tokens=32, do_sample=False)[0, ids.shape[1] :].tolist()
            for m in both
        )
        assert one[:8] == other[:8]  # the tool's name
        assert chat.answer_text(one, []).startswith('<tool_call>{"name": "get_weather"')
        same += one == other
    assert same >= 9, same
