"""A run folder on `s3://` or `gs://`: a local copy that every finished step is sent from.

`runs_dir: s3://bucket/runs` works in a folder of the user's cache. A run begins by fetching what
the store has; a step that ends is sent, its manifest last and its old manifest removed first, so
the store never has a manifest over other files than its own. An unfinished step is not sent:
another machine begins it anew, the same one goes on with it. Workers write into the run folder, so
runs of several nodes need a folder that all of them share."""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from raytune_agents.config import Config, ConfigError
from raytune_agents.models import cache_dir
from raytune_agents.storage import PARTIAL, whole_file

LAST = "manifest.json"
SKIPPED = ("/ray/", PARTIAL, "run.lock")  # what belongs to this machine alone


def is_remote(runs_dir: str) -> bool:
    return "://" in runs_dir


def local_folder(runs_dir: str) -> Path:
    """Where runs of `runs_dir` lie on this machine."""
    if not is_remote(runs_dir):
        try:
            return Path(runs_dir).expanduser().resolve()
        except (RuntimeError, ValueError, OSError) as error:  # ~nobody, a null byte
            raise ConfigError(f"runs_dir={runs_dir!r}: {error}; write a folder") from None
    words = re.sub(r"\W+", "-", runs_dir.split("?")[0].rpartition("@")[2])[-60:].strip("-")
    return cache_dir() / "runs" / f"{words}-{hashlib.sha256(runs_dir.encode()).hexdigest()[:8]}"


def folder_of_run(config: Config) -> Path:
    """The folder of the config's run on this machine."""
    return local_folder(config.runs_dir) / config.name


def manifests_last(name: str) -> tuple[bool, int, str]:
    """Orders data before manifests, and an arm's manifest before its step's."""
    return name.endswith(LAST), -name.count("/"), name


@dataclass
class Mirror:
    """One run's folder here and there."""

    folder: Path
    url: str

    @cached_property
    def store(self) -> tuple[Any, str]:
        """pyarrow's file system and the path in it. Raises ConfigError."""
        from pyarrow import fs

        try:
            return fs.FileSystem.from_uri(self.url)
        except (ValueError, OSError) as error:
            raise ConfigError(
                f"runs_dir={self.url!r} cannot be written ({error}); write a folder, s3:// or gs://"
            ) from None

    def there(self, part: str = "") -> dict[str, int]:
        """Size of every file of the run (or of its folder `part`) in the store, by its path."""
        from pyarrow import fs

        system, root = self.store
        chosen = fs.FileSelector(f"{root}/{part}".rstrip("/"), allow_not_found=True, recursive=True)
        found = system.get_file_info(chosen)
        files = (f for f in found if f.type == fs.FileType.File)
        return {f.path.removeprefix(root).lstrip("/"): f.size for f in files}

    def pull(self) -> None:
        """Fetch the finished steps (and arms) that this machine has not, or has another version
        of, and the files of the run itself."""
        there, seen = self.there(), []
        parts = {name.rpartition("/")[0] for name in there if name.endswith(f"/{LAST}")}
        for part in sorted(parts, key=lambda p: (p.count("/"), p)):
            if any(part.startswith(f"{done}/") for done in seen):
                continue  # an arm of a finished step
            seen.append(part)
            if self.same(f"{part}/{LAST}"):
                continue
            shutil.rmtree(self.folder / part, ignore_errors=True)
            inside = [name for name in there if name.startswith(f"{part}/")]
            for name in sorted(inside, key=manifests_last):
                self.fetch(name)
        for name in there:
            if "/" not in name and not (self.folder / name).exists():
                self.fetch(name)

    def same(self, name: str) -> bool:
        """Whether the file here is the one in the store."""
        system, root = self.store
        if not (self.folder / name).is_file():
            return False
        with system.open_input_stream(f"{root}/{name}") as source:
            return source.read() == (self.folder / name).read_bytes()

    def fetch(self, name: str) -> None:
        """One file, whole or not at all."""
        from pyarrow import fs

        system, root = self.store
        with whole_file(self.folder / name) as work:
            fs.copy_files(f"{root}/{name}", str(work), system, fs.LocalFileSystem())

    def push(self, part: str) -> None:
        """Send folder `part` of a finished step, its manifest last, and the run's own files. Raises
        OSError."""
        system, root = self.store
        own, here = self.folder / part, [f for f in self.folder.iterdir() if f.is_file()]
        inside = [f for f in own.rglob("*") if f.is_file()]
        names = [f.relative_to(self.folder).as_posix() for f in (*inside, *here)]
        names = [name for name in names if not any(word in name for word in SKIPPED)]
        for name in sorted(self.there(part), key=manifests_last, reverse=True):
            if name.endswith(LAST) or name not in names:
                system.delete_file(f"{root}/{name}")
        for name in sorted(names, key=manifests_last):
            self.send(name)

    def send(self, name: str) -> None:
        """Send one file; a store shows it whole or not at all."""
        from pyarrow import fs

        system, root = self.store
        system.create_dir(f"{root}/{name}".rpartition("/")[0])
        fs.copy_files(str(self.folder / name), f"{root}/{name}", fs.LocalFileSystem(), system)
