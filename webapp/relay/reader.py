"""Readers: whoever follows one log. A reader takes frames while it has room, and says when it has room again."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Literal, Protocol

from gevent.event import Event

from millrace.webapp.relay.frames import Frame, split
from millrace.worker.contract.ids import Cursor

Why = Literal["done", "client_left", "stalled", "drained", "revoked", "error"]

UNPLACED = -1
_PULL_BYTES = 64 * 1024


class Host(Protocol):
    """Where a reader follows: its tail."""

    def resume(self, reader: "Reader", /) -> None:
        """Go on with a reader that has room again."""
        ...

    def remove(self, reader: "Reader", /) -> None:
        """Forget a reader that was closed."""
        ...


class Nowhere:
    """The host of a reader that does not follow yet."""

    def resume(self, reader: "Reader", /) -> None:
        """There is nothing to go on with."""

    def remove(self, reader: "Reader", /) -> None:
        """There is nothing to forget."""


_NOWHERE = Nowhere()


class Reader:
    """The base of all readers: where it stands, and how it is written to.

    `place` is the number of the next frame in its tail, `UNPLACED` while its cursor is not in the tail's ring; both
    are kept up only while the reader is not live. A full reader takes nothing before it has told its host that there
    is room again. The host is also told, once, when the reader is closed.
    """

    __slots__ = (
        "cursor",
        "ended_because",
        "full_since",
        "generation",
        "host",
        "is_full",
        "place",
        "slot",
        "started",
        "write",
    )

    write: Callable[[bytes], int]
    """Take as much of the bytes as there is room for now, and return how much; raises OSError.

    It neither blocks nor ends the reader. Unless it has taken all, `take_rest` must follow.
    """

    def __init__(self, generation: str, cursor: Cursor) -> None:
        self.generation = generation
        self.cursor = cursor
        self.place = UNPLACED
        self.is_full = False
        self.full_since = 0.0
        self.ended_because: Why | None = None
        self.slot = 0
        self.started = time.monotonic()
        self.host: Host = _NOWHERE

    def take(self, frames: Sequence[Frame], payload: bytes) -> int:
        """Take as many of the frames as there is room for, and return how many; `payload` is their joined bytes.

        Never blocks. Frames taken are delivered to the end, the last of them perhaps later.
        """
        if self.is_full or self.ended_because:
            return 0
        try:
            written = self.write(payload)
        except OSError as error:
            return self.take_rest(frames, error)
        return len(frames) if written == len(payload) else self.take_rest(frames, written)

    def take_rest(self, frames: Sequence[Frame], written: int | OSError) -> int:
        """Go on after a `write` that took only so many bytes, or failed; returns how many frames are taken."""
        raise NotImplementedError

    def finish(self, why: Why, last_words: bytes = b"") -> None:
        """End cleanly as soon as what was taken is out; `last_words` are put last. Never blocks."""
        raise NotImplementedError

    def close(self, why: Why) -> None:
        """End at once."""
        raise NotImplementedError

    def cut(self) -> None:
        """End a reader that takes nothing any more."""
        self.close("stalled")

    def beat(self) -> None:
        """Send a heartbeat, where nothing else is on its way."""


def write_to_all(readers: AbstractSet[Reader], payload: bytes) -> list[tuple[Reader, int | OSError]]:
    """Write to readers that have room; returns those who did not take all, with what came of it.

    This is the innermost loop of all: what stands here is done for every event and reader.
    """
    size = len(payload)
    late: list[tuple[Reader, int | OSError]] = []
    for reader in readers:
        try:
            written = reader.write(payload)
        except OSError as error:
            late.append((reader, error))
        else:
            if written != size:
                late.append((reader, written))
    return late


class PullReader(Reader):
    """A reader that a greenlet empties: it holds at most 64 KB, or one run of frames."""

    __slots__ = ("_buffer", "_bytes", "_news", "_on_stall", "last_words")

    def __init__(self, generation: str, cursor: Cursor, on_stall: Callable[[], None] | None = None) -> None:
        super().__init__(generation, cursor)
        self.write = self._keep
        self._on_stall = on_stall
        self._buffer: deque[bytes] = deque()
        self._bytes = 0
        self._news = Event()
        self.last_words = b""

    def take_rest(self, frames: Sequence[Frame], written: int | OSError) -> int:
        """Take nothing: `write` takes all, or it is full."""
        return 0

    def finish(self, why: Why, last_words: bytes = b"") -> None:
        """Let the one who pulls have what is buffered, and then the end."""
        self.ended_because = self.ended_because or why
        self.last_words = self.last_words or last_words
        self._news.set()

    def cut(self) -> None:
        """Have the one who pulls break off; it is held up in a send, which `on_stall` must end."""
        self.finish("stalled")
        if self._on_stall is not None:
            self._on_stall()

    def close(self, why: Why) -> None:
        """End; called by the one who pulls."""
        self.ended_because = self.ended_because or why
        self._buffer.clear()
        self._news.set()
        self.host.remove(self)

    def pull(self, seconds: float) -> list[Frame]:
        """Wait for frames at most so long, and return them; none where the time was over or nothing will follow."""
        if not self._buffer and not self.ended_because:
            self._news.wait(max(seconds, 0.0))
        frames = [frame for payload in self._buffer for frame in split(payload)]
        self._buffer.clear()
        self._news.clear()
        self._bytes = 0
        if self.is_full and not self.ended_because:
            self.is_full = False
            self.host.resume(self)
        return frames

    @property
    def is_over(self) -> bool:
        """Whether nothing will follow."""
        return self.ended_because is not None and not self._buffer

    def _keep(self, payload: bytes) -> int:
        if self.is_full or self.ended_because:
            return 0
        self._buffer.append(payload)
        self._bytes += len(payload)
        self.is_full = self._bytes >= _PULL_BYTES
        self.full_since = time.monotonic()
        self._news.set()
        return len(payload)
