"""What ends the process of a real engine actor: Ray starts it again, until it never answers. Its
class is the engine's own around a stand-in for vLLM's engine."""

from __future__ import annotations

import asyncio
import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from raytune_agents.inference import admission, engine
from raytune_agents.inference.client import (
    EngineClient,
    EngineDown,
    Lost,
    Reply,
    Request,
    Sampling,
)

GOOD, CUDA, DEAD, SLOW, NO_START = range(5)
FEW = 3  # RESTARTS here


class EngineDeadError(Exception):
    """As vLLM calls it."""


class Around(engine.Engine):
    def __init__(self, what: int, limits: dict[str, Any]):
        parser = SimpleNamespace(
            tokenizer=SimpleNamespace(decode=lambda ids: ""), calls=lambda *given: None
        )
        engine.ServerParser, admission.RESTARTS = lambda serving, tokenizer: parser, FEW
        super().__init__("base", "float32", limits, False, 1, {"what": what})

    def _start(self, seed: int, own: Any, in_process: bool) -> tuple[Any, Any, int]:
        if own["what"] == NO_START:
            os._exit(1)
        return None, None, 4

    async def generate(self, prompt: list[int], sampling: Sampling, on_top: str) -> Any:
        what = prompt[1] if len(prompt) > 1 else GOOD
        if what == CUDA:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if what == DEAD:
            raise EngineDeadError("EngineCore encountered an issue")
        await asyncio.sleep(600 if what == SLOW else 0.02)
        written = SimpleNamespace(
            text=str(os.getpid()), token_ids=[1], cumulative_logprob=0.0, finish_reason="stop"
        )
        return SimpleNamespace(
            metrics=None, prompt_logprobs=None, prompt_token_ids=prompt, outputs=[written]
        )


@pytest.fixture(scope="module", autouse=True)
def _by_value(local_ray) -> None:
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


def started(what: int = GOOD, **limits: Any) -> tuple[EngineClient, Any]:
    actor = ray.remote(Around).options(num_cpus=0, max_restarts=-1, max_concurrency=100)
    handle = actor.remote(what, {"retries": 0} | limits)
    return EngineClient(lambda: {"one": handle}), handle


def asked(client: EngineClient, *kinds: int) -> list[Reply | Lost]:
    return client.ask([Request([k, kind], Sampling()) for k, kind in enumerate(kinds)])


@pytest.mark.faults
def test_fatal_errors_and_a_request_that_nobody_outlives_end_the_process_and_no_more() -> None:
    """Two deaths each, of which no three are in a row without an answer."""
    client, handle = started(timeout_s=1.0)
    pids = set()
    for kind in (CUDA, DEAD):
        good, bad = asked(client, GOOD, kind)
        pids.add(good.texts[0])
        assert bad.outage
    (slow,) = asked(client, SLOW)  # alone: beside an answered one it would raise
    assert slow.outage
    pids.add(asked(client, GOOD)[0].texts[0])
    assert len(pids) == 3
    ray.kill(handle)


def test_an_engine_that_cannot_come_up_is_given_up() -> None:
    client, _ = started(NO_START)
    with pytest.raises(EngineDown, match=f"died {FEW + 1} times without an answer"):
        asked(client, GOOD)
