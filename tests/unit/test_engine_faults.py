"""What ends an engine's process and what does not: the engine's own class around a stand-in for
vLLM's engine. `end_process` raises here; that it ends an actor is in tests/ray/test_engine_ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from raytune_agents.inference import admission, engine
from raytune_agents.inference.admission import RESTARTS, Starts
from raytune_agents.inference.client import EngineLimits, Reply, Sampling
from raytune_agents.inference.engine import Engine


class EngineDeadError(Exception):
    """As vLLM calls it."""


class Ended(BaseException):
    """Stands for the end of the process."""


class Vllm:
    """Answers as `answer` says, and reloads weights as `reload` does."""

    def __init__(self, answer: Callable[[int], Awaitable[None]], reload: Callable) -> None:
        self.answer, self.collective_rpc = answer, reload

    async def reset_prefix_cache(self) -> None:
        return None


class Around(Engine):
    def _start(self, seed: int, own: Any, in_process: bool) -> tuple[Any, Any, int]:
        return own["vllm"], None, 4

    async def generate(self, prompt: list[int], sampling: Sampling, on_top: str) -> Any:
        await self.llm.answer(prompt[0])
        written = SimpleNamespace(
            text="", token_ids=[1], cumulative_logprob=0.0, finish_reason="stop"
        )
        return SimpleNamespace(
            metrics=None, prompt_logprobs=None, prompt_token_ids=prompt, outputs=[written]
        )


@pytest.fixture(autouse=True)
def _here(monkeypatch, tmp_path) -> None:
    def end(why: str) -> None:
        raise Ended(why)

    monkeypatch.setattr(engine, "end_process", end)
    plain = SimpleNamespace(
        tokenizer=SimpleNamespace(decode=lambda ids: ""), calls=lambda *given: None
    )
    monkeypatch.setattr(engine, "ServerParser", lambda serving, tokenizer: plain)
    monkeypatch.setattr(admission.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(Starts, "of_actor", classmethod(lambda cls: cls("actor")))


async def well(what: int) -> None:
    """Takes so many milliseconds."""
    await asyncio.sleep(what / 1000)


async def reloads(*_: Any, **__: Any) -> None:
    return None


def around(answer: Callable = well, reload: Callable = reloads, timeout_s: float = 60.0) -> Around:
    return Around(
        "base", "float32", {"timeout_s": timeout_s}, False, 1, {"vllm": Vllm(answer, reload)}
    )


def asked(made: Callable[[], Engine], *prompts: list[int], arm: str = "") -> list[Any]:
    """What each of the prompts gets, asked at the same time."""

    async def main() -> list[Any]:
        it = made()
        answers = (it.answer(prompt, Sampling(), arm) for prompt in prompts)
        return await asyncio.gather(*answers, return_exceptions=True)

    return asyncio.run(main())


@pytest.mark.parametrize(
    "error",
    [
        EngineDeadError("EngineCore encountered an issue"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
    ],
)
def test_a_lost_core_or_gpu_ends_the_process(error) -> None:
    async def fails(_: int) -> None:
        raise error

    (got,) = asked(lambda: around(fails), [1, 2])
    assert isinstance(got, Ended)
    assert str(error) in str(got)


def test_a_refused_request_raises_for_its_caller(tmp_path) -> None:
    async def refuses(what: int) -> None:
        if what == 7:
            raise ValueError("longer than max_model_len")

    got = asked(lambda: around(refuses), [1, 2], [7, 2], [1, 2])
    assert [type(one) for one in got] == [Reply, ValueError, Reply]


def test_a_slow_request_is_given_up_where_others_are_answered_meanwhile() -> None:
    quick, slow = asked(lambda: around(timeout_s=0.2), [50, 0], [60_000, 0])
    assert isinstance(quick, Reply)
    assert isinstance(slow, TimeoutError)
    assert "no answer in 0.2 s" in str(slow)


def test_an_engine_that_answers_nobody_in_time_ends() -> None:
    got = asked(lambda: around(timeout_s=0.2), [60_000, 0], [60_000, 0])
    assert {type(one) for one in got} == {Ended}
    assert "nothing answered in 0.2 s" in str(got[0])


def test_the_wait_for_a_slot_is_no_part_of_the_time() -> None:
    """Of 4 requests at a time twice as many are inside; 40 of 50 ms each take five times that."""
    got = asked(lambda: around(timeout_s=0.2), *[[50, 0]] * 40)
    assert {type(one) for one in got} == {Reply}


@pytest.fixture
def arm(monkeypatch, tmp_path) -> str:
    """Full weights, of which no file is read here."""
    monkeypatch.setattr("raytune_agents.models.give_memory_back", lambda: None)
    return f"{tmp_path}@1"


def test_a_core_that_dies_while_it_takes_other_weights_ends_the_process(arm) -> None:
    async def dies(*_: Any, **__: Any) -> None:
        raise EngineDeadError("EngineCore is dead")

    (got,) = asked(lambda: around(reload=dies), [1, 2], arm=arm)
    assert isinstance(got, Ended)


def test_weights_that_do_not_come_end_the_process(arm, monkeypatch) -> None:
    monkeypatch.setattr(engine, "MERGE_S", 0.1)

    async def hangs(*_: Any, **__: Any) -> None:
        await asyncio.sleep(3600)

    (got,) = asked(lambda: around(reload=hangs), [1, 2], arm=arm)
    assert isinstance(got, Ended)
    assert "did not come in 0.1 s" in str(got)


def test_weights_that_are_not_there_raise_for_their_caller(arm) -> None:
    async def misses(*_: Any, **__: Any) -> None:
        raise FileNotFoundError("no such adapter")

    got = asked(lambda: around(reload=misses), [1, 2], [1, 2], arm=arm)
    assert [type(one) for one in got] == [FileNotFoundError] * 2


def test_an_engine_may_start_often_where_it_answers_rows_in_between() -> None:
    for _ in range(3 * RESTARTS):
        asked(around, [1, 2])


def test_an_engine_that_never_answers_a_row_starts_no_more() -> None:
    """The token that a client asks for, to see whether it is well, is no row."""
    for _ in range(1 + RESTARTS):
        asked(around, [1])
    with pytest.raises(RuntimeError, match=f"died {RESTARTS + 1} times without an answer"):
        asked(around, [1])


def test_starts_are_counted_for_each_actor() -> None:
    for _ in range(1 + RESTARTS):
        Starts("a")
    Starts("b").answered()
    with pytest.raises(RuntimeError):
        Starts("a")


def test_what_an_engine_tells_its_callers() -> None:
    async def main() -> EngineLimits:
        return await around().ready()

    assert asyncio.run(main()) == EngineLimits(4, 2)
