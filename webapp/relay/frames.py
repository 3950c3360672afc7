r"""The bytes on the wire: an event as an SSE frame inside one HTTP chunk, made once and shared by all its readers.

42\r\n
id: 12-7\ndata: {"type":"chunk","content":"so"}\n\n\r\n
"""

import random
from collections.abc import Sequence

import msgspec

from millrace.worker.contract.events import DONE_PREFIX
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.log import LogEntry

TERMINATOR = b"0\r\n\r\n"  # ends a chunked body
HEARTBEAT = b":\n\n"


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One event on the wire, with its cursor beside the bytes, so that it never has to be parsed out of them.

    A tail keeps thousands of frames. They hold plain numbers and bytes, and are not tracked by the garbage collector,
    so a collection does not walk through them.
    """

    epoch: int
    seq: int
    payload: bytes
    is_done: bool = False

    @property
    def cursor(self) -> Cursor:
        """The id of the event."""
        return Cursor(self.epoch, self.seq)

    @property
    def body(self) -> bytes:
        """The SSE frame without the HTTP chunk around it."""
        return self.payload[self.payload.index(b"\n") + 1 : -2]

    @property
    def data(self) -> bytes:
        """The event's JSON, as it stands in the log."""
        return self.payload[self.payload.index(b"\ndata: ") + 7 : -4]

    @property
    def entry(self) -> LogEntry:
        """The event as an entry of the log."""
        return LogEntry(self.cursor, self.data)


def payload_of(message: bytes) -> bytes:
    """Return the payload for a published message, `<epoch>-<seq> <JSON>`, whose JSON contains no line break."""
    return b"%X\r\nid: %b\n\n\r\n" % (len(message) + 12, message.replace(b" ", b"\ndata: ", 1))


def make_frame(entry: LogEntry) -> Frame:
    """Return the frame of an event in the log."""
    epoch, seq = entry.cursor
    payload = payload_of(b"%d-%d %b" % (epoch, seq, entry.data))
    return Frame(epoch, seq, payload, entry.data.startswith(DONE_PREFIX))


def join(frames: Sequence[Frame]) -> bytes:
    """Return the payloads of the frames as one byte string."""
    return frames[0].payload if len(frames) == 1 else b"".join([frame.payload for frame in frames])


def chunked(body: bytes) -> bytes:
    """Return `body`, which is not empty, as one HTTP chunk."""
    return b"%X\r\n%b\r\n" % (len(body), body)


def stream_start() -> bytes:
    """Return the first bytes of every stream: a comment, which makes proxies flush, and a jittered `retry:`."""
    return b": millrace\nretry: %d\n\n" % random.randint(1000, 2000)


def stream_end() -> bytes:
    """Return the last bytes of a stream that ends early: a `retry:` whose jitter spreads the reconnects."""
    return b"retry: %d\n\n" % random.randint(500, 3000)


HEARTBEAT_CHUNK = chunked(HEARTBEAT)
