"""What can be tried in a minute before a run of hours, from cheap to dear.

Each check says what it found (OK), what is doubtful (WARN), or what stops a run and what to write
instead (FAIL). A check that fails does not keep the later ones from being tried, but those that
need what it looks at."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import psutil
from rich.console import Console

from raytune_agents import models, readers
from raytune_agents.config import Config, ConfigError
from raytune_agents.inference import client
from raytune_agents.infra.provenance import versions
from raytune_agents.pipeline import plan as planner
from raytune_agents.pipeline.context import Context
from raytune_agents.pipeline.row_lengths import with_max_length
from raytune_agents.pipeline.run import preflight
from raytune_agents.pipeline.train_arm import job_of
from raytune_agents.progress import Display
from raytune_agents.records import RecordError, Trajectory
from raytune_agents.redact import redact
from raytune_agents.storage import read_jsonl
from raytune_agents.train import methods, validate_data
from raytune_agents.train.column_files import write_columns
from raytune_agents.train.job import METRICS, UNWATCHED

OK, WARN, FAIL = "OK", "WARN", "FAIL"
ROWS = 64  # read of each source, and looked at
PROBE_TOKENS = 32  # of the answer that the engine is asked for
TRAINED = 4  # rows of each method whose prompts are compared, and of the one training step


class CheckWarning(Exception):
    """What need not stop a run."""


@dataclass(frozen=True)
class Finding:
    name: str
    level: str
    text: str


def examine(config: Config, console: Console, only: Sequence[str] = ()) -> Iterator[Finding]:
    """The findings of all checks, or of those named. Raises ConfigError for an unknown name."""
    from ray.exceptions import RayError
    from ray.train import TrainingFailedError

    # A run of its own, that goes again: the one that it looks at may even be under way.
    config = config.model_copy(update={"name": f"{config.name}.doctor"})
    context = Context(config, Display(console))
    doctor = Doctor(config, context)
    try:
        checks = doctor.checks()
        if unknown := [name for name in only if name not in checks]:
            raise ConfigError(f"--only {unknown[0]!r}: no such check; write {','.join(checks)}")
        for name in only or checks:
            try:
                yield Finding(name, OK, checks[name]())
            except CheckWarning as doubt:
                yield Finding(name, WARN, redact(str(doubt)))
            # What a config or a machine can cause; a fault of the code must show its traceback.
            except (ValueError, OSError, RuntimeError, RayError, TrainingFailedError) as error:
                yield Finding(name, FAIL, redact(str(error)))
                if name in ("config", "model", "data"):
                    return  # the others would say the same
    finally:
        context.close()
        shutil.rmtree(context.run.folder, ignore_errors=True)


@dataclass
class Doctor:
    """The checks of one config, in order; each says what it found, or raises."""

    config: Config
    context: Context

    def checks(self) -> dict[str, Callable[[], str]]:
        return {
            "config": self.settings,
            "model": self.model,
            "data": self.data,
            "placement": self.placement,
            "room": self.room,
            "prompts": self.prompts,
            "answer": self.answer,
            "training": self.training,
        }

    @cached_property
    def plan(self) -> planner.Plan:
        return planner.plan(self.config, self.context.resources)

    def rows(self, count: int) -> list[Trajectory]:
        """Training rows with calls, short enough to be trained on, of every pool in turn. Raises
        CheckWarning where there is none: a run of chats alone may be meant."""
        every = self.plan.sample.split("train")
        called = [row for row in every if row.calls]
        fit = [row for row in called if self.fits(row)]
        if not fit:
            limit = self.config.model.max_length
            write = f", and none fits model.max_length={limit}; write more"
            raise CheckWarning(
                f"not tried: of {len(every)} training rows {len(called)} have a call"
                + (write if called else "; add rows with calls, or generate.rows")
            )
        # Sorted by pool and taken at even steps: a few rows of each kind.
        order = sorted(fit, key=lambda r: (r.pool, r.id))
        return order[:: max(1, len(order) // count)][:count]

    def fits(self, row: Trajectory) -> bool:
        try:
            return bool(self.context.chat.encode(row))
        except RecordError:
            return False

    # --- the checks ---

    def settings(self) -> str:
        preflight(self.config)
        return f"{len(self.config.train.arms)} arms, model {self.config.model.name}"

    def model(self) -> str:
        return str(models.resolve(self.config.model))

    def data(self) -> str:
        """Raises ConfigError where more of the first rows are bad than a run would let pass."""
        limit, seen, bad = self.config.read.max_error_share, 0, []
        sources = self.config.read.sources
        for source in sources:
            for row in islice(readers.read_source(source), source.limit or ROWS):
                seen += 1
                bad += [f"{row.where}: {row.error}"] if row.error else []
        if bad or (sources and not seen):
            text = (
                f"{len(bad)} of the first {seen} rows are bad (read.max_error_share={limit}); the "
                f"first: {(bad or ['no rows'])[0]}; see `raytune-agents read --explain PATH`"
            )
            stops = len(bad) > limit * seen or not seen
            raise ConfigError(text) if stops else CheckWarning(text)
        config, lengths = with_max_length(self.config)
        read = f"{seen} rows read" if sources else "no sources: every row is generated"
        return f"{read}; {lengths.describe(config.model.max_length)}"

    def placement(self) -> str:
        """Raises ConfigError where the cluster has not what the config asks for, or a node has
        another lock, run folder or model than the driver."""
        placed, own = self.context.placement, versions()
        for arm in self.config.train.arms.values():
            placed.train(self.config.train.of(arm))
        known = (f"{k} {own[k]}" for k in ("python", "ray", "torch", "trl") if k in own)
        return "; ".join([*placed.lines(), ", ".join(known)])

    def room(self) -> str:
        """Raises ConfigError where the run will not fit the disk; doubts where, by the estimate, it
        will not fit the memory that is free now."""
        wanted = sum(self.plan.disk.values())
        free = shutil.disk_usage(self.context.run.folder).free / 2**30
        if wanted > free:
            raise ConfigError(
                f"runs_dir={self.config.runs_dir!r} has {free:.1f} GiB free, the run takes about "
                f"{wanted:.1f}; write another runs_dir, or fewer tune.num_samples"
            )
        # Engine and training stand in memory together: an engine stays warm between steps.
        held = sum(sum(parts.values()) for parts in self.plan.memory.values())
        have = psutil.virtual_memory().available / 2**30
        if held > have and not self.context.resources.gpus:
            raise CheckWarning(
                f"{have:.1f} GiB of memory are free, engine and training take about {held:.1f}; "
                "write a smaller model, train.max_tokens_per_forward or engine.kv_cache_gib"
            )
        return f"{wanted:.2f} of {free:.0f} GiB disk, {held:.1f} of {have:.0f} GiB memory"

    def prompts(self) -> str:
        """Raises ConfigError where a method trains on other prompts than the engine is asked, or
        the template does not give right answers back."""
        chat, train = self.context.chat, self.config.train
        rows = {r.id: r for r in self.plan.sample.split("train")}
        for arm in train.arms.values():
            recipe = methods.Recipe(arm.method, train.of(arm), chat)
            pairs = recipe.pairs(rows)
            mine = [r for r in (rows[i] for i in pairs or rows) if self.fits(r)][:TRAINED]
            made, _ = methods.build_columns(arm.method, mine, chat, recipe.config, pairs)
            shared = {i: pair.shared for i, pair in (pairs or {}).items()}
            validate_data.parity(recipe, rows, made, shared)
        share = self.config.read.max_error_share
        back = validate_data.gold_comes_back(rows.values(), chat, share)
        return f"{len(train.arms)} arms train on the prompts that the engine is asked; {back}"

    def answer(self) -> str:
        """Raises ConfigError where the engine answers nothing."""
        self.context.start_engine()
        chat, row = self.context.chat, self.rows(1)[0]
        limit = self.config.negatives.max_tokens or PROBE_TOKENS
        sampling = client.Sampling(limit, tools=chat.tools_text(row))
        (reply,) = client.ask([chat.prompt_ids(row)], [sampling])
        if isinstance(reply, client.Lost):
            raise client.EngineDown(reply.why)
        if not reply.output_tokens[0]:
            raise ConfigError(f"model.name={self.config.model.name!r} answers nothing")
        return f"{reply.output_tokens[0]} tokens in {reply.latency_s:.1f} s: {reply.texts[0]!r:.60}"

    def training(self) -> str:
        """One step of supervised fine-tuning with the first arm's options, on its workers. Raises
        what training raises."""
        from raytune_agents.train import worker

        context, train = self.context, self.config.train
        context.free_gpu(context.placement.train_workers)
        config = context.placement.train(train.of(next(iter(train.arms.values()))))
        config = config.model_copy(update={"max_steps": 1, "save_steps": 1} | UNWATCHED)
        made, _ = methods.build_columns("sft", self.rows(TRAINED), context.chat, config, None)
        with tempfile.TemporaryDirectory(dir=context.run.folder) as folder:
            out = Path(folder)
            write_columns(out / "columns" / "rows-00000.arrow", made)
            job = job_of(context, config, "sft", out / "columns", out)
            worker.run_training(job, "doctor", out / "ray", context.resources.gpus > 0)
            found = read_jsonl(out / METRICS)[-1]
        return f"loss {found['loss']:.3f}, {found['peak_memory_mib'] / 1024:.1f} GiB"
