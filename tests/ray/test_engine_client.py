"""The client of the engines where engines raise, die, hang, or are slow: a prompt that does harm
costs itself alone. The engines here are fakes, which do what the second token of a prompt says;
what the real one does is in test_engine."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import ray

from raytune_agents.inference.admission import Turns
from raytune_agents.inference.client import (
    EngineClient,
    EngineDown,
    EngineLimits,
    Lost,
    Reply,
    Request,
    Sampling,
)

GOOD, RAISES, DIES, HANGS, SLOW = range(5)
SLOTS = 3


class FakeEngine:
    """Answers with the number of its process."""

    def __init__(self, log: str):
        self.log, self.inside, self.most, self.asked = log, 0, 0, 0
        self.turns = Turns(self.merge)
        with open(log, "a") as file:
            file.write("start\n")

    async def ready(self) -> EngineLimits:
        return EngineLimits(max_num_seqs=SLOTS, retries=1)

    async def merge(self, arm: str) -> None:
        raise AssertionError

    async def hold(self) -> int:
        return await self.turns.hold()

    async def release(self, ticket: int) -> None:
        await self.turns.release(ticket)

    async def answer(
        self, prompt: list[int], sampling: Sampling, adapter: str, ticket: int = 0
    ) -> Reply:
        async with self.turns.of("", ticket):
            return await self.written(prompt, adapter)

    async def written(self, prompt: list[int], adapter: str) -> Reply:
        what = prompt[1] if len(prompt) > 1 else GOOD
        self.inside, self.asked = self.inside + 1, self.asked + 1
        self.most = max(self.most, self.inside)
        try:
            if adapter:
                raise FileNotFoundError("no such adapter")
            if what == RAISES:
                raise ValueError("no such token")
            if what == DIES:
                os._exit(1)
            if what == HANGS:
                time.sleep(3600)
            await asyncio.sleep(1.5 if what == SLOW else 0.02)
        finally:
            self.inside -= 1
        return Reply([str(os.getpid())], [1], len(prompt), 0.0, 0.0)

    async def seen(self) -> tuple[int, int]:
        return self.most, self.asked


@pytest.fixture(scope="module", autouse=True)
def _by_value(local_ray) -> None:
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def engines(tmp_path) -> Iterator:
    """A function that starts so many fakes; it gives their client, their handles and their log."""
    handles: dict = {}

    def start(count: int = 1, restarts: int = 30, ping_s: float = 60.0):
        log = tmp_path / "starts.log"
        actor = ray.remote(FakeEngine).options(
            num_cpus=0, max_restarts=restarts, max_concurrency=100
        )
        handles.update({f"fake-{k}": actor.remote(str(log)) for k in range(count)})
        return EngineClient(lambda: handles, ping_s), list(handles.values()), log

    yield start
    for handle in handles.values():
        ray.kill(handle)


def requests(*what: int) -> list[Request]:
    return [Request([k, kind], Sampling()) for k, kind in enumerate(what)]


def lost_places(replies: list) -> list[int]:
    return [k for k, reply in enumerate(replies) if isinstance(reply, Lost)]


def test_a_prompt_that_the_engine_refuses_is_lost_alone(engines) -> None:
    client, _, log = engines()
    replies = client.ask(requests(*[GOOD] * 5, RAISES, *[GOOD] * 5))
    assert lost_places(replies) == [5]
    assert replies[5].why == "ValueError: no such token"
    assert [r.input_tokens for r in replies if isinstance(r, Reply)] == [2] * 10
    assert log.read_text().count("start") == 1


def test_a_prompt_that_kills_engines_is_lost_alone(engines) -> None:
    """Two tries of it beside others, one in a part of such prompts and one alone; one that comes
    while the engine ends costs no death."""
    client, _, log = engines()
    replies = client.ask(requests(*[GOOD] * 6, DIES, *[GOOD] * 3))
    assert lost_places(replies) == [6]
    assert 1 + 2 < log.read_text().count("start") <= 1 + 2 + 2


@pytest.mark.parametrize("processes", [1, 2])
def test_a_prompt_that_kills_engines_costs_another_caller_nothing(engines, processes) -> None:
    """Both ask at the same time, of one client or each of its own, as in two processes."""
    client, _, _ = engines()
    clients = [client, client if processes == 1 else EngineClient(client.find)]
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(clients[0].ask, requests(DIES, *[GOOD] * 9))
        other = pool.submit(clients[1].ask, requests(*[GOOD] * 10))
        assert lost_places(one.result(120)) == [0]
        assert lost_places(other.result(120)) == []


@pytest.mark.faults
def test_an_engine_that_hangs_is_killed_and_started_again(engines) -> None:
    client, _, log = engines(ping_s=2.0)
    replies = client.ask(requests(GOOD, HANGS, GOOD))
    assert lost_places(replies) == [1]
    assert log.read_text().count("start") > 1


def test_a_stopped_process_costs_no_prompt(engines) -> None:
    client, _, log = engines(ping_s=2.0)
    pid = int(client.ask(requests(GOOD))[0].texts[0])
    os.kill(pid, signal.SIGSTOP)
    assert lost_places(client.ask(requests(*[GOOD] * 8))) == []
    assert log.read_text().count("start") == 2


def test_slow_answers_come_and_an_engine_never_has_more_than_twice_its_slots(engines) -> None:
    client, (handle,), _ = engines(ping_s=0.3)
    replies = client.ask(requests(*[SLOW, GOOD] * 5))
    assert lost_places(replies) == []
    assert ray.get(handle.seen.remote()) == (2 * SLOTS, 10)


def test_requests_go_where_the_fewest_are(engines) -> None:
    client, handles, _ = engines(2)
    replies = client.ask(requests(*[SLOW] * 8))
    assert lost_places(replies) == []
    assert [ray.get(h.seen.remote()) for h in handles] == [(4, 4), (4, 4)]


def test_the_requests_of_a_session_stay_with_one_engine(engines) -> None:
    client, _, _ = engines(3)
    asked = [[client.ask(requests(GOOD), f"s{k}")[0].texts[0] for _ in range(4)] for k in range(9)]
    assert {len(set(pids)) for pids in asked} == {1}
    assert len({pids[0] for pids in asked}) > 1


def test_the_others_go_on_where_an_engine_is_gone_for_good(engines) -> None:
    client, handles, _ = engines(2)
    client.ask(requests(GOOD))
    ray.kill(handles[0])
    assert lost_places(client.ask(requests(*[GOOD] * 8))) == []
    ray.kill(handles[1])
    with pytest.raises(EngineDown, match="no engine actor is alive"):
        client.ask(requests(GOOD))


def test_engines_that_answer_nothing_are_down(engines) -> None:
    """With the first token of a prompt alone they fail too, so it is not the prompt."""
    client, _, _ = engines()
    with pytest.raises(EngineDown, match="no such adapter"):
        client.ask([Request([0, GOOD], Sampling(), "missing")] * 4)
    assert lost_places(client.ask(requests(GOOD))) == []
