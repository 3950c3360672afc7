"""What comes in on a socket, read in bulk by the loop's own callback: no greenlet is switched to for it.

A greenlet that waits in `recv` costs a refused `recv`, a timeout, two switches and two changes of epoll for each
message that comes alone; that is as much as writing it to twenty readers.
"""

import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import gevent

_READABLE = 1
_RECEIVE_BYTES = 64 * 1024
# Reads that follow each other so soon are held apart by a pause: each then brings many messages, which costs half as
# much as one by one, and everybody else has a turn. A message that comes alone never waits.
_BUSY_SECONDS = 0.004
_PAUSE_SECONDS = 0.002
_NOTHING_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class BulkReader:
    """Reads from a gevent socket, plain or TLS, until it is stopped or ends.

    `take(buffer, count)` gets what one read has brought; it runs in gevent's hub, and neither blocks nor switches.
    `on_end` is called once, with what `take` or the socket has raised; ConnectionError where the other side has closed.
    """

    def __init__(self, sock: Any, take: Callable[[bytearray, int], None], on_end: Callable[[Exception], None]) -> None:
        loop: Any = gevent.get_hub().loop
        self.read_at = time.monotonic()
        tls = getattr(sock, "_sslobj", None)
        # What is below gevent's socket says at once that there is nothing to be read.
        self._receive: Callable[[bytearray], int] = sock._sock.recv_into if tls is None else partial(_decrypt, tls)  # noqa: SLF001
        self._take = take
        self._on_end = on_end
        self._buffer = bytearray(_RECEIVE_BYTES)
        self._watcher = loop.io(sock.fileno(), _READABLE)
        self._pause = loop.timer(_PAUSE_SECONDS, _PAUSE_SECONDS)
        self._watcher.start(self._read)

    def stop(self) -> None:
        """Read no more; to be called before the socket is closed."""
        for watcher in (self._watcher, self._pause):
            watcher.stop()
            watcher.close()

    def _read(self) -> None:
        try:
            count = self._receive(self._buffer)
            if not count:
                raise ConnectionError("closed by the other side")
            self._take(self._buffer, count)
        except _NOTHING_YET:
            return
        except Exception as error:  # noqa: BLE001 - the edge: who waits for the end is told whatever has come in between
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
        self._read()  # of what TLS has decrypted already the descriptor says nothing


def _decrypt(tls: Any, buffer: bytearray) -> int:
    """Fill the buffer as far as there is something; it comes record by record."""
    room, count = memoryview(buffer), 0
    try:
        while count < len(buffer) and (brought := tls.read(len(buffer) - count, room[count:])):
            count += brought
    except ssl.SSLError:  # nothing more for now, or an end, which the next read meets again
        if not count:
            raise
    return count
