"""A reader at the other end of a socket: a descriptor, a cursor, the unsent rest and its watchers. No greenlet."""

import _socket
import errno
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

import gevent

from millrace.webapp.relay.frames import HEARTBEAT_CHUNK, TERMINATOR, Frame, chunked
from millrace.webapp.relay.reader import Reader, Why
from millrace.worker.contract.ids import Cursor

_READABLE, _WRITABLE = 1, 2
_FOREIGN_BYTES = 64 * 1024  # what a client may send while it follows; pipelined requests are never answered
_SEND_BUFFER = 64 * 1024  # the kernel doubles it; small, because heartbeats fit a vanished peer's buffer for minutes
_VANISHED_MS = 30_000


class IOWatcher(Protocol):
    """What gevent's loop gives for a descriptor."""

    def start(self, callback: Any, /) -> None: ...
    def stop(self) -> None: ...
    def close(self) -> None: ...


def _watch(descriptor: int, events: int) -> IOWatcher:
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
        self.write = self._send = sock.send
        self._rest: memoryview | bytes = b""
        self._ending: tuple[Why, bytes] | None = None
        self._foreign = 0
        self._writable: IOWatcher | None = None
        self._readable = _watch(sock.fileno(), _READABLE)
        self._readable.start(self._heard)

    def take_rest(self, frames: Sequence[Frame], written: int | OSError) -> int:
        """Keep the unsent rest of the frame that was cut, leave those after it, and wait for room."""
        if self.is_full:
            return 0
        if isinstance(written, OSError):
            if not _has_no_room(written):
                self._fail(written)
                return 0
            written = 0
        count = 0
        while written > 0:
            frame = frames[count]
            if written < len(frame):
                self._rest = memoryview(frame)[written:]
            written -= len(frame)
            count += 1
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
        self.host.remove(self)

    def beat(self) -> None:
        """Send a heartbeat, unless something else is half sent."""
        if not self.is_full and not self.ended_because:
            self.say(HEARTBEAT_CHUNK)

    def say(self, words: bytes) -> None:
        """Send words of its own; the rest that finds no room goes out before anything else."""
        sent = self._push(words)
        if sent < len(words) and not self.ended_because:
            self._rest = memoryview(words)[sent:]
            self._wait_for_room()

    def _push(self, payload: bytes | memoryview) -> int:
        try:
            return self._send(payload)
        except OSError as error:
            if not _has_no_room(error):
                self._fail(error)
            return 0

    def _fail(self, error: OSError) -> None:
        self.close("stalled" if error.errno == errno.ETIMEDOUT else "client_left")

    def _wait_for_room(self) -> None:
        self.is_full = True
        self.full_since = time.monotonic()
        self.write = write_nothing
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
        self._open_up()
        self.host.resume(self)

    def _open_up(self) -> None:
        self.is_full = False
        self.write = self._send

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
        except OSError as error:
            if not _has_no_room(error):
                self._fail(error)
            return
        self._foreign += len(part)
        if not part or self._foreign > _FOREIGN_BYTES:
            self.close("client_left")


def _has_no_room(error: OSError) -> bool:
    """Tell whether the call would only have had to wait; Python itself repeats one that a signal broke off."""
    return isinstance(error, BlockingIOError)


def write_nothing(_: bytes) -> int:
    """Be the `write` of a reader that is full, or takes everything by `take_rest`."""
    return 0
