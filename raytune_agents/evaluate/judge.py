"""Answer quality: a judge compares an arm's answer with the base's by a rubric, in both orders.

The judge is the teacher where the run has one, else the base model on the run's engine; either way
it writes constrained JSON, a score from 1 to 5 for each criterion and answer. Each pair is asked
twice with the answers exchanged, because judges prefer a place (arXiv 2306.05685, section 3.4): an
arm wins a row only where both orders say so. `judge_consistency` says how often they agree; where
it is low, the judge is too weak for its scores to mean anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from raytune_agents.config import JudgedConfig
from raytune_agents.evaluate.baselines import BASELINES
from raytune_agents.evaluate.measured import BASE, AnswerRow, Lines, Measured, grouped_rows
from raytune_agents.generate.rewrite import ChatClient
from raytune_agents.inference.client import INFRA_FAILED, Lost, Reply, Sampling
from raytune_agents.records import FlatRow, JsonSchema, Trajectory

SIDES = ("first", "second")
NAMES = ("judge_score", "judge_wins", "judge_consistency")
LONGEST = 4000  # characters of an answer that the judge reads
QUESTION = (
    "Tools:\n{tools}\n\nThe user said:\n{request}\n\nFirst answer:\n{first}\n\nSecond answer:\n"
    "{second}\n\nScore both answers from 1 (bad) to 5 (good) on each of:\n{rubric}\n"
    "Answer with JSON only."
)


def verdict_schema(rubric: Mapping[str, str]) -> str:
    """The JSON Schema of a verdict: {first: {criterion: 1..5}, second: {...}}."""

    def of(keys: Sequence[str], inner: JsonSchema) -> JsonSchema:
        return {
            "type": "object",
            "properties": dict.fromkeys(keys, inner),
            "required": list(keys),
            "additionalProperties": False,
        }

    score = {"type": "integer", "minimum": 1, "maximum": 5}
    return json.dumps(of(SIDES, of(list(rubric), score)))


def verdict_request(
    row: Trajectory, first: str, second: str, rubric: Mapping[str, str]
) -> list[dict[str, str]]:
    """The chat that asks for a verdict."""
    text = QUESTION.format(
        tools="\n".join(f"{t.name}: {t.description}" for t in row.tools) or "none",
        request="\n".join(m.content for m in row.messages if m.role == "user"),
        first=first[:LONGEST] or "(nothing)",
        second=second[:LONGEST] or "(nothing)",
        rubric="\n".join(f"- {name}: {what}" for name, what in rubric.items()),
    )
    return [{"role": "user", "content": text}]


def read_verdict(text: str, rubric: Mapping[str, str]) -> tuple[float, float] | None:
    """Mean score of the first and the second answer, each in [1, 5]; None where the verdict cannot
    be read (cut off by its length, or out of range)."""
    try:
        verdict = json.loads(text)
        sides = [[float(verdict[side][name]) for name in rubric] for side in SIDES]
    except (ValueError, KeyError, TypeError):
        return None
    if any(not 1 <= score <= 5 for side in sides for score in side):
        return None
    return sum(sides[0]) / len(rubric), sum(sides[1]) / len(rubric)


def combined(
    one: tuple[float, float] | None, other: tuple[float, float] | None
) -> dict[str, float] | None:
    """The verdict of both orders; `one` has the base's answer first, `other` the arm's.

    judge_score: the arm's mean of both orders, base_score the base's, in [1, 5]; judge_wins: 1 the
    arm is better in both, 0 the base is, 0.5 else; judge_consistency: 1 where both orders say the
    same. None where one of the two could not be read.
    """
    if one is None or other is None:
        return None
    # 1: for the arm. Scores of one reading are compared; between readings the scale may move.
    leans = [_sign(one[1] - one[0]), _sign(other[0] - other[1])]
    same = leans[0] == leans[1]
    return {
        "judge_score": (one[1] + other[0]) / 2,
        "base_score": (one[0] + other[1]) / 2,
        "judge_wins": 0.5 + 0.5 * leans[0] if same else 0.5,
        "judge_consistency": float(same),
    }


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def judged_pairs(
    rows: Mapping[tuple[str, str], Trajectory], answers: Sequence[AnswerRow], config: JudgedConfig
) -> list[FlatRow]:
    """What is judged: of every split of `rows` the first ones, for every arm but base, both
    answers; rows that either failed to answer are left out."""
    # A failed answer is an outage or a prompt too long: nothing to prefer.
    kept = [a for a in answers if not a.failed and not a.perturbation and a.arm not in BASELINES]
    kept = [a for a in kept if (a.split, a.id) in rows]
    texts = {(a.arm, a.split, a.id): a.answer for a in kept}
    out = []
    for split, part in grouped_rows(kept, lambda a: a.split).items():
        # The same rows for every arm.
        ids = list(dict.fromkeys(a.id for a in part))[: config.rows]
        for arm in dict.fromkeys(a.arm for a in kept if a.arm != BASE):
            out += [
                {"arm": arm, "split": split, "id": i, "row": rows[split, i]}
                | {"base": texts[BASE, split, i], "mine": texts[arm, split, i]}
                for i in ids
                if (arm, split, i) in texts and (BASE, split, i) in texts
            ]
    return out


def judge_pairs(
    part: Sequence[Mapping[str, Any]], client: ChatClient, config: JudgedConfig, seed: int
) -> Lines:
    """One line of judged.parquet per pair. Raises EngineDown, teacher.Refused."""
    shape = verdict_schema(config.rubric)
    # Greedy: a verdict must not change when it is asked for again.
    sampling = Sampling(config.max_tokens, 0.0, 1, seed, shape)
    chats = [
        verdict_request(p["row"], first, second, config.rubric)
        for p in part
        for first, second in ((p["base"], p["mine"]), (p["mine"], p["base"]))
    ]
    replies = client.ask_fitting(chats, [sampling] * len(chats))
    texts = {i: reply.texts[0] for i, reply in replies.items() if isinstance(reply, Reply)}
    lost = {i // 2 for i, reply in replies.items() if isinstance(reply, Lost)}
    out = []
    for k, pair in enumerate(part):
        both = [texts.get(2 * k), texts.get(2 * k + 1)]
        fit = {2 * k, 2 * k + 1} <= replies.keys()
        why = "judge_no_verdict" if fit else "judge_prompt_too_long"
        why = INFRA_FAILED if k in lost else why
        line = unjudged(pair, why) | {"verdicts": json.dumps(both)}
        out.append(read_verdicts(line, config.rubric))
    return out


def read_verdicts(line: Mapping[str, Any], rubric: Mapping[str, str]) -> FlatRow:
    """A line with the values of its stored verdicts; it stays failed where they cannot be read."""
    both = [None if t is None else read_verdict(t, rubric) for t in json.loads(line["verdicts"])]
    found = combined(*both)
    return dict(line) | (found | {"failed": ""} if found else {})


def unjudged(pair: Mapping[str, Any], why: str) -> FlatRow:
    """A pair that was not judged."""
    facts = {key: pair[key] for key in ("arm", "split", "id")}
    empty = {"failed": why, "verdicts": json.dumps([None, None])}
    return facts | empty | dict.fromkeys((*NAMES, "base_score"))


def both_sides(lines: Lines) -> list[Measured]:
    """The lines and, for every row, the base's: its score is the mean over the arms that it was
    compared with."""
    judged = (x for x in lines if not x["failed"])
    base = [
        Measured(BASE, split, i, values={"judge_score": fmean(x["base_score"] for x in part)})
        for (split, i), part in grouped_rows(judged, lambda x: (x["split"], x["id"])).items()
    ]
    return base + [Measured.of_columns(x, NAMES) for x in lines]
