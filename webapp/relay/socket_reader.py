"""A reader on a client's socket: a descriptor, a cursor, the unsent rest and its IO watchers. No greenlet."""

import _socket
import errno
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

import gevent

from millrace.webapp.relay.compression import GzipStream
from millrace.webapp.relay.frames import TERMINATOR, Frame, chunked
from millrace.webapp.relay.reader import EndReason, Reader, write_nothing
from millrace.worker.contract.ids import Cursor

_READABLE, _WRITABLE = 1, 2
_MAX_RECEIVED_BYTES = 64 * 1024  # a client may send this much while it follows; pipelined requests are never answered
# The kernel doubles this. It is small because heartbeats fit into the buffer of a vanished peer for minutes.
_SEND_BUFFER = 64 * 1024
_VANISHED_MS = 30_000


class IOWatcher(Protocol):
    """A watcher of gevent's loop for one descriptor."""

    def start(self, callback: Any, /) -> None: ...
    def stop(self) -> None: ...
    def close(self) -> None: ...


def _watch(descriptor: int, events: int) -> IOWatcher:
    hub: Any = gevent.get_hub()
    return hub.loop.io(descriptor, events)


def prepare(sock: _socket.socket) -> None:
    """Bound the send buffer, and have the kernel give up on a peer that acknowledges nothing for 30 s."""
    with suppress(OSError):  # if the peer has left, the first send fails
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _VANISHED_MS)


class SocketReader(Reader):
    """A reader whose frames are written directly to its non-blocking socket by the code that produces them.

    Its callbacks run in gevent's hub and therefore neither block nor switch.
    """

    __slots__ = ("_ending", "_gzip", "_readable", "_received_bytes", "_rest", "_send", "_sock", "_writable")

    def __init__(self, generation: str, cursor: Cursor, sock: _socket.socket) -> None:
        super().__init__(generation, cursor)
        self._sock = sock
        self.write = self._send = sock.send
        self._rest: memoryview | bytes = b""
        self._ending: tuple[EndReason, bytes] | None = None
        self._gzip: GzipStream | None = None
        self._received_bytes = 0
        self._writable: IOWatcher | None = None
        self._readable = _watch(sock.fileno(), _READABLE)
        self._readable.start(self._on_readable)

    def compress(self, gzip: GzipStream) -> None:
        """Send everything from now on as the next part of this compressed body."""
        self._gzip = gzip
        self.write = self._write_compressed

    def take_rest(self, frames: Sequence[Frame], written: int | OSError) -> int:
        """Keep the unsent rest of the frame that was cut, reject the frames after it, and wait for room.

        Frames that were compressed together are accepted together.
        """
        if self.is_full:
            return 0
        if isinstance(written, OSError):
            if not has_no_room(written):
                self._fail(written)
                return 0
            written = 0
        if self._gzip is not None:
            self._wait_for_room()
            return len(frames)
        count = 0
        while written > 0:
            payload = frames[count].payload
            if written < len(payload):
                self._rest = memoryview(payload)[written:]
            written -= len(payload)
            count += 1
        self._wait_for_room()
        return count

    def finish(self, why: EndReason, last_bytes: bytes = b"") -> None:
        """End the chunked body cleanly once the unsent rest is out, and close."""
        if not self.end_reason and not self._ending:
            if self._gzip is not None:
                last_bytes = self._gzip.end(last_bytes)
            self._end_with(why, chunked(last_bytes) + TERMINATOR if last_bytes else TERMINATOR)

    def close(self, why: EndReason) -> None:
        """Close the watchers, then the descriptor: in the other order the loop would watch a reused descriptor."""
        if self.end_reason:
            return
        self.end_reason = why
        for watcher in (self._readable, self._writable):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._writable = None
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self._rest = b""
        self.source.remove(self)

    def send_heartbeat(self) -> None:
        """Send a heartbeat, unless other bytes are half sent."""
        if not self.is_full and not self.end_reason:
            self.send(chunked(self.heartbeat if self._gzip is None else self._gzip.add(self.heartbeat)))

    def send(self, chunk: bytes) -> None:
        """Send bytes that are not a frame of the log; a rest that finds no room goes out before anything else."""
        sent = self._try_send(chunk)
        if sent < len(chunk) and not self.end_reason:
            self._rest = memoryview(chunk)[sent:]
            self._wait_for_room()

    def _write_compressed(self, payload: bytes) -> int:
        """Send the frames compressed; unless all are out, keep the rest, for which `take_rest` waits."""
        assert self._gzip is not None
        self._rest = chunk = self._gzip.add_chunks(payload)
        sent = self._send(chunk)
        if sent < len(chunk):
            self._rest = memoryview(chunk)[sent:]
            return 0
        self._rest = b""
        return len(payload)

    def _end_with(self, why: EndReason, closing: bytes) -> None:
        self._ending = (why, closing)
        if not self.is_full:
            self._write_ending(why, closing)

    def _try_send(self, payload: bytes | memoryview) -> int:
        try:
            return self._send(payload)
        except OSError as error:
            if not has_no_room(error):
                self._fail(error)
            return 0

    def _fail(self, error: OSError) -> None:
        self.close("stalled" if error.errno == errno.ETIMEDOUT else "client_left")

    def _wait_for_room(self) -> None:
        self.is_full = True
        self.full_since = time.monotonic()
        self.write = write_nothing
        self._writable = _watch(self._sock.fileno(), _WRITABLE)
        self._writable.start(self._on_writable)

    def _on_writable(self) -> None:
        if self._rest:
            sent = self._try_send(self._rest)
            if self.end_reason:
                return
            if sent:
                self.full_since = time.monotonic()
            self._rest = self._rest[sent:]
            if self._rest:
                return
        if self._ending is not None:
            self._write_ending(*self._ending)
            return
        self._stop_waiting_for_room()
        self._accept_frames()
        self.source.resume(self)

    def _accept_frames(self) -> None:
        self.is_full = False
        self.write = self._send if self._gzip is None else self._write_compressed

    def _write_ending(self, why: EndReason, closing: bytes) -> None:
        sent = self._try_send(closing)
        if self.end_reason:
            return
        if sent == len(closing):
            self._on_ending_written(why)
            return
        self._ending = (why, closing[sent:])
        if not self.is_full:
            self._wait_for_room()

    def _on_ending_written(self, why: EndReason) -> None:
        self.close(why)

    def _stop_waiting_for_room(self) -> None:
        if self._writable is not None:
            self._writable.stop()
            self._writable.close()
            self._writable = None

    def _on_readable(self) -> None:
        try:
            received = self._sock.recv(4096)
        except OSError as error:
            if not has_no_room(error):
                self._fail(error)
            return
        self._received_bytes += len(received)
        if not received or self._received_bytes > _MAX_RECEIVED_BYTES:
            self.close("client_left")


def has_no_room(error: OSError) -> bool:
    """Tell whether the call would only have had to wait; Python itself retries a call that a signal interrupted."""
    return isinstance(error, BlockingIOError)
