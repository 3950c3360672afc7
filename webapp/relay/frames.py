r"""The bytes on the wire: an event as an SSE frame inside one HTTP chunk, made once and shared by all its readers.

31\r\n
data: {"type":"chunk","content":"so"}\nid: 12-7\n\n\r\n

The `data:` line precedes the `id:` line. Some clients take an id as soon as they have read its line; if the connection
broke between the two lines, such a client would resume after an event that it has never seen.
"""

import random
from collections.abc import Sequence

import msgspec

from millrace.worker.contract.events import DONE_PREFIX
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.log import LogEntry

TERMINATOR = b"0\r\n\r\n"  # ends a chunked body
# A comment would be invisible to an EventSource: only an event lets a page notice that its connection is dead.
HEARTBEAT = b'event: ping\ndata: {"type":"ping"}\n\n'
COMMENT = b":\n\n"  # the heartbeat of the facades, whose clients know no such event


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
        return self.payload[self.payload.index(b"\ndata: ") + 7 : self.payload.rindex(b"\nid: ")]

    @property
    def entry(self) -> LogEntry:
        """The event as an entry of the log."""
        return LogEntry(self.cursor, self.data)


def payload_of(message: bytes) -> bytes:
    """Return the payload for a published message, `<epoch>-<seq> <JSON>`, whose JSON contains no line break."""
    cursor, _, data = message.partition(b" ")
    return b"%X\r\ndata: %b\nid: %b\n\n\r\n" % (len(message) + 12, data, cursor)


def make_frame(entry: LogEntry) -> Frame:
    """Return the frame of an event in the log."""
    epoch, seq = entry.cursor
    payload = chunked(body_of(b"%d-%d" % (epoch, seq), entry.data))
    return Frame(epoch, seq, payload, entry.data.startswith(DONE_PREFIX))


def body_of(event_id: bytes, data: bytes) -> bytes:
    """Return the SSE frame of an event without the HTTP chunk around it."""
    return b"data: %b\nid: %b\n\n" % (data, event_id)


def join(frames: Sequence[Frame]) -> bytes:
    """Return the payloads of the frames as one byte string."""
    return frames[0].payload if len(frames) == 1 else b"".join([frame.payload for frame in frames])


def bodies_of(payload: bytes) -> bytes:
    """Return the bodies of joined payloads as one byte string."""
    bodies, begin = list[bytes](), 0
    while begin < len(payload):
        line = payload.index(b"\r\n", begin)
        end = line + 2 + int(payload[begin:line], 16)
        bodies.append(payload[line + 2 : end])
        begin = end + 2
    return bodies[0] if len(bodies) == 1 else b"".join(bodies)


def chunked(body: bytes) -> bytes:
    """Return `body`, which is not empty, as one HTTP chunk."""
    return b"%X\r\n%b\r\n" % (len(body), body)


def stream_start(heartbeat_seconds: float) -> bytes:
    """Return the first bytes of every stream: a comment, which makes proxies flush, a jittered `retry:`, a heartbeat.

    The heartbeat makes it known to a client that this server sends them, and how often, because an EventSource shows no
    headers. All are one frame: version 2 of the package `eventsource` keeps the data of a frame that was cut, and adds
    it to the next frame, which must be no message.
    """
    return b": millrace\n%b" % _retry_frame(random.randint(1000, 2000), b',"seconds":%g' % heartbeat_seconds)


def stream_end() -> bytes:
    """Return the last bytes of a stream that ends early: a `retry:` whose jitter spreads the reconnects."""
    return _retry_frame(random.randint(500, 3000))


def last_frame() -> bytes:
    """Return the last bytes of a stream that is complete, for an EventSource that its page does not close.

    It would reconnect and get the same events again.
    """
    return _retry_frame(60_000)


def _retry_frame(milliseconds: int, fields: bytes = b"") -> bytes:
    """Return a frame with a `retry:`, which a page that uses EventSource sees only in the heartbeat.

    It is a heartbeat because some clients take a frame without data for one of their messages.
    """
    return b'retry: %d\nevent: ping\ndata: {"type":"ping","retry":%d%b}\n\n' % (milliseconds, milliseconds, fields)
