"""From the events of a stream to its deltas, and from the deltas of a whole message to an answer.

A stop reason makes an answer whole. Only details follow it: the wait for them is short, and a failure there is
without effect.
"""

import json
from collections.abc import Generator
from contextlib import suppress
from itertools import islice

import gevent

from millrace.worker.errors import ProviderError
from millrace.worker.providers.anthropic.mapping import MessageMapper
from millrace.worker.providers.members import Members, object_of
from millrace.worker.providers.protocol import Delta

REST_SECONDS = 5.0  # for the events behind the stop reason
_END_SECONDS = 0.1  # for the end of the response behind the last event, so that its connection can be reused
_END_EVENTS = 8

Event = tuple[str, bytes]
"""An event's name on the wire, empty if it has none, and its JSON."""


def read_deltas(
    events: Generator[Event], mapper: MessageMapper, errors: tuple[type[Exception], ...]
) -> Generator[Delta]:
    """Yield the deltas of a stream; `errors` are those of the connection, which change nothing behind a stop reason."""
    for name, data in events:
        yield from mapper.map(name, data)
        if mapper.has_finished:
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


def parse_message(data: bytes) -> Members:
    """Return the object of a whole response; raises ProviderError (`truncated`) for one that is no JSON."""
    try:
        return object_of(json.loads(data))
    except (ValueError, RecursionError) as error:
        raise ProviderError("truncated", retryable=True) from error
