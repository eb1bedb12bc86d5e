"""The one shared vLLM engine: generate, mine, judge and evaluate all ask it. It and its parser
(`server_parser`) alone import vllm.

A pool of named Ray actors, one as a rule, is started once a run. A request names its adapter, so a
restarted actor needs no memory of what was loaded: on CPU the adapter is merged into the weights in
place (LoRA in vLLM's CPU engine is wrong in mixed batches and 20 times slower), on GPU it is a
per-request adapter.

An engine that dies is restarted and asked again; after the last try the caller gets `EngineDown`,
and its rows are `infra_failed`, never wrong answers."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from raytune_agents.calls.thoughts import NEAR, opened_thought, split_thought
from raytune_agents.config import EngineConfig
from raytune_agents.inference.server_parser import ServerParser
from raytune_agents.infra import telemetry
from raytune_agents.infra.energy import Meter
from raytune_agents.infra.logs import log_in_worker
from raytune_agents.models import bf16
from raytune_agents.records import ToolCall
from raytune_agents.templates import ServingOptions

logger = logging.getLogger(__name__)
ACTOR = "raytune-engine"
INFRA_FAILED = "infra_failed"
STOP_S = 30  # longest wait for stopped actors to be gone


class EngineDown(RuntimeError):
    """The engine died or hung through all its tries."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one prompt is answered. `schema` (JSON Schema text) constrains the answer to that
    JSON; with `score` the reply holds the log-probabilities of the prompt's own tokens. With
    `tools` (JSON text of OpenAI's list) the texts keep the marks of calls and thoughts, and the
    reply holds the calls; without, thoughts are left out."""

    max_tokens: int = 64
    temperature: float = 0.0
    n: int = 1
    seed: int | None = None
    schema: str = ""
    logprobs: bool = False  # whether the reply carries the log probability of each text
    score: bool = False
    cache_salt: str = ""  # prompts of another salt leave nothing in its prefix cache
    tools: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for one prompt: `n` texts with their token counts."""

    texts: list[str]
    output_tokens: list[int]
    input_tokens: int
    latency_s: float  # from arrival to the last token, queueing included
    first_token_s: float  # from arrival to the first token
    prompt_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)  # of each text, summed over its tokens
    prompt_logprobs: list[float] = field(default_factory=list)  # of prompt tokens but the first
    cut: list[bool] = field(default_factory=list)  # whether each text ended at max_tokens
    # of each text, what vLLM's parser of the family extracts: the calls that a server would give;
    # None where no tools were given or vLLM has no parser
    calls: list[tuple[ToolCall, ...] | None] = field(default_factory=list)


def threads_env(cpus: int) -> dict[str, str]:
    """Environment of a process that may use `cpus` cores."""
    return {
        "OMP_NUM_THREADS": str(cpus),
        "MKL_NUM_THREADS": str(cpus),
        "TOKENIZERS_PARALLELISM": "false",
    }


def environment(section: EngineConfig, cpus: int, gpu: bool) -> dict[str, str]:
    """Environment of the engine's process."""
    # On CPU nothing is compiled: log-probabilities alone would call Inductor's C++ compiler, at run
    # time, which takes half a minute where it is there and ends the request where it is not.
    eager = {} if gpu else {"TORCH_COMPILE_DISABLE": "1"}
    return (
        threads_env(cpus)
        | eager
        | {
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_CPU_KVCACHE_SPACE": str(max(1, round(section.kv_cache_gib))),
            "VLLM_LOGGING_LEVEL": "ERROR",
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            "HF_HUB_OFFLINE": "1",
        }
    )


def without_thought(text: str) -> str:
    """An answer's words. The thought of a text that has none stays: it is all there is."""
    thought = split_thought(text)
    return thought.rest.strip() if thought.text and thought.rest.strip() else text


class Engine:
    """Runs inside the actor. One vLLM `LLM`, one model, adapters by name."""

    def __init__(
        self,
        path: str,
        dtype: str,
        section: dict[str, Any],
        gpu: bool,
        seed: int,
        log: str = "",
        serving: ServingOptions = ServingOptions(),  # noqa: B008  it is frozen
    ):
        from vllm import LLM

        log_in_worker()
        began = time.monotonic()
        self.meter = Meter()
        self.path, self.gpu = path, gpu
        self.dtype: Literal["bfloat16", "float32"] = "bfloat16" if bf16(dtype) else "float32"
        self.adapter = ""
        self.section = EngineConfig(**section)
        # Without chunked prefill on CPU: a seeded request that is prefilled in parts ends in
        # "CPU Generator does not use offset" (vllm 0.32, gpu_model_runner._bookkeeping_sync).
        options: dict[str, Any] = {"enforce_eager": True, "enable_chunked_prefill": False}
        if gpu:
            options = {"enable_lora": True, "max_lora_rank": 64, "max_loras": 8}
            options["gpu_memory_utilization"] = self.section.gpu_memory_utilization
            options["tensor_parallel_size"] = self.section.tensor_parallel_size or 1
        self.llm = LLM(
            path,
            dtype=self.dtype,
            seed=seed,
            max_model_len=self.section.max_model_len,
            max_num_batched_tokens=max(
                self.section.max_num_batched_tokens, self.section.max_model_len
            ),
            trust_remote_code=False,
            load_format="safetensors",
            enable_prefix_caching=True,
            disable_log_stats=False,
            structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
            **options,
        )
        logger.info("engine: %s ready, %.1f s", path, time.monotonic() - began)
        self.serving = serving
        self.tokenizer = self.llm.get_tokenizer()
        self.parser = ServerParser(serving, self.tokenizer)
        if log:  # one line a start: how often a run paid for one can be counted
            with Path(log).open("a", encoding="utf-8") as file:
                file.write(f"{time.time():.3f}\n")

    def ready(self) -> str:
        return self.path

    def usage(self) -> dict[str, Any]:
        """`peak_memory_mib`: the most memory this process has held, of the GPU where it has one,
        else resident. `energy_j`: joules its machine used since it started, None where the machine
        does not tell; `why` then says why. `node` is the machine."""
        import ray
        import torch

        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if self.gpu:
            memory = torch.cuda.max_memory_allocated() / 2**20
        return {
            "node": ray.get_runtime_context().get_node_id(),
            "peak_memory_mib": memory,
            "energy_j": self.meter.joules(),
            "why": self.meter.why,
        }

    def answer(
        self, prompts: list[list[int]], samplings: list[Sampling], adapter: str = ""
    ) -> list[Reply]:
        """Answer prompts ([n][prompt] token ids), each with its own sampling, under one adapter
        folder."""
        from vllm import SamplingParams, TokensPrompt
        from vllm.sampling_params import StructuredOutputsParams

        params = []
        for s in samplings:
            guide = StructuredOutputsParams(json=s.schema) if s.schema else None
            params.append(
                SamplingParams(
                    max_tokens=s.max_tokens,
                    temperature=s.temperature,
                    n=s.n,
                    seed=s.seed,
                    structured_outputs=guide,
                    logprobs=0 if s.logprobs else None,  # 0: of the sampled tokens alone
                    prompt_logprobs=0 if s.score else None,
                    stop_token_ids=list(self.serving.stop_token_ids),
                    skip_special_tokens=not s.tools,
                )
            )
        asked = [
            TokensPrompt(prompt_token_ids=p, cache_salt=s.cache_salt)
            if s.cache_salt
            else TokensPrompt(prompt_token_ids=p)
            for p, s in zip(prompts, samplings)
        ]
        lora = self.use(adapter)
        telemetry.set_to("raytune_engine_prompts", len(prompts), engine=str(os.getpid()))
        try:
            outputs = self.llm.generate(asked, params, use_tqdm=False, lora_request=lora)
        except BaseException:  # leave no half-done request behind for the next caller
            core = self.llm.llm_engine
            core.abort_request(list(core.output_processor.request_states), internal=True)
            raise
        finally:
            telemetry.set_to("raytune_engine_prompts", 0, engine=str(os.getpid()))
        return [self.reply(o, s.tools) for o, s in zip(outputs, samplings, strict=True)]

    def use(self, adapter: str) -> Any:
        """Make `adapter` ("" = base) the one that answers; a LoRARequest on GPU, merged weights on
        CPU and for what vLLM cannot put on top (full weights, DoRA)."""
        from raytune_agents.models import merged_weights, must_merge

        on_top = self.gpu and bool(adapter) and not must_merge(adapter)
        inside = "" if on_top else adapter
        if inside != self.adapter:
            weights = merged_weights(self.path, inside, self.dtype)
            self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
            self.llm.reset_prefix_cache()
            self.adapter = inside
        if on_top:
            from vllm.lora.request import LoRARequest

            return LoRARequest(adapter, zlib.crc32(adapter.encode()) % (2**31 - 1) + 1, adapter)
        return None

    def reply(self, output: Any, tools: str) -> Reply:
        stats = output.metrics
        known = (output.prompt_logprobs or [None])[1:]  # the first token has nothing before it
        ids = output.prompt_token_ids[1:]
        queued = stats.queued_ts if stats else 0.0
        opened = opened_thought(self.tokenizer.decode(output.prompt_token_ids[-NEAR:]))
        texts = [opened + c.text for c in output.outputs]
        parsed = [self.parser.calls(c.text, c.token_ids, tools) for c in output.outputs]
        return Reply(
            texts=texts if tools else [without_thought(text) for text in texts],
            calls=parsed,
            output_tokens=[len(c.token_ids) for c in output.outputs],
            input_tokens=len(output.prompt_token_ids),
            prompt_ids=list(output.prompt_token_ids),
            logprobs=[
                c.cumulative_logprob for c in output.outputs if c.cumulative_logprob is not None
            ],
            prompt_logprobs=[found[token].logprob for token, found in zip(ids, known)],
            cut=[c.finish_reason == "length" for c in output.outputs],
            latency_s=max(stats.last_token_ts - queued, 0.0) if stats else 0.0,
            first_token_s=max(stats.first_token_ts - queued, 0.0) if stats else 0.0,
        )


def start_engines(
    path: Path,
    dtype: str,
    section: EngineConfig,
    *,
    cpus: int,
    gpus: int,
    seed: int,
    log: Path | None = None,
    serving: ServingOptions = ServingOptions(),  # noqa: B008  it is frozen
) -> list[Any]:
    """Start the engine actors of this run, or take those that run already; waits until they
    answer. `serving` is that of the chat whose prompts they are asked."""
    import ray

    count, wide = section.actors or 1, section.tensor_parallel_size or 1
    actor = ray.remote(Engine)
    options = {
        "get_if_exists": True,
        "num_cpus": 0,
        "num_gpus": wide if gpus else 0,
        "runtime_env": {"env_vars": environment(section, max(1, cpus // count), bool(gpus))},
        "max_restarts": section.retries,
        "max_task_retries": section.retries,
    }
    handles: list[Any] = [
        actor.options(name=ACTOR + f"-{k}" * bool(k), **options).remote(
            str(path),
            dtype,
            section.model_dump(),
            bool(gpus),
            seed,
            str(log) if log else "",
            serving,
        )
        for k in range(count)
    ]
    ray.get([handle.ready.remote() for handle in handles])
    return handles


def living() -> list[str]:
    """The names of the run's engine actors that are not dead for good."""
    import ray

    return sorted(name for name in ray.util.list_named_actors() if name.startswith(ACTOR))


def ask(
    prompts: Sequence[list[int]],
    samplings: Sequence[Sampling],
    *,
    adapter: str = "",
    timeout_s: float = 900.0,
) -> list[Reply]:
    """Ask the run's engine: one of its actors, by the first prompt; where that one is dead for
    good, the next one. Raises EngineDown after the last try."""
    if not prompts:
        return []
    import ray

    names, why = living(), "no engine actor is alive"
    first = zlib.crc32(repr(prompts[0]).encode()) % max(1, len(names))
    for name in [*names[first:], *names[:first]]:
        try:
            call = ray.get_actor(name).answer.remote(list(prompts), list(samplings), adapter)
            return ray.get(call, timeout=timeout_s)
        except ray.exceptions.GetTimeoutError as error:
            raise EngineDown(f"{type(error).__name__}: {str(error).splitlines()[0]}") from None
        except (ray.exceptions.RayActorError, ValueError) as error:
            if isinstance(error, ValueError) and "look up actor" not in str(error):
                raise
            why = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    raise EngineDown(why)


def usage() -> dict[str, Any] | None:
    """What the run's engine held and used so far (`Engine.usage`), over all its actors: the most
    memory of one, the joules of all their machines; None where all are down."""
    import ray

    found = []
    for name in living():
        with contextlib.suppress(ValueError, ray.exceptions.RayActorError):
            found.append(ray.get(ray.get_actor(name).usage.remote()))
    if not found:
        return None
    machines: dict[str, float] = {}  # each actor counts for its whole machine
    for one in found:
        if one["energy_j"] is not None:
            machines[one["node"]] = max(machines.get(one["node"], 0.0), one["energy_j"])
    return {
        "peak_memory_mib": max(one["peak_memory_mib"] for one in found),
        "energy_j": sum(machines.values()) if machines else None,
        "why": "" if machines else found[0]["why"],
    }


def stop() -> None:
    """End the engine's actors, if there are any; returns when their names are free again."""
    import ray

    for name in living():
        with contextlib.suppress(ValueError):
            ray.kill(ray.get_actor(name))
    end = time.monotonic() + STOP_S
    while living() and time.monotonic() < end:
        time.sleep(0.05)
