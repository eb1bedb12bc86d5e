"""Which of the prompts that were under way when engines died has killed them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raytune_agents.inference.client import Lost, Reply, Request

GATHER_S = 0.5  # in which the suspects of one death come together


class Suspects:
    """Of all callers of a process. `held` asks a few prompts of an engine that answers nothing else
    meanwhile."""

    def __init__(self, held: Callable[[Sequence[Request]], Awaitable[list[Reply | Lost]]]):
        self.held = held
        self.waiting: list[tuple[Request, asyncio.Future[Any]]] = []
        self.trial: asyncio.Future[Any] | None = None

    async def ask(self, request: Request) -> Reply | Lost:
        """One more try of a suspect, with others at first. Raises what `held` raises."""
        verdict = asyncio.get_running_loop().create_future()
        self.waiting.append((request, verdict))
        if self.trial is None or self.trial.done():
            self.trial = asyncio.ensure_future(self.try_all())
        return await verdict

    async def try_all(self) -> None:
        """Ask them in parts, and a part at which the engine died one by one. Parts of the square
        root: a prompt that kills engines kills two here, while in halves it would kill the
        logarithm, and to start an engine takes longer than to answer a part."""
        await asyncio.sleep(GATHER_S)
        while self.waiting:
            now, self.waiting = self.waiting, []
            size = math.isqrt(len(now) - 1) + 1
            try:
                for start in range(0, len(now), size):
                    await self.try_part(now[start : start + size])
            except Exception as error:  # its callers get it
                for _, verdict in now:
                    if not verdict.done():
                        verdict.set_exception(error)

    async def try_part(self, part: list[tuple[Request, asyncio.Future[Any]]]) -> None:
        part = [(request, verdict) for request, verdict in part if not verdict.done()]
        replies = await self.held([request for request, _ in part]) if part else []
        for (request, verdict), reply in zip(part, replies):
            if len(part) > 1 and getattr(reply, "outage", False):
                (reply,) = await self.held([request])
            if not verdict.done():  # its caller may have given up
                verdict.set_result(reply)
