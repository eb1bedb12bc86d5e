"""Answers kept on disk by content: what was asked once is never asked, or paid for, again.

One small JSON file per answer, written whole or not at all, so that any number of processes may
share the folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from raytune_agents.models import cache_dir
from raytune_agents.records import JsonObject, content_hash
from raytune_agents.storage import write_text


def key_of(*parts: Any) -> str:
    """The name of an answer: a hash of the model with its revision, the prompt, the sampling."""
    return content_hash(list(parts), 40)


class Answers:
    """A folder of answers; none at all where `folder` is None."""

    def __init__(self, folder: Path | None):
        self.folder = folder

    @classmethod
    def of_user(cls, on: bool = True) -> Answers:
        """The user's own folder, or none."""
        return cls(cache_dir() / "answers" if on else None)

    def path(self, key: str) -> Path:
        """The file of an answer; asked only where there is a folder."""
        # 256 folders: one with a million files is slow to open.
        return self.folder / key[:2] / f"{key}.json"  # type: ignore[operator]

    def get(self, key: str) -> JsonObject | None:
        """The kept answer, or None; a broken file counts as none."""
        if self.folder is None:
            return None
        try:
            return json.loads(self.path(key).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None

    def put(self, key: str, value: JsonObject) -> None:
        """Keep an answer."""
        if self.folder is None:
            return
        write_text(self.path(key), json.dumps(value, ensure_ascii=False))
