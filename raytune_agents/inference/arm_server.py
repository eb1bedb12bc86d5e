"""What `inference.serve` adds to Ray Serve's LLM app, in its own processes: arms by their folders,
and a router that reads prompts of token ids."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

from ray.serve.llm.deployment import LLMServer
from ray.serve.llm.request_router import PrefixCacheAffinityRouter

from raytune_agents.inference.admission import Turns
from raytune_agents.inference.client import folder_of
from raytune_agents.inference.engine import goes_on_top, reload_merged


class ArmServer(LLMServer):
    """A completion request names its arm (`client.arm_of`) in `vllm_xargs`. As in the run's own
    engines, an adapter goes on top of the base on a GPU; else it is merged into the weights in
    place. (Serve's own adapters come from a bucket only.)"""

    async def __init__(self, llm_config: Any):  # type: ignore[misc]  # as its base has it
        await super().__init__(llm_config)
        self.path = llm_config.model_loading_config.model_source
        self.dtype = llm_config.engine_kwargs["dtype"]
        self.gpu = llm_config.accelerator_config.kind == "gpu"
        self.turns, self.loading = Turns(self.merge), asyncio.Lock()

    # Serve streams from a generator as from a coroutine that gives one, which its base declares.
    async def completions(  # type: ignore[override]
        self, request: Any, raw_request_info: Any = None
    ) -> AsyncIterator[Any]:
        arm = (request.vllm_xargs or {}).pop("arm", "")
        on_top = self.gpu and goes_on_top(arm)
        if on_top:
            async with self.loading:  # vLLM refuses one that it is loading
                place = SimpleNamespace(model_id=arm, local_path=folder_of(arm))
                # the engine stands since `__init__`, and reads these two fields
                await self.engine.resolve_lora(place)  # type: ignore[union-attr, arg-type]
            request.model = arm
        async with self.turns.of("" if on_top else arm):
            async for part in await super().completions(request, raw_request_info):
                yield part

    async def merge(self, arm: str) -> None:
        await reload_merged(self.engine, self.path, folder_of(arm), self.dtype)


class TokenPrefixRouter(PrefixCacheAffinityRouter):
    """Ray's router takes a prompt of token ids for an empty text, and divides by its length."""

    def _normalize_prompt_to_string(self, prompt: Any) -> str:
        if isinstance(prompt, list) and prompt and isinstance(prompt[0], int):
            return "".join(chr(0xE000 + token) for token in prompt)  # no surrogates: they travel
        return super()._normalize_prompt_to_string(prompt) or " "

    async def _prefix_match_best_replicas(self, *given: Any) -> Any:
        try:
            return await super()._prefix_match_best_replicas(*given)
        except KeyError:  # its tree may remember replicas that are gone
            return [[]]
