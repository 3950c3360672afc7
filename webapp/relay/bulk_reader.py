"""Bulk reads from a socket in the event loop's own callback, without switching to a greenlet.

A greenlet that waits in `recv` costs a refused `recv`, a timeout, two switches and two changes of epoll for each
message that arrives alone; that is as much as writing it to twenty readers.
"""

import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import gevent

_READABLE = 1
_RECEIVE_BYTES = 64 * 1024
# Reads that follow each other this closely are separated by a pause. Each then brings many messages, which costs half
# as much as reading them one by one, and other work gets its turn. A message that arrives alone never waits.
_BUSY_SECONDS = 0.004
_PAUSE_SECONDS = 0.002
_NOTHING_TO_READ = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class BulkReader:
    """Reads from a gevent socket, plain or TLS, until it is stopped or the socket ends.

    `on_data(buffer, count)` gets the bytes of one read; it runs in gevent's hub, and neither blocks nor switches.
    `on_end` is called once, with the exception that `on_data` or the socket raised; ConnectionError on end of file.
    """

    def __init__(
        self, sock: Any, on_data: Callable[[bytearray, int], None], on_end: Callable[[Exception], None]
    ) -> None:
        loop: Any = gevent.get_hub().loop
        self.read_at = time.monotonic()
        tls = getattr(sock, "_sslobj", None)
        # The socket below gevent's raises at once when there is nothing to read.
        self._receive: Callable[[bytearray], int] = sock._sock.recv_into if tls is None else partial(_decrypt, tls)  # noqa: SLF001
        self._on_data = on_data
        self._on_end = on_end
        self._buffer = bytearray(_RECEIVE_BYTES)
        self._watcher = loop.io(sock.fileno(), _READABLE)
        self._pause = loop.timer(_PAUSE_SECONDS, _PAUSE_SECONDS)
        self._watcher.start(self._read)

    def stop(self) -> None:
        """Stop reading; must be called before the socket is closed."""
        for watcher in (self._watcher, self._pause):
            watcher.stop()
            watcher.close()

    def _read(self) -> None:
        try:
            count = self._receive(self._buffer)
            if not count:
                raise ConnectionError("closed by the other side")
            self._on_data(self._buffer, count)
        except _NOTHING_TO_READ:
            return
        except Exception as error:  # noqa: BLE001 - the edge of the callback: any failure is passed to `on_end`
            self._watcher.stop()
            self._on_end(error)
            return
        former, self.read_at = self.read_at, time.monotonic()
        if self.read_at - former < _BUSY_SECONDS or count == len(self._buffer):
            self._watcher.stop()
            self._pause.again(self._resume)

    def _resume(self) -> None:
        self._pause.stop()
        self._watcher.start(self._read)
        self._read()  # the descriptor does not signal bytes that TLS has decrypted already


def _decrypt(tls: Any, buffer: bytearray) -> int:
    """Fill the buffer with the bytes available; TLS returns them record by record."""
    room, count = memoryview(buffer), 0
    try:
        while count < len(buffer) and (received := tls.read(len(buffer) - count, room[count:])):
            count += received
    except ssl.SSLError:  # nothing more for now, or an end, which the next read meets again
        if not count:
            raise
    return count
