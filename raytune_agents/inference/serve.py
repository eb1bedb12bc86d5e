"""`engine.serve`: the run's engines as a Ray Serve LLM app, which scales by its load and sends
prompts to the replica that has their beginning in its prefix cache.

Actors under the engines' names pass each request on to the app's OpenAI endpoint, so that callers
ask them as they ask `engine.Engine`. The app listens on the head node's loopback. It ends with the
run that has deployed it; one that was deployed by the run's `serve.yaml` is found, and stays."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml

from raytune_agents.config import EngineConfig
from raytune_agents.inference.admission import RESTARTS, Turns
from raytune_agents.inference.client import (
    ACTOR,
    EngineDown,
    EngineLimits,
    EngineUsage,
    Reply,
    Sampling,
)
from raytune_agents.inference.engine import environment, start_actors
from raytune_agents.inference.options import vllm_options
from raytune_agents.inference.replies import ServerParser, Written, reply_of
from raytune_agents.infra import cluster
from raytune_agents.infra.logs import log_in_worker
from raytune_agents.models import bf16
from raytune_agents.records import JsonObject, content_hash
from raytune_agents.storage import write_text
from raytune_agents.templates import ServingOptions
from raytune_agents.tokenizer import load_tokenizer

logger = logging.getLogger(__name__)
BASE = "base"  # the app's name of its model
SLOTS = 256  # max_num_seqs of a replica where engine.options does not say it
PER_ACTOR = 8  # replicas whose requests one actor passes on
HEAD = "node:__internal_head__"  # Ray's resource of the head node, which always has a proxy
UNEVEN = 4  # requests that a replica may have above another before a prefix counts for nothing
_own: set[str] = set()  # apps that end with this process's run


def serve_args(
    path: Path, dtype: str, config: EngineConfig, cpus: int, gpus: int, own: Mapping[str, Any]
) -> JsonObject:
    """The arguments of Ray's `build_openai_app`: the base by vLLM's options, of which `own` stand
    above ours, on at most `config.actors` replicas."""
    most = config.actors or 1
    wide = "float32" if dtype == "float32" or not (gpus or bf16(dtype)) else "bfloat16"
    options = {"max_num_seqs": SLOTS, **vllm_options(config, wide, bool(gpus)), **own}
    scaling = {
        "min_replicas": 1,
        "max_replicas": most,
        "target_ongoing_requests": options["max_num_seqs"],
    }
    deployment: JsonObject = {
        "autoscaling_config": scaling,
        # As the run's own engines they take no CPU from training and trials.
        "ray_actor_options": {"num_cpus": 0},
    }
    if most > 1:
        deployment["request_router_config"] = {
            "request_router_class": "raytune_agents.inference.arm_server:TokenPrefixRouter",
            "request_router_kwargs": {"imbalanced_threshold": UNEVEN, "do_eviction": True},
        }
    # Of all resources only a byte of memory is free for the asking.
    bundle = {"GPU": 1} if gpus else {"memory": 1}
    model: JsonObject = {
        "model_loading_config": {"model_id": BASE, "model_source": str(path)},
        "server_cls": "raytune_agents.inference.arm_server:ArmServer",
        "engine_kwargs": {**options, "enable_per_request_metrics": True},
        "deployment_config": deployment,
        "accelerator_config": {"kind": "gpu" if gpus else "cpu"},
        "placement_group_config": {"bundle_per_worker": bundle, "strategy": "STRICT_PACK"},
        "runtime_env": {"env_vars": environment(config, max(1, cpus // most), bool(gpus))},
    }
    # Serve gives up what waits longer than ten minutes.
    patience = {"RAY_SERVE_LLM_ROUTER_HTTP_TIMEOUT": f"{config.timeout_s:.0f}"}
    ingress = {
        "ray_actor_options": {"num_cpus": 0, "runtime_env": {"env_vars": patience}},
        "autoscaling_config": scaling | {"initial_replicas": 1},
    }
    return {"llm_configs": [model], "ingress_deployment_config": ingress}


def serve_config(name: str, args: JsonObject) -> JsonObject:
    """Ray Serve's config file of an app that stays when runs end."""
    application = {
        "name": name,
        "route_prefix": f"/{name}",
        "import_path": "ray.serve.llm:build_openai_app",
        "args": args,
    }
    return {
        "proxy_location": "HeadOnly",
        "http_options": {"host": "127.0.0.1", "port": 8000},
        "applications": [application],
    }


def deploy_app(args: JsonObject, standing: str, own: str) -> str:
    """The address, on the head node, of the app that runs under one of the names; where none does,
    it is deployed as `own`. Raises EngineDown."""
    import ray
    from ray import serve
    from ray.serve.context import _get_global_client
    from ray.serve.llm import build_openai_app

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    try:
        # Where Serve runs already, it stays as it was started.
        serve.start("HeadOnly", {"host": "127.0.0.1", "port": port})
        apps = serve.status().applications
        running = [n for n in (standing, own) if n in apps and apps[n].status == "RUNNING"]
        name = running[0] if running else own
        if not running:
            serve.run(build_openai_app(args), name=name, route_prefix=f"/{name}")
    except (RuntimeError, ray.exceptions.RayError) as error:
        raise EngineDown(f"Ray Serve: {error}") from None
    # None only where it is told not to raise
    http = _get_global_client().http_config  # type: ignore[union-attr]
    host = "127.0.0.1" if http.host == "0.0.0.0" else http.host
    return f"http://{host}:{http.port}/{name}"


def completion_request(
    prompt: list[int], s: Sampling, arm: str, serving: ServingOptions
) -> JsonObject:
    """The body of vLLM's completions route that asks what `Engine.params` asks."""
    body: JsonObject = {
        "model": BASE,
        "prompt": prompt,
        "max_tokens": s.max_tokens,
        "temperature": s.temperature,
        "n": s.n,
        "seed": s.seed,
        "logprobs": 0 if s.logprobs else None,
        "prompt_logprobs": 0 if s.score else None,
        "structured_outputs": {"json": s.schema} if s.schema else None,
        "stop_token_ids": list(serving.stop_token_ids),
        "skip_special_tokens": not s.tools,
        "return_token_ids": True,
        "cache_salt": s.cache_salt or None,
        "vllm_xargs": {"arm": arm} if arm else None,
    }
    # Said, as what is not comes from the model's generation_config.json.
    neutral = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
    return {k: v for k, v in body.items() if v is not None} | neutral


def completion_reply(body: JsonObject, took_s: float, tools: str, parser: ServerParser) -> Reply:
    """The reply that the route's answer holds. `took_s`: how long it took, for what has no times
    of its own (vLLM gives them of one answer to a prompt)."""
    choices = sorted(body["choices"], key=lambda choice: choice["index"])
    ids, known = choices[0]["prompt_token_ids"], (choices[0].get("prompt_logprobs") or [None])[1:]
    times = body.get("metrics") or {}
    first = times.get("time_to_first_token_ms")
    first_s = ((times.get("queue_time_ms") or 0.0) + first) / 1000 if first else 0.0
    last_s = first_s + (times.get("generation_time_ms") or 0.0) / 1000 if first else took_s
    written = []
    for one in choices:
        logprobs = one.get("logprobs")
        summed = sum(logprobs["token_logprobs"]) if logprobs else None
        cut = one["finish_reason"] == "length"
        written.append(Written(one["text"], one["token_ids"], summed, cut))
    of_prompt = [found[str(token)]["logprob"] for token, found in zip(ids[1:], known)]
    return reply_of(written, ids, of_prompt, (first_s, last_s), tools, parser)


async def as_they_are(arm: str) -> None:
    """The app's own weights; its replicas put an arm's there."""


class ServedEngine:
    """Runs inside the actor, and is asked as `engine.Engine` is."""

    def __init__(
        self, url: str, path: str, timeout_s: float, limits: EngineLimits, serving: ServingOptions
    ):
        log_in_worker()
        self.limits, self.serving, self.timeout_s = limits, serving, timeout_s
        self.parser = ServerParser(serving, load_tokenizer(path))
        most = 2 * limits.max_num_seqs
        self.turns = Turns(as_they_are, most)
        # No proxy of the environment: it is on this machine.
        self.http = httpx.AsyncClient(
            base_url=url,
            timeout=timeout_s,
            limits=httpx.Limits(max_connections=most),
            trust_env=False,
        )

    async def ready(self) -> EngineLimits:
        return self.limits

    def usage(self) -> EngineUsage:
        return EngineUsage(why="the replicas of a Ray Serve app are not measured")

    async def hold(self) -> int:
        return await self.turns.hold()

    async def release(self, ticket: int) -> None:
        await self.turns.release(ticket)

    async def answer(
        self, prompt: list[int], sampling: Sampling, arm: str = "", ticket: int = 0
    ) -> Reply:
        """As `Engine.answer`. Raises TimeoutError, RuntimeError where the app refuses, and
        ConnectionError where no replica answers."""
        body = completion_request(prompt, sampling, arm, self.serving)
        async with self.turns.of("", ticket):
            began = asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(self.timeout_s):
                    got = await self.http.post("/v1/completions", json=body)
            except (TimeoutError, httpx.TimeoutException):
                raise TimeoutError(f"no answer in {self.timeout_s:g} s") from None
            except httpx.TransportError as error:
                raise ConnectionError(f"{type(error).__name__}: {error}") from None
            took_s = asyncio.get_running_loop().time() - began
        if got.status_code >= 500:  # of a replica that died, and of what else it was answering
            raise ConnectionError(f"status {got.status_code}: {got.text[:300]}")
        if got.status_code != 200:
            raise RuntimeError(f"status {got.status_code}: {got.text[:300]}")
        return completion_reply(got.json(), took_s, sampling.tools, self.parser)


def start_app(
    path: Path,
    dtype: str,
    config: EngineConfig,
    *,
    cpus: int,
    gpus: int,
    seed: int,
    options: Mapping[str, Any] | None = None,
    log: Path | None = None,
    serving: ServingOptions = ServingOptions(),  # noqa: B008  it is frozen
) -> tuple[list[Any], EngineLimits]:
    """As `engine.start_engines`: deploy the app of this run, or take one that runs already, for
    whatever `seed`: requests bring their own. Raises EngineDown."""
    import ray

    args = serve_args(path, dtype, config, cpus, gpus, options or {})
    vllm_args = args["llm_configs"][0]["engine_kwargs"]
    standing = f"{ACTOR}-{content_hash([str(path), vllm_args], 12)}"
    folder = log.parent.resolve() if log else Path()
    own = f"{standing}-{content_hash(str(folder), 8)}"
    _own.add(own)
    if log:
        text = yaml.safe_dump(serve_config(standing, args), sort_keys=False)
        write_text(folder / "serve.yaml", text)
    url = cluster.run_task(deploy_app, (args, standing, own), 0)
    logger.info("Ray Serve app: %s", url)
    slots, most = vllm_args["max_num_seqs"], config.actors or 1
    count = -(-most // PER_ACTOR)
    limits = EngineLimits(slots * most // count, config.retries)
    how = {"resources": {HEAD: 0.001}, "max_restarts": RESTARTS}
    handles = start_actors(
        ServedEngine, count, how, url, str(path), config.timeout_s, limits, serving
    )
    ray.get([handle.ready.remote() for handle in handles])
    return handles, EngineLimits(slots, config.retries)


def delete_apps(names: list[str]) -> None:
    from ray import serve

    for name in set(names) & set(serve.status().applications):
        serve.delete(name)


def end_app() -> None:
    """End the app that this run has deployed, if there is one."""
    if not _own:
        return
    import ray

    names = sorted(_own)
    _own.clear()
    # As a task: Serve would load vLLM into this process. Where Ray is gone, so is the app.
    with contextlib.suppress(ray.exceptions.RayError):
        cluster.run_task(delete_apps, (names,), 0)
