"""From the events of a stream to its deltas, for each wire that states a stop reason before its last details.

A stop reason makes an answer whole. Only details follow it: the wait for them is short, and a failure there is
without effect.
"""

import json
from collections.abc import Generator
from contextlib import closing, suppress
from itertools import islice
from typing import Protocol

import gevent

from millrace.worker.errors import ProviderError
from millrace.worker.providers.members import Members, object_of
from millrace.worker.providers.protocol import Delta
from millrace.worker.providers.transport.client import Response
from millrace.worker.providers.transport.decoders import SseDecoder

REST_SECONDS = 5.0  # for the events behind the stop reason
_END_SECONDS = 0.1  # for the end of the response behind the last event, so that its connection can be reused
_END_EVENTS = 8

Event = tuple[str, bytes]
"""An event's name on the wire, empty if it has none, and its JSON."""


class ReadMapper(Protocol):
    """Maps the events of one stream, in order."""

    @property
    def has_finished(self) -> bool:
        """Whether the stop reason has arrived; only details may follow."""
        ...

    @property
    def has_ended(self) -> bool:
        """Whether nothing follows."""
        ...

    def map(self, name: str, data: bytes) -> list[Delta]:
        """Return the deltas of an event; raises ProviderError."""
        ...

    def end(self) -> list[Delta]:
        """Return what is left at the end of the stream."""
        ...


def read_deltas(events: Generator[Event], mapper: ReadMapper, errors: tuple[type[Exception], ...]) -> Generator[Delta]:
    """Yield the deltas of a stream; `errors` are those of the connection, which change nothing behind a stop reason."""
    for name, data in events:
        yield from mapper.map(name, data)
        if mapper.has_finished or mapper.has_ended:
            break
    rest: list[Delta] = []
    with suppress(ProviderError, *errors), gevent.Timeout(REST_SECONDS, False):  # pyright: ignore[reportArgumentType] - False: quietly
        while not mapper.has_ended and (event := next(events, None)) is not None:
            rest += mapper.map(*event)
    yield from rest
    yield from mapper.end()
    with suppress(ProviderError, *errors), gevent.Timeout(_END_SECONDS, False):  # pyright: ignore[reportArgumentType] - likewise
        for _ in islice(events, _END_EVENTS):
            continue


def read_sse(response: Response, decoder: SseDecoder | None = None) -> Generator[Event]:
    """Yield the server-sent events of a response."""
    decoder = decoder or SseDecoder()
    with closing(iter(response.body)) as pieces:
        for piece in pieces:
            yield from decoder.decode(piece)
    yield from decoder.end()


def parse_message(data: bytes) -> Members:
    """Return the object of a whole response; raises ProviderError (`truncated`) for one that is no JSON."""
    try:
        return object_of(json.loads(data))
    except (ValueError, RecursionError) as error:
        raise ProviderError("truncated", retryable=True) from error
