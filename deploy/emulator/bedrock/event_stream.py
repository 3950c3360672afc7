"""Encoder for AWS's event-stream messages (application/vnd.amazon.eventstream).

A message is: total length and headers length (4 bytes each, big-endian), the CRC-32 of those eight bytes, the headers,
the payload, and the CRC-32 of everything before it. A header is: length of the name (1 byte), name, type 7 (string),
length of the value (2 bytes), value. https://smithy.io/2.0/aws/amazon-eventstream.html
"""

import struct
from functools import lru_cache
from typing import Any
from zlib import crc32

import msgspec

from deploy.emulator.faults import ScriptedError
from deploy.emulator.wire import json_bytes

VALIDATION = "ValidationException"  # AWS's code of an error that has no other

_LENGTHS = struct.Struct(">II")
_CRC = struct.Struct(">I")
_OVERHEAD = 16  # lengths, their CRC, the message's CRC
_STRING_TYPE = 7
_PADDING_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def pad_payload(value: dict[str, Any]) -> bytes:
    """Return the JSON of a non-empty object with Bedrock's padding field `p` at its end.

    Bedrock pads each payload with letters, so that the length of a message does not reveal the length of its token.
    There the padding is random; here it depends on the payload alone, so that equal calls give equal bytes.
    """
    body = json_bytes(value)[:-1]
    return b'%b,"p":"%b"}' % (body, _PADDINGS[crc32(body) % len(_PADDINGS)])


@lru_cache(maxsize=64)
def _headers(kind: str, name: str) -> bytes:
    return _string_headers({f":{kind}-type": name, ":content-type": "application/json", ":message-type": kind})


def _string_headers(fields: dict[str, str]) -> bytes:
    values = ((key.encode(), value.encode("utf-8", "replace")) for key, value in fields.items())
    return b"".join(
        struct.pack(f">B{len(key)}sBH{len(value)}s", len(key), key, _STRING_TYPE, len(value), value)
        for key, value in values
    )


def encode_message(headers: bytes, payload: bytes) -> bytes:
    """Return one message with these encoded headers and this payload."""
    lengths = _LENGTHS.pack(_OVERHEAD + len(headers) + len(payload), len(headers))
    body = b"%b%b%b%b" % (lengths, _CRC.pack(crc32(lengths)), headers, payload)
    return body + _CRC.pack(crc32(body))


def encode_event(name: str, payload: dict[str, Any]) -> bytes:
    """Return an event of this `:event-type`, with a padded payload."""
    return encode_message(_headers("event", name), pad_payload(payload))


def encode_raw_event(name: str, payload: Any) -> bytes:
    """Return an event of this `:event-type` with any JSON as its payload, without padding."""
    return encode_message(_headers("event", name), json_bytes(payload))


def encode_exception(name: str, payload: Any) -> bytes:
    """Return an exception of this `:exception-type`; Bedrock does not pad them."""
    return encode_message(_headers("exception", name), json_bytes(payload))


def encode_error(code: str, text: str) -> bytes:
    """Return a message of the type `error`: its code and text are headers, and it has no payload."""
    fields = {":error-code": code, ":error-message": text, ":message-type": "error"}
    return encode_message(_string_headers(fields), b"")


class EventStreamFormat:
    """The messages that Bedrock's formats share."""

    def error(self, error: ScriptedError) -> bytes:
        """Return an exception, or a message of the type `error`."""
        code = VALIDATION if error.code is None else error.code
        if error.kind == "error":
            return encode_error(code, error.message)
        payload: Any = {"message": error.message} if error.body is msgspec.UNSET else error.body
        return encode_exception(error.exception or code[:1].lower() + code[1:], payload)

    def raw_event(self, name: str, payload: Any) -> bytes:
        """Return an event of this `:event-type`, without padding."""
        return encode_raw_event(name, payload)

    def corrupt(self, message: bytes) -> bytes:
        """Return the message with one bit of its final CRC flipped."""
        return message[:-1] + bytes([message[-1] ^ 1])

    def malformed(self) -> bytes:
        """Return a delta whose payload is cut short; its CRC is right."""
        return encode_message(_headers("event", "contentBlockDelta"), b'{"contentBlockIndex":0,"delta":{"te')

    def comment(self) -> bytes:
        """Return an initial response, which carries nothing and which clients skip."""
        return encode_message(_headers("event", "initial-response"), b"{}")


_PADDINGS = tuple(_PADDING_LETTERS[:length].encode("ascii") for length in range(1, len(_PADDING_LETTERS) + 1))
