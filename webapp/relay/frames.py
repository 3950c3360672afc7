r"""What goes over the wire: an event as an SSE frame inside one HTTP chunk, made once and shared by all its readers.

A frame is plain bytes, because one is made for every event and sent for every reader of it:

    42\r\n
    id: 12-7\ndata: {"type":"chunk","content":"so"}\n\n\r\n
"""

import random
from collections.abc import Iterable, Sequence

from millrace.worker.contract.events import DONE_PREFIX
from millrace.worker.contract.ids import Cursor, cursor_of
from millrace.worker.contract.log import LogEntry

Frame = bytes

TERMINATOR = b"0\r\n\r\n"  # ends a chunked body
HEARTBEAT = b":\n\n"
_DONE = b"\ndata: " + DONE_PREFIX
_LONGEST_HEAD = len(b"FFFFFFFF\r\nid: -") + 2 * 10 + len(_DONE)  # no further than this `_DONE` is looked for


def frame_of(message: bytes) -> Frame:
    """Return the frame of a published message, `<epoch>-<seq> <JSON>`, whose JSON holds no line break."""
    return b"%X\r\nid: %b\n\n\r\n" % (len(message) + 12, message.replace(b" ", b"\ndata: ", 1))


def make_frame(entry: LogEntry) -> Frame:
    """Return the frame of an event in the log."""
    return frame_of(b"%d-%d %b" % (*entry.cursor, entry.data))


def cursor_in(frame: Frame) -> Cursor:
    """Return the id of a frame's event."""
    begin = frame.index(b"id: ") + 4
    return cursor_of(frame[begin : frame.index(b"\n", begin)])


def body_of(frame: Frame) -> bytes:
    """Return the SSE frame without the HTTP chunk around it."""
    return frame[frame.index(b"\n") + 1 : -2]


def entry_in(frame: Frame) -> LogEntry:
    """Return the event as it stands in the log."""
    begin = frame.index(b"\ndata: ") + 7
    return LogEntry(cursor_in(frame), frame[begin:-4])


def is_done(frame: Frame) -> bool:
    """Tell whether the frame's event is `done`."""
    return frame.find(_DONE, 0, _LONGEST_HEAD) >= 0


def join(frames: Sequence[Frame]) -> bytes:
    """Return the frames as one run of bytes."""
    return frames[0] if len(frames) == 1 else b"".join(frames)


def split(payload: bytes) -> Iterable[Frame]:
    """Yield the frames that were joined."""
    begin = 0
    while begin < len(payload):
        line = payload.index(b"\r\n", begin)
        end = line + 2 + int(payload[begin:line], 16) + 2
        yield payload[begin:end]
        begin = end


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
