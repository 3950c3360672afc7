"""The messages of an event stream: a piece of an answer is decoded here, whatever is not one by botocore.

A message, its numbers big-endian: its length (4 bytes), the length of its headers (4), the CRC-32 of these eight
bytes, the headers, the payload, the CRC-32 of all before it. A header: the length of its name (1), the name, its type
(1; 7 is a text), the length of the value (2), the value. https://smithy.io/2.0/aws/amazon-eventstream.html

botocore takes every message apart by its model, which costs more than all else that is done with it. But nearly all
messages of an answer differ in a few letters only: they have the very same headers, and a payload of one shape.
"""

import json
import struct
from collections.abc import Callable, Generator
from itertools import permutations
from typing import Any, cast
from zlib import crc32

from botocore.eventstream import EventStreamBuffer, EventStreamMessage

Event = dict[str, Any]

MOST_BYTES = 16 << 20  # of a message that is looked at here; botocore takes, or refuses, longer ones

_PRELUDE = struct.Struct(">III")
_CRC_BYTES = 4
_OVERHEAD = _PRELUDE.size + _CRC_BYTES

_scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # pyright: ignore[reportAttributeAccessIssue] - what `raw_decode` calls


def _text_header(name: bytes, value: bytes) -> bytes:
    return struct.pack(f">B{len(name)}sBH{len(value)}s", len(name), name, 7, len(value), value)


_HEADERS_OF_A_PIECE = {
    b"".join(headers)
    for headers in permutations(
        (
            _text_header(b":event-type", b"contentBlockDelta"),
            _text_header(b":content-type", b"application/json"),
            _text_header(b":message-type", b"event"),
        )
    )
}
_TEXT_WITHIN = {"reasoningContent": "text", "toolUse": "input"}


class Frames:
    """Takes a stream's bytes, cut anywhere; `parse` is botocore's way from a message to an event, {} for none."""

    def __init__(self, parse: Callable[[EventStreamMessage], Event]) -> None:
        self._parse = parse
        self._botocores = EventStreamBuffer()
        self._is_botocores = False  # since a prelude that made no sense here, the whole rest of the stream
        self._waiting: list[bytes] = []
        self._size = 0
        self._needed = _PRELUDE.size

    def events(self, data: bytes) -> Generator[Event]:
        """Yield the events that are whole by now; raises what botocore does, once those before it are yielded."""
        for message in self._cut(data):
            event = None if self._is_botocores else _piece(message)
            if event is not None:
                yield event
            else:
                yield from self._by_botocore(message)

    def _cut(self, data: bytes) -> Generator[bytes]:
        """Yield each message that is whole by now, or whatever there is where it is all for botocore."""
        self._waiting.append(data)
        self._size += len(data)
        if self._size < self._needed:
            return
        data, at = b"".join(self._waiting), 0
        while len(data) - at >= (length := self._length(data, at)):
            yield data[at : at + length]
            at += length
        self._waiting, self._size, self._needed = [data[at:]], len(data) - at, length

    def _length(self, data: bytes, at: int) -> int:
        left = len(data) - at
        if self._is_botocores:
            return max(left, 1)
        if left < _PRELUDE.size:
            return _PRELUDE.size
        length, headers, crc = _PRELUDE.unpack_from(data, at)
        if crc32(data[at : at + 8]) == crc and headers + _OVERHEAD <= length <= MOST_BYTES:
            return length
        self._is_botocores = True
        return left

    def _by_botocore(self, data: bytes) -> Generator[Event]:
        self._botocores.add_data(data)
        for message in self._botocores:
            event = self._parse(message)
            if event:
                yield event


def _piece(message: bytes) -> Event | None:
    """Return the event of a message that is a piece of text, of reasoning or of a tool's input; None for any other."""
    headers_end = _PRELUDE.size + _PRELUDE.unpack_from(message)[1]
    if message[_PRELUDE.size : headers_end] not in _HEADERS_OF_A_PIECE:
        return None
    if crc32(message[:-_CRC_BYTES]) != int.from_bytes(message[-_CRC_BYTES:], "big"):
        return None
    try:
        text = message[headers_end:-_CRC_BYTES].decode()
        payload, end = _scan(text, 0)
    except (ValueError, StopIteration):  # the second where there is nothing to scan
        return None
    if end != len(text) or type(payload) is not dict or len(payload) != 2 + ("p" in payload):
        return None
    # `p` pads, so that a message's length does not tell the text's; with any further field it is none of ours.
    index, delta = payload.get("contentBlockIndex"), payload.get("delta")
    if type(index) is not int or type(delta) is not dict or not _is_one_text(cast("Event", delta)):
        return None
    return {"contentBlockDelta": {"delta": delta, "contentBlockIndex": index}}


def _is_one_text(delta: Event) -> bool:
    if len(delta) != 1:
        return False
    ((kind, value),) = delta.items()
    if kind == "text":
        return type(value) is str
    within = _TEXT_WITHIN.get(kind)
    return within is not None and type(value) is dict and len(value) == 1 and type(value.get(within)) is str
