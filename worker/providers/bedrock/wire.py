"""ConverseStream's events as they come over the wire, read at a fraction of what iterating botocore's stream costs.

What costs there is not the socket, but that a chunk is read line by line and a message taken apart by its model. Where
the response is not what Bedrock sends, botocore's own way is taken.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from urllib3 import HTTPResponse
from urllib3.exceptions import ProtocolError

from millrace.worker.providers.bedrock.chunked_encoding import Chunks
from millrace.worker.providers.bedrock.event_stream import Event, Frames
from millrace.worker.providers.read_timeout import ReadTimeout

READ_BYTES = 16_384


def read_events(stream: Any) -> Generator[Event]:
    """Yield what iterating the EventStream yields, and raise what that raises, but for TimeoutError after silence.

    Silence is bounded as the client says, by its read timeout. The caller closes the stream, whatever happens; at its
    end the connection has gone back to the pool before that.
    """
    response = stream._raw_stream  # noqa: SLF001 - botocore has no other way to it; a test pins that it is there
    if isinstance(response, HTTPResponse) and response.chunked:
        frames = Frames(stream._parse_event)  # noqa: SLF001 - likewise
        for body in _bodies(response):
            yield from frames.events(body)
    else:
        yield from stream


def _bodies(response: HTTPResponse) -> Generator[bytes]:
    http: Any = response._fp  # noqa: SLF001 - http.client's response, whose `fp` is the buffered socket
    chunks = Chunks()
    with _unbounded(response) as seconds, ReadTimeout(seconds) as silence:
        while not chunks.has_ended:
            silence.waits()
            data = http.fp.read1(READ_BYTES)
            silence.hears()
            if not data:
                raise ProtocolError("the response broke off")
            yield chunks.body(data)
    http.close()  # this response, not its connection, which the next one may have
    response.release_conn()


@contextmanager
def _unbounded(response: HTTPResponse) -> Generator[float]:
    """Give the seconds that the socket waits for each read, and let it wait for ever meanwhile."""
    connection: Any = response.connection
    seconds = connection.sock.gettimeout()
    connection.sock.settimeout(None)
    try:
        yield seconds
    finally:
        if connection.sock is not None:
            connection.sock.settimeout(seconds)
