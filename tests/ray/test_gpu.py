"""What only a card shows: vLLM and training on CUDA, in bf16. `pytest -m gpu`; without a GPU each
is skipped. test_engine, test_model and test_train_methods say the same of a CPU, in float32."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import ray
import torch
from conftest import TINY, cli
from safetensors.torch import load_file, save_file
from test_train_methods import job_of
from test_train_sharding import columns, job  # noqa: F401  a fixture and its job

from raytune_agents import models
from raytune_agents.chat import Chat
from raytune_agents.config import load_config
from raytune_agents.inference import client, engine
from raytune_agents.inference.client import Sampling
from raytune_agents.infra import cluster
from raytune_agents.storage import read_json, read_jsonl
from raytune_agents.train import worker
from raytune_agents.train.base_model import save
from raytune_agents.train.rollout_func import vllm_objection

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]
DEVICE, GPUS = ("cuda", 1) if torch.cuda.is_available() else ("cpu", 0)
ARMS = {"lora": {}, "dora": {"lora": {"use_dora": True}}, "full": {"parameters": "full"}}


def trained(columns: Path, out: Path, **options) -> Path:  # noqa: F811
    """The folder of what two steps in bf16 have trained."""
    made = job(columns, out, max_steps=2, global_batch_size=2, **options)
    made = replace(made, dtype="bfloat16")
    trainer = worker.fit(made)
    assert next(trainer.model.parameters()).device.type == DEVICE
    assert all(0 < x["loss"] < 12 for x in read_jsonl(out / "metrics.jsonl"))
    save(trainer, Chat(**made.chat), out / "adapter")
    return out / "adapter"


@pytest.fixture(scope="module")
def arms(columns, tmp_path_factory) -> dict[str, str]:  # noqa: F811
    """Folder of each kind of weights, "" of the base."""
    folders = {k: trained(columns, tmp_path_factory.mktemp(k), **v) for k, v in ARMS.items()}
    found = {"base": ""} | {kind: str(folder) for kind, folder in folders.items()}
    for kind in ("lora", "dora"):  # two steps change little: B is made large enough to be seen
        file = folders[kind] / "adapter_model.safetensors"
        tensors = load_file(file)
        for name in (n for n in tensors if "lora_B" in n):
            draw = torch.Generator().manual_seed(1)
            tensors[name] = 0.02 * torch.randn(tensors[name].shape, generator=draw)
        save_file(tensors, file, metadata={"format": "pt"})
    return found


@pytest.fixture(scope="module")
def warm(arms) -> Iterator[Chat]:
    """An engine on the card, after the training has left it."""
    torch.cuda.empty_cache()
    config = load_config(TINY, ["model.max_length=900", "engine.gpu_memory_utilization=0.4"])
    path = models.resolve(config.model)
    have = cluster.connect(config.resources)
    assert have.gpus >= GPUS
    sizes = {"cpus": have.cpus, "gpus": GPUS, "seed": 1}
    (handle,), _ = engine.start_engines(path, "bfloat16", config.engine, **sizes)
    yield Chat.of(path, config.model)
    ray.kill(handle)
    cluster.disconnect()


@pytest.mark.parametrize("arm", ["base", *ARMS])
def test_the_engine_scores_a_text_as_transformers_does(warm, arms, arm) -> None:
    """Adapters on top of the base (LoRA) and other weights in its place (DoRA, full), in turns."""
    from transformers import AutoModelForCausalLM

    weights = dict(models.merged_weights(str(warm.path), arms[arm], "float32"))
    model = AutoModelForCausalLM.from_pretrained(warm.path, dtype=torch.float32)
    model.load_state_dict(weights, strict=False)
    prompt = warm.chat_ids([{"role": "user", "content": "Which ports of web-01 are open?"}])
    with torch.no_grad():
        logits = model.to(DEVICE)(torch.tensor([prompt], device=DEVICE)).logits[0, :-1]
    known = logits.log_softmax(-1).gather(1, torch.tensor(prompt[1:], device=DEVICE)[:, None])
    sampling = Sampling(max_tokens=1, score=True)
    (reply,) = client.ask([prompt], [sampling], adapter=arms[arm])
    parted = torch.tensor(reply.prompt_logprobs) - known[:, 0].cpu()
    assert parted.abs().mean() < 0.1  # bf16 against float32
    (base,) = client.ask([prompt], [sampling])
    if arm in ("lora", "dora"):
        assert max(abs(a - b) for a, b in zip(base.prompt_logprobs, reply.prompt_logprobs)) > 0.5


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_a_quantised_base_is_trained(columns, tmp_path, kind) -> None:  # noqa: F811
    pytest.importorskip("bitsandbytes")
    assert (trained(columns, tmp_path, quantization=kind) / "adapter_model.safetensors").is_file()


def test_grpo_samples_by_vllm_where_trl_can(tmp_path: Path) -> None:
    made, _ = job_of("grpo", tmp_path)
    trainer = worker.fit(made)
    assert trainer.use_vllm is (GPUS > 0 and not vllm_objection())
    lines = read_jsonl(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2]


def test_the_whole_loop_on_one_card(tmp_path: Path) -> None:
    """Engine and training take turns on it."""
    words = [str(TINY), f"runs_dir={tmp_path}", "model.dtype=auto"]
    done = cli("run", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "tiny"
    manifest = read_json(folder / "train" / "nat" / "manifest.json")
    assert torch.cuda.get_device_name() in manifest["hardware"]["gpus"]
    assert set(read_json(folder / "evaluate" / "scores.json")) >= {"base", "nat", "dpo"}
