"""The caller's side of the run's engines: one small client per process that keeps them full.

Each prompt is a request of its own and goes to the engine that has the fewest of this client's. The
requests of a session (the turns of a roll-out) stay with one engine, which has their beginning in
its prefix cache, unless that one is the busier (consistent hashing with bounded loads, arXiv
1608.01350). At most twice what an engine answers at a time is under way, so that late requests go
where there is room.

What an engine fails is asked again. A prompt that was under way each time an engine died is at last
asked with an engine held for it, among a few and then alone: a prompt that kills engines costs
itself (`Lost`) and no other, whoever else asks. Where nothing is answered at all, callers get
`EngineDown`, and their rows are `infra_failed`, never wrong answers."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from raytune_agents.inference.suspects import Suspects
from raytune_agents.records import ToolCall

ACTOR = "raytune-engine"
INFRA_FAILED = "infra_failed"
STOP_S = 30  # longest wait for stopped actors to be gone
POLL_S = 0.5  # between two looks at an engine that Ray starts again
PING_S = 60.0  # a process that does not answer at all for so long hangs
SLACK = 4  # requests that a session's engine may have above the fewest
MAKING = threading.Lock()  # threads that answer shards side by side share one client


class EngineDown(RuntimeError):
    """No engine answers any more."""


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


@dataclass(frozen=True, slots=True)
class Lost:
    """Stands for the reply to a prompt that failed in all its tries, while the engines answer
    others."""

    why: str
    outage: bool = False  # the engine died meanwhile, which another prompt may have done


@dataclass(frozen=True, slots=True)
class Request:
    prompt: list[int]  # [prompt] token ids
    sampling: Sampling
    arm: str = ""  # as `arm_of` names it


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """What an engine tells its callers."""

    max_num_seqs: int  # requests that it answers at a time
    retries: int


@dataclass(frozen=True, slots=True)
class EngineUsage:
    """What an engine held and used so far: the most memory (of a GPU what is held now), and joules
    of its machine since the start, None where the machine does not tell; `why` then says why."""

    peak_memory_mib: float = 0.0
    energy_j: float | None = None
    why: str = "nothing was asked"
    node: str = ""  # the machine of one actor


@dataclass(eq=False)
class EngineState:
    """One engine as its client sees it."""

    name: str
    handle: Any
    in_flight: int = 0
    up: bool = True
    pinged: float = 0.0
    returning: asyncio.Future[Any] | None = None


def arm_of(adapter: str) -> str:
    """What engines call the weights in an adapter's folder ("" = the base): new weights in an old
    folder are another arm."""
    if not adapter:
        return ""
    made = max((file.stat().st_mtime_ns for file in Path(adapter).glob("*")), default=0)
    return f"{adapter}@{made}"


def folder_of(arm: str) -> str:
    return arm.rpartition("@")[0]


def first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def why_gone(error: Exception) -> str:
    """Why Ray has given an actor up: what its constructor raised is the last line of many."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if "creation task" in lines[0] else first_line(error)


class EngineClient:
    """Asks the actors that `find` names. Its coroutines run in one thread of their own, so that
    `ask` may be called from any."""

    def __init__(self, find: Callable[[], dict[str, Any]], ping_s: float = PING_S):
        self.find, self.ping_s = find, ping_s
        self.engines: dict[str, EngineState] = {}
        self.limits, self.why = EngineLimits(1, 0), "none was started"
        self.room = asyncio.Semaphore(1)
        self.suspects = Suspects(self.held)
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True, name="engine-client").start()

    def ask(self, requests: Sequence[Request], session: str = "") -> list[Reply | Lost]:
        """The reply to each request, in their order. Raises EngineDown."""
        answers = self.answers(requests, session)
        return asyncio.run_coroutine_threadsafe(answers, self.loop).result()

    async def answers(self, requests: Sequence[Request], session: str) -> list[Reply | Lost]:
        tasks = [asyncio.ensure_future(self.answered(request, session)) for request in requests]
        try:
            return await asyncio.gather(*tasks)
        finally:  # where one has raised, nobody waits for the others
            for task in tasks:
                task.cancel()

    async def answered(self, request: Request, session: str) -> Reply | Lost:
        """The reply to one request, however often it is asked. Raises EngineDown."""
        reply, tries = await self.once(request, session), 0
        while isinstance(reply, Lost) and tries < self.limits.retries:
            tries += 1
            reply = await self.once(request, again=True)
        if isinstance(reply, Lost) and reply.outage:
            reply = await self.suspects.ask(request)
        if isinstance(reply, Lost):
            await self.probe(request, reply)
        return reply

    async def held(self, requests: Sequence[Request]) -> list[Reply | Lost]:
        """One try of each with an engine that answers nothing else. Raises EngineDown."""
        while isinstance(ticket := await self.call(engine := await self.doubtful(), "hold"), Lost):
            await asyncio.sleep(POLL_S)  # it died before it was ours: another prompt did that
        asked = [(r.prompt, r.sampling, r.arm, ticket) for r in requests]
        try:
            return list(await asyncio.gather(*(self.call(engine, "answer", *a) for a in asked)))
        finally:
            engine.handle.release.remote(ticket)

    async def probe(self, request: Request, lost: Lost) -> None:
        """Raises EngineDown where not even one token comes for the first token of a prompt."""
        # One token of one token: what fails at this would fail at anything.
        least = Request(request.prompt[:1], Sampling(max_tokens=1), request.arm)
        for _ in range(1 + self.limits.retries):
            # Held, where a prompt of another caller might end the engine meanwhile.
            reply = (await self.held([least]))[0] if lost.outage else await self.once(least)
            if isinstance(reply, Reply):
                return
        raise EngineDown(lost.why)

    async def once(self, request: Request, session: str = "", again: bool = False) -> Reply | Lost:
        """One try; `Lost` says why it failed. `again`: it has failed before. Raises EngineDown."""
        find = self.doubtful if again else partial(self.pick, session)
        await find()  # the room is that of the engines that are there
        async with self.room:
            engine = await find()
            return await self.call(engine, "answer", request.prompt, request.sampling, request.arm)

    async def call(self, engine: EngineState, method: str, *given: Any) -> Any:
        """What the engine's method returns; `Lost` where it raises, or dies."""
        import ray

        engine.in_flight += 1
        try:
            # No time limit here: a long queue is no fault. A silent process is, hence the pings.
            reply = asyncio.wrap_future(getattr(engine.handle, method).remote(*given).future())
            # Looked at, where this call is cancelled: asyncio would print it otherwise.
            reply.add_done_callback(lambda done: done.cancelled() or done.exception())
            while not (await asyncio.wait([reply], timeout=self.ping_s))[0]:
                await self.ping(engine)
            return reply.result()
        except ray.exceptions.RayActorError as error:
            self.lose(engine)
            return Lost(first_line(error), outage=True)
        except ray.exceptions.RayTaskError as error:
            # What stands behind an engine is down: `serve.ServedEngine` raises it.
            outage = isinstance(error.cause, ConnectionError)
            return Lost(f"{type(error.cause).__name__}: {error.cause}", outage)
        finally:
            engine.in_flight -= 1

    async def doubtful(self) -> EngineState:
        """The engine for what may do harm, as soon as it is up. The same for all that ask, so that
        the others stay. Raises EngineDown."""
        while True:
            await self.pick("")
            engine = self.engines[min(self.engines)]
            if engine.up:
                return engine
            await asyncio.sleep(POLL_S)

    async def pick(self, session: str) -> EngineState:
        """The engine for the next request; waits while all are being started. Raises EngineDown
        where there is none."""
        while not (up := [engine for engine in self.engines.values() if engine.up]):
            if not self.engines:
                await self.seek()
            else:
                await asyncio.sleep(POLL_S)
        # own counts are enough: where every client spreads its requests evenly, so do all together
        fewest = min(engine.in_flight for engine in up)
        if session:
            near = [engine for engine in up if engine.in_flight <= fewest + SLACK]
            # Highest hash of engine and session: when an engine dies, only its own sessions move.
            return max(near, key=lambda engine: zlib.crc32(f"{engine.name}/{session}".encode()))
        # At random: clients that start together would else all take the first one.
        return random.choice([engine for engine in up if engine.in_flight == fewest])

    async def seek(self) -> None:
        """Find the engines that there are. Raises EngineDown."""
        engines = [EngineState(name, handle) for name, handle in self.find().items()]
        found = {engine.name: engine for engine in engines if await self.ready(engine)}
        if not found:
            raise EngineDown(f"no engine actor is alive: {self.why}")
        if not self.engines:  # another coroutine may have found them meanwhile
            # Twice: the engine always has the next requests at hand, and few are lost with it.
            self.room = asyncio.Semaphore(2 * self.limits.max_num_seqs * len(found))
            self.engines = found

    async def ready(self, engine: EngineState) -> bool:
        """Wait until the engine is there; False where Ray has given it up."""
        import ray

        while True:
            try:
                self.limits = await asyncio.wrap_future(engine.handle.ready.remote().future())
                return True
            except ray.exceptions.ActorUnavailableError:
                await asyncio.sleep(POLL_S)
            except ray.exceptions.RayActorError as error:
                self.why = why_gone(error)
                return False

    def lose(self, engine: EngineState) -> None:
        """Ask an engine nothing more until Ray has started it again."""

        async def come_back() -> None:
            engine.up = await self.ready(engine)
            if not engine.up and self.engines.get(engine.name) is engine:
                del self.engines[engine.name]

        if engine.up:
            engine.up = False
            engine.returning = asyncio.ensure_future(come_back())  # held: else it may end

    async def ping(self, engine: EngineState) -> None:
        """Kill an engine whose process does not even say that it is there."""
        import ray

        if not engine.up or time.monotonic() - engine.pinged < self.ping_s:
            return
        engine.pinged = time.monotonic()
        # a process that Ray is starting again refuses at once, so silence means that it hangs
        try:
            answer = asyncio.wrap_future(engine.handle.ready.remote().future())
            await asyncio.wait_for(answer, self.ping_s)
        except TimeoutError:
            ray.kill(engine.handle, no_restart=False)
            self.lose(engine)
        except ray.exceptions.RayError:  # its requests will say the same
            return


def living() -> list[str]:
    """The names of the run's engine actors that are not dead for good."""
    import ray

    return sorted(name for name in ray.util.list_named_actors() if name.startswith(ACTOR))


def handles() -> dict[str, Any]:
    """The run's engine actors by name."""
    import ray

    found = {}
    for name in living():
        with contextlib.suppress(ValueError):  # it ended meanwhile
            found[name] = ray.get_actor(name)
    return found


@cache
def client_of(node: str) -> EngineClient:
    """This process's client in the cluster of a node."""
    return EngineClient(handles)


def ask(
    prompts: Sequence[list[int]],
    samplings: Sequence[Sampling],
    *,
    adapter: str = "",
    session: str = "",
) -> list[Reply | Lost]:
    """Ask the run's engines. `session`: prompts of one name are best answered by one engine.
    Raises EngineDown."""
    if not prompts:
        return []
    import ray

    with MAKING:
        client = client_of(ray.get_runtime_context().get_node_id())
    arm = arm_of(adapter)  # here, so that no single request waits for the disk
    requests = [Request(p, s, arm) for p, s in zip(prompts, samplings, strict=True)]
    return client.ask(requests, session)


def usage() -> EngineUsage:
    """Over all actors of the run's engine: the most memory of one, the joules of all their
    machines; nothing where all are down."""
    import ray

    found: list[EngineUsage] = []
    # All are asked before the first is waited for; one that hangs says nothing, and is no error.
    asked = [handle.usage.remote() for handle in handles().values()]
    for usage_of in ray.wait(asked, num_returns=len(asked), timeout=PING_S)[0] if asked else ():
        with contextlib.suppress(ray.exceptions.RayActorError):
            found.append(ray.get(usage_of))
    if not found:
        return EngineUsage()
    machines: dict[str, float] = {}  # each actor counts for its whole machine
    for one in found:
        if one.energy_j is not None:
            # The longest-lived engine has seen most of its machine's joules.
            machines[one.node] = max(machines.get(one.node, 0.0), one.energy_j)
    return EngineUsage(
        peak_memory_mib=max(one.peak_memory_mib for one in found),
        energy_j=sum(machines.values()) if machines else None,
        why="" if machines else found[0].why,
    )


def stop() -> None:
    """End the engine's actors, if there are any; returns when their names are free again."""
    import ray

    for handle in handles().values():
        ray.kill(handle)
    end = time.monotonic() + STOP_S
    while living() and time.monotonic() < end:
        time.sleep(0.05)
