"""Ask every arm for an answer to every test row, on the one warm engine, and score what comes back.

Answers stream through Ray Data in shards; each shard is one Parquet file, committed by rename. A
row whose engine stayed down is `infra_failed`: counted, not scored, never a wrong answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from raytune_agents import engine
from raytune_agents.chat import Chat
from raytune_agents.config import EngineSection, EvaluateSection
from raytune_agents.evaluate import compare, metrics
from raytune_agents.records import Trajectory

BASE = "base"
SHOWN = (
    "exact_match",
    "function_accuracy",
    "parameter_accuracy",
    "format_adherence",
    "hallucination_rate",
)


def answer_shard(
    rows: Sequence[Trajectory],
    chat: Chat,
    arm: str,
    adapter: str,
    marker: str,
    section: EvaluateSection,
    engine_section: EngineSection,
) -> list[dict[str, Any]]:
    """One row of answers.parquet for each trajectory: the answer, its scores and costs.
    Raises EngineDown."""
    prompts = [chat.prompt_ids(row, marker) for row in rows]
    room = engine_section.max_model_len - section.max_tokens
    fit = [i for i, p in enumerate(prompts) if len(p) <= room]
    sampling = engine.Sampling(max_tokens=section.max_tokens)
    asked = [prompts[i] for i in fit]
    replies = engine.ask(
        asked, [sampling] * len(fit), adapter=adapter, timeout_s=engine_section.timeout_s
    )
    by_row = dict(zip(fit, replies))
    return [
        scored(row, arm, by_row[i])
        if i in by_row
        else shown(row, arm) | {"failed": "prompt_too_long"}
        for i, row in enumerate(rows)
    ]


def shown(row: Trajectory, arm: str) -> dict[str, Any]:
    """What identifies an answer and what a reader of the report wants to see of its row."""
    tools = [
        {"name": t.name, "description": t.description, "parameters": t.parameters}
        for t in row.tools
    ]
    return {
        "arm": arm,
        "split": row.split,
        "id": row.id,
        "source": row.source,
        "query": row.query,
        "tools": json.dumps(tools, ensure_ascii=False),
        "gold": row.gold,
        "failed": "",
        "answer": "",
    }


def scored(row: Trajectory, arm: str, reply: engine.Reply) -> dict[str, Any]:
    """The answer with every per-row metric."""
    answer = metrics.Answer(
        row.id, reply.texts[0], reply.latency_s, reply.output_tokens[0], reply.input_tokens
    )
    return (
        shown(row, arm)
        | {"answer": reply.texts[0], "first_token_s": reply.first_token_s}
        | {
            k: v if isinstance(v, str) or v is None else float(v)
            for k, v in metrics.score_answer(answer, row).items()
        }
    )


def scores(
    answers: Sequence[Mapping[str, Any]], section: EvaluateSection, seed: int
) -> dict[str, Any]:
    """{arm: {split: {metric: {value, low, high, n}}}} over the answers that did not fail."""
    out: dict[str, dict[str, Any]] = {}
    for arm, split in dict.fromkeys((a["arm"], a["split"]) for a in answers):
        part = [a for a in answers if (a["arm"], a["split"]) == (arm, split) and not a["failed"]]
        out.setdefault(arm, {})[split] = metrics.summary(
            part, section.resamples, section.confidence, seed
        )
    return out


def differences(
    answers: Sequence[Mapping[str, Any]], section: EvaluateSection, seed: int
) -> dict[str, Any]:
    """{arm: {split: {metric: paired difference to base}}}, Holm-corrected over the arms."""
    arms = list(dict.fromkeys(a["arm"] for a in answers if a["arm"] != BASE))
    out: dict[str, dict[str, Any]] = {arm: {} for arm in arms}
    for split in dict.fromkeys(a["split"] for a in answers):
        for metric in SHOWN:
            values = {
                arm: {
                    a["id"]: a[metric]
                    for a in answers
                    if a["arm"] == arm
                    and a["split"] == split
                    and not a["failed"]
                    and a[metric] is not None
                }
                for arm in (BASE, *arms)
            }
            common = set(values[BASE])
            cells = {}
            for arm in arms:
                ids = common & set(
                    values[arm]
                )  # parameter_accuracy exists where the function was right
                pair = compare.paired(
                    {i: values[BASE][i] for i in sorted(ids)},
                    {i: values[arm][i] for i in sorted(ids)},
                    section.resamples,
                    section.confidence,
                    seed,
                )
                if pair["n"]:
                    cells[arm] = pair
            adjusted = compare.holm({arm: cell["p"] for arm, cell in cells.items()})
            for arm, cell in cells.items():
                out[arm].setdefault(split, {})[metric] = cell | {"p_holm": adjusted[arm]}
    return out
