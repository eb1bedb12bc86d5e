"""The thread that steps vLLM's engine on CPU, with a stand-in for vLLM that finishes a request
after as many steps as its prompt has tokens."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from raytune_agents.inference import admission
from raytune_agents.inference.admission import Turns
from raytune_agents.inference.engine import StepLoop


@dataclass
class Output:
    request_id: str
    finished: bool
    together: int  # requests that were stepped with it


@dataclass
class Core:
    left: dict[str, int] = field(default_factory=dict)

    def add_request(self, name: str, prompt: list[int], params: Any) -> None:
        if not prompt:
            raise ValueError("an empty prompt")
        self.left[name] = len(prompt)

    def has_unfinished_requests(self) -> bool:
        return bool(self.left)

    def abort_request(self, names: list[str]) -> None:
        for name in names:
            self.left.pop(name, None)

    def step(self) -> list[Output]:
        time.sleep(0.002)
        together = len(self.left)
        self.left = {name: n - 1 for name, n in self.left.items()}
        outputs = [Output(name, n == 0, together) for name, n in self.left.items()]
        self.left = {name: n for name, n in self.left.items() if n}
        return outputs


def test_requests_are_stepped_together_and_each_gets_its_own_output() -> None:
    async def main() -> list[Output]:
        loop = StepLoop(Core())
        asked = [loop.generate([0] * (5 + k), None, str(k)) for k in range(4)]
        return await asyncio.gather(*asked)

    found = asyncio.run(main())
    assert [o.request_id for o in found] == ["0", "1", "2", "3"]
    assert found[0].together > 1


def test_a_refused_request_raises_for_its_caller_alone() -> None:
    async def main() -> list[Any]:
        loop = StepLoop(Core())
        asked = (loop.generate([0] * n, None, str(n)) for n in (3, 0, 4))
        return await asyncio.gather(*asked, return_exceptions=True)

    one, refused, other = asyncio.run(main())
    assert one.request_id == "3"
    assert other.request_id == "4"
    assert isinstance(refused, ValueError)


def test_a_request_that_ran_out_of_time_leaves_the_engine() -> None:
    async def main() -> tuple[Core, Output]:
        loop = StepLoop(Core())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await loop.generate([0] * 10_000, None, "endless")
        return loop.core, await loop.generate([0, 0], None, "next")

    core, after = asyncio.run(main())
    assert after.request_id == "next"
    assert after.together == 1
    assert core.left == {}


def test_calls_are_made_between_steps() -> None:
    async def main() -> Any:
        loop = StepLoop(Core())
        asked = asyncio.ensure_future(loop.generate([0] * 20, None, "one"))
        await asyncio.sleep(0.01)
        inside = await loop.call(lambda: dict(loop.core.left))
        await asked
        return inside

    assert list(asyncio.run(main())) == ["one"]


def test_requests_of_two_adapters_wait_for_their_own_weights() -> None:
    changes: list[str] = []

    async def main() -> Turns:
        async def merge(adapter: str) -> None:
            assert turns.inside == 0
            await asyncio.sleep(0.01)
            changes.append(adapter)

        turns = Turns(merge)

        async def ask(adapter: str) -> None:
            async with turns.of(adapter):
                await asyncio.sleep(0.01)
                assert turns.arm == adapter

        await asyncio.gather(*(ask(adapter) for adapter in ["", "a", "b"] * 5))
        return turns

    turns = asyncio.run(main())
    assert turns.inside == 0
    assert changes == ["a", "b"]  # not once per request


def test_weights_that_could_not_be_merged_in_are_tried_again() -> None:
    tries: list[str] = []

    async def main() -> Turns:
        async def merge(adapter: str) -> None:
            tries.append(adapter)
            if len(tries) == 1:
                raise OSError("no room")

        turns = Turns(merge)
        with pytest.raises(OSError, match="no room"):
            async with turns.of("a"):
                pass
        async with turns.of("a"):
            pass
        return turns

    turns = asyncio.run(main())
    assert (tries, turns.arm, turns.inside) == (["a", "a"], "a", 0)


def test_a_holder_that_ends_while_it_waits_does_not_keep_the_engine(monkeypatch) -> None:
    monkeypatch.setattr(admission, "HOLD_S", 0.01)

    async def main() -> None:
        turns = Turns(merge=None)
        async with turns.of(""):
            waiting = asyncio.ensure_future(turns.hold())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
        async with asyncio.timeout(5), turns.of(""):
            pass

    asyncio.run(main())
