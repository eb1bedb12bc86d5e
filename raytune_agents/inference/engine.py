"""The run's vLLM engine, one async Ray actor per engine; `inference.client` asks it. It and its
parser (in `replies`) alone import vllm.

A request names its arm, so a restarted actor needs no memory of what was loaded: on GPU it is a
per-request adapter, on CPU it is merged into the weights in place once the requests of the one
before are through (LoRA in vLLM's CPU engine is wrong in mixed batches and 20 times slower).

On GPU the engine is vLLM's AsyncLLM. On CPU its child process would double the time to start, so
that there a thread of this process steps vLLM's LLMEngine (`StepLoop`)."""

from __future__ import annotations

import asyncio
import itertools
import logging
import multiprocessing
import os
import queue
import resource
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, NoReturn

from raytune_agents.config import EngineConfig
from raytune_agents.inference.admission import Starts, Turns
from raytune_agents.inference.client import (
    ACTOR,
    EngineLimits,
    EngineUsage,
    Reply,
    Sampling,
    folder_of,
)
from raytune_agents.inference.options import vllm_options
from raytune_agents.inference.replies import ServerParser, Written, reply_of
from raytune_agents.infra.energy import Meter
from raytune_agents.infra.logs import log_in_worker
from raytune_agents.models import bf16, keep_pages, must_merge
from raytune_agents.records import Options
from raytune_agents.templates import ServingOptions

logger = logging.getLogger(__name__)
CONCURRENCY = 100_000  # of the actor: what waits in it is a coroutine, and costs little
MERGE_S = 1800.0  # longest wait for other weights: large ones come from a slow disk


def environment(config: EngineConfig, cpus: int, gpu: bool) -> dict[str, str]:
    """Environment of the engine's process, which may use `cpus` cores."""
    # On CPU nothing is compiled: log-probabilities alone would call Inductor's C++ compiler, at run
    # time, which takes half a minute where it is there and ends the request where it is not.
    # OpenMP's own count: what runs beside it waits for it, and a thread that sleeps wakes too late.
    eager = {} if gpu else {"TORCH_COMPILE_DISABLE": "1", "GOMP_SPINCOUNT": "300000"}
    return eager | {
        "OMP_NUM_THREADS": str(cpus),
        "MKL_NUM_THREADS": str(cpus),
        "TOKENIZERS_PARALLELISM": "false",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": str(max(1, round(config.kv_cache_gib))),
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
    }


@cache  # an arm does not change: no request waits for the disk
def goes_on_top(arm: str) -> bool:
    """Whether vLLM can put the arm's adapter on top of the base."""
    return bool(arm) and not must_merge(folder_of(arm))


async def reload_merged(llm: Any, path: str, adapter: str, dtype: str) -> None:
    """Put the base's weights with this adapter in place of those that the processes of an async
    vLLM engine hold."""
    from raytune_agents import models

    with ExitStack() as stack:
        merged = models.merged_folder(path, adapter, dtype)
        # in a thread: the process goes on to say that it is well
        folder = await asyncio.to_thread(stack.enter_context, merged)
        await llm.collective_rpc("reload_weights", kwargs={"weights_path": str(folder)})
    # Its keys and values are of the weights before.
    await llm.reset_prefix_cache()
    models.give_memory_back()


def end_process(why: str) -> NoReturn:
    """End the actor's process: Ray starts it again, and its callers ask again. (An exception would
    leave the actor as it is.)"""
    logger.error("engine: %s; its process ends", why)
    os._exit(1)


def end_if_fatal(error: Exception) -> None:
    """End the process where vLLM's core or the GPU is lost: every later request would fail too."""
    if type(error).__name__ == "EngineDeadError" or "CUDA error" in str(error):
        end_process(f"{type(error).__name__}: {error}")


def end_children_with_us() -> None:
    """Kill the processes that this one has started when it has ended, however it did: vLLM's core
    outlives a parent that is killed, and would keep the GPU from the next one."""
    pids = " ".join(str(child.pid) for child in multiprocessing.active_children())
    script = f"cat >/dev/null; kill -9 {pids}"  # our end of its input closes with this process
    subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, start_new_session=True)


class StepLoop:
    """vLLM's LLMEngine of this process, asked as AsyncLLM is. One thread makes all its steps, and
    between two of them all other calls."""

    def __init__(self, core: Any):
        self.core = core
        self.jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self.unfinished: dict[str, Future[Any]] = {}
        threading.Thread(target=self._run, daemon=True, name="engine-steps").start()

    def call(self, job: Callable[[], Any]) -> asyncio.Future[Any]:
        """What `job` returns or raises, called between two steps."""
        future: Future[Any] = Future()
        self.jobs.put((future, job))
        return asyncio.wrap_future(future)

    async def generate(self, prompt: Any, params: Any, name: str) -> Any:
        """vLLM's RequestOutput."""
        self.unfinished[name] = output = Future()
        try:
            await self.call(lambda: self.core.add_request(name, prompt, params))
            return await asyncio.wrap_future(output)
        except asyncio.CancelledError:
            self.call(lambda: self.core.abort_request([name]))  # a thread that hangs never does it
            raise
        finally:
            del self.unfinished[name]

    def _run(self) -> None:
        try:
            while True:
                while not self.core.has_unfinished_requests() or not self.jobs.empty():
                    self._do(*self.jobs.get())
                for output in self.core.step():
                    future = self.unfinished.get(output.request_id)
                    if output.finished and future and future.set_running_or_notify_cancel():
                        future.set_result(output)
        except BaseException as error:  # nobody knows what state a step leaves behind
            end_process(f"{type(error).__name__}: {error}")

    @staticmethod
    def _do(future: Future[Any], job: Callable[[], Any]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(job())
        except Exception as error:
            future.set_exception(error)


class Engine:
    """Runs inside the actor. One vLLM engine, one model, adapters by folder."""

    def __init__(
        self,
        path: str,
        dtype: str,
        config: Options,
        gpu: bool,
        seed: int,
        options: Options,
        log: str = "",
        serving: ServingOptions = ServingOptions(),  # noqa: B008  it is frozen
        in_process: bool | None = None,
    ):
        log_in_worker()
        began = time.monotonic()
        self.starts = Starts.of_actor()
        self.meter = Meter()
        self.path, self.gpu, self.serving = path, gpu, serving
        self.dtype: Literal["bfloat16", "float32"] = "bfloat16" if bf16(dtype) else "float32"
        self.config = EngineConfig(**config)
        in_process = not gpu if in_process is None else in_process
        self.llm, self.tokenizer, self.max_num_seqs = self._start(seed, options, in_process)
        self.parser = ServerParser(serving, self.tokenizer)
        self.names = itertools.count()
        self.turns = Turns(self.merge, 2 * self.max_num_seqs)
        self.last_end = 0.0  # when the last answer was finished
        logger.info("engine: %s ready, %.1f s", path, time.monotonic() - began)
        if log:  # one line per start: how often a run paid for one can be counted
            with Path(log).open("a", encoding="utf-8") as file:
                file.write(f"{time.time():.3f}\n")

    def _start(self, seed: int, own: Options, in_process: bool) -> tuple[Any, Any, int]:
        """The engine, its tokenizer, and how many requests it answers at a time."""
        from vllm import AsyncEngineArgs, EngineArgs
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.async_llm import AsyncLLM
        from vllm.v1.engine.llm_engine import LLMEngine

        from raytune_agents.inference.engine_metrics import EngineMetrics

        how: dict[str, Any] = {
            "usage_context": UsageContext.LLM_CLASS,  # batch sizes of work that nobody waits for
            "stat_loggers": [EngineMetrics],
        }
        options: Options = {"model": self.path, "seed": seed}
        options |= vllm_options(self.config, self.dtype, self.gpu)
        options |= own  # last, so that a user's own word stands
        if not in_process:
            llm = AsyncLLM.from_engine_args(AsyncEngineArgs(**options), **how)
            end_children_with_us()
            return llm, llm.get_tokenizer(), llm.scheduler_config.max_num_seqs
        keep_pages()
        core = LLMEngine.from_engine_args(EngineArgs(**options), **how)
        return StepLoop(core), core.get_tokenizer(), core.vllm_config.scheduler_config.max_num_seqs

    async def ready(self) -> EngineLimits:
        """Comes once the engine is there, and always while its process lives."""
        return EngineLimits(self.max_num_seqs, self.config.retries)

    def usage(self) -> EngineUsage:
        """Of this actor; without a GPU the memory is the most that was resident."""
        import ray
        import torch

        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if self.gpu:  # vLLM's child process holds it
            memory = torch.cuda.device_memory_used() / 2**20
        node = ray.get_runtime_context().get_node_id()
        return EngineUsage(memory, self.meter.joules(), self.meter.why, node)

    async def hold(self) -> int:
        """As `Turns.hold`."""
        return await self.turns.hold()

    async def release(self, ticket: int) -> None:
        await self.turns.release(ticket)

    async def answer(
        self, prompt: list[int], sampling: Sampling, arm: str = "", ticket: int = 0
    ) -> Reply:
        """Answer one prompt ([prompt] token ids). `timeout_s` counts from when the engine takes
        it; `ticket`: of who holds it. Raises TimeoutError, and what vLLM raises of a request that
        it refuses."""
        # Not on top: on CPU, and what vLLM cannot put there (full weights, DoRA).
        on_top = self.gpu and goes_on_top(arm)
        async with self.turns.of("" if on_top else arm, ticket):
            began = time.monotonic()
            try:
                async with asyncio.timeout(self.config.timeout_s):
                    output = await self.generate(prompt, sampling, arm if on_top else "")
            except TimeoutError:
                # nobody was answered meanwhile: it is not this request that is slow
                if self.last_end < began:
                    end_process(f"nothing answered in {self.config.timeout_s:g} s")
                raise TimeoutError(f"no answer in {self.config.timeout_s:g} s") from None
            except Exception as error:
                end_if_fatal(error)
                raise
            self.last_end = time.monotonic()
        if len(prompt) > 1:  # one token alone is no row: clients ask so whether an engine is well
            self.starts.answered()
        return self.reply(output, sampling.tools)

    async def generate(self, prompt: list[int], sampling: Sampling, on_top: str) -> Any:
        """vLLM's RequestOutput of one prompt, by the arm `on_top`."""
        from vllm import TokensPrompt
        from vllm.lora.request import LoRARequest

        tokens = TokensPrompt(prompt_token_ids=prompt)
        if sampling.cache_salt:
            tokens["cache_salt"] = sampling.cache_salt
        params, name = self.params(sampling), str(next(self.names))
        if isinstance(self.llm, StepLoop):
            return await self.llm.generate(tokens, params, name)
        # An id per arm, above 0, that is the same after a restart.
        number = zlib.crc32(on_top.encode()) % (2**31 - 1) + 1
        lora = LoRARequest(on_top, number, folder_of(on_top)) if on_top else None
        outputs = self.llm.generate(tokens, params, name, lora_request=lora)
        return [output async for output in outputs][-1]

    def params(self, s: Sampling) -> Any:
        """vLLM's SamplingParams."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        return SamplingParams(
            max_tokens=s.max_tokens,
            temperature=s.temperature,
            n=s.n,
            seed=s.seed,
            structured_outputs=StructuredOutputsParams(json=s.schema) if s.schema else None,
            logprobs=0 if s.logprobs else None,  # 0: of the sampled tokens alone
            prompt_logprobs=0 if s.score else None,
            stop_token_ids=list(self.serving.stop_token_ids),
            skip_special_tokens=not s.tools,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    async def merge(self, arm: str) -> None:
        """Put the base's weights with this arm's adapter in place of those that are there. The
        process ends where they do not come."""
        try:
            async with asyncio.timeout(MERGE_S):
                await self.reload(arm)
        except TimeoutError:
            end_process(f"the weights of {arm or 'the base'} did not come in {MERGE_S:g} s")
        except Exception as error:
            end_if_fatal(error)
            raise

    async def reload(self, arm: str) -> None:
        from raytune_agents import models

        adapter = folder_of(arm)
        if not isinstance(self.llm, StepLoop):  # its weights are in another process
            await reload_merged(self.llm, self.path, adapter, self.dtype)
            return
        core, path = self.llm.core, self.path
        weights = await asyncio.to_thread(models.merged_weights, path, adapter, self.dtype)
        how = {"weights_iterator": weights}
        await self.llm.call(partial(core.collective_rpc, "reload_weights", kwargs=how))
        await self.llm.call(core.reset_prefix_cache)
        del weights, how
        models.give_memory_back()

    def reply(self, output: Any, tools: str) -> Reply:
        stats = output.metrics
        known = (output.prompt_logprobs or [None])[1:]  # the first token has nothing before it
        ids = output.prompt_token_ids
        ends = (stats.first_token_ts, stats.last_token_ts) if stats else (0.0, 0.0)
        first_s, last_s = (max(end - (stats.queued_ts if stats else 0.0), 0.0) for end in ends)
        written = [
            Written(c.text, c.token_ids, c.cumulative_logprob, c.finish_reason == "length")
            for c in output.outputs
        ]
        of_prompt = [found[token].logprob for token, found in zip(ids[1:], known)]
        return reply_of(written, list(ids), of_prompt, (first_s, last_s), tools, self.parser)


def start_actors(kind: type, count: int, how: Options, *given: Any) -> list[Any]:
    """The handles of this run's engine actors; of those that run already, where they do."""
    import ray

    actor = ray.remote(kind)
    options = {"get_if_exists": True, "num_cpus": 0, "max_concurrency": CONCURRENCY} | how
    # Named, so that a driver that goes on and every worker find them.
    names = [ACTOR + f"-{k}" * bool(k) for k in range(count)]
    return [actor.options(name=name, **options).remote(*given) for name in names]


def start_engines(
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
    """Start the engine actors of this run, or take those that run already; waits until they
    answer. Returns their handles and what one can do. `options`: arguments of vLLM over those
    that the config sets. `serving` is that of the chat whose prompts they are asked."""
    import ray

    count, wide = config.actors or 1, config.tensor_parallel_size or 1
    how = {
        "num_gpus": wide if gpus else 0,
        "label_selector": config.label_selector,
        "runtime_env": {"env_vars": environment(config, max(1, cpus // count), bool(gpus))},
        "max_restarts": -1,  # `Starts` counts them
    }
    own = (config.model_dump(), bool(gpus), seed, dict(options or {}), str(log or ""), serving)
    handles = start_actors(Engine, count, how, str(path), dtype, *own)
    return handles, ray.get([handle.ready.remote() for handle in handles])[0]
