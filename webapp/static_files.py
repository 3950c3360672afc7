"""The page's own files as they are served: style sheets joined, all compressed, with a version of all contents."""

import gzip
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import msgspec

STATIC = Path(__file__).parent / "static"
TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".ts": "text/plain",
}
MIN_COMPRESSED = 200  # bytes; below, the headers and the block of gzip outweigh the gain
_LOOK_SECONDS = 1.0  # a developer's change is seen by then, and a visit of many files looks once

_IMPORT = re.compile(r'^@import "([^"]+)";$', re.MULTILINE)


class Served(msgspec.Struct, frozen=True):
    """A file's body, and the same compressed where that is smaller."""

    body: bytes
    compressed: bytes | None
    etag: str


def serve(body: bytes) -> Served:
    """Return a body ready to be sent."""
    compressed = gzip.compress(body, 9, mtime=0) if len(body) >= MIN_COMPRESSED else body
    etag = hashlib.sha256(body).hexdigest()[:24]
    return Served(body, compressed if len(compressed) < len(body) else None, etag)


class StaticFiles:
    """The files of a directory, which are read again when one of them has changed."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._clock = clock
        self._looked_at = float("-inf")
        self._seen: dict[str, tuple[int, int]] = {}
        self._served: dict[str, Served] = {}
        self._version = ""

    def version(self) -> str:
        """Return a text that changes with the content of any of the files."""
        now = self._clock()
        if now - self._looked_at >= _LOOK_SECONDS:
            seen = dict(sorted(self._look(self._directory)))
            if seen != self._seen:
                self._version, self._served, self._seen = self._hash(seen), {}, seen
            self._looked_at = now
        return self._version

    def get(self, name: str) -> Served | None:
        """Return a file by its path relative to the directory, None if there is no such file."""
        self.version()
        if name not in self._seen:
            return None
        found = self._served.get(name)
        if found is None:
            found = self._served[name] = serve(self._read(name))
        return found

    def _look(self, directory: Path) -> Iterator[tuple[str, tuple[int, int]]]:
        for entry in os.scandir(directory):
            if entry.is_dir(follow_symlinks=False):
                yield from self._look(Path(entry.path))
            elif os.path.splitext(entry.name)[1] in TYPES:
                stat = entry.stat()
                yield Path(entry.path).relative_to(self._directory).as_posix(), (stat.st_mtime_ns, stat.st_size)

    def _hash(self, names: dict[str, tuple[int, int]]) -> str:
        total = hashlib.sha256()
        for name in names:
            content = (self._directory / name).read_bytes()
            total.update(f"{name}\0{len(content)}\0".encode() + content)
        return total.hexdigest()

    def _read(self, name: str) -> bytes:
        path = self._directory / name
        return joined(path).encode() if path.suffix == ".css" else path.read_bytes()


def joined(sheet: Path) -> str:
    """Return a style sheet with the ones that it imports in their places: one request instead of one for each."""
    return _IMPORT.sub(lambda found: (sheet.parent / found[1]).read_text("utf-8"), sheet.read_text("utf-8"))


@cache
def page_files() -> StaticFiles:
    """Return the files of this package."""
    return StaticFiles(STATIC)
