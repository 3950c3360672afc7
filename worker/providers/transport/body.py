"""The body of one response, read as it arrives at a fraction of the cost of urllib3's own reader.

urllib3's cost is not the socket: it reads a chunk line by line, and http.client sets a timeout for each read.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any

import gevent
from urllib3 import HTTPResponse
from urllib3.exceptions import HTTPError, ProtocolError

from millrace.worker.providers.transport.chunked_encoding import ChunkedDecoder
from millrace.worker.providers.transport.read_timeout import ReadTimeout

READ_BYTES = 16_384
DRAIN_SECONDS = 0.1
DRAIN_READS = 8


class Body:
    """Reads a response that was made with `preload_content=False`.

    After a complete end the connection goes back to its pool. Closing the body before that closes the connection.
    """

    def __init__(self, response: HTTPResponse) -> None:
        self._response = response
        self._http: Any = response._fp  # noqa: SLF001 - http.client's response; its `fp` is the buffered socket
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        self._is_compressed = encoding != "identity"
        self._decoder = ChunkedDecoder() if response.chunked else _LengthDecoder(self._http.length)

    def __iter__(self) -> Generator[bytes]:
        """Yield pieces of the body; raises ProtocolError if it is cut off, TimeoutError if no byte arrives in time.

        The response's own timeout bounds each read.
        """
        if self._is_compressed:  # not asked for: only a proxy on the way does this
            while piece := self._response.read1(READ_BYTES, decode_content=True):
                yield piece
            return
        with self._without_socket_timeout() as (sock, seconds), ReadTimeout(seconds) as timeout:
            read, read_next = self._http.fp.read1, _reader_of(sock)  # the buffer is empty after one read
            while not self._decoder.has_ended:
                timeout.begin_read()
                data = read(READ_BYTES)
                timeout.end_read()
                read = read_next
                piece = self._decoder.decode(data) if data else self._decoder.end()
                if piece:
                    yield piece
                if self._decoder.damage:
                    raise self._decoder.damage
        self._release()

    def drain(self) -> None:
        """Read on to the end after the last event, so that the connection can be reused; give up soon."""
        if self._is_compressed or self._http.fp is None:
            return
        # A body that goes on, or is damaged behind its last event, only costs its connection.
        with suppress(HTTPError, OSError), gevent.Timeout(DRAIN_SECONDS, False):
            for _ in range(DRAIN_READS):
                if self._decoder.has_ended:
                    break
                data = self._http.fp.read1(READ_BYTES)
                self._decoder.decode(data) if data else self._decoder.end()
        if self._decoder.has_ended:
            self._release()

    def read(self, max_bytes: int) -> bytes:
        """Return the whole body; raises ProtocolError if it is cut off or longer than `max_bytes`."""
        parts: list[bytes] = []
        size = 0
        for piece in self:
            parts.append(piece)
            size += len(piece)
            if size > max_bytes:
                raise ProtocolError(f"the response is longer than {max_bytes} bytes")
        return b"".join(parts)

    def close(self) -> None:
        """Close the connection, unless the body was read to its end."""
        self._response.close()

    def _release(self) -> None:
        self._http.close()  # closes this response, not its connection, which the next call reuses
        self._response.release_conn()

    @contextmanager
    def _without_socket_timeout(self) -> Generator[tuple[Any, float]]:
        """Yield the socket and its timeout in seconds, which is switched off until the end of the block."""
        # The connection itself has let go of its socket if the server announced that it will close it.
        sock = self._http.fp.raw._sock  # noqa: SLF001 - socket.SocketIO has no public access to it
        seconds = sock.gettimeout()
        sock.settimeout(None)
        try:
            yield sock, seconds
        finally:
            if sock.fileno() >= 0:
                sock.settimeout(seconds)


def _reader_of(sock: Any) -> Callable[[int], bytes]:
    """Return `sock.recv`, but waiting for the first byte instead of trying in vain before each wait, as gevent does.

    A stream's next piece has almost never arrived when it is asked for.
    """
    wait: Callable[[Any], None] | None = getattr(sock, "_wait", None)
    if wait is None:  # a socket without gevent's monkey patches
        return sock.recv
    decrypted_bytes: Callable[[], int] = getattr(sock, "pending", int)  # TLS has read them from the socket already

    def read(size: int) -> bytes:
        if not decrypted_bytes():
            wait(sock._read_event)  # noqa: SLF001 - a wait of gevent's own, which closing the socket ends
        return sock.recv(size)

    return read


class _LengthDecoder:
    """The body of a response with a Content-Length, or of one that ends with its connection."""

    damage: ProtocolError | None = None

    def __init__(self, length: int | None) -> None:
        self._remaining = length
        self.has_ended = length == 0

    def decode(self, data: bytes) -> bytes:
        """Return the bytes of the body in `data`; those behind its end are no part of it."""
        if self._remaining is None:
            return data
        data = data[: self._remaining]
        self._remaining -= len(data)
        self.has_ended = not self._remaining
        return data

    def end(self) -> bytes:
        """Accept the end of the connection; raises ProtocolError if bytes are missing."""
        if self._remaining:
            raise ProtocolError(f"the connection was closed {self._remaining} bytes before the end of the response")
        self.has_ended = True
        return b""
