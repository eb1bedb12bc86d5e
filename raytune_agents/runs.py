"""The run folder: where a step writes, when it is done, and how its rows are accounted for.

A step writes Parquet and `metrics.jsonl` under `runs/NAME/STEP/`, and `manifest.json` last. The
manifest holds the step's key: the hash of what of the config decides its output, of the files
outside the run that it reads, of its inputs and of the code. A step whose key matches and whose
files are all there, whole, is skipped; a folder with another key is cleared; one with the same
key and no manifest is gone on with, shard by shard. One process at a time has a run (run.lock)."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass

from raytune_agents.config import Config, ConfigError
from raytune_agents.config.base import json_values
from raytune_agents.infra.provenance import (
    FileMark,
    code_revision,
    commit,
    hardware,
    marks,
    versions,
)
from raytune_agents.infra.run_lock import LOCK, locked
from raytune_agents.mirror import Mirror, folder_of_run, is_remote
from raytune_agents.records import JsonObject, content_hash
from raytune_agents.storage import (
    PARTIAL,
    append_jsonl,
    files_below,
    newest_write,
    read_json,
    write_json,
    write_table,
)

log = logging.getLogger(__name__)
STEPS = ("read", "generate", "label", "mix", "train", "evaluate", "tune", "report")
COLUMNS = "columns"  # folder of a run: rows as the methods train them, by what decides them
ANSWERS = "answers"  # folder of a run: what was answered, by what decides it
MANIFEST, STARTED, METRICS = "manifest.json", "started.json", "metrics.jsonl"
DATA = (".parquet", ".safetensors", "quarantine.jsonl")  # files that the next step may read
RESULTS = (*DATA, ".json", ".jsonl", ".csv", ".yaml", ".html")  # files that must stay as they are
CHECKED_BYTES = 1 << 28  # a larger file of a finished step is read again only if its times changed


def steps_named(words: Iterable[str]) -> tuple[str, ...]:
    """The steps of these names, in their order. Raises ConfigError for a name of none."""
    wanted = {word.strip() for word in words}
    if unknown := sorted(wanted.difference(STEPS)):
        raise ConfigError(f"steps: no step {unknown[0]!r}; write {','.join(STEPS)}")
    return tuple(name for name in STEPS if name in wanted)


class RowsLost(RuntimeError):
    """A step whose rows do not add up: in is not out + rejected + failed."""


class BadLoss(RuntimeError):
    """Training whose loss is not a number or explodes; the message names step and rows."""


class OutOfMemory(BadLoss):
    """Training that does not fit the memory with one row in a forward pass; not tried again."""


@pydantic_dataclass(config=ConfigDict(validate_by_name=True, serialize_by_alias=True))
class Counts:
    """rows_in = rows_out + rejected + failed, by reason; JSON has them as in, out, rejected and
    failed."""

    rows_in: Annotated[int, Field(alias="in")] = 0
    rows_out: Annotated[int, Field(alias="out")] = 0
    rejected: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    def add(self, kept: int, lost: Mapping[str, int], stage: str) -> None:
        """More rows: those that came out of a stage, and those that it rejected, by reason."""
        self.rows_in += kept + sum(lost.values())
        self.rows_out += kept
        self.rejected.update({f"{stage}:{why}": n for why, n in lost.items()})

    def settled(self, step: str) -> Counts:
        """Themselves, for the manifest. Raises RowsLost where they do not add up."""
        lost = self.rows_in - self.rows_out - self.rejected.total() - self.failed.total()
        if lost:
            raise RowsLost(
                f"{step}: {self.rows_in} rows in, {self.rows_out} out, {self.rejected.total()} "
                f"rejected, {self.failed.total()} failed: {lost} unaccounted for"
            )
        return self

    def line(self) -> str:
        return (
            f"in {self.rows_in} = out {self.rows_out} + rejected {self.rejected.total()}"
            f" + failed {self.failed.total()}"
        )


class Started(BaseModel):
    """When a step began, in seconds since 1970, and for how many no process was at it."""

    started: float
    idle: float = 0.0


class Manifest(BaseModel):
    """What a finished step says of itself. What else it says stands beside the fields: `notes`."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    step: str
    key: str
    config: JsonObject  # the sections that the step was given, by name
    content: dict[str, FileMark] = {}  # files outside the run that it read
    inputs: dict[str, str]  # step -> its `outputs`
    seed: int
    revision: str
    commit: str
    rows: Counts
    started: float
    finished: float
    seconds: float
    versions: dict[str, str]
    hardware: JsonObject
    outputs: str  # hash of the names and contents of the data files
    files: dict[str, FileMark] = {}  # the step's files, by their path in its folder

    @property
    def notes(self) -> JsonObject:
        """What the step alone has: arms, funnel, pools."""
        return self.model_extra or {}

    @classmethod
    def load(cls, folder: Path) -> Manifest | None:
        """The manifest of a step's folder; None where it is absent, or cannot be read: then the
        step counts as not done."""
        path = folder / MANIFEST
        try:
            return cls.model_validate(read_json(path))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:  # ValidationError is a ValueError
            why = f"{error.error_count()} fields" if isinstance(error, ValidationError) else error
            log.warning("%s cannot be read (%s): the step counts as not done", path, why)
            return None


def output_marks(folder: Path) -> dict[str, FileMark]:
    """The marks of a step's files. Not among them: what is written while it runs (metrics, its
    start, Ray's own state), model cards, which a later step completes, and its arms' manifests."""
    found = {}
    for file in sorted(p for p in folder.rglob("*") if p.name.endswith(RESULTS) and p.is_file()):
        path = file.relative_to(folder)
        if file.name not in (MANIFEST, STARTED, METRICS) and "ray" not in path.parts:
            found[path.as_posix()] = FileMark.of(file)
    return found


def files_hash(files: Mapping[str, FileMark], ends: tuple[str, ...] = ("",)) -> str:
    """Hash of the names and contents of a finished step's files whose names end so."""
    return content_hash([[n, m.content] for n, m in sorted(files.items()) if n.endswith(ends)])


def damage(folder: Path, files: Mapping[str, FileMark]) -> str:
    """What is missing from, or differs in, the files of a finished step; "" where all is whole."""
    for name, mark in files.items():
        # A disk can lose bytes without a new time; large files are trusted to their times.
        known = mark if mark.bytes > CHECKED_BYTES else None
        try:
            now = FileMark.of(folder / name, known)
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
        if now.sha256 != mark.sha256:
            return f"{name} is not as it was written"
    return ""


def strays(folder: Path, files: Mapping[str, FileMark]) -> str:
    """Which table lies in the folder of a finished step that it did not write, and the next one
    would read; "" where there is none."""
    tables = (p for p in files_below(folder) if p.name.endswith(".parquet"))
    names = (p.relative_to(folder) for p in sorted(tables))
    added = (n.as_posix() for n in names if "ray" not in n.parts and n.as_posix() not in files)
    return next((f"{name} was added" for name in added), "")


@dataclass
class Step:
    """One step's folder inside a run."""

    name: str
    folder: Path
    config: Any  # the sections of the config that the step is given, by name
    inputs: dict[str, str]  # step -> outputs hash
    seed: int
    mirror: Mirror | None = None  # where a finished step is sent
    content: dict[str, FileMark] = field(default_factory=dict)  # files outside the run

    @cached_property
    def key(self) -> str:
        """Hash of all that decides the output."""
        outside = {name: mark.content for name, mark in self.content.items()}
        code = code_revision(views=self.name == "report")
        own = json_values(self.config, deciding=True)
        return content_hash([self.name, own, outside, self.inputs, self.seed, code])

    @property
    def config_hash(self) -> str:
        """Hash of the part of the config that decides the output; rows carry it."""
        return content_hash(json_values(self.config, deciding=True))

    @property
    def manifest(self) -> Manifest | None:
        return Manifest.load(self.folder)

    @property
    def done(self) -> bool:
        """Whether it ended with this key, and all that it wrote is there and whole."""
        manifest = self.manifest
        if manifest is None or manifest.key != self.key:
            return False
        if broken := damage(self.folder, manifest.files) or strays(self.folder, manifest.files):
            log.warning("%s: %s: the step is done again", self.folder, broken)
        return not broken

    def begin(self, clear: bool = True) -> None:
        """Keep what a killed step of the same key left; clear anything else (`clear` False: keep
        it, for a step whose parts have manifests of their own)."""
        started = self.folder / STARTED
        record: JsonObject = {}
        try:
            # Written as a step begins: this alone tells whose shards lie here.
            record = read_json(started)
            same = record["key"] == self.key and record["started"] + record.get("idle", 0.0) >= 0
        except (OSError, ValueError, TypeError, KeyError):
            same = False
        if not same or (self.folder / MANIFEST).is_file():
            if clear:
                self._clear()
            # Before the new start: beside it, an old manifest would pass for its end.
            (self.folder / MANIFEST).unlink(missing_ok=True)
            write_json(started, {"key": self.key, "started": time.time()})
        else:  # it goes on: the time from its last write until now cost nothing
            idle = time.time() - max(record["started"], newest_write(self.folder))
            write_json(started, record | {"idle": record.get("idle", 0.0) + max(0.0, idle)})
        self.clear_partial()

    def _clear(self) -> None:
        """Remove all that another step left here. Raises ConfigError where rows of it stay: they
        would pass for this one's."""
        # A user may have put the folder on another disk; only what a step wrote there is ours.
        if self.folder.is_symlink() and (self.folder / STARTED).is_file():
            for path in self.folder.iterdir():
                shutil.rmtree(path, ignore_errors=True)
                path.unlink(missing_ok=True) if not path.is_dir() else None
        shutil.rmtree(self.folder, ignore_errors=True)
        if left := next((p for p in files_below(self.folder) if p.name.endswith(DATA)), None):
            raise ConfigError(f"{left} is in the way and cannot be removed; remove it by hand")

    def clear_partial(self) -> None:
        """Remove what killed writers left."""
        for left in files_below(self.folder):
            if left.name.endswith(PARTIAL):
                left.unlink(missing_ok=True)

    def log(self, **values: Any) -> None:
        """Append one line to metrics.jsonl."""
        append_jsonl(self.folder / METRICS, values | {"time": round(time.time(), 3)})

    def finish(self, counts: Counts, seconds: float | None = None, **notes: Any) -> Manifest:
        """Write the manifest; from now on the step is done. `seconds`: what it took; none = since
        it began, without the time in which no process was at it."""
        self.clear_partial()  # of a worker that was killed and started again
        now, begun = time.time(), read_json(self.folder / STARTED, Started)
        worked = now - begun.started - begun.idle
        # Hashed now, after all is written: what changes later is damage.
        files = output_marks(self.folder)
        manifest = Manifest(
            step=self.name,
            key=self.key,
            config=json_values(self.config),
            content=self.content,
            inputs=self.inputs,
            seed=self.seed,
            revision=code_revision(),
            commit=commit(),
            # Raises before the manifest is there: a step that lost rows is not done.
            rows=counts.settled(self.name),
            started=begun.started,
            finished=now,
            # a clock may be set back
            seconds=round(max(0.0, worked), 3) if seconds is None else seconds,
            versions=versions(),
            hardware=hardware(),
            outputs=files_hash(files, DATA),
            files=files,
            **json.loads(json.dumps(notes, default=str)),
        )
        write_json(self.folder / MANIFEST, manifest.model_dump(mode="json", by_alias=True))
        if self.mirror:
            self.mirror.push(self.name)
        return manifest


@dataclass
class Run:
    """A run folder, which this process has alone until `close`."""

    folder: Path
    seed: int
    mirror: Mirror | None = None
    lock: IO[str] | None = None

    @classmethod
    def of(cls, config: Config) -> Run:
        """Take the run's folder. Raises ConfigError where it cannot be written, or another process
        has it."""
        folder, mirror = folder_of_run(config), None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = locked(folder / LOCK)
        except OSError as error:
            raise ConfigError(
                f"runs_dir={config.runs_dir!r}: {folder} cannot be written ({error.strerror}); "
                "write a folder of your own, for example runs_dir=runs"
            ) from None
        if is_remote(config.runs_dir):
            mirror = Mirror(folder, f"{config.runs_dir.rstrip('/')}/{config.name}")
            # Before this config is written: the stored one is of the run before.
            mirror.pull()
        write_json(folder / "config.json", config.model_dump(mode="json"))
        return cls(folder, config.seed, mirror, lock)

    def close(self) -> None:
        """Let another process have the run."""
        if self.lock is not None:
            self.lock.close()
            self.lock = None

    def step(
        self, name: str, config: Any, after: Iterable[str] = (), content: Iterable[Path] = ()
    ) -> Step:
        """The step, with the outputs of the steps before it as inputs, and the files outside the
        run that it reads. Raises FileNotFoundError where a step before it has not been run."""
        inputs = {}
        for other in after:
            before = Manifest.load(self.folder / other)
            if before is None:
                raise FileNotFoundError(
                    f"step {name} needs step {other} first: `raytune-agents run --steps {other}`"
                )
            # The report shows scores and figures too, which no other step reads.
            inputs[other] = files_hash(before.files) if name == "report" else before.outputs
        last = Manifest.load(self.folder / name)
        # The marks of the last time save reading what has not changed since.
        found = marks(content, last.content if last else {})
        return Step(name, self.folder / name, config, inputs, self.seed, self.mirror, content=found)


class Shards:
    """Finished parts of a long step: one Parquet file per shard, committed by rename, so that a
    killed step goes on with the unfinished ones and no row is made twice."""

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, number: int) -> Path:
        return self.folder / f"rows-{number:05d}.parquet"

    def missing(self, count: int) -> list[int]:
        """The shards that are not there whole."""
        return [k for k in range(count) if not self._whole(self.path(k))]

    def _whole(self, path: Path) -> bool:
        import pyarrow.parquet as pq

        try:
            pq.read_metadata(path)  # its end alone: the driver reads no rows of thousands of shards
        except FileNotFoundError:
            return False
        except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
            log.warning("%s cannot be read (%s): the shard is made again", path, error)
            return False
        return True

    def commit(self, number: int, table: Any) -> None:
        write_table(self.path(number), table)
