"""The steps that train: train and tune; and the report on the whole run."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from raytune_agents.config import ConfigError, TrainSection
from raytune_agents.pipeline.data import training_rows
from raytune_agents.records import RecordError, Trajectory, content_hash, to_row
from raytune_agents.runs import Counts, Step, read_json, read_rows, write_table
from raytune_agents.train import card

if TYPE_CHECKING:
    from raytune_agents.pipeline import Context


# --- train ---


def job_of(
    context: Context, section: TrainSection, method: str, columns: Path | None, out: Path
) -> Any:
    """The training job of one arm or trial."""
    from raytune_agents.train.worker import Job

    chat = context.chat
    return Job(
        model=str(context.model),
        dtype=context.config.model.dtype,
        columns=str(columns or ""),
        method=method,
        section=section.model_dump(),
        chat={
            "path": chat.path,
            "template": chat.template,
            "tools": chat.tools,
            "max_length": chat.max_length,
        },
        out=str(out),
        seed=context.config.seed,
        threads=context.placement.threads(section.span[1]),
    )


def train(context: Context, step: Step) -> tuple[Counts, dict[str, Any]]:
    """Every arm that is not trained yet, one after the other, each a Ray Train run."""
    from raytune_agents.pipeline import eto, plain
    from raytune_agents.train import check

    config, counts, arms = context.config, Counts(), {}
    rows = training_rows(context.run.folder)
    files = {name: context.run.folder / "mix" / f"{name}.parquet" for name in config.train.arms}
    chosen = {name: pq.read_table(path)["id"].to_pylist() for name, path in files.items()}
    check.arms(config.train, rows, chosen)
    check.room(context.chat)
    context.free_gpu(config.train.span[1])
    for name, arm in config.train.arms.items():
        section = config.train.of(arm)
        mixed = chosen[name]
        own = Step(
            f"train/{name}",
            step.folder / name,
            plain([section, config.model]),
            {"rows": step.inputs["label"], "ids": content_hash(mixed)},
            config.seed,
            step.mirror,
        )
        if own.done:
            context.display.say(f"train     arm {name} done before", style="dim")
        else:
            own.begin()
            chosen_rows = [rows[i] for i in mixed]
            if arm.method == "eto":
                arm_counts = eto.rounds(context, own, name, section, chosen_rows, rows)
            else:
                arm_counts = train_arm(context, own, name, arm.method, section, chosen_rows, rows)
            own.finish(arm_counts)
            card.write(context.run.folder, name)
        manifest = own.manifest or {}
        counts.rows_in += manifest["rows"]["in"]
        counts.rows_out += manifest["rows"]["out"]
        counts.rejected.update(manifest["rows"]["rejected"])
        arms[name] = {"method": arm.method, "seconds": manifest["seconds"]}
    for folder in (
        f for f in step.folder.iterdir() if f.is_dir() and f.name not in config.train.arms
    ):
        shutil.rmtree(folder)
    return counts, {"arms": arms}


def train_arm(
    context: Context,
    step: Step,
    name: str,
    method: str,
    section: TrainSection,
    rows: list[Trajectory],
    pool: dict[str, Trajectory],
) -> Counts:
    """Columns, then Ray Train until the adapter is saved; a killed run goes on from its
    checkpoint."""
    from raytune_agents.train import check, methods, worker

    section = context.placement.train(section)
    chat, twins_of = context.chat, methods.METHODS[method].twins
    twins = twins_of(pool, section) if twins_of else None
    columns, refused = methods.build(method, rows, chat, section, twins)
    try:
        check.before(method, rows, columns, refused, chat, section, twins)
    except ConfigError as error:
        raise ConfigError(f"train.arms.{name} (method {method}): {error}") from None
    path = step.folder / "columns.parquet"
    write_table(path, pa.Table.from_pylist(columns))
    job = job_of(context, section, method, path, step.folder)
    if section.score_steps:
        val = val_columns(context, section, method, section.score_rows)
        if not val:
            raise ConfigError(
                f"train.score_steps={section.score_steps} without val rows; write "
                "read.split.val above 0, or score_steps: 0"
            )
        job = replace(job, val=str(step.folder / "val.parquet"))
        write_table(Path(job.val), pa.Table.from_pylist(val))
    with follow(context, step.folder / "metrics.jsonl", f"train {name}"):
        worker.run(job, step.key, step.folder / "ray", context.resources.gpus > 0)
    shutil.rmtree(step.folder / "ray", ignore_errors=True)
    counts = Counts(rows_in=len(rows), rows_out=len(rows) - len(refused))
    counts.rejected.update(refused)
    return counts


class follow:
    """Show a growing metrics.jsonl as a progress bar while the block runs."""

    def __init__(self, context: Context, path: Path, name: str):
        self.context, self.path, self.name = context, path, name
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *error: object) -> None:
        self.stopped.set()
        self.thread.join()

    def watch(self) -> None:
        seen = 0
        with self.context.display.step(self.name) as bar:
            while not self.stopped.wait(1.0):
                if not self.path.is_file():
                    continue
                lines = self.path.read_text().splitlines()
                for line in lines[seen:]:
                    entry = json.loads(line) if line.endswith("}") else None
                    if entry:
                        bar.update(
                            1,
                            int(entry.get("num_tokens", 0)) - bar.tokens
                            if "num_tokens" in entry
                            else 0,
                            total=int(entry["of"]),
                            note=f"loss {entry['loss']:.3f}",
                        )
                seen = len(lines)


def val_columns(
    context: Context, section: TrainSection, method: str, count: int
) -> list[dict[str, Any]]:
    """Token columns of at most `count` val rows, by id, as the method is asked at inference."""
    from raytune_agents.train import sft
    from raytune_agents.train.methods import METHODS

    rows = [
        r
        for r in read_rows(context.run.folder / "read")
        if r.split == "val" and not r.reject_reason and r.calls
    ]
    marker, made = METHODS[method].asked(section), []
    for row in sorted(rows, key=lambda r: r.id):
        try:
            found = sft.columns(row, context.chat, section, None, marker)
            made += [c | {"row": json.dumps(to_row(row))} for c in found]
        except RecordError:
            continue  # longer than the model reads: it cannot be scored
    return [r for r in made if len(r["input_ids"]) <= 512][:count]


# --- report ---


def report(context: Context, step: Step) -> tuple[Counts, dict[str, Any]]:
    """One offline page on the whole run."""
    from raytune_agents import report as pages

    step.folder.mkdir(parents=True, exist_ok=True)
    page = pages.write(context.run.folder)
    return Counts(), {"page": str(page.relative_to(context.run.folder))}


def arms_table(folder: Path) -> dict[str, Any]:
    """scores.json of a run, {} before its evaluation."""
    path = folder / "evaluate" / "scores.json"
    return read_json(path) if path.is_file() else {}
