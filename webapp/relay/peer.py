"""A reader at the other end of a socket: a descriptor, a cursor, the unsent rest and its watchers. No greenlet."""

import _socket
import errno
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

import gevent

from webapp.relay.frames import HEARTBEAT_CHUNK, TERMINATOR, Frame, chunked
from webapp.relay.reader import Reader, Why
from worker.contract.ids import Cursor

_READABLE, _WRITABLE = 1, 2
_FOREIGN_BYTES = 64 * 1024  # what a client may send while it follows; pipelined requests are never answered
_SEND_BUFFER = 64 * 1024  # the kernel doubles it; small, because heartbeats fit a vanished peer's buffer for minutes
_VANISHED_MS = 30_000


class Watcher(Protocol):
    """What gevent's loop gives for a descriptor."""

    def start(self, callback: Any, /) -> None: ...
    def stop(self) -> None: ...
    def close(self) -> None: ...


def _watch(descriptor: int, events: int) -> Watcher:
    hub: Any = gevent.get_hub()
    return hub.loop.io(descriptor, events)


def prepare(sock: _socket.socket) -> None:
    """Bound the send buffer, and have the kernel give up on a peer that acknowledges nothing for 30 s."""
    with suppress(OSError):  # the peer may have gone; the first send tells
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _VANISHED_MS)


class SocketReader(Reader):
    """A reader whose frames are written straight to its non-blocking socket, by whoever has frames for it.

    Its callbacks run in gevent's hub and therefore neither block nor switch.
    """

    __slots__ = ("_ending", "_foreign", "_readable", "_rest", "_send", "_sock", "_writable")

    def __init__(self, generation: str, cursor: Cursor, sock: _socket.socket) -> None:
        super().__init__(generation, cursor)
        self._sock = sock
        self._send = sock.send
        self._rest: memoryview | bytes = b""
        self._ending: tuple[Why, bytes] | None = None
        self._foreign = 0
        self._writable: Watcher | None = None
        self._readable = _watch(sock.fileno(), _READABLE)
        self._readable.start(self._heard)

    def take(self, frames: Sequence[Frame], payload: bytes) -> int:
        """Send the frames; keep the unsent rest of the one that was cut, leave those after it."""
        if self.is_full or self.ended_because:
            return 0
        sent = self._push(payload)
        if sent == len(payload):
            self._took(frames, len(frames))
            if frames[-1].is_done:
                self.finish("done")
            return len(frames)
        if self.ended_because:
            return 0
        count = 0
        while sent > 0:
            chunk = frames[count].chunk
            if sent < len(chunk):
                self._rest = memoryview(chunk)[sent:]
            sent -= len(chunk)
            count += 1
        self._took(frames, count)
        if count and frames[count - 1].is_done:
            self._ending = ("done", TERMINATOR)
        self._wait_for_room()
        return count

    def finish(self, why: Why, last_words: bytes = b"") -> None:
        """End the chunked body cleanly once the rest is out, and close."""
        if self.ended_because or self._ending:
            return
        self._ending = (why, chunked(last_words) + TERMINATOR if last_words else TERMINATOR)
        if not self.is_full:
            self._write_ending(*self._ending)

    def close(self, why: Why) -> None:
        """Close the watchers, then the descriptor: the other way round the loop would watch somebody else's."""
        if self.ended_because:
            return
        self.ended_because = why
        for watcher in (self._readable, self._writable):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._writable = None
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self._rest = b""
        self.on_gone(self)

    def beat(self) -> None:
        """Send a heartbeat, unless a frame is half sent."""
        if not self.is_full and not self.ended_because:
            sent = self._push(HEARTBEAT_CHUNK)
            if 0 < sent < len(HEARTBEAT_CHUNK):
                self._rest = HEARTBEAT_CHUNK[sent:]
                self._wait_for_room()

    def _push(self, payload: bytes | memoryview) -> int:
        try:
            sent = self._send(payload)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self.close("stalled" if error.errno == errno.ETIMEDOUT else "client_left")
            return 0
        self.sent += sent
        return sent

    def _wait_for_room(self) -> None:
        self.is_full = True
        self.full_since = time.monotonic()
        self._writable = _watch(self._sock.fileno(), _WRITABLE)
        self._writable.start(self._drained)

    def _drained(self) -> None:
        if self._rest:
            sent = self._push(self._rest)
            if self.ended_because:
                return
            if sent:
                self.full_since = time.monotonic()
            self._rest = self._rest[sent:]
            if self._rest:
                return
        if self._ending is not None:
            self._write_ending(*self._ending)
            return
        self._drop_writable()
        self.is_full = False
        self.on_room(self)

    def _write_ending(self, why: Why, closing: bytes) -> None:
        sent = self._push(closing)
        if self.ended_because:
            return
        if sent == len(closing):
            self.close(why)
            return
        self._ending = (why, closing[sent:])
        if not self.is_full:
            self._wait_for_room()

    def _drop_writable(self) -> None:
        if self._writable is not None:
            self._writable.stop()
            self._writable.close()
            self._writable = None

    def _heard(self) -> None:
        try:
            part = self._sock.recv(4096)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self.close("stalled" if error.errno == errno.ETIMEDOUT else "client_left")
            return
        self._foreign += len(part)
        if not part or self._foreign > _FOREIGN_BYTES:
            self.close("client_left")
