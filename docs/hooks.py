"""What mkdocs adds to the pages of this folder: the options, and files of the repository that have
their place elsewhere. Links are written as they are right in the repository."""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]  # for the next line: mkdocs takes them out again
from options import options_page  # noqa: E402

MOVED = {  # file of the repository -> where it lies in the site
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "cluster/README.md": "clusters.md",
}
PICTURES = (".png", ".svg")
LINK = re.compile(r"(?<=\]\()[^)#\s:]+(?=[)#])")


def on_files(files: Files, config: Any) -> Files:
    """Add the generated page, the moved ones, and the figures of benchmarks/results."""
    files.append(File.generated(config, "options.md", content=options_page()))
    results = ROOT / "benchmarks" / "results"
    figures = (p for p in results.rglob("*") if p.suffix in PICTURES or p.suffix == ".md")
    moved = {ROOT / source: page for source, page in MOVED.items()}
    moved |= {path: site_path(path) for path in figures}
    for path, page in moved.items():
        files.append(File.generated(config, page, abs_src_path=str(path)))
    return files


def site_path(path: Path) -> str:
    """Where a file of the repository lies in the site."""
    name = path.relative_to(ROOT).as_posix()
    return MOVED.get(name, name.removeprefix("docs/"))


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links relative to the file's own place in the repository -> to its place in the site."""
    back = {place: source for source, place in MOVED.items()}
    here = page.file.src_uri
    source = back.get(here, here if here.startswith("benchmarks/") else f"docs/{here}")

    def moved(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), found[0]))
        return posixpath.relpath(site_path(ROOT / target), posixpath.dirname(here) or ".")

    return LINK.sub(moved, markdown)
