"""The web processes of one gunicorn, which ask each other for their metrics: a scrape reaches any one of them.

Each process holds the lowest free place, 0, 1, …, by a lock that the kernel frees with the process, and answers at a
Unix socket named after its place. The place is a label of its metrics. So the label takes few values, and the series of
a process that replaces a dead one begin at zero again, which Prometheus takes for a restart.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import gevent
from gevent import socket
from gevent.server import StreamServer
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from millrace.worker.observability.logs import get_logger
from millrace.worker.observability.shared_metrics import decode, encode

ANSWER_SECONDS = 1.0  # a sibling that has not answered by then is counted as silent
_MAX_REQUEST_BYTES = 16
_PREFIX = "millrace-web-"
_NEW_SECONDS = 60.0  # a directory that is younger may not be locked yet

_log = get_logger(__name__)


@dataclass(frozen=True)
class FromSiblings:
    """The metrics of the siblings that have answered, by their places, and how many live ones have not."""

    metrics: Mapping[str, list[Metric]]
    silent: int


class Siblings:
    """This process among those of its gunicorn.

    `directory` is the gunicorn's own, made before it forks. `registries` returns the registries of this process's
    mounts by their serial numbers, which are the same in every sibling.
    """

    def __init__(self, directory: Path, registries: Callable[[], Mapping[int, CollectorRegistry]]) -> None:
        self.place = "0"
        self._directory = directory
        self._registries = registries
        self._locks: list[int] = []
        self._server: StreamServer | None = None

    def start(self) -> None:
        """Take a place and answer the siblings; without the directory this process is alone, which is logged."""
        try:
            # tmpfiles.d(5) leaves a directory alone that is locked, however old it is.
            self._locks.append(lock(self._directory, os.O_RDONLY, fcntl.LOCK_SH))
            self.place = next(place for place in map(str, count()) if self._take(place))
            path = self._socket_of(self.place)
            path.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
            listener.listen()
            self._server = StreamServer(listener, self._answer)
            self._server.start()
        except OSError as error:
            _log.warning("siblings_unavailable", error=error)

    def stop(self) -> None:
        """Answer no more, and free the place."""
        if self._server is not None:
            self._server.stop()
            self._socket_of(self.place).unlink(missing_ok=True)
        for lock in self._locks:
            os.close(lock)
        self._locks, self._server = [], None

    def collect(self, serial: int) -> FromSiblings:
        """Return the metrics of one mount in every sibling but this one, within a second."""
        paths = [path for path in sorted(self._directory.glob("*.sock")) if path.stem != self.place]
        questions = [gevent.spawn(_ask, path, serial) for path in paths]
        gevent.joinall(questions, ANSWER_SECONDS)
        silent = sum(not each.ready() for each in questions)
        gevent.killall(questions)
        found = {path.stem: each.value for path, each in zip(paths, questions, strict=True)}
        return FromSiblings({place: value for place, value in found.items() if isinstance(value, list)}, silent)

    def _take(self, place: str) -> bool:
        try:
            self._locks.append(lock(self._directory / f"{place}.lock", os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX))
        except BlockingIOError:
            return False
        return True

    def _socket_of(self, place: str) -> Path:
        return self._directory / f"{place}.sock"

    def _answer(self, connection: Any, _: Any) -> None:
        connection.settimeout(ANSWER_SECONDS)
        with suppress(OSError):  # the sibling has left, or takes nothing
            serial = connection.recv(_MAX_REQUEST_BYTES)
            registry = self._registries().get(int(serial)) if serial.isdigit() else None
            if registry is not None:
                connection.sendall(encode(registry).encode("utf-8"))


def _ask(path: Path, serial: int) -> list[Metric] | None:
    """Return a sibling's metrics; None for one that is gone, or that serves no such mount."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(str(serial).encode("ascii"))
            parts: list[bytes] = []
            while part := connection.recv(1 << 16):
                parts.append(part)
        return decode(b"".join(parts))
    except (OSError, TypeError, ValueError):
        return None


def make_directory() -> Path | None:
    """Make the directory of a gunicorn's processes; None if the machine has no place for it.

    Removes those of gunicorns that were killed with all their processes: no process holds a lock on them.
    """
    try:
        directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
        lock(directory, os.O_RDONLY, fcntl.LOCK_SH)  # held by this process and, after the fork, by its children
        _remove_abandoned(directory)
    except OSError as error:
        _log.warning("siblings_unavailable", error=error)
        return None
    return directory


def _remove_abandoned(own: Path) -> None:
    for path in own.parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another user's, or in use
            if own.stat().st_mtime - path.stat().st_mtime > _NEW_SECONDS:
                descriptor = lock(path, os.O_RDONLY, fcntl.LOCK_EX)
                shutil.rmtree(path, ignore_errors=True)
                os.close(descriptor)


def lock(path: Path, flags: int, mode: int) -> int:
    """Lock a file or directory until the returned descriptor is closed; raises OSError where another holds it."""
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
