"""Readers: whoever follows one log. A reader takes frames while it has room, and says when it has room again."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

from gevent.event import Event

from webapp.relay.frames import Frame
from worker.contract.ids import Cursor

Why = Literal["done", "client_left", "stalled", "drained", "error"]

UNPLACED = -1
_PULL_BYTES = 64 * 1024


class Reader:
    """The base of all readers: where it stands, and what it has been given.

    `place` is the number of the next frame in its tail, `UNPLACED` while its cursor is not in the tail's ring.
    A full reader takes nothing before it has called `on_room`; `on_gone` is called once, when it is closed.
    """

    __slots__ = (
        "cursor",
        "ended_because",
        "events",
        "full_since",
        "generation",
        "is_full",
        "on_gone",
        "on_room",
        "place",
        "sent",
        "slot",
        "started",
    )

    def __init__(self, generation: str, cursor: Cursor) -> None:
        self.generation = generation
        self.cursor = cursor
        self.place = UNPLACED
        self.is_full = False
        self.full_since = 0.0
        self.ended_because: Why | None = None
        self.events = 0
        self.sent = 0
        self.slot = 0
        self.started = time.monotonic()
        self.on_room: Callable[[Reader], None] = _nobody
        self.on_gone: Callable[[Reader], None] = _nobody

    def take(self, frames: Sequence[Frame], payload: bytes) -> int:
        """Take as many of the frames as there is room for, and return how many; `payload` is their joined bytes.

        Never blocks. Frames taken are delivered to the end, the last of them perhaps later.
        """
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

    def _took(self, frames: Sequence[Frame], count: int) -> None:
        if count:
            self.cursor = frames[count - 1].cursor
            self.events += count


def _nobody(_: Reader) -> None:
    pass


class PullReader(Reader):
    """A reader that a greenlet empties: it holds at most 64 KB, or one frame."""

    __slots__ = ("_buffer", "_bytes", "_news", "_on_stall", "last_words")

    def __init__(self, generation: str, cursor: Cursor, on_stall: Callable[[], None] | None = None) -> None:
        super().__init__(generation, cursor)
        self._on_stall = on_stall
        self._buffer: deque[Frame] = deque()
        self._bytes = 0
        self._news = Event()
        self.last_words = b""

    def take(self, frames: Sequence[Frame], payload: bytes) -> int:
        """Buffer frames up to the bound."""
        count = 0
        for frame in frames:
            if self._bytes >= _PULL_BYTES or self.ended_because:
                break
            self._buffer.append(frame)
            self._bytes += len(frame.chunk)
            count += 1
        self._took(frames, count)
        self.is_full = self._bytes >= _PULL_BYTES
        self.full_since = time.monotonic()
        if count and frames[count - 1].is_done:
            self.finish("done")
        self._news.set()
        return count

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
        self.on_gone(self)

    def pull(self, seconds: float) -> list[Frame]:
        """Wait for frames at most so long, and return them; none where the time was over or nothing will follow."""
        if not self._buffer and not self.ended_because:
            self._news.wait(max(seconds, 0.0))
        frames = list(self._buffer)
        self._buffer.clear()
        self._news.clear()
        self.sent += self._bytes
        self._bytes = 0
        if self.is_full and not self.ended_because:
            self.is_full = False
            self.on_room(self)
        return frames

    @property
    def is_over(self) -> bool:
        """Whether nothing will follow."""
        return self.ended_because is not None and not self._buffer
