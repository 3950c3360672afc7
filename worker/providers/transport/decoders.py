"""Decoders from pieces of a body, split anywhere, to events: server-sent events and lines of JSON. Pure.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
https://github.com/ndjson/ndjson-spec
"""

import json
from typing import NamedTuple

from urllib3.exceptions import ProtocolError

MAX_EVENT_BYTES = 16 << 20  # of a line, and of all data lines of an event together
MAX_STRAY_BYTES = 65_536

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UNUSED_FIELDS = (b"", b"id", b"retry")  # comments, and fields for clients that reconnect


class ServerSentEvent(NamedTuple):
    """An event's name, empty unless the stream names it, and its data: all its data lines, joined by LF."""

    name: str
    data: bytes


class LineSplitter:
    """Splits bytes into lines that end with LF, CR LF or, if `is_cr_an_end`, CR alone."""

    def __init__(self, *, is_cr_an_end: bool, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self._is_cr_an_end = is_cr_an_end
        self._max_bytes = max_bytes
        self._rest: list[bytes] = []  # of the line that has not ended yet
        self._rest_bytes = 0
        self._has_cr = False  # the latest line ended with CR at the end of a piece: an LF that follows belongs to it
        self._is_first = True

    def split(self, data: bytes) -> list[bytes]:
        """Return the lines that end here, without their ends; raises ProtocolError for a line that is too long."""
        if self._has_cr and data:
            data = data.removeprefix(b"\n")
            self._has_cr = False
        if self._is_cr_an_end and b"\r" in data:
            self._has_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines and self._rest:
            lines[0] = b"".join([*self._rest, lines[0]])
            self._rest, self._rest_bytes = [], 0
        if rest:
            self._rest.append(rest)
            self._rest_bytes += len(rest)
        if self._rest_bytes > self._max_bytes or (lines and len(lines[0]) > self._max_bytes):
            raise ProtocolError(f"a line of the stream is longer than {self._max_bytes} bytes")
        if self._is_first and lines:
            self._is_first = False
            lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
        return lines

    def end(self) -> bytes:
        """Return the last line, if the stream ended without ending it."""
        return b"".join(self._rest).removeprefix(_BYTE_ORDER_MARK if self._is_first else b"")


class SseDecoder:
    """Decodes a stream of server-sent events."""

    def __init__(self, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self._lines = LineSplitter(is_cr_an_end=True, max_bytes=max_bytes)
        self._max_bytes = max_bytes
        self._name = ""
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._stray: list[bytes] = []
        self._stray_bytes = 0

    def decode(self, data: bytes) -> list[ServerSentEvent]:
        """Return the events that end in this piece; raises ProtocolError for one that is too long."""
        events: list[ServerSentEvent] = []
        for line in self._lines.split(data):
            if line.startswith(b"data:"):
                self._add(line[6:] if line.startswith(b"data: ") else line[5:])
            elif line:
                self._take_field(line)
            else:
                if self._data:
                    events.append(ServerSentEvent(self._name, b"\n".join(self._data)))
                self._name, self._data, self._data_bytes = "", [], 0
        return events

    def _add(self, value: bytes) -> None:
        self._data.append(value)
        self._data_bytes += len(value)
        if self._data_bytes > self._max_bytes:
            raise ProtocolError(f"an event of the stream is longer than {self._max_bytes} bytes")

    def _take_field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"event":
            self._name = value.removeprefix(b" ").decode("utf-8", "replace")
        elif name == b"data":  # without a colon
            self._add(b"")
        elif name not in _UNUSED_FIELDS and self._stray_bytes < MAX_STRAY_BYTES:
            self._stray.append(line)
            self._stray_bytes += len(line)

    def end(self) -> list[ServerSentEvent]:
        """Return the last event, if the stream ended without an empty line behind it and its data is whole JSON.

        Browsers drop such an event, because it may be cut off. JSON that is cut off is no JSON.
        """
        return [event for event in self.decode(b"\n\n") if _is_json(event.data)]

    def stray_lines(self) -> bytes:
        """Return the lines that are of no event, after `end`: servers write errors like this."""
        return b"\n".join(self._stray).strip()[:MAX_STRAY_BYTES]


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


class NdjsonDecoder:
    """Decodes lines of JSON to the bytes of each."""

    def __init__(self, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self._lines = LineSplitter(is_cr_an_end=False, max_bytes=max_bytes)

    def decode(self, data: bytes) -> list[bytes]:
        """Return the lines that end in this piece and are not blank; raises ProtocolError for one that is too long."""
        return [line for each in self._lines.split(data) if (line := each.strip())]

    def end(self) -> list[bytes]:
        """Return the last line, if the stream ended without a line end behind it."""
        line = self._lines.end().strip()
        return [line] if line else []
