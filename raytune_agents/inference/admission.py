"""Who may be answered in an engine now, and how often its process may die."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

HOLD_S = 60.0  # after which an engine is given back that its holder does not use
RESTARTS = 32  # of one actor in a row without an answered row between them: then it is ill


class Turns:
    """Whose weights are in an engine that takes one arm's at a time (`merge` puts them there), and
    who has the engine for itself. At most `slots` requests have their turn or wait for it."""

    def __init__(self, merge: Callable[[str], Awaitable[None]], slots: int = sys.maxsize):
        self.merge, self.arm, self.inside = merge, "", 0  # "" = the base's
        self.turn, self.slots = asyncio.Condition(), asyncio.Semaphore(slots)
        self.holder = self.last = 0  # tickets, of which 0 is nobody's

    @asynccontextmanager
    async def of(self, arm: str, ticket: int = 0) -> AsyncIterator[None]:
        """A request's time with these weights; `ticket`: of who holds the engine."""
        # All slots may be taken by requests that wait for the holder.
        async with nullcontext() if ticket else self.slots, self._inside(arm, ticket):
            yield

    @asynccontextmanager
    async def _inside(self, arm: str, ticket: int) -> AsyncIterator[None]:
        async with self.turn:
            # requests for the weights that are there go on first: each change costs a second
            await self.turn.wait_for(
                lambda: self.holder in (0, ticket) and (arm == self.arm or not self.inside)
            )
            if arm != self.arm:
                self.arm = "?"  # neither, if this fails half-way
                await self.merge(arm)
                self.arm = arm
            self.inside += 1
        try:
            yield
        finally:
            async with self.turn:
                self.inside -= 1
                if not self.inside:
                    self.turn.notify_all()

    async def hold(self) -> int:
        """A ticket, once nothing is answered any more. Until it is given back only requests with it
        are: what ends the engine then is one of them."""
        async with self.turn:
            await self.turn.wait_for(lambda: not self.holder)
            self.last += 1
            self.holder = ticket = self.last
            try:
                await self.turn.wait_for(lambda: not self.inside)
            finally:  # who waits for it may end before it comes
                self._expire_later(ticket)
        return ticket

    async def release(self, ticket: int) -> None:
        async with self.turn:
            if self.holder == ticket:
                self.holder = 0
                self.turn.notify_all()

    def _expire_later(self, ticket: int) -> None:
        """Give the engine back where the holder's process has ended."""

        async def expire() -> None:
            while self.holder == ticket:
                await asyncio.sleep(HOLD_S)
                if not self.inside:
                    await self.release(ticket)

        self.expiring = asyncio.ensure_future(expire())  # a task that nobody holds may end


class Starts:
    """How often an actor's process was started since it last answered a row. Ray's own limit
    counts for the whole life: a few prompts that kill engines would use it up."""

    def __init__(self, actor: str):
        # Of its machine: what is in the process ends with it.
        self.file = Path(tempfile.gettempdir()) / f"raytune-engine-{actor}.starts"
        count = int(self.file.read_text()) + 1 if self.file.is_file() else 1
        if count > 1 + RESTARTS:
            # An exception in an actor's constructor: Ray starts it no more.
            self.file.unlink()
            raise RuntimeError(f"the engine died {RESTARTS + 1} times without an answer")
        self.file.write_text(str(count))
        self.none = False

    @classmethod
    def of_actor(cls) -> Starts:
        """Of the actor whose process this is."""
        import ray

        actor = ray.get_runtime_context().get_actor_id()
        assert actor  # an engine is one
        return cls(actor)

    def answered(self) -> None:
        if not self.none:
            self.file.unlink(missing_ok=True)
            self.none = True
