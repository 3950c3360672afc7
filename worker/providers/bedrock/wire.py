"""ConverseStream's events, read from the wire at a fraction of the cost of iterating botocore's stream.

botocore's cost is not the socket: it reads a chunk line by line and parses a message by its service model. A response
that is not chunked, as Bedrock's are, is left to botocore.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from urllib3 import HTTPResponse
from urllib3.exceptions import ProtocolError

from millrace.worker.providers.bedrock.chunked_encoding import ChunkedDecoder
from millrace.worker.providers.bedrock.event_stream import Event, EventStreamDecoder
from millrace.worker.providers.read_timeout import ReadTimeout

READ_BYTES = 16_384


def read_events(stream: Any) -> Generator[Event]:
    """Yield the events of a botocore EventStream, and raise the errors that iterating it raises.

    The one exception is a read that exceeds the client's read timeout: it raises TimeoutError. The caller must close
    the stream in any case; after a complete read its connection is back in the pool already.
    """
    response = stream._raw_stream  # noqa: SLF001 - botocore has no public access to it; a test checks that it exists
    if isinstance(response, HTTPResponse) and response.chunked:
        decoder = EventStreamDecoder(stream._parse_event)  # noqa: SLF001 - likewise
        for body in _read_bodies(response):
            yield from decoder.decode(body)
    else:
        yield from stream


def _read_bodies(response: HTTPResponse) -> Generator[bytes]:
    http: Any = response._fp  # noqa: SLF001 - http.client's response, whose `fp` is the buffered socket
    decoder = ChunkedDecoder()
    with _without_socket_timeout(response) as seconds, ReadTimeout(seconds) as timeout:
        while not decoder.has_ended:
            timeout.begin_read()
            data = http.fp.read1(READ_BYTES)
            timeout.end_read()
            if not data:
                raise ProtocolError("the connection was closed before the end of the response")
            yield decoder.decode(data)
    http.close()  # closes this response, not its connection, which the next call reuses
    response.release_conn()


@contextmanager
def _without_socket_timeout(response: HTTPResponse) -> Generator[float]:
    """Yield the socket's timeout in seconds, and switch it off until the end of the block."""
    connection: Any = response.connection
    seconds = connection.sock.gettimeout()
    connection.sock.settimeout(None)
    try:
        yield seconds
    finally:
        if connection.sock is not None:
            connection.sock.settimeout(seconds)
