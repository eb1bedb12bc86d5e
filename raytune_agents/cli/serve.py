"""`raytune-agents export CONFIG --serve DIR`: base and arms behind one OpenAI-compatible address.

DIR/serve.yaml    for `serve run`: Ray Serve's LLM app
DIR/routes.json   for the router: agents, A/B shares, the base for unknown names
DIR/models/ARM    merged weights

On GPUs, with `runs_dir` in a bucket, the base is served once with one adapter an arm, which Ray
Serve takes from the bucket only (it refuses a folder); else every arm is a merged model: on CPU
vLLM's adapters are slow, and wrong in mixed batches.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from raytune_agents import models
from raytune_agents.config import Config, ConfigError
from raytune_agents.infra.placement import Resources
from raytune_agents.mirror import Mirror, is_remote, local_folder
from raytune_agents.runs import write_json

BASE = "base"
MODELS_SHARE = 0.7  # of the CPUs for engines; the rest is replicas, ingress and proxy


def write_serve(config: Config, have: Resources, out: Path) -> list[str]:
    """Write the folder; returns the commands that start it. Raises ConfigError where no arm is
    trained or DIR is taken."""
    run = local_folder(config.runs_dir) / config.name
    adapters = {p.parent.name: p for p in sorted(run.glob("train/*/adapter"))}
    if not adapters:
        raise ConfigError(f"{run} has no trained arm: run `raytune-agents train` first")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--serve {out} is not empty; write a new folder")
    base, out = models.resolve(config.model), out.resolve()
    named, served, lora = {BASE: BASE}, {BASE: base}, ""
    for arm, adapter in adapters.items():
        if have.gpus and is_remote(config.runs_dir) and not models.must_merge(adapter):
            lora = send(adapter, f"{config.runs_dir.rstrip('/')}/{config.name}", arm)
            named[arm] = f"{BASE}:{arm}"
        else:
            models.save_merged(base, adapter, config.model.dtype, out / "models" / arm)
            named[arm], served[arm] = arm, out / "models" / arm
    out.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(serve_yaml(config, have, served, lora), sort_keys=False)
    (out / "serve.yaml").write_text(text, encoding="utf-8")
    first = next(iter(adapters))
    routes = {"base": BASE, "models": named, "upstream": "http://127.0.0.1:8000"}
    write_json(out / "routes.json", routes | {"agents": {a: {first: 1.0} for a in agents(config)}})
    return [f"serve run {out / 'serve.yaml'}",
            f"python -m raytune_agents.serving {out / 'routes.json'} --port 8080"]  # fmt: skip


def send(adapter: Path, url: str, arm: str) -> str:
    """Copy an adapter to URL/adapters/ARM; returns the folder of all."""
    mirror = Mirror(adapter, f"{url}/adapters/{arm}")
    for file in sorted(f for f in adapter.iterdir() if f.is_file()):
        mirror.send(file.name)
    return f"{url}/adapters"


def agents(config: Config) -> list[str]:
    """The names of the agents that were trained for."""
    from raytune_agents import agents as specs

    return [specs.load(name).name for name in config.generate.agents]


def serve_yaml(
    config: Config, have: Resources, served: dict[str, Path], lora: str = ""
) -> dict[str, Any]:
    """Ray Serve's config file: one application, an LLM config a served model."""
    engine: dict[str, Any] = {"max_model_len": config.engine.max_model_len}
    if have.gpus:
        engine["gpu_memory_utilization"] = config.engine.gpu_memory_utilization / len(served)
    else:
        engine |= {"enforce_eager": True, "enable_chunked_prefill": False, "dtype": "bfloat16"}
    # a whole CPU each, and two CPUs would hold one model
    share = round(max(0.1, have.cpus * MODELS_SHARE / len(served)), 2)
    configs = []
    for name, folder in served.items():
        one: dict[str, Any] = {
            "model_loading_config": {"model_id": name, "model_source": str(folder)},
            "engine_kwargs": dict(engine),
            "deployment_config": {"autoscaling_config": {"min_replicas": 1, "max_replicas": 1}},
            "log_engine_metrics": False,
        }
        if have.gpu_type:
            one["accelerator_type"] = have.gpu_type
        if not have.gpus:
            one["deployment_config"]["ray_actor_options"] = {"num_cpus": 0.1}
            one["placement_group_config"] = {"bundles": [{"CPU": share}]}
            one["runtime_env"] = {"env_vars": {"VLLM_CPU_KVCACHE_SPACE": "1"}}
        if lora and name == BASE:
            one["engine_kwargs"] |= {"enable_lora": True, "max_lora_rank": 64}
            one["lora_config"] = {"dynamic_lora_loading_path": lora}
        configs.append(one)
    arguments: dict[str, Any] = {"llm_configs": configs}
    if not have.gpus:
        one_small = {"min_replicas": 1, "initial_replicas": 1, "max_replicas": 1}
        arguments["ingress_deployment_config"] = {
            "ray_actor_options": {"num_cpus": 0.1}, "autoscaling_config": one_small,
        }  # fmt: skip
    application = {
        "name": config.name, "route_prefix": "/",
        "import_path": "ray.serve.llm:build_openai_app", "args": arguments,
    }  # fmt: skip
    return {"http_options": {"host": "127.0.0.1", "port": 8000}, "applications": [application]}
