"""Readers of one log. A reader accepts frames while it has room, and notifies its source when it has room again."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Literal, Protocol

from gevent.event import Event

from millrace.webapp.guard.client import Client
from millrace.webapp.relay.frames import HEARTBEAT, Frame
from millrace.worker.contract.ids import Cursor

EndReason = Literal["done", "client_left", "stalled", "drained", "revoked", "error"]

NO_POSITION = -1
_PULL_BYTES = 64 * 1024


class FrameSource(Protocol):
    """The tail or connection that a reader gets its frames from."""

    def resume(self, reader: "Reader", /) -> None:
        """Continue delivery to a reader that has room again."""
        ...

    def remove(self, reader: "Reader", /) -> None:
        """Forget a reader that was closed."""
        ...


class _NoSource:
    """The source of a reader that is not attached yet."""

    def resume(self, reader: "Reader", /) -> None:
        pass

    def remove(self, reader: "Reader", /) -> None:
        pass


_NO_SOURCE = _NoSource()


class Reader:
    """The base class of all readers: a cursor, and a way to write to the client.

    `position` is the number of the reader's next frame in its tail, `NO_POSITION` while its cursor is not in the
    tail's buffer; cursor and position are kept up to date only while the reader is not live. A full reader accepts
    nothing before it has notified its source that there is room again. The source is also notified, once, when the
    reader is closed. A reader with a place counts for its `client`.
    """

    __slots__ = (
        "client",
        "cursor",
        "end_reason",
        "full_since",
        "generation",
        "has_place",
        "is_full",
        "position",
        "slot",
        "source",
        "started_at",
        "write",
    )

    heartbeat = HEARTBEAT

    write: Callable[[bytes], int]
    """Accept as many of the bytes as there is room for now, and return how many; raises OSError.

    It neither blocks nor ends the reader. Unless it has accepted all bytes, `take_rest` must follow.
    """

    def __init__(self, generation: str, cursor: Cursor) -> None:
        self.generation = generation
        self.cursor = cursor
        self.position = NO_POSITION
        self.is_full = False
        self.full_since = 0.0
        self.end_reason: EndReason | None = None
        self.slot = 0
        self.client: Client | None = None
        self.has_place = True
        self.started_at = time.monotonic()
        self.source: FrameSource = _NO_SOURCE

    def take(self, frames: Sequence[Frame], payload: bytes) -> int:
        """Accept as many of the frames as there is room for, and return how many; `payload` is their joined bytes.

        Never blocks. Accepted frames are delivered completely, the last of them perhaps later.
        """
        if self.is_full or self.end_reason:
            return 0
        try:
            written = self.write(payload)
        except OSError as error:
            return self.take_rest(frames, error)
        return len(frames) if written == len(payload) else self.take_rest(frames, written)

    def take_rest(self, frames: Sequence[Frame], written: int | OSError) -> int:
        """Continue after a `write` that accepted only this many bytes, or failed; return the number of frames."""
        raise NotImplementedError

    def finish(self, why: EndReason, last_bytes: bytes = b"") -> None:
        """End cleanly once the accepted frames are out, with `last_bytes` after them. Never blocks."""
        raise NotImplementedError

    def close(self, why: EndReason) -> None:
        """End at once."""
        raise NotImplementedError

    def cut(self) -> None:
        """End a reader that has stalled."""
        self.close("stalled")

    def send_heartbeat(self) -> None:
        """Send a heartbeat, unless other bytes are already on their way."""


def write_to_all(readers: AbstractSet[Reader], payload: bytes) -> list[tuple[Reader, int | OSError]]:
    """Write to readers that have room; return those that did not accept everything, each with its result.

    This is the innermost loop: it runs once for every event and reader.
    """
    size = len(payload)
    incomplete: list[tuple[Reader, int | OSError]] = []
    for reader in readers:
        try:
            written = reader.write(payload)
        except OSError as error:
            incomplete.append((reader, error))
        else:
            if written != size:
                incomplete.append((reader, written))
    return incomplete


def write_nothing(_: bytes) -> int:
    """Serve as `write` for a reader that is full, or that gets its frames through `take_rest` only."""
    return 0


class PullReader(Reader):
    """A reader that a greenlet empties: it holds at most 64 KB, or one run of frames."""

    __slots__ = ("_buffer", "_bytes", "_changed", "_last_bytes", "_on_stall")

    def __init__(self, generation: str, cursor: Cursor, on_stall: Callable[[], None] | None = None) -> None:
        super().__init__(generation, cursor)
        self.write = write_nothing
        self._on_stall = on_stall
        self._buffer: deque[Frame] = deque()
        self._bytes = 0
        self._changed = Event()
        self._last_bytes = b""

    def take_rest(self, frames: Sequence[Frame], written: int | OSError) -> int:
        """Buffer all the frames, or none if the reader is full."""
        if self.is_full or self.end_reason:
            return 0
        self._buffer += frames
        self._bytes += sum(len(frame.payload) for frame in frames)
        self.is_full = self._bytes >= _PULL_BYTES
        self.full_since = time.monotonic()
        self._changed.set()
        return len(frames)

    def finish(self, why: EndReason, last_bytes: bytes = b"") -> None:
        """Let the pulling greenlet have the buffered frames, and then the end."""
        self.end_reason = self.end_reason or why
        self._last_bytes = self._last_bytes or last_bytes
        self._changed.set()

    def cut(self) -> None:
        """Stop the pulling greenlet, which is blocked in a send; `on_stall` must make that send fail."""
        self.finish("stalled")
        if self._on_stall is not None:
            self._on_stall()

    def close(self, why: EndReason) -> None:
        """End; called by the pulling greenlet."""
        self.end_reason = self.end_reason or why
        self._buffer.clear()
        self._changed.set()
        self.source.remove(self)

    def pull(self, seconds: float) -> list[Frame]:
        """Wait for frames, at most this long, and return them; none on timeout or when nothing will follow."""
        if not self._buffer and not self.end_reason:
            self._changed.wait(max(seconds, 0.0))
        frames = list(self._buffer)
        self._buffer.clear()
        self._changed.clear()
        self._bytes = 0
        if self.is_full and not self.end_reason:
            self.is_full = False
            self.source.resume(self)
        return frames

    def render(self, frames: list[Frame]) -> bytes:
        """Return the bytes that the client gets for these frames."""
        return b"".join([frame.body for frame in frames])

    def render_end(self) -> bytes:
        """Return the bytes that the client gets after the last frame."""
        return self._last_bytes

    @property
    def is_over(self) -> bool:
        """Whether nothing will follow."""
        return self.end_reason is not None and not self._buffer
