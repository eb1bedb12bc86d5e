"""The parts of generation that ask the engine, one shard at a time: paraphrase and mining.

A shard is a list of rows in and a list of rows out with the reasons of those that are missing. An
engine that stays down makes rows `infra_failed`: counted, never a row, never a negative.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from raytune_agents import engine, negatives
from raytune_agents.chat import Chat
from raytune_agents.config import EngineSection, GenerateSection, NegativesSection
from raytune_agents.generate import tasks
from raytune_agents.records import RecordError, Trajectory


@dataclass
class Shard:
    """What one shard gave."""

    rows: list[Trajectory] = field(default_factory=list)
    rejected: Counter = field(default_factory=Counter)
    failed: Counter = field(default_factory=Counter)
    notes: Counter = field(default_factory=Counter)
    tokens: int = 0
    outage: str = ""  # what the engine said when it went down; the shard is asked for again


def ask(
    rows: Sequence[Trajectory],
    prompts: Sequence[list[int]],
    shard: Shard,
    sampling: engine.Sampling,
    section: EngineSection,
    seed: int,
    adapter: str = "",
) -> list[engine.Reply] | None:
    """One reply a row, each with its own seed (from the row's id); None where the engine is
    down."""
    seeds = [(seed * 1_000_003 + int(row.id, 16)) % 2**31 for row in rows]
    samplings = [replace(sampling, seed=s) for s in seeds]
    try:
        replies = engine.ask(prompts, samplings, adapter=adapter, timeout_s=section.timeout_s)
    except engine.EngineDown as error:
        shard.outage = str(error)
        shard.failed[engine.INFRA_FAILED] += len(rows)
        return None
    shard.tokens += sum(sum(r.output_tokens) for r in replies)
    return replies


def paraphrase(
    rows: Sequence[Trajectory],
    chat: Chat,
    section: GenerateSection,
    engine_section: EngineSection,
    seed: int,
) -> Shard:
    """Reword the request of every row; the first candidate that keeps all argument values wins,
    else the row keeps its template wording (noted by the last reason)."""
    shard = Shard()
    prompts = [chat.chat_ids(tasks.paraphrase_messages(row)) for row in rows]
    sampling = engine.Sampling(section.max_tokens, section.temperature, section.candidates)
    replies = ask(rows, prompts, shard, sampling, engine_section, seed)
    for row, reply in zip(rows, replies or ()):
        best, why = None, ""
        for text in reply.texts:
            best, why = tasks.accept_paraphrase(row, text)
            if best is not None:
                break
        shard.notes["paraphrased" if best is not None else f"template:{why}"] += 1
        shard.rows.append(row if best is None else best)
    return shard


def mine(
    rows: Sequence[Trajectory],
    chat: Chat,
    section: NegativesSection,
    engine_section: EngineSection,
    seed: int,
    adapter: str = "",
) -> Shard:
    """The base model's (or an adapter's) own answers to training prompts; every distinct wrong one
    is a negative named by its fault. `rejected` counts right answers and repeats; rows in = tasks x
    samples."""
    shard = Shard()
    fit, prompts = [], []
    for row in rows:
        ids = chat.prompt_ids(row)
        if len(ids) + section.max_tokens > engine_section.max_model_len:
            shard.rejected["prompt_too_long"] += section.mined_samples
        else:
            fit.append(row)
            prompts.append(ids)
    sampling = engine.Sampling(section.max_tokens, section.temperature, section.mined_samples)
    replies = ask(fit, prompts, shard, sampling, engine_section, seed, adapter)
    if replies is None:
        shard.failed[engine.INFRA_FAILED] *= section.mined_samples
        return shard
    for row, reply in zip(fit, replies):
        seen: set[str] = set()
        for text, length in zip(reply.texts, reply.output_tokens):
            if length >= section.max_tokens:
                shard.rejected["cut_at_max_tokens"] += 1
                continue
            try:
                bad = negatives.mined(row, text)
            except RecordError:
                bad = None
            if bad is None:
                shard.rejected["right_answer"] += 1
            elif bad.id in seen:
                shard.rejected["repeated"] += 1
            else:
                seen.add(bad.id)
                shard.rows.append(bad)
                shard.notes[bad.fault] += 1
    return shard
