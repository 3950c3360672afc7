"""Images that models have made, as files in a directory that both tiers share: a folder for each generation.

An image's name is a hash of its bytes, so that it never changes and saving it again changes nothing.
"""

import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryFile
from typing import TypeVar, cast, get_args

import gevent

from millrace.worker.contract.events import ImageFormat, ImageReference
from millrace.worker.contract.ids import is_generation, is_id

_BEGINNINGS: tuple[tuple[ImageFormat, bytes], ...] = (
    ("png", b"\x89PNG\r\n\x1a\n"),
    ("jpeg", b"\xff\xd8\xff"),
    ("gif", b"GIF87a"),
    ("gif", b"GIF89a"),
)
_RIFF_BYTES = 12  # `RIFF`, a size of four bytes, `WEBP`

T = TypeVar("T")


def format_of(data: bytes) -> ImageFormat | None:
    """Return an image's format by its first bytes, None if it is none of those that browsers show safely."""
    if data[:4] == b"RIFF" and data[8:_RIFF_BYTES] == b"WEBP":
        return "webp"
    return next((known for known, beginning in _BEGINNINGS if data.startswith(beginning)), None)


class ImageFiles:
    """The images in one directory; without one, there are none. Each method raises OSError."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory) if directory else None

    @property
    def is_on(self) -> bool:
        """Whether images are kept."""
        return self._directory is not None

    def save(self, generation: str, data: bytes, known: ImageFormat) -> ImageReference:
        """Save an image of this format, whole or not at all."""
        image = ImageReference(sha256(data).hexdigest()[:32], known, len(data))
        folder = self._folder(generation)
        _in_thread(lambda: _write(folder, f"{image.id}.{known}", data))
        return image

    def read(self, generation: str, image: str) -> tuple[ImageFormat, bytes] | None:
        """Return an image's format and bytes, None if there is no such image."""
        if self._directory is None or not is_generation(generation) or not is_id(image):
            return None
        folder = self._folder(generation)
        return _in_thread(lambda: _read(folder, image))

    def delete(self, generations: Iterable[str]) -> None:
        """Delete all images of these generations; those of the others are deleted even if one fails."""
        if self._directory is not None:
            folders = [self._folder(each) for each in generations if is_generation(each)]
            _in_thread(lambda: _delete(folders))

    def find_old(self, seconds: float) -> list[str]:
        """Return the generations whose newest image was saved longer ago than this."""
        if self._directory is None:
            return []
        directory = self._directory
        return _in_thread(lambda: [name for name, age in _ages(directory) if age > seconds])

    def _folder(self, generation: str) -> Path:
        assert self._directory is not None
        return self._directory / generation


def _in_thread(work: Callable[[], T]) -> T:
    """Return the result of work in a thread: a slow disk must not hold up the other greenlets."""
    result, error = cast("tuple[T, BaseException | None]", gevent.get_hub().threadpool.apply(_caught, (work,)))
    if error is not None:
        raise error
    return result


def _caught(work: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    """Return an error instead of raising it: gevent's thread pool would print its traceback."""
    try:
        return work(), None
    except BaseException as error:  # noqa: BLE001 - raised again by the waiting greenlet
        return None, error


def _write(folder: Path, name: str, data: bytes) -> None:
    folder.mkdir(mode=0o770, exist_ok=True)
    unfinished = folder / f".{name}.{token_hex(4)}"
    try:
        with open(unfinished, "xb", opener=_for_group) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # otherwise an empty file may remain after a power failure
        unfinished.replace(folder / name)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _for_group(path: str, flags: int) -> int:
    # The two tiers may be different users of one group; the process's umask decides.
    return os.open(path, flags, 0o660)


def _read(folder: Path, image: str) -> tuple[ImageFormat, bytes] | None:
    for known in get_args(ImageFormat):
        with suppress(FileNotFoundError):
            return known, (folder / f"{image}.{known}").read_bytes()
    return None


def _delete(folders: list[Path]) -> None:
    failures: list[OSError] = []
    for folder in folders:
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            pass
        except OSError as error:
            failures.append(error)
    if failures:
        raise failures[0]


def _ages(directory: Path) -> list[tuple[str, float]]:
    """Return the folders of generations, each with the seconds since its last change; anything else is not ours.

    They go by the clock of the file system, which several machines may share: that of a file which is written now.
    """
    with TemporaryFile(dir=directory) as file, os.scandir(directory) as entries:
        now = os.fstat(file.fileno()).st_mtime
        return [(each.name, now - each.stat().st_mtime) for each in entries if is_generation(each.name)]
