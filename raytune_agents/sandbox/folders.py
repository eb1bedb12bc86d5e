"""The folders of a sandbox, seen from outside: a tool's code copied into one, what a tool wrote
counted, and all of it removed, whatever the tool or the links beside it make of them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Container
from math import inf
from pathlib import Path

from raytune_agents.infra.provenance import local_files

CACHED = ("__pycache__", ".git", ".venv")  # folders that are no code
CACHES = shutil.ignore_patterns(*CACHED)
MOST_FILES = 20_000  # on a disk that the kernel does not limit, as on one that it does


def copy_tools(path: Path, to: Path) -> None:
    """A folder, or a file with the files beside it that it imports, into the folder `to`. Raises
    OSError."""
    if path.is_dir():

        def left_out(folder: str, names: list[str]) -> set[str]:
            kept = set(names) - CACHES(folder, names)
            for name in kept:
                _check_link(Path(folder, name), path)
            return set(names) - kept

        shutil.copytree(path, to / path.name, ignore=left_out, ignore_dangling_symlinks=True)
        return
    for file in local_files(path) or [path]:
        if file != path:
            _check_link(file, path.parent)
        copy = to / file.relative_to(path.parent)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)


def _check_link(path: Path, folder: Path) -> None:
    """Raises OSError for a link that would show a tool what is not its own, or that a copy would
    follow without end. One that leads nowhere is left out."""
    if not path.exists():
        return
    outside = not path.resolve().is_relative_to(folder.resolve())
    if outside or (path.is_symlink() and path.is_dir()):
        where = "out of its folder" if outside else "to a folder"
        raise OSError(f"{path} is a link {where}")


def size_mib(folder: Path, left_out: Container[str] = ()) -> float:
    """What the files of a folder take, as far as they are still there, one that links lead to once
    for each; infinite where they are too many to be counted again and again, or lie too deep, or
    where we may not look."""
    size, count, todo = 0, 0, [str(folder)]
    while todo:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    if entry.name in left_out:
                        continue
                    count += 1
                    if count > MOST_FILES:
                        return inf
                    with contextlib.suppress(FileNotFoundError):
                        size += entry.stat().st_size  # a copy follows links
                        todo += [entry.path] if entry.is_dir(follow_symlinks=False) else []
        except FileNotFoundError:
            continue
        except OSError:
            return inf
    return size / 2**20


def remove_folder(folder: Path) -> None:
    """A folder, however deep and whatever its modes: both are a tool's choice."""
    for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
        subprocess.run([*command, "--", str(folder)], stderr=subprocess.DEVNULL, check=False)
