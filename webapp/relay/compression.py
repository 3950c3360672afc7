"""Streams compressed with gzip: each delivery is a piece of its own, and the window is the end of what precedes it.

A compressor per reader would hold its window for as long as the stream lives: 38 KB with a small one, 268 KB with the
usual one. Instead every piece is compressed from scratch, with the last kilobyte that the reader has been sent as its
dictionary. That saves as much (a frame of 60 bytes takes 21 either way), and readers that have been sent the same
kilobyte share the piece, however they came to it: those that follow one log meet again a few events after a heartbeat.
A reader holds that kilobyte, shared as well, and a checksum.

Each piece ends with a flush, so that a client can read the events in it at once.
"""

import zlib
from typing import Literal

from werkzeug.datastructures import Accept
from werkzeug.http import parse_accept_header

from millrace.webapp.relay.frames import bodies_of, chunked

Encoding = Literal["", "gzip"]

WINDOW_BYTES = 1024
_LONG_BYTES = 8 * 1024  # so long a body hardly gains from a window, and is shared by more readers without one
_STORED_BYTES = 256 * 1024  # to compress a longer body would hold up all other streams for milliseconds
_KEPT_BYTES = 1 << 20
_LEVEL = 1  # a higher one saves 3 %, and takes three times as long for long bodies
_WINDOW_BITS, _MEMORY_LEVEL = -13, 5  # raw deflate; larger tables cost more to clear than they find in short bodies
_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_LAST_BLOCK = b"\3\0"


def choose_encoding(accepted: str) -> Encoding:
    """Return the encoding of a stream for a client with this `Accept-Encoding`; empty means as it is.

    `*` includes gzip. A client that prefers `identity` gets it.
    """
    given = parse_accept_header(accepted, Accept)
    gzip = given.quality("gzip")
    identity = next((quality for name, quality in given if name.lower() == "identity"), 0)
    return "gzip" if gzip > 0 and gzip >= identity else ""


class Pieces:
    """The pieces made last, for the readers that need the same ones."""

    def __init__(self) -> None:
        self._payload = self._body = b""
        self._pieces: dict[tuple[bytes, bytes], bytes] = {}
        self._kept_bytes = 0
        self.made = 0

    def body_of(self, payload: bytes) -> bytes:
        """Return what the chunks hold; the readers of one log ask for the same ones in turn."""
        if payload is not self._payload:
            self._body = bodies_of(payload)
            self._payload = payload
        return self._body

    def piece(self, window: bytes, body: bytes) -> bytes:
        """Return the body as deflate blocks, for a client whose last bytes are those of the window."""
        if len(body) > _LONG_BYTES:
            window = b""
        made = self._pieces.get((window, body))
        if made is None:
            made = _compress(window, body)
            self.made += 1
            self._kept_bytes += len(window) + len(body) + len(made)
            if self._kept_bytes > _KEPT_BYTES:
                self._pieces.clear()
                self._kept_bytes = len(window) + len(body) + len(made)
            self._pieces[window, body] = made
        return made


class GzipStream:
    """The compressed body of one response. Everything that the client is sent passes through it, in order."""

    __slots__ = ("_crc", "_length", "_pieces", "_window")

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._window = b""
        self._crc = self._length = 0

    def start(self, body: bytes) -> bytes:
        """Return the first bytes of the response."""
        return _HEADER + self.add(body)

    def add(self, body: bytes) -> bytes:
        """Return the next bytes, which the client can read at once."""
        piece = self._pieces.piece(self._window, body)
        self._crc = zlib.crc32(body, self._crc)
        self._length += len(body)
        self._window = body[-WINDOW_BYTES:] if len(body) >= WINDOW_BYTES else (self._window + body)[-WINDOW_BYTES:]
        return piece

    def add_chunks(self, payload: bytes) -> bytes:
        """Return one HTTP chunk for what these chunks hold."""
        return chunked(self.add(self._pieces.body_of(payload)))

    def end(self, body: bytes = b"") -> bytes:
        """Return the last bytes, with this body before the end."""
        last = self.add(body) if body else b""
        length = self._length & 0xFFFFFFFF
        return last + _LAST_BLOCK + self._crc.to_bytes(4, "little") + length.to_bytes(4, "little")


def _compress(window: bytes, body: bytes) -> bytes:
    level = _LEVEL if len(body) <= _STORED_BYTES else 0
    compressor = zlib.compressobj(level, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL, zlib.Z_DEFAULT_STRATEGY, window)
    return compressor.compress(body) + compressor.flush(zlib.Z_SYNC_FLUSH)
