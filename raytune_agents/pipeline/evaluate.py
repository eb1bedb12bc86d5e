"""The evaluate step: every arm answers the test rows on one engine; scores and differences."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from raytune_agents import engine
from raytune_agents.evaluate import harness
from raytune_agents.pipeline.data import check_outage
from raytune_agents.records import Trajectory
from raytune_agents.runs import Counts, Shards, Step, read_rows, write_json, write_table

if TYPE_CHECKING:
    from raytune_agents.pipeline import Context


def evaluate(context: Context, step: Step) -> tuple[Counts, dict[str, Any]]:
    """The base and every arm answer the same rows on one engine; scores and paired differences."""
    config = context.config
    rows = test_rows(context)
    arms = [(harness.BASE, "", "")] + [
        (
            name,
            str(context.run.folder / "train" / name / "adapter"),
            config.train.nat.positive if arm.method == "nat" else "",
        )
        for name, arm in config.train.arms.items()
    ]
    answers: list[dict[str, Any]] = []
    for arm, adapter, marker in arms:
        answers += arm_answers(context, step, rows, arm, adapter, marker)
    counts = Counts(rows_in=len(rows) * len(arms))
    counts.failed.update(a["failed"] for a in answers if a["failed"])
    check_outage(counts, config.read.max_error_share)
    write_table(step.folder / "answers.parquet", pa.Table.from_pylist(answers))
    shutil.rmtree(step.folder / "shards", ignore_errors=True)
    write_json(step.folder / "scores.json", harness.scores(answers, config.evaluate, config.seed))
    write_json(
        step.folder / "differences.json", harness.differences(answers, config.evaluate, config.seed)
    )
    counts.rows_out = counts.rows_in - counts.failed.total()
    return counts, {"arms": [name for name, _, _ in arms]}


def test_rows(context: Context) -> list[Trajectory]:
    """The rows of the configured splits, each at most `evaluate.limit`, chosen by id."""
    section = context.config.evaluate
    rows = [r for r in read_rows(context.run.folder / "read") if not r.reject_reason]
    out = []
    for name in section.splits:
        part = sorted((r for r in rows if r.split == name), key=lambda r: r.id)
        out += part[: section.limit]
    return out


def arm_answers(
    context: Context, step: Step, rows: list[Trajectory], arm: str, adapter: str, marker: str
) -> list[dict[str, Any]]:
    """All answers of one arm; shards that are on disk are not asked again."""
    config, chat = context.config, context.chat
    section, engine_section = config.evaluate, config.engine
    size = section.shard_rows
    parts = [rows[i : i + size] for i in range(0, len(rows), size)]
    shards = Shards(step.folder / "shards" / arm)
    folder, missing = shards.folder, shards.missing(len(parts))

    def one(number: int) -> dict[str, Any]:
        try:
            answers = harness.answer_shard(
                parts[number], chat, arm, adapter, marker, section, engine_section
            )
        except engine.EngineDown as error:
            return {"tokens": 0, "shard": number, "outage": str(error)}
        texts = [json.dumps(a) for a in answers]
        Shards(folder).commit(number, pa.table({"answer": texts}))
        tokens = int(sum(a.get("output_tokens") or 0 for a in answers))
        return {"tokens": tokens, "shard": number, "outage": ""}

    if missing:
        context.start_engine()
    lost = set()
    for done in context.map_shards(f"ask {arm}", missing, one, size):
        if done["outage"]:
            lost.add(done["shard"])
            context.outage(step, f"ask {arm}", done)
    out: list[dict[str, Any]] = []
    for k, part in enumerate(parts):
        if k in lost:
            out += [harness.shown(row, arm) | {"failed": engine.INFRA_FAILED} for row in part]
        else:
            texts = pq.read_table(shards.path(k))["answer"].to_pylist()
            out += [json.loads(text) for text in texts]
    return out
