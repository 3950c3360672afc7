"""Parsing of the relay's bytes, independent of the code that makes them: chunked bodies, frames and cursors."""

import re
from collections.abc import Iterator

from millrace.worker.contract.ids import Cursor, parse_cursor


def unchunked(raw: bytes) -> bytes:
    """Return the body of an HTTP message in chunks."""
    body = b""
    while raw:
        size, _, rest = raw.partition(b"\r\n")
        length = int(size, 16)
        body += rest[:length]
        assert rest[length : length + 2] == b"\r\n"
        raw = rest[length + 2 :]
    return body


def events_in(body: bytes) -> bytes:
    """Return a stream's frames that are events of the log, byte for byte: without its opening and its heartbeats."""
    frames = body.split(b"\n\n")
    return b"\n\n".join(each for each in frames if not each or each.startswith(b"data: "))


def is_heartbeat(frame: bytes) -> bool:
    """Return whether a frame is a heartbeat, as the protocol spells it."""
    return re.fullmatch(rb'event: ping\ndata: \{"type":"ping"[^\n]*\}', frame) is not None


def split(payload: bytes) -> Iterator[bytes]:
    """Yield the payloads of the frames that were joined."""
    begin = 0
    while begin < len(payload):
        line = payload.index(b"\r\n", begin)
        end = line + 2 + int(payload[begin:line], 16) + 2
        yield payload[begin:end]
        begin = end


def cursor_in(payload: bytes) -> Cursor:
    """Return the cursor in a frame's `id:` line."""
    begin = payload.index(b"id: ") + 4
    cursor = parse_cursor(payload[begin : payload.index(b"\n", begin)].decode())
    assert cursor is not None
    return cursor
