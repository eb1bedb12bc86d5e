"""The parts of generation that ask a model, one shard at a time: wordings, verdicts and mining.

A shard is a list of rows in and a list of rows out with the reasons of those that are missing. An
engine that stays down makes rows `infra_failed`: counted, never a row, never a negative.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from raytune_agents import negatives
from raytune_agents.calls import parse, render_calls
from raytune_agents.chat import Chat
from raytune_agents.config import EngineConfig, GenerateConfig, NegativesConfig
from raytune_agents.generate import paraphrase, validate_rows
from raytune_agents.inference import endpoint
from raytune_agents.inference.cache import Answers, key_of
from raytune_agents.inference.client import INFRA_FAILED, EngineDown, Lost, Reply, Sampling
from raytune_agents.inference.client import ask as ask_engines
from raytune_agents.records import JsonObject, RecordError, Trajectory

SHOWN = 3  # accepted wordings that the next round is shown


@dataclass
class Shard:
    """What one shard gave."""

    rows: list[Trajectory] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    lost: dict[str, str] = field(default_factory=dict)  # id of a row -> why it has no answer
    tokens: int = 0
    outage: str = ""  # what the engine said when it went down; the shard is asked for again
    refused: str = ""  # why no other shard needs to try
    right: Counter[str] = field(default_factory=Counter)  # right answers by the id of an asked task


@dataclass(frozen=True)
class ChatClient:
    """Who is asked for words and verdicts: the run's engine, its teacher, or a user's function."""

    chat: Chat
    engine: EngineConfig
    model: str = ""  # what the answers are kept under: name, revision, type
    use_teacher: bool = False  # by a model other than the one that is trained
    keep: bool = False
    own: Callable[[list[dict[str, str]], Sampling], str] | None = None
    concurrency: int = 1  # calls of `own` under way at a time

    def ask(
        self, chats: Sequence[list[dict[str, str]]], samplings: Sequence[Sampling]
    ) -> list[Reply | Lost | None]:
        """One reply per chat, None where a budget is spent. Raises EngineDown, teacher.Refused."""
        if self.use_teacher and not self.own:
            return list(endpoint.ask_teacher(chats, samplings))
        prompts: Sequence[Any] = chats if self.own else [self.chat.chat_ids(c) for c in chats]
        kept = Answers.of_user(self.keep)
        keys = [key_of(self.model, p, repr(s)) for p, s in zip(prompts, samplings)]
        found: JsonObject = {k: kept.get(k) for k in keys}
        # Only what is not known is asked: a step that was killed goes on where it was.
        new = [i for i, k in enumerate(keys) if found[k] is None]
        wanted = [prompts[i] for i in new], [samplings[i] for i in new]
        replies = self._ask_own(*wanted) if self.own else ask_engines(*wanted)
        out: dict[int, Reply | Lost] = dict(zip(new, replies))
        for i, reply in out.items():
            if isinstance(reply, Reply):
                kept.put(keys[i], {"texts": reply.texts, "tokens": reply.output_tokens})
        for i, key in enumerate(keys):
            if i not in out:
                texts = found[key]["texts"]
                out[i] = Reply(texts, [0] * len(texts), len(prompts[i]), 0.0, 0.0)
        return [out[i] for i in range(len(keys))]

    def ask_fitting(
        self, chats: Sequence[list[dict[str, str]]], samplings: Sequence[Sampling]
    ) -> dict[int, Reply | Lost | None]:
        """`ask`, by the place of the chat; one that is too long for the engine has no place."""
        room = self.engine.max_model_len
        fits = [
            i
            for i, (chat, sampling) in enumerate(zip(chats, samplings))
            if self.use_teacher or len(self.chat.chat_ids(chat)) + sampling.max_tokens <= room
        ]
        replies = self.ask([chats[i] for i in fits], [samplings[i] for i in fits])
        return dict(zip(fits, replies))

    def _ask_own(
        self, chats: Sequence[list[dict[str, str]]], samplings: Sequence[Sampling]
    ) -> list[Reply | Lost]:
        """The user's function, `n` times per chat; what it raises is an outage."""

        def reply(chat: list[dict[str, str]], sampling: Sampling) -> Reply:
            start = time.monotonic()
            texts = [self.own(chat, sampling) for _ in range(sampling.n)]  # type: ignore[misc]
            if odd := [type(text).__name__ for text in texts if not isinstance(text, str)]:
                raise TypeError(f"it returned {odd[0]}; return the text of the answer")
            spent = time.monotonic() - start
            return Reply(texts, [0] * len(texts), 0, spent, spent)  # it does not tell its tokens

        try:
            with ThreadPoolExecutor(self.concurrency) as pool:
                return list(pool.map(reply, chats, samplings))
        except Exception as error:  # the boundary to a user's code
            raise EngineDown(f"generate.teacher.client: {error}") from None


def unanswered(reply: Reply | Lost | None) -> str:
    """Why there is no reply, "" where there is."""
    if reply is None:
        return "budget_spent"
    return INFRA_FAILED if isinstance(reply, Lost) else ""


def seeded(sampling: Sampling, row: Trajectory, seed: int, k: int = 0) -> Sampling:
    """The sampling with a seed of its own, from the row's id and the number of the question."""
    return replace(sampling, seed=(seed * 1_000_003 + int(row.id, 16) + 7919 * k) % 2**31)


# --- positives ------------------------------------------------------------------------------------


def positives(
    rows: Sequence[Trajectory],
    client: ChatClient,
    executor: validate_rows.Executor,
    config: GenerateConfig,
    seed: int,
) -> Shard:
    """Sampled rows, worded by the client, then checked in APIGen's order: format, execution,
    judge. A row that fails is counted under POOL:STAGE; the first words of the reason are in the
    notes."""
    shard = Shard()
    try:
        worded = paraphrase_rows(rows, client, config, seed, shard)
        # Free checks first: the judge is the only one that costs tokens.
        for row in worded:
            stage, reason = "format", validate_rows.format_fault(row)
            if not reason:
                stage, reason = "execution", executor.fault(row)
            if reason:
                reject(shard, row, stage, reason)
            else:
                shard.rows.append(row)
        judge_shard(shard, client, config, seed)
    except (EngineDown, endpoint.Refused) as error:
        shard = Shard(outage=str(error), failed=Counter({INFRA_FAILED: len(rows)}))
        shard.refused = str(error) if isinstance(error, endpoint.Refused) else ""
    return shard


def reject(shard: Shard, row: Trajectory, stage: str, reason: str) -> None:
    """Count a row that fell out at a stage."""
    shard.rejected[f"{row.pool.partition('.')[2]}:{stage}"] += 1
    shard.notes[f"{stage}:{reason[:60]}"] += 1


def paraphrase_rows(
    rows: Sequence[Trajectory], client: ChatClient, config: GenerateConfig, seed: int, shard: Shard
) -> list[Trajectory]:
    """Every row with the turns that may be reworded in the client's words: the first candidate that
    keeps all values wins, else the turn keeps its template (noted by the last reason). Wordings
    accepted in one round are the examples of the next."""
    out: list[Trajectory] = []
    shots: list[tuple[str, str]] = []
    size = -(-len(rows) // config.rounds)
    sampling = Sampling(config.max_tokens, config.temperature, config.candidates)
    for start in range(0, len(rows), max(1, size)):
        part = rows[start : start + size]
        targets = [(row, turn) for row in part for turn in paraphrase.turns(row)]
        shown = shots[-SHOWN:] if len(shots) >= SHOWN else paraphrase.SHOTS
        chats = [paraphrase.messages(row, turn, shown) for row, turn in targets]
        replies = client.ask(chats, [seeded(sampling, row, seed, turn) for row, turn in targets])
        texts: dict[str, dict[int, str]] = {}
        for (row, turn), reply in zip(targets, replies):
            text, why = "", unanswered(reply)
            if isinstance(reply, Reply):
                text, why = paraphrase.first_good(row, turn, reply.texts)
                shard.tokens += sum(reply.output_tokens)
            shard.notes[f"template:{why.partition(':')[0]}" if why else "paraphrased"] += 1
            if text:
                texts.setdefault(row.id, {})[turn] = text
                shots.append((row.messages[turn].content, text))
        out += [paraphrase.reworded(row, texts[row.id]) if row.id in texts else row for row in part]
    return out


VERDICT = json.dumps(
    {
        "type": "object",
        "properties": {"correct": {"type": "boolean"}},
        "required": ["correct"],
        "additionalProperties": False,
    }
)
QUESTION = (
    "Tools:\n{tools}\n\nThe user said:\n{said}\n\nThe assistant did:\n{did}\n\n"
    "Did the assistant do exactly what the user asked for, with the right tools and values? "
    'Answer with JSON: {{"correct": true}} or {{"correct": false}}.'
)


def judge_messages(row: Trajectory) -> list[dict[str, str]]:
    """The chat that asks for a verdict on a row: tools, what was said, what was done."""
    tools = "\n".join(f"{t.name}: {t.description} {t.parameters}" for t in row.tools) or "none"
    request = "\n".join(m.content for m in row.messages if m.role == "user")
    turns = [m for m in row.messages if m.role == "assistant"]
    did = "\n".join(p for m in turns for p in (m.content, render_calls(m.tool_calls)) if p)
    text = QUESTION.format(tools=tools, said=request, did=did)
    return [{"role": "user", "content": text}]


def majority(texts: Sequence[str]) -> str:
    """ "" where more than half of the verdicts say correct, else why not: wrong, no_verdict (none
    could be read)."""
    votes = []
    for text in texts:
        try:
            votes.append(json.loads(text)["correct"] is True)
        except (ValueError, KeyError, TypeError):
            continue
    if not votes:
        return "no_verdict"
    return "" if 2 * sum(votes) > len(votes) else "wrong"


def judge_shard(shard: Shard, client: ChatClient, config: GenerateConfig, seed: int) -> None:
    """The semantic check: rows that most verdicts call wrong leave the shard."""
    j, rows = config.judge, shard.rows
    if not j.samples or not rows:
        return
    chats = [judge_messages(row) for row in rows]
    sampling = Sampling(j.max_tokens, j.temperature, j.samples, schema=VERDICT)
    replies = client.ask_fitting(chats, [seeded(sampling, row, seed, -1) for row in rows])
    shard.rows = []
    for i, row in enumerate(rows):
        reply = replies.get(i)
        reason = unanswered(reply) if i in replies else "too_long"
        if isinstance(reply, Reply):
            shard.tokens += sum(reply.output_tokens)
            reason = majority(reply.texts)
        if isinstance(reply, Lost):
            shard.failed[INFRA_FAILED] += 1
            shard.lost[row.id] = reply.why
        elif reason:
            reject(shard, row, "judge", reason)
        else:
            shard.rows.append(row)


# --- mining ---------------------------------------------------------------------------------------


def mine(
    rows: Sequence[Trajectory],
    chat: Chat,
    config: NegativesConfig,
    engine_config: EngineConfig,
    seed: int,
    adapter: str = "",
    marker: str = "",
) -> Shard:
    """The base model's (or an adapter's) own answers to training prompts; every distinct wrong one
    is a negative named by its fault, with its share of the task's samples in `meta.frequency`.
    `rejected` counts right answers (`right` by task), repeats and lost ones, `notes` wrong ones by
    fault; rows in = tasks x samples. Good answers carry the `marker`, where the adapter has one."""
    shard = Shard()
    fit, prompts = [], []
    for row in rows:
        try:
            ids = chat.prompt_ids(row, marker)
        except RecordError as error:
            shard.rejected[str(error)] += config.mined_samples
            continue
        if len(ids) + config.max_tokens > engine_config.max_model_len:
            shard.rejected["prompt_too_long"] += config.mined_samples
        else:
            fit.append(row)
            prompts.append(ids)
    sampling = Sampling(config.max_tokens, config.temperature, config.mined_samples)
    samplings = [replace(seeded(sampling, r, seed), tools=chat.tools_text(r)) for r in fit]
    try:
        replies = ask_engines(prompts, samplings, adapter=adapter)
    except EngineDown as error:
        shard.outage = str(error)
        shard.failed[INFRA_FAILED] += len(fit) * config.mined_samples
        return shard
    for row, reply in zip(fit, replies):
        if isinstance(reply, Lost):
            shard.failed[INFRA_FAILED] += config.mined_samples
            shard.lost[row.id] = reply.why
            continue
        shard.tokens += sum(reply.output_tokens)
        failures(row, reply, config, shard)
    return shard


def whole_sentences(text: str, row: Trajectory) -> str:
    """Prose that was cut at the limit, up to its last whole sentence: what the model said instead
    of a call. "" where it began a call, whose end nobody knows, or no sentence is whole."""
    end = max((m.end() for m in re.finditer(r"[.!?](?=\s)", text)), default=0)
    parsed = parse(text[:end], row.tools)
    prose = not parsed.calls and not parsed.error and not re.search(r"[{<\[]", text[:end])
    return text[:end] if prose else ""


def failures(row: Trajectory, reply: Reply, config: NegativesConfig, shard: Shard) -> None:
    """Put the distinct wrong answers to one prompt into the shard, and count all of them."""
    wrong: dict[str, Trajectory] = {}
    times: Counter[str] = Counter()
    shard.right[row.id] += 0  # it was asked
    for text, cut in zip(reply.texts, reply.cut, strict=True):
        if cut:
            text = whole_sentences(text, row)
            if not text:
                shard.rejected["cut_at_max_tokens"] += 1
                continue
            shard.notes["cut_to_whole_sentences"] += 1
        try:
            bad = negatives.mined(row, text)
        except RecordError:
            bad = None
        if bad is None:
            empty = not text.strip()  # it is no negative, nor right
            shard.rejected["empty_answer" if empty else "right_answer"] += 1
            shard.right[row.id] += not empty
            continue
        if bad.id in wrong:
            shard.rejected["repeated"] += 1
        wrong[bad.id] = bad
        times[bad.id] += 1
        shard.notes[bad.fault] += 1
    for bad in wrong.values():
        often = round(times[bad.id] / len(reply.texts), 4)
        shard.rows.append(replace(bad, meta=bad.meta | {"frequency": often}))
