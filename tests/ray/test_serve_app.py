"""`engine.serve`: the run's engine as a real Ray Serve LLM app on loopback, asked over HTTP; base
and arm answer there as they do in the run's own engine.

    pytest -m slow tests/ray/test_serve_app.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import TINY

pytest.importorskip("grpc_reflection", reason="needs the extra serve")

import ray
from ray import serve as ray_serve

from raytune_agents import models
from raytune_agents.chat import Chat
from raytune_agents.config import load_config
from raytune_agents.inference import client, engine, serve
from raytune_agents.inference.client import Lost, Reply, Sampling
from raytune_agents.infra import cluster

pytestmark = pytest.mark.slow
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": SCHEMA}}]
SAMPLINGS = [
    Sampling(max_tokens=12, logprobs=True),
    Sampling(max_tokens=1, score=True),
    Sampling(max_tokens=8, n=3, seed=5, temperature=0.8),
    Sampling(max_tokens=40, schema=json.dumps(SCHEMA)),
    Sampling(max_tokens=8, cache_salt="salt"),
    Sampling(max_tokens=8, tools=json.dumps(TOOLS)),
]
# 64 blocks: a process of the app then fits beside those of a small machine.
OPTIONS = "engine.options={max_num_seqs: 16, num_gpu_blocks_override: 64}"
CONFIG = load_config(TINY, ["engine.serve=true", OPTIONS])
CHAT = Chat.of(models.resolve(CONFIG.model), CONFIG.model)


def start(folder: Path, actors: int = 1, own: bool = False) -> list[Any]:
    """The app, or the run's own engine; its actors, which end with their last handle."""
    client.client_of.cache_clear()
    how = engine.start_engines if own else serve.start_app
    handles, limits = how(
        models.resolve(CONFIG.model),
        "float32",
        CONFIG.engine.model_copy(update={"actors": actors}),
        cpus=2,
        gpus=0,
        seed=1,
        options=CONFIG.engine.options,
        log=folder / "engine_starts.log",
        serving=CHAT.serving,
    )
    assert limits.max_num_seqs == 16
    return handles


def end() -> None:
    client.stop()
    serve.end_app()


@pytest.fixture(scope="module", autouse=True)
def running_ray() -> Iterator[None]:
    """One Ray: Serve's client in this process knows the first cluster that it saw alone."""
    cluster.connect(CONFIG.resources)
    yield
    cluster.disconnect()


@pytest.fixture(autouse=True)
def ended(running_ray: None) -> Iterator[None]:
    yield
    end()


@pytest.fixture(scope="module")
def arm(tmp_path_factory) -> str:
    """An adapter that changes what the base says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(models.resolve(CONFIG.model))
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    folder = tmp_path_factory.mktemp("arm") / "adapter"
    get_peft_model(model, lora).save_pretrained(str(folder))
    return str(folder)


def asked(adapter: str = "") -> list[Reply]:
    chats = [[{"role": "user", "content": f"Count to {k}."}] for k in range(len(SAMPLINGS))]
    replies = client.ask([CHAT.chat_ids(chat) for chat in chats], SAMPLINGS, adapter=adapter)
    assert not [r.why for r in replies if isinstance(r, Lost)]
    return replies


def same(served: Reply, own: Reply) -> None:
    for name in ("texts", "output_tokens", "input_tokens", "prompt_ids", "cut", "calls"):
        assert getattr(served, name) == getattr(own, name), name
    assert served.logprobs == pytest.approx(own.logprobs, abs=1e-3)
    assert served.prompt_logprobs == pytest.approx(own.prompt_logprobs, abs=1e-3)


def deployed() -> dict[str, float]:
    return {n: app.last_deployed_time_s for n, app in ray_serve.status().applications.items()}


def test_base_and_arm_answer_as_in_the_runs_own_engine(tmp_path, arm) -> None:
    actors = start(tmp_path, actors=2)
    (name,) = before = deployed()
    served = {adapter: asked(adapter) for adapter in ("", arm)}
    assert [r.texts for r in served[""]] != [r.texts for r in served[arm]]
    again = asked()  # the base's weights are back
    assert [r.texts for r in again] == [r.texts for r in served[""]]
    assert served[""][0].latency_s >= served[""][0].first_token_s > 0
    assert json.loads(served[""][3].texts[0]).keys() == {"a"}
    assert len(served[""][2].texts) == 3
    # A run that goes on after its driver was killed.
    client.stop()
    actors = start(tmp_path, actors=2)
    assert deployed() == before
    end()
    assert deployed() == {}
    file = yaml.safe_load((tmp_path / "serve.yaml").read_text())
    assert name.startswith(file["applications"][0]["name"])
    actors = start(tmp_path, own=True)
    for adapter, replies in served.items():
        for one, own in zip(replies, asked(adapter), strict=True):
            same(one, own)
    assert len(actors) == 1


def test_an_app_of_the_runs_file_is_found_and_stays(tmp_path) -> None:
    actors = start(tmp_path, actors=2)
    end()
    (app,) = yaml.safe_load((tmp_path / "serve.yaml").read_text())["applications"]
    cluster.run_task(serve.deploy_app, (app["args"], app["name"], app["name"]), 0)
    before = deployed()
    assert list(before) == [app["name"]]
    actors = start(tmp_path / "another_run", actors=2)
    assert len(actors) == 1  # it passes on what both replicas are asked
    first = asked()
    assert [r.texts for r in asked()] == [r.texts for r in first]
    end()
    assert deployed() == before
    # The router has read the prompts' token ids.
    tree = ray.get_actor("LlmPrefixTreeActor", namespace=f"serve::{app['name']}::ArmServer:base")
    assert sum(ray.get(tree.getattr.remote("tenant_to_char_count")).values()) > 0
    ray_serve.shutdown()
