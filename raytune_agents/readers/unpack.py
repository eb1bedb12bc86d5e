"""A file's bytes, unpacked: local or behind a URL, plain or under gz, zst, bz2, xz; and the bounds
on what a file may become.

A few bytes of a packed file can stand for gigabytes, which would fill the disk as rows.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from pathlib import PurePosixPath
from typing import IO, Any

from raytune_agents.config import ConfigError

MAX_LINE_BYTES = 32 * 2**20  # one row; a longer one is counted and passed over, not held in memory
MAX_DOCUMENT_CHARS = 512 * 2**20  # a .json file that is one object is parsed whole
CHUNK = 2**20
SWELL, FREE_BYTES = 200, 64 * 2**20  # a packed file may swell so far; text swells 3 to 30 times
LINES = (".jsonl", ".ndjson", ".jsonlines")
PACKED = (".gz", ".zst", ".bz2", ".xz")
DATA = (*LINES, ".json", ".csv", ".tsv", ".parquet")
AS_JSON = ".traj"  # SWE-agent's


class SourceError(ConfigError):
    """A source that cannot be read at all. The message names it and says what to do."""


def file_kind(path: str) -> tuple[str, str]:
    """(data suffix, packing suffix) of a file name; "" where it has none we read."""
    name = PurePosixPath(path.split("?")[0].rstrip("/")).name.lower()
    packing = next((p for p in PACKED if name.endswith(p)), "")
    name = name.removesuffix(packing)
    if name.endswith(AS_JSON):
        return ".json", packing
    return next((d for d in DATA if name.endswith(d)), ""), packing


def filesystem(url: str) -> tuple[Any, str]:
    """fsspec's file system of a URL and the path in it; pyarrow's own for s3:// and gs:// where
    the package that fsspec wants for them is not installed. Raises OSError, ImportError,
    ValueError."""
    import fsspec

    try:
        return fsspec.core.url_to_fs(url)
    except TypeError as error:  # a system that a URL alone does not name: reference://
        raise ValueError(error) from None
    except ImportError:
        from fsspec.implementations.arrow import ArrowFSWrapper
        from pyarrow import fs

        scheme, _, path = url.partition("://")
        if scheme not in ("s3", "s3a", "gs", "gcs"):
            raise
        bucket, _, inside = path.partition("/")
        system, root = fs.FileSystem.from_uri(f"{scheme.rstrip('a')}://{bucket}")
        return ArrowFSWrapper(system), f"{root}/{inside}".rstrip("/")


def open_bytes(path: str) -> IO[bytes]:
    """The unpacked bytes of a local file or a URL. Raises SourceError."""
    try:
        if "://" in path:
            system, inside = filesystem(path)
            handle = io.BufferedReader(system.open(inside, "rb"), CHUNK)
        else:
            handle = open(path, "rb")  # noqa: SIM115
    except (OSError, ImportError, ValueError) as error:
        raise SourceError(f"{path} cannot be opened: {error}") from None
    packing = file_kind(path)[1]
    if not packing:
        return handle
    if packing == ".zst":
        import zstandard

        inner: Any = zstandard.ZstdDecompressor().stream_reader(handle)
    else:
        inner = {".gz": gzip, ".bz2": bz2, ".xz": lzma}[packing].open(handle)
    return io.BufferedReader(Bounded(inner, handle, path))


class Bounded(io.RawIOBase):
    """An unpacked stream that ends in a SourceError where the packed bytes read so far gave more
    than SWELL times as many: a packed bomb, which would fill the disk as rows."""

    def __init__(self, inner: Any, packed: IO[bytes], path: str):
        self.inner, self.packed, self.path, self.count = inner, packed, path, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.inner.read1(len(buffer))  # what is there before a cut
        buffer[: len(data)] = data
        self.count += len(data)
        if self.count > FREE_BYTES + SWELL * self.packed.tell():
            raise bomb_error(self.path)
        return len(data)

    def close(self) -> None:
        self.inner.close()
        self.packed.close()
        super().close()


def bomb_error(path: str) -> SourceError:
    return SourceError(
        f"{path} unpacks to more than {SWELL} times its size; if it is what you want, unpack it "
        "first and name the unpacked file"
    )


def damage_errors() -> tuple[type[Exception], ...]:
    """What a cut or damaged packed file raises while it is read."""
    import zstandard

    return (EOFError, OSError, zlib.error, lzma.LZMAError, zstandard.ZstdError)
