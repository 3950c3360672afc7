"""What goes over the wire: an event as an SSE frame inside one HTTP chunk, made once and shared by all its readers."""

import random
from collections.abc import Iterable
from typing import NamedTuple

from worker.contract.events import DONE_PREFIX
from worker.contract.ids import Cursor
from worker.contract.log import Entry

TERMINATOR = b"0\r\n\r\n"  # ends a chunked body
HEARTBEAT = b":\n\n"


class Frame(NamedTuple):
    """One event, encoded: `chunk` is the SSE frame inside its HTTP chunk, whose own first line has `head` bytes."""

    cursor: Cursor
    chunk: bytes
    head: int
    is_done: bool

    @property
    def body(self) -> bytes:
        """The SSE frame without the HTTP chunk around it."""
        return self.chunk[self.head : -2]

    @property
    def entry(self) -> Entry:
        """The event as it stands in the log."""
        return Entry(self.cursor, self.body.split(b"\n", 2)[1][len(b"data: ") :])


def make_frame(cursor: Cursor, data: bytes) -> Frame:
    """Return the frame of an event; `data` is its JSON, which holds no line break."""
    body = b"id: %d-%d\ndata: %b\n\n" % (cursor.epoch, cursor.seq, data)
    size = b"%X\r\n" % len(body)
    return Frame(cursor, b"%b%b\r\n" % (size, body), len(size), data.startswith(DONE_PREFIX))


def make_frames(entries: Iterable[Entry]) -> list[Frame]:
    """Return the frames of a run of entries."""
    return [make_frame(entry.cursor, entry.data) for entry in entries]


def join(frames: list[Frame]) -> bytes:
    """Return the frames' chunks as one run of bytes."""
    return frames[0].chunk if len(frames) == 1 else b"".join([frame.chunk for frame in frames])


def chunked(body: bytes) -> bytes:
    """Return `body`, which is not empty, as one HTTP chunk."""
    return b"%X\r\n%b\r\n" % (len(body), body)


def opening() -> bytes:
    """Return the first bytes of every stream: a comment, which wakes buffering proxies, and a jittered `retry:`."""
    return b": millrace\nretry: %d\n\n" % random.randint(1000, 2000)


def farewell() -> bytes:
    """Return the last bytes of a stream that is ended early: a `retry:` whose jitter spreads those who come back."""
    return b"retry: %d\n\n" % random.randint(500, 3000)


HEARTBEAT_CHUNK = chunked(HEARTBEAT)
