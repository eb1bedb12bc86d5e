"""What an engine is started with besides its sizes: LoRA where arms have adapters to put on top,
and the user's own arguments of vLLM (`engine.options`).

All is checked before anything starts, and vLLM is not loaded for it: the names of its arguments are
read from its source."""

from __future__ import annotations

import ast
import importlib.util
import os
from functools import cache
from pathlib import Path

from raytune_agents.config import Config, ConfigError, EngineConfig, TrainConfig
from raytune_agents.config.lookup import did_you_mean
from raytune_agents.records import Options

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM's max_lora_rank may be
# vLLM's arguments that Ray Serve sets, and what its LLM apps need besides vLLM
SERVES = ("served_model_name", "distributed_executor_backend")
SERVE_PACKAGES = ("fastapi", "grpc_reflection", "uvicorn")
# vLLM's arguments that options of ours set: what to write instead
OURS = {
    "model": "model.name",
    "dtype": "model.dtype",
    "seed": "seed",
    "max_model_len": "engine.max_model_len",
    "tensor_parallel_size": "engine.tensor_parallel_size",
    "gpu_memory_utilization": "engine.gpu_memory_utilization",
    "max_lora_rank": "train.lora.r",
    "trust_remote_code": "a model that needs no code of its own",
}

PICKLED = ("auto", "hf", "npcache", "pt")  # load formats that may unpickle a file of weights


def vllm_options(config: EngineConfig, dtype: str, gpu: bool) -> Options:
    """vLLM's arguments that follow from the config, whoever starts it."""
    options: Options = {
        "dtype": dtype,
        "max_model_len": config.max_model_len,
        "trust_remote_code": False,
        "load_format": "safetensors",
        "enable_prefix_caching": True,
        "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
    }
    if gpu:
        return options | {
            "gpu_memory_utilization": config.gpu_memory_utilization,
            "tensor_parallel_size": config.tensor_parallel_size or 1,
        }
    # Without chunked prefill on CPU: a seeded request that is prefilled in parts ends in
    # "CPU Generator does not use offset" (vllm 0.32, gpu_model_runner._bookkeeping_sync).
    return options | {"enforce_eager": True, "enable_chunked_prefill": False}


@cache
def vllm_arguments() -> frozenset[str]:
    """The engine arguments of the installed vLLM; none where it is not installed."""
    found = importlib.util.find_spec("vllm")
    if found is None or not found.submodule_search_locations:
        return frozenset()
    source = Path(found.submodule_search_locations[0], "engine", "arg_utils.py")
    tree = ast.parse(source.read_text(encoding="utf-8"))
    bodies = [n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "EngineArgs"]
    fields = (n.target for body in bodies for n in body if isinstance(n, ast.AnnAssign))
    return frozenset(target.id for target in fields if isinstance(target, ast.Name))


def validate_engine_options(config: Config) -> None:
    """Raises ConfigError for an option that vLLM does not have or that is set elsewhere, and for an
    adapter that it could train but not answer with."""
    known = vllm_arguments()
    for name in config.engine.options:
        if name in OURS:
            raise ConfigError(f"engine.options.{name} is set elsewhere; write {OURS[name]}")
        if known and name not in known:
            hint = did_you_mean(name, sorted(known), "its arguments are")
            raise ConfigError(f"engine.options.{name}: the installed vLLM has none; {hint}")
    if (form := config.engine.options.get("load_format")) in PICKLED:
        raise ConfigError(
            f"engine.options.load_format={form!r} may unpickle weights, which runs code of theirs; "
            "write safetensors, or leave it out"
        )
    lora_options(config.train)
    if config.engine.serve:
        validate_serve(config.engine)


def validate_serve(engine: EngineConfig) -> None:
    """Raises ConfigError for what a Ray Serve LLM app does not take, and where Serve is missing."""
    for name in [name for name in SERVES if name in engine.options]:
        raise ConfigError(
            f"engine.options.{name}={engine.options[name]!r} with engine.serve=true: Ray Serve "
            "sets it; leave it out"
        )
    if engine.label_selector:
        raise ConfigError(
            f"engine.label_selector={engine.label_selector} with engine.serve=true: the replicas "
            "of a Serve LLM app take no labels; write engine.label_selector={} or "
            "engine.serve=false"
        )
    if (mode := os.environ.get("RAY_AUTH_MODE", "token")) != "token":
        raise ConfigError(
            f"engine.serve=true with RAY_AUTH_MODE={mode}: a replica of Ray Serve listens on all "
            "interfaces and runs what it is sent; write RAY_AUTH_MODE=token, or engine.serve=false"
        )
    missing = [name for name in SERVE_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"engine.serve=true needs {', '.join(missing)}: pip install '.[serve]' in the clone, "
            "or write engine.serve=false"
        )


def lora_options(train: TrainConfig) -> Options:
    """vLLM's LoRA arguments for the arms whose adapters go on top of the base; {} where none does.
    Raises ConfigError for a rank that vLLM does not serve."""
    ranks = []
    for name, arm in train.arms.items():
        config = train.of(arm)
        # DoRA and full weights stand in the base's place (`models.must_merge`).
        if config.parameters == "full" or config.lora.use_dora:
            continue
        ranks.append(config.lora.r)
        if config.lora.r > RANKS[-1]:
            raise ConfigError(
                f"train.lora.r={config.lora.r} of arm {name!r}: vLLM answers with ranks up to "
                f"{RANKS[-1]}; write {RANKS[-1]} or less, or parameters: full"
            )
    if not ranks:
        return {}
    # One size for all: vLLM sets the same room aside for every adapter.
    highest = min(rank for rank in RANKS if rank >= max(ranks))
    return {"enable_lora": True, "max_lora_rank": highest, "max_loras": len(ranks)}
