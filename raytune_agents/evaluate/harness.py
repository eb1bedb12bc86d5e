"""Ask every arm for an answer to every test row, on the one warm engine, and score what comes back.

A row whose engine stayed down, or whose prompt is too long, is `failed`: counted, not scored, never
a wrong answer. Left out: which rows are asked (`suites`, `perturb`), several steps (`rollouts`),
means and differences (`scoreboard`).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from raytune_agents.calls import Parsed
from raytune_agents.calls.match import BAD_GOLD, judge_parsed
from raytune_agents.chat import Chat
from raytune_agents.config import EngineConfig, EvaluateConfig
from raytune_agents.evaluate.baselines import Arm, call_schema, with_shots
from raytune_agents.evaluate.measured import AnswerRow, answer_row
from raytune_agents.evaluate.scoring import REPLY_VALUES, Values, score_answer
from raytune_agents.inference import client
from raytune_agents.records import RecordError, Trajectory

SHORTEST, MARGIN = 64, 1.5  # of an answer's limit: tokens, and times the long gold answers


@dataclass(frozen=True, slots=True)
class Asker:
    """Who is asked, and how: an arm by a template, its longest answer and prompt in tokens."""

    arm: Arm
    chat: Chat
    max_tokens: int
    room: int

    @classmethod
    def of(cls, arm: Arm, chat: Chat, config: EvaluateConfig, engine: EngineConfig) -> Asker:
        """Of a config whose `max_tokens` is resolved."""
        return cls(arm, chat, config.max_tokens, engine.max_model_len - config.max_tokens)

    def prompt(self, row: Trajectory) -> list[int]:
        """Token ids of the arm's prompt, [prompt]; examples are left out from the last on where
        they do not fit, or the template refuses them. Raises RecordError where it refuses the
        row."""
        # As many examples as fit: a row that is asked bare is still asked.
        for count in range(len(self.arm.shots), 0, -1):
            with contextlib.suppress(RecordError):
                shown = with_shots(row, self.arm.shots[:count])
                ids = self.chat.prompt_ids(shown, self.arm.marker)
                if len(ids) <= self.room:
                    return ids
        return self.chat.prompt_ids(row, self.arm.marker)


def answer_limit(lengths: Sequence[int], max_model_len: int) -> int:
    """`evaluate.max_tokens: auto`: half as much again as the 99 % quantile of the gold answers'
    lengths in tokens, a multiple of 16, at least SHORTEST, at most half the model's length."""
    long = sorted(lengths)[math.ceil(0.99 * len(lengths)) - 1] if lengths else 0
    wanted = max(SHORTEST, 16 * math.ceil(MARGIN * long / 16))
    # The prompt needs the other half.
    return min(wanted, max_model_len // 2)


def gold_lengths(rows: Iterable[Trajectory], chat: Chat) -> list[int]:
    """Tokens of the gold answers as the model would write them, of the rows that have one."""
    out = []
    for row in rows:
        if row.target is not None:
            with contextlib.suppress(RecordError):  # nothing to write, or no such turn
                # The last part of the last example is the answer, with the token that ends it.
                out.append(len(chat.ids(chat.parts(row)[-1][-1][0])))
    return out


def with_answer_limit(
    rows: Iterable[Trajectory], chat: Chat, config: EvaluateConfig, engine_config: EngineConfig
) -> EvaluateConfig:
    """The options with `max_tokens` resolved from the rows where it is auto."""
    if config.max_tokens:
        return config
    limit = answer_limit(gold_lengths(rows, chat), engine_config.max_model_len)
    return config.model_copy(update={"max_tokens": limit})


def fitting_prompts(
    rows: Sequence[Trajectory], asker: Asker
) -> tuple[dict[int, list[int]], dict[int, str]]:
    """The prompts of the rows that can be asked, and why each of the others cannot, by place."""
    prompts, refused = {}, {}
    for i, row in enumerate(rows):
        try:
            prompts[i] = asker.prompt(row)
        except RecordError as error:
            refused[i] = str(error)
    long = {i: "prompt_too_long" for i, ids in prompts.items() if len(ids) > asker.room}
    return {i: ids for i, ids in prompts.items() if i not in long}, refused | long


def answer_shard(rows: Sequence[Trajectory], asker: Asker) -> list[AnswerRow]:
    """One answer row for each trajectory, with its scores and costs. Raises EngineDown."""
    arm, (prompts, refused) = asker.arm, fitting_prompts(rows, asker)
    samplings = [
        client.Sampling(
            max_tokens=asker.max_tokens,
            schema=call_schema(rows[i].tools) if arm.constrained else "",
            # For the confidence: no other metric needs them.
            logprobs=True,
            # A grammar writes plain JSON, not the family's form: its parser would find no call.
            tools="" if arm.constrained else asker.chat.tools_text(rows[i]),
        )
        for i in prompts
    ]
    replies = client.ask(list(prompts.values()), samplings, adapter=arm.adapter)
    found = {i: scored_answer(rows[i], arm.name, reply) for i, reply in zip(prompts, replies)}
    found |= {i: answer_row(rows[i], arm.name, failed=why) for i, why in refused.items()}
    return [found[i] for i in range(len(rows))]


def scored_answer(row: Trajectory, arm: str, reply: client.Reply | client.Lost) -> AnswerRow:
    """The answer with every value of the row."""
    if isinstance(reply, client.Lost):
        return replace(answer_row(row, arm, failed=client.INFRA_FAILED), error=reply.why)
    text, cut = reply.texts[0], bool(reply.cut) and reply.cut[0]
    return answer_row(row, arm, text, score_answer(text, row, cut), reply_values(reply, row))


def reply_values(reply: client.Reply, row: Trajectory) -> Values:
    """What a reply cost; its confidence: exp(log-probability / tokens), the geometric mean of its
    tokens' probabilities, in [0, 1]; and whether a server's parser reads gold's calls in it, None
    where there is none for the family."""
    tokens = reply.output_tokens[0]
    sure = math.exp(reply.logprobs[0] / tokens) if reply.logprobs and tokens else None
    return {
        "input_tokens": float(reply.input_tokens),
        "output_tokens": float(tokens),
        "confidence": None if sure is None else min(1.0, sure),
        "server_parsable": server_parsable(reply, row),
    }


def server_parsable(reply: client.Reply, row: Trajectory) -> float | None:
    """1 if the calls that vLLM's parser of the family extracts are gold's, by BFCL's rules."""
    calls = reply.calls[0] if reply.calls else None
    if calls is None:
        return None
    verdict = judge_parsed(Parsed(calls, "", "server", reply.texts[0]), row)
    return None if verdict.error == BAD_GOLD else float(verdict.ok)


def rescored(answer: AnswerRow, row: Trajectory) -> AnswerRow:
    """A stored answer scored anew; what is known of its reply stays as it was measured."""
    # It has no text to score; why it failed is all there is.
    if answer.failed:
        return answer_row(row, answer.arm, failed=answer.failed)
    kept = {name: answer.values[name] for name in REPLY_VALUES if name in answer.values}
    cut = answer.values.get("cut_rate") == 1.0
    return answer_row(row, answer.arm, answer.answer, score_answer(answer.answer, row, cut), kept)
