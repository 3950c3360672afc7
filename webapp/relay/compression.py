"""Streams compressed with gzip: each delivery is a piece of its own, and the window is the end of what precedes it.

A compressor per reader would hold its window for as long as the stream lives: 38 KB with a small one, 268 KB with the
usual one. Instead every piece is compressed from scratch, with the last kilobyte that the reader has been sent as its
dictionary. That saves as much (a frame of 60 bytes takes 21 either way), and readers that have been sent the same
kilobyte share the piece, however they came to it: those that follow one log meet again a few events after a heartbeat.
A reader holds that kilobyte, shared as well, and a checksum.

Each piece ends with a flush, so that a client can read the events in it at once.
"""

import zlib
from typing import Literal, NamedTuple
from zlib import crc32

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


class Piece(NamedTuple):
    """A body as deflate blocks, and the window of a client that has had it."""

    packed: bytes
    chunk: bytes  # the same as an HTTP chunk
    window: bytes


class Pieces:
    """The pieces made last, for the readers that need the same ones: by body, and by the window before it."""

    def __init__(self) -> None:
        self.payload = b""
        self.body = b""
        self.by_window: dict[bytes, Piece] = {}
        self._by_body: dict[bytes, dict[bytes, Piece]] = {}
        self._kept_bytes = 0
        self.made = 0

    def select(self, payload: bytes) -> None:
        """Make the body that these chunks hold the current one, for all readers of a log in turn."""
        self.select_body(bodies_of(payload))
        self.payload = payload

    def select_body(self, body: bytes) -> None:
        """Make this body the current one."""
        self.payload = b""
        self.body = body
        self.by_window = self._by_body.setdefault(body, {})

    def make(self, window: bytes) -> Piece:
        """Return the piece of the current body for a client whose last bytes are those of the window."""
        body = self.body
        used = window if len(body) <= _LONG_BYTES else b""
        piece = self.by_window.get(used)
        if piece is None:
            after = body[-WINDOW_BYTES:] if len(body) >= WINDOW_BYTES else (window + body)[-WINDOW_BYTES:]
            packed = _compress(used, body)
            piece = Piece(packed, chunked(packed), after)
            self.made += 1
            self._kept_bytes += len(body) + 2 * (len(packed) + WINDOW_BYTES)
            if self._kept_bytes > _KEPT_BYTES:
                self._kept_bytes = 0
                self.by_window = {}
                self._by_body = {body: self.by_window}
            self.by_window[used] = piece
        return piece


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
        self._pieces.select_body(body)
        return self._advance().packed

    def add_chunks(self, payload: bytes) -> bytes:
        """Return one HTTP chunk for what these chunks hold."""
        pieces = self._pieces
        if payload is not pieces.payload:
            pieces.select(payload)
        return self._advance().chunk

    def end(self, body: bytes = b"") -> bytes:
        """Return the last bytes, with this body before the end."""
        last = self.add(body) if body else b""
        length = self._length & 0xFFFFFFFF
        return last + _LAST_BLOCK + self._crc.to_bytes(4, "little") + length.to_bytes(4, "little")

    def _advance(self) -> Piece:
        pieces = self._pieces
        piece = pieces.by_window.get(self._window) or pieces.make(self._window)
        self._window = piece.window
        self._crc = crc32(pieces.body, self._crc)
        self._length += len(pieces.body)
        return piece


def _compress(window: bytes, body: bytes) -> bytes:
    level = _LEVEL if len(body) <= _STORED_BYTES else 0
    compressor = zlib.compressobj(level, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL, zlib.Z_DEFAULT_STRATEGY, window)
    return compressor.compress(body) + compressor.flush(zlib.Z_SYNC_FLUSH)
