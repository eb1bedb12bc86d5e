"""A prompt that kills engines costs itself and few deaths, whoever else asks. The actors here are
stand-ins for Ray's in this process; with Ray it is in tests/ray/test_engine_client."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorUnavailableError, RayActorError, RayTaskError

from raytune_agents.inference import admission, suspects
from raytune_agents.inference import client as clients
from raytune_agents.inference.admission import RESTARTS, Turns
from raytune_agents.inference.client import (
    EngineClient,
    EngineDown,
    EngineLimits,
    Lost,
    Reply,
    Request,
    Sampling,
)

GOOD, DIES, RAISES = range(3)
SLOTS = 32


class Death(BaseException):
    """Ends the process of a stand-in."""


class Process:
    """What runs in the actor."""

    def __init__(self) -> None:
        self.turns = Turns(self.merge, 2 * SLOTS)

    async def merge(self, arm: str) -> None:
        raise AssertionError

    async def ready(self) -> EngineLimits:
        return EngineLimits(SLOTS, retries=2)

    async def hold(self) -> int:
        return await self.turns.hold()

    async def release(self, ticket: int) -> None:
        await self.turns.release(ticket)

    async def answer(self, prompt: list[int], _s: Sampling, arm: str, ticket: int = 0) -> Reply:
        async with self.turns.of("", ticket):
            await asyncio.sleep(0.002)
            if len(prompt) > 1 and prompt[1] == DIES:
                raise Death
            if len(prompt) > 1 and prompt[1] == RAISES:
                raise ValueError("no such token")
        return Reply([""], [1], len(prompt), 0.0, 0.0)


class Actor:
    """A handle whose methods return what Ray's do; a death fails all that is under way in it."""

    def __init__(self) -> None:
        self.loop, self.starts, self.back = asyncio.new_event_loop(), 1, 0.0
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.process, self.under_way = Process(), set()

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=lambda *given: self.send(name, given))

    def send(self, name: str, given: tuple) -> Any:
        future: Future = Future()
        asyncio.run_coroutine_threadsafe(self.carry_out(future, name, given), self.loop)
        return SimpleNamespace(future=lambda: future)

    async def carry_out(self, future: Future, name: str, given: tuple) -> None:
        if time.monotonic() < self.back:
            future.set_exception(ActorUnavailableError("it is being started", None))
            return
        self.under_way.add(future)
        try:
            result = await getattr(self.process, name)(*given)
            if future in self.under_way:
                future.set_result(result)
        except Death:
            if future in self.under_way:  # the process is the one in which it began
                self.starts, self.back = self.starts + 1, time.monotonic() + 0.02
                for other in self.under_way:
                    other.set_exception(RayActorError())
                self.process, self.under_way = Process(), set()
        except ValueError as error:
            if future in self.under_way:
                future.set_exception(RayTaskError("answer", "", error))
        self.under_way.discard(future)


@pytest.fixture
def actors(monkeypatch) -> dict[str, Actor]:
    monkeypatch.setattr(clients, "POLL_S", 0.01)
    monkeypatch.setattr(suspects, "GATHER_S", 0.02)
    return {"one": Actor()}


def lost_of(client: EngineClient, kinds: list[int]) -> list[int]:
    """The places of the prompts that were lost."""
    replies = client.ask([Request([k, kind], Sampling()) for k, kind in enumerate(kinds)])
    return [k for k, reply in enumerate(replies) if isinstance(reply, Lost)]


def test_five_such_prompts_leave_an_engine_its_life(actors) -> None:
    """Of 640 in shards of 128: three tries beside others, one in a part, one alone."""
    client, bad = EngineClient(lambda: actors), [3, 131, 300, 511, 639]
    rows = [DIES if k in bad else GOOD for k in range(640)]
    lost = [lost_of(client, rows[start : start + 128]) for start in range(0, 640, 128)]
    assert lost == [[3], [3], [44], [127], [127]]
    assert actors["one"].starts <= 1 + 5 * len(bad) < RESTARTS


def test_five_such_prompts_at_once(actors) -> None:
    client, bad = EngineClient(lambda: actors), [3, 4, 200, 201, 639]
    assert lost_of(client, [DIES if k in bad else GOOD for k in range(640)]) == bad
    assert actors["one"].starts <= 1 + 5 * len(bad)


@pytest.mark.parametrize("processes", [1, 2])
def test_it_costs_another_caller_nothing(actors, processes) -> None:
    """Both ask at the same time, of one client or each of its own, as in two processes."""
    asked = [EngineClient(lambda: actors) for _ in range(processes)]
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(lost_of, asked[0], [DIES, *[GOOD] * 9])
        other = pool.submit(lost_of, asked[-1], [GOOD] * 10)
        assert one.result(60) == [0]
        assert other.result(60) == []


@pytest.mark.parametrize("processes", [1, 2])
def test_two_callers_may_each_have_one(actors, processes) -> None:
    asked = [EngineClient(lambda: actors) for _ in range(processes)]
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(lost_of, asked[0], [DIES, *[GOOD] * 9])
        other = pool.submit(lost_of, asked[-1], [*[GOOD] * 9, DIES])
        assert (one.result(60), other.result(60)) == ([0], [9])


def test_prompts_of_many_callers_are_told_apart_by_few_deaths(actors) -> None:
    """Sixteen roll-outs ask one prompt each."""
    client = EngineClient(lambda: actors)
    with ThreadPoolExecutor(16) as pool:
        lost = list(pool.map(lambda k: lost_of(client, [DIES if k == 7 else GOOD]), range(16)))
    assert lost == [[0] if k == 7 else [] for k in range(16)]
    assert actors["one"].starts <= 1 + 5


def test_it_takes_one_engine_down_again_and_the_others_once(actors) -> None:
    actors |= {name: Actor() for name in ("two", "three")}
    assert lost_of(EngineClient(lambda: actors), [GOOD] * 50 + [DIES] + [GOOD] * 50) == [50]
    assert sorted(actor.starts for actor in actors.values())[:2] in ([1, 1], [1, 2])


def test_a_refused_prompt_is_asked_as_often_as_retries_say_and_kills_nothing(actors) -> None:
    assert lost_of(EngineClient(lambda: actors), [GOOD, RAISES, GOOD, RAISES]) == [1, 3]
    assert actors["one"].starts == 1


def test_who_is_stopped_while_it_holds_an_engine_gives_it_back(actors, monkeypatch) -> None:
    asked = threading.Event()

    async def long(*_: Any) -> Reply:
        asked.set()
        await asyncio.sleep(3600)
        raise AssertionError

    client, turns = EngineClient(lambda: actors), actors["one"].process.turns
    with monkeypatch.context() as patch:
        patch.setattr(Process, "answer", long)
        held = client.held([Request([0, GOOD], Sampling())])
        future = asyncio.run_coroutine_threadsafe(held, client.loop)
        assert asked.wait(10)
    assert turns.holder
    future.cancel()
    assert lost_of(client, [GOOD]) == []  # long before admission.HOLD_S
    assert not turns.holder


def test_engines_that_answer_nothing_are_down(actors, monkeypatch) -> None:
    async def dies(*_: Any) -> Reply:
        await asyncio.sleep(0.001)
        raise Death

    monkeypatch.setattr(Process, "answer", dies)
    with pytest.raises(EngineDown):
        lost_of(EngineClient(lambda: actors), [GOOD] * 4)


def test_an_engine_is_given_back_where_its_holder_is_gone(actors, monkeypatch) -> None:
    monkeypatch.setattr(admission, "HOLD_S", 0.05)
    assert actors["one"].hold.remote().future().result(10) == 1
    assert lost_of(EngineClient(lambda: actors), [GOOD] * 3) == []
