"""A teacher behind an OpenAI-compatible endpoint: words and judges rows where a run asks for one.

One Ray actor a run holds the rate limit and the budget, so that they hold for all shards together.
The key is read from the environment and goes nowhere else. Answers are kept by content and never
paid for twice. What a busy endpoint does (429, 5xx, a hang, half a JSON) is tried again with
jitter; what will not pass (a wrong key or name) stops the run with a message.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from raytune_agents.config import ConfigError, TeacherConfig
from raytune_agents.inference.cache import Answers, key_of
from raytune_agents.inference.client import EngineDown, Reply, Sampling
from raytune_agents.records import JsonObject
from raytune_agents.redact import hide
from raytune_agents.storage import append_jsonl, read_jsonl

ACTOR = "raytune-teacher"
LONGEST_WAIT_S = 60.0
Chat = Sequence[dict[str, str]]


class Refused(ConfigError):
    """The endpoint will not answer however often it is asked: a wrong key, model or address."""


class Busy(RuntimeError):
    """The endpoint did not answer this time; `wait_s` is how long it asked to be left alone."""

    def __init__(self, why: str, wait_s: float = 0.0):
        super().__init__(why)
        self.wait_s = wait_s


def key_from_env(config: TeacherConfig) -> str:
    """The endpoint's key, "" where none is needed. Raises ConfigError where it is not set."""
    if not config.base_url or not config.key_env:
        return ""
    key = os.environ.get(config.key_env, "")
    # Before anything can quote it: from here on no log or file shows its value.
    hide(config.key_env)
    if not key:
        raise ConfigError(
            f"generate.teacher.key_env={config.key_env!r} is not set in the environment; export "
            "it, or write generate.teacher.key_env= where the endpoint needs no key"
        )
    return key


class Budget:
    """Requests per minute, tokens and money of a run; what was spent is in a ledger file, so that
    a run that goes on goes on counting. Nothing is overspent: a request reserves its most."""

    def __init__(self, config: TeacherConfig, ledger: Path | None):
        self.config, self.ledger = config, ledger
        self.lock, self.pending = threading.Condition(), 0
        self.next_start = 0.0
        self.tokens, self.usd = 0, 0.0
        for line in read_jsonl(ledger) if ledger else ():
            self.tokens += line["tokens_in"] + line["tokens_out"]
            self.usd += line["usd"]

    def price(self, tokens_in: int, tokens_out: int) -> float:
        """US dollars."""
        s = self.config
        return (tokens_in * s.usd_per_mtok_in + tokens_out * s.usd_per_mtok_out) / 1e6

    def reserve(self, tokens_in: int, tokens_out: int) -> bool:
        """Set the most that a request can cost aside; where that is too much, wait for what others
        leave of theirs. False where the budget is spent."""
        s, usd = self.config, self.price(tokens_in, tokens_out)

        def fits() -> bool:
            tokens = self.tokens + tokens_in + tokens_out
            return (s.max_tokens is None or tokens <= s.max_tokens) and (
                s.max_usd is None or self.usd + usd <= s.max_usd
            )

        with self.lock:
            # Others may spend less than they set aside; with none pending, nothing more comes back.
            self.lock.wait_for(lambda: fits() or not self.pending)
            if not fits():
                return False
            self.pending += 1
            self.tokens, self.usd = self.tokens + tokens_in + tokens_out, self.usd + usd
            return True

    def settle(self, reserved: tuple[int, int], spent: tuple[int, int]) -> None:
        """Replace what was set aside by what was spent; (0, 0) where no answer came."""
        with self.lock:
            self.pending -= 1
            self.lock.notify_all()
            self.tokens += sum(spent) - sum(reserved)
            self.usd += self.price(*spent) - self.price(*reserved)
            # Written at once: a killed run has paid for it all the same.
            if self.ledger and any(spent):
                line = {"tokens_in": spent[0], "tokens_out": spent[1], "usd": self.price(*spent)}
                append_jsonl(self.ledger, line)

    def turn(self) -> None:
        """Wait until the rate limit allows the next request."""
        if not self.config.requests_per_minute:
            return
        with self.lock:
            start = max(self.next_start, time.monotonic())
            self.next_start = start + 60.0 / self.config.requests_per_minute
        time.sleep(max(0.0, start - time.monotonic()))


class Teacher:
    """Asks the endpoint. `answer` gives one Reply a chat, None where the budget is spent."""

    def __init__(self, config: TeacherConfig, key: str, keep: bool = True, ledger: str = ""):
        self.config, self.answers = config, Answers.of_user(keep)
        self.budget = Budget(self.config, Path(ledger) if ledger else None)
        self.counts: Counter[str] = Counter()
        self.lock = threading.Lock()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.client = httpx.Client(headers=headers, timeout=self.config.timeout_s)
        self.threads = ThreadPoolExecutor(self.config.concurrency)

    def answer(self, chats: Sequence[Chat], samplings: Sequence[Sampling]) -> list[Reply | None]:
        """Every chat with its sampling, `n` answers as `n` requests. Raises Refused, EngineDown."""
        requests = [
            (chat, replace(s, n=1, seed=None if s.seed is None else s.seed + k))
            for chat, s in zip(chats, samplings)
            # One request each: many endpoints have no `n`, and a kept answer is one text.
            for k in range(s.n)
        ]
        futures = [self.threads.submit(self.one, chat, s) for chat, s in requests]
        try:
            singles = iter([f.result() for f in futures])
        except (Refused, EngineDown):
            for future in futures:
                future.cancel()
            raise
        return [joined([next(singles) for _ in range(s.n)]) for s in samplings]

    def count(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1

    def stats(self) -> JsonObject:
        """What was asked, answered from the folder, and spent over the whole run."""
        spent = {"tokens": self.budget.tokens, "usd": round(self.budget.usd, 6)}
        return dict(self.counts) | spent

    def one(self, chat: Chat, sampling: Sampling) -> Reply | None:
        """One answer: kept, or asked for; None where the budget is spent."""
        s = self.config
        shape = (sampling.max_tokens, sampling.temperature, sampling.seed, sampling.schema)
        # Not the key of the endpoint: who pays does not change an answer.
        key = key_of(s.base_url, s.model, s.revision, list(chat), shape)
        kept = self.answers.get(key)
        if kept is not None:
            self.count("kept")
            return Reply([kept["text"]], [kept["tokens_out"]], kept["tokens_in"], 0.0, 0.0)
        # Two characters per token: it may set too much aside, never too little.
        most = (sum(len(m["content"]) for m in chat) // 2 + 16, sampling.max_tokens)
        if not self.budget.reserve(*most):
            self.count("budget_spent")
            return None
        found = None
        try:
            found = self.request(chat, sampling)
        finally:
            spent = (found["tokens_in"], found["tokens_out"]) if found else (0, 0)
            self.budget.settle(most, spent)
        self.count("answered")
        self.answers.put(key, {k: found[k] for k in ("text", "tokens_in", "tokens_out")})
        return Reply([found["text"]], [found["tokens_out"]], found["tokens_in"], found["s"], 0.0)

    def request(self, chat: Chat, sampling: Sampling) -> JsonObject:
        """The endpoint's answer after at most 1 + retries tries. Raises Refused, EngineDown."""
        jitter = wait_random_exponential(self.config.wait_s, LONGEST_WAIT_S)

        def wait(state: RetryCallState) -> float:
            retry_after_s = getattr(state.outcome and state.outcome.exception(), "wait_s", 0.0)
            # Jitter: shards that were refused together must not come back together.
            return min(max(retry_after_s, jitter(state)), LONGEST_WAIT_S)

        tries = Retrying(
            stop=stop_after_attempt(self.config.retries + 1),
            wait=wait,
            retry=retry_if_exception_type(Busy),
            reraise=True,
        )
        try:
            return tries(self.post, self.body(chat, sampling))
        except Busy as error:
            tried = f"after {self.config.retries + 1} tries"
            raise EngineDown(f"{self.config.base_url}: {error} {tried}") from None

    def body(self, chat: Chat, sampling: Sampling) -> JsonObject:
        """The request in OpenAI's form."""
        body: JsonObject = {
            "model": self.config.model,
            "messages": list(chat),
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
        }
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        if sampling.schema:
            shape = {"name": "answer", "strict": True, "schema": json.loads(sampling.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": shape}
        return body

    def post(self, body: JsonObject) -> JsonObject:
        """One try. Raises Busy where another may succeed, Refused where none will."""
        self.budget.turn()
        self.count("requests")
        url, began = f"{self.config.base_url.rstrip('/')}/chat/completions", time.monotonic()
        try:
            got = self.client.post(url, json=body)
        except httpx.TransportError as error:  # no connection, a hang, half an answer
            raise Busy(f"{type(error).__name__}: {error}") from None
        if got.status_code == 429 or got.status_code >= 500:
            retry_after = got.headers.get("retry-after", "")
            wait_s = float(retry_after) if retry_after.isdigit() else 0.0
            raise Busy(f"status {got.status_code}", wait_s)
        if got.status_code >= 400:
            raise Refused(self.refusal(got))
        try:
            tree = got.json()
            text = tree["choices"][0]["message"]["content"] or ""
        except (ValueError, KeyError, IndexError, TypeError):
            raise Busy(f"no chat completion in {got.text[:80]!r}") from None
        usage = tree.get("usage") or {}
        tokens_in = usage.get("prompt_tokens", len(json.dumps(body["messages"])) // 4)
        tokens_out = usage.get("completion_tokens", len(text) // 4 + 1)
        took = time.monotonic() - began
        return {"text": text, "tokens_in": tokens_in, "tokens_out": tokens_out, "s": took}

    def refusal(self, got: httpx.Response) -> str:
        """What a user can do about a 4xx."""
        s = self.config
        key = f"the key in ${s.key_env}" if s.key_env else "generate.teacher.key_env (now empty)"
        why = {
            401: f"check {key}",
            403: f"check the rights of {key}",
            404: f"check generate.teacher.base_url={s.base_url} and model={s.model}",
        }
        other = (
            "it does not take this request; write a generate.teacher.model that takes its options"
        )
        return (
            f"the teacher {s.model} at {s.base_url} answered status {got.status_code}: "
            f"{why.get(got.status_code, other)} ({got.text[:120]!r})"
        )


def joined(parts: Sequence[Reply | None]) -> Reply | None:
    """`n` single replies as one; None where any is missing."""
    replies = [p for p in parts if p is not None]
    if len(replies) < len(parts):
        return None
    return Reply(
        [t for p in replies for t in p.texts],
        [n for p in replies for n in p.output_tokens],
        replies[0].input_tokens,
        max(p.latency_s for p in replies),
        0.0,
    )


def start_teacher(config: TeacherConfig, keep: bool, ledger: Path) -> Any:
    """Start the run's teacher, or take the one that runs already."""
    import ray

    actor = ray.remote(Teacher).options(
        name=ACTOR, get_if_exists=True, num_cpus=0, max_concurrency=4
    )
    return actor.remote(config, key_from_env(config), keep, str(ledger))


def spent() -> JsonObject:
    """What the run's teacher was asked and what it cost."""
    import ray

    stats: Any = ray.get(ray.get_actor(ACTOR).stats.remote())
    return stats


def ask_teacher(chats: Sequence[Chat], samplings: Sequence[Sampling]) -> list[Reply | None]:
    """Ask the run's teacher. Raises Refused, EngineDown."""
    import ray

    if not chats:
        return []
    try:
        return ray.get(ray.get_actor(ACTOR).answer.remote(list(chats), list(samplings)))
    except ray.exceptions.RayActorError as error:
        raise EngineDown(f"{type(error).__name__}: {str(error).splitlines()[0]}") from None
    except (Refused, EngineDown) as error:  # without the remote traceback that Ray puts around it
        raise getattr(error, "cause", error) from None
