"""HTTP's chunked transfer coding, as many chunks at once as have come: pure.

A chunk is its size in hexadecimal, CR LF, so many bytes, CR LF. One of size 0 is the last; trailers and an empty line
follow it. https://www.rfc-editor.org/rfc/rfc9112#name-chunked-transfer-coding
"""

from urllib3.exceptions import ProtocolError

MOST_LINE_BYTES = 65_536  # of a size with its extensions, and of all trailers together

_CRLF = b"\r\n"


class Chunks:
    """Takes what the socket brings of one response, cut anywhere, and gives its body."""

    def __init__(self) -> None:
        self.has_ended = False
        self._left = 0  # bytes of the chunk under way that are still to come
        self._led_by = b""  # what stands before the next size: the end of the chunk before it
        self._is_last = False
        self._rest = b""  # what is not whole yet: a size, or the trailers

    def body(self, data: bytes) -> bytes:
        """Return the bytes of the body that these bring; raises ProtocolError for what is not in this coding."""
        data = self._rest + data
        parts: list[bytes] = []
        at = 0
        while at < len(data):
            if self._left:
                part = data[at : at + self._left]
                parts.append(part)
                self._left -= len(part)
                at += len(part)
            elif self._is_last or (end := data.find(_CRLF, at + len(self._led_by))) < 0:
                break
            else:
                self._left = self._size(data[at:end])
                self._led_by = _CRLF
                self._is_last = not self._left
                at = end if self._is_last else end + len(_CRLF)
        self._keep(data[at:])
        return b"".join(parts)

    def _size(self, line: bytes) -> int:
        digits = line.removeprefix(self._led_by).partition(b";")[0].strip()
        if not (line.startswith(self._led_by) and digits.isalnum()):
            raise ProtocolError(f"no chunk begins with {line[:20]!r}")
        try:
            return int(digits, 16)
        except ValueError as error:
            raise ProtocolError(f"no chunk begins with {line[:20]!r}") from error

    def _keep(self, rest: bytes) -> None:
        # Without trailers the empty line is all there is: the end of the size's line stands right before it.
        self.has_ended = self._is_last and 2 * _CRLF in rest
        if len(rest) > MOST_LINE_BYTES:
            raise ProtocolError("a chunk's size or the trailers have no end")
        self._rest = rest
