"""A decoder for AWS event streams: the frequent messages are decoded here, every other one by botocore.

A message, with big-endian numbers: its length (4 bytes), the length of its headers (4), the CRC-32 of these eight
bytes, the headers, the payload, the CRC-32 of everything before it. A header: the length of its name (1), the name,
its type (1; 7 is a string), the length of the value (2), the value.
https://smithy.io/2.0/aws/amazon-eventstream.html

botocore parses every message by its service model, which costs more than all other work on it. But nearly all messages
of an answer have identical headers and a payload of one shape, and differ in a few letters only.
"""

import json
import struct
from collections.abc import Callable, Generator
from itertools import permutations
from typing import Any, cast
from zlib import crc32

import msgspec
from botocore.eventstream import EventStreamBuffer, EventStreamMessage

Event = dict[str, Any]

MAX_MESSAGE_BYTES = 16 << 20  # of a message that is decoded here; botocore accepts or rejects longer ones

_PRELUDE = struct.Struct(">III")
_CRC_BYTES = 4
_OVERHEAD = _PRELUDE.size + _CRC_BYTES

_scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # pyright: ignore[reportAttributeAccessIssue] - the method behind `raw_decode`


def _string_header(name: bytes, value: bytes) -> bytes:
    return struct.pack(f">B{len(name)}sBH{len(value)}s", len(name), name, 7, len(value), value)


def _headers_of(event_type: bytes) -> set[bytes]:
    """Return the headers of an event as they may stand on the wire."""
    headers = (
        _string_header(b":event-type", event_type),
        _string_header(b":content-type", b"application/json"),
        _string_header(b":message-type", b"event"),
    )
    return {b"".join(each) for each in permutations(headers)}


_DELTA_HEADERS = _headers_of(b"contentBlockDelta")
_CHUNK_HEADERS = _headers_of(b"chunk")
_TEXT_FIELDS = {"reasoningContent": "text", "toolUse": "input"}


class EventStreamDecoder:
    """Decodes a stream from pieces of any length.

    `parse` is botocore's function from a message to an event; it returns {} for a message without one. `decode_known`
    returns the event of a frequent message, None for any other.
    """

    def __init__(
        self,
        parse: Callable[[EventStreamMessage], Event],
        decode_known: Callable[[bytes], Event | None] | None = None,
    ) -> None:
        self._parse = parse
        self._decode_known = decode_known or decode_delta
        self._fallback = EventStreamBuffer()
        self._is_falling_back = False  # after an invalid prelude botocore decodes the rest of the stream
        self._buffered: list[bytes] = []
        self._buffered_bytes = 0
        self._needed_bytes = _PRELUDE.size

    def decode(self, data: bytes) -> Generator[Event]:
        """Yield the events that are complete; raises the errors that botocore raises, after the events before them."""
        for message in self._split(data):
            event = None if self._is_falling_back else self._decode_known(message)
            if event is not None:
                yield event
            else:
                yield from self._decode_by_botocore(message)

    def _split(self, data: bytes) -> Generator[bytes]:
        """Yield each complete message; after an invalid prelude, all bytes as they are."""
        self._buffered.append(data)
        self._buffered_bytes += len(data)
        if self._buffered_bytes < self._needed_bytes:
            return
        data, at = b"".join(self._buffered), 0
        while len(data) - at >= (length := self._message_length(data, at)):
            yield data[at : at + length]
            at += length
        self._buffered, self._buffered_bytes, self._needed_bytes = [data[at:]], len(data) - at, length

    def _message_length(self, data: bytes, at: int) -> int:
        available = len(data) - at
        if self._is_falling_back:
            return max(available, 1)
        if available < _PRELUDE.size:
            return _PRELUDE.size
        length, headers, crc = _PRELUDE.unpack_from(data, at)
        if crc32(data[at : at + 8]) == crc and headers + _OVERHEAD <= length <= MAX_MESSAGE_BYTES:
            return length
        self._is_falling_back = True
        return available

    def _decode_by_botocore(self, data: bytes) -> Generator[Event]:
        self._fallback.add_data(data)
        for message in self._fallback:
            event = self._parse(message)
            if event:
                yield event


def _payload_of(message: bytes, headers: set[bytes]) -> bytes | None:
    """Return the payload of an undamaged message with one of these headers, None for any other."""
    headers_end = _PRELUDE.size + _PRELUDE.unpack_from(message)[1]
    if message[_PRELUDE.size : headers_end] not in headers:
        return None
    if crc32(message[:-_CRC_BYTES]) != int.from_bytes(message[-_CRC_BYTES:], "big"):
        return None
    return message[headers_end:-_CRC_BYTES]


class _Payload(msgspec.Struct):
    """The payload of a chunk; on the wire its bytes are text in base64."""

    bytes: bytes


_decode_payload = msgspec.json.Decoder(_Payload).decode


def decode_chunk(message: bytes) -> Event | None:
    """Return the event of a message of InvokeModelWithResponseStream that holds a chunk, None for any other."""
    payload = _payload_of(message, _CHUNK_HEADERS)
    if payload is None:
        return None
    try:
        return {"chunk": {"bytes": _decode_payload(payload).bytes}}
    except ValueError:  # msgspec's errors are of this class
        return None


def decode_delta(message: bytes) -> Event | None:
    """Return the event of a message that holds a delta of text, reasoning or tool input, None for any other."""
    data = _payload_of(message, _DELTA_HEADERS)
    if data is None:
        return None
    try:
        text = data.decode()
        payload, end = _scan(text, 0)
    except (ValueError, StopIteration):  # StopIteration: there is nothing to scan
        return None
    if end != len(text) or type(payload) is not dict or len(payload) != 2 + ("p" in payload):
        return None
    # `p` is padding that hides the length of the text. A message with any other field is left to botocore.
    index, delta = payload.get("contentBlockIndex"), payload.get("delta")
    if type(index) is not int or type(delta) is not dict or not _is_single_text(cast("Event", delta)):
        return None
    return {"contentBlockDelta": {"delta": delta, "contentBlockIndex": index}}


def _is_single_text(delta: Event) -> bool:
    if len(delta) != 1:
        return False
    ((kind, value),) = delta.items()
    if kind == "text":
        return type(value) is str
    field = _TEXT_FIELDS.get(kind)
    return field is not None and type(value) is dict and len(value) == 1 and type(value.get(field)) is str
