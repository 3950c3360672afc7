"""A decoder for HTTP's chunked transfer coding that handles all received chunks at once. Pure.

A chunk is its size in hexadecimal, CR LF, that many bytes, CR LF. A chunk of size 0 is the last one; trailers and an
empty line follow it. https://www.rfc-editor.org/rfc/rfc9112#name-chunked-transfer-coding
"""

from urllib3.exceptions import ProtocolError

MAX_LINE_BYTES = 65_536  # of a size with its extensions, and of all trailers together

_CRLF = b"\r\n"


class ChunkedDecoder:
    """Decodes the body of one response from pieces of any length, as the socket delivers them."""

    def __init__(self) -> None:
        self.has_ended = False
        self.damage: ProtocolError | None = None  # of the coding, behind bytes that have been decoded
        self._remaining = 0  # bytes of the current chunk that have not arrived
        self._size_prefix = b""  # stands before the next size: the CR LF that ends the previous chunk
        self._is_last = False
        self._rest = b""  # an incomplete size line, or incomplete trailers

    def decode(self, data: bytes) -> bytes:
        """Return the bytes of the body in `data`; raises ProtocolError if it is not in this coding.

        Bytes before the damage are whole: they are returned, and `damage` is to be raised after them.
        """
        if self.damage:
            raise self.damage
        data = self._rest + data
        parts: list[bytes] = []
        at = 0
        while at < len(data):
            if self._remaining:
                part = data[at : at + self._remaining]
                parts.append(part)
                self._remaining -= len(part)
                at += len(part)
            elif self._is_last or (end := data.find(_CRLF, at + len(self._size_prefix))) < 0:
                break
            else:
                try:
                    self._remaining = self._parse_size(data[at:end])
                except ProtocolError as error:
                    if not parts:
                        raise
                    self.damage = error
                    break
                self._size_prefix = _CRLF
                self._is_last = not self._remaining
                at = end if self._is_last else end + len(_CRLF)
        self._keep(data[at:])
        return b"".join(parts)

    def end(self) -> bytes:
        """Raise ProtocolError: the connection has ended before the last chunk."""
        raise ProtocolError("the connection was closed before the end of the response")

    def _parse_size(self, line: bytes) -> int:
        digits = line.removeprefix(self._size_prefix).partition(b";")[0].strip()
        if not (line.startswith(self._size_prefix) and digits.isalnum()):
            raise ProtocolError(f"invalid chunk size: {line[:20]!r}")
        try:
            return int(digits, 16)
        except ValueError as error:
            raise ProtocolError(f"invalid chunk size: {line[:20]!r}") from error

    def _keep(self, rest: bytes) -> None:
        # `rest` begins with the CR LF that ends the last size line. Without trailers the empty line follows directly.
        self.has_ended = self._is_last and 2 * _CRLF in rest
        if len(rest) > MAX_LINE_BYTES:
            raise ProtocolError("a chunk size or the trailers are too long")
        self._rest = rest
