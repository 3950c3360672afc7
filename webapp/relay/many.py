"""The answer of GET /api/events: several streams, and the owner's feed, on one connection."""

from collections.abc import Iterator, Sequence
from wsgiref.types import WSGIEnvironment

from flask import Response

from millrace.webapp.guard.auth.protocol import AUTHORIZATION
from millrace.webapp.relay.frames import opening
from millrace.webapp.relay.handover import can_take, let_go, take_socket
from millrace.webapp.relay.hub import Hub
from millrace.webapp.relay.multiplexer import Followed, Multiplexer
from millrace.webapp.relay.socket_reader import SocketReader
from millrace.webapp.relay.stream import HEADERS, EventStream, pulled, refuse_when_full, yielded
from millrace.worker.contract.feed import FeedPosition
from millrace.worker.contract.ids import START, Cursor
from millrace.worker.contract.state import GenerationState

_MANY = "many"  # in the place of a generation's id, where a connection carries several


def many_streams(
    hub: Hub,
    environ: WSGIEnvironment,
    followed: Sequence[tuple[GenerationState, Cursor]],
    feed: tuple[str, FeedPosition] | None,
) -> Response:
    """Return one stream of the generations after their cursors, and of an owner's feed after its place.

    204 where all have ended, nothing comes after any cursor, and there is no feed. It ends with the last `done`,
    unless there is a feed. Raises Problem 503 `too_many_readers`. Does no I/O before the headers are out.
    """
    if feed is None and all(state.is_done and after == state.top for state, after in followed):
        return Response(status=204, headers=HEADERS)
    refuse_when_full(hub, places=1 + len(followed))
    return EventStream(_stream(hub, environ, followed, feed), headers=HEADERS, content_type="text/event-stream")


def _stream(
    hub: Hub,
    environ: WSGIEnvironment,
    followed: Sequence[tuple[GenerationState, Cursor]],
    feed: tuple[str, FeedPosition] | None,
) -> Iterator[bytes]:
    yield opening()
    parts = [Followed(state.generation, after, state.on_disconnect == "cancel") for state, after in followed]
    if can_take(environ):
        Multiplexer(hub, SocketReader(_MANY, START, take_socket(environ)), parts, feed).begin(
            environ.get(AUTHORIZATION)
        )
        raise let_go()
    trunk = pulled(environ, _MANY, START)
    Multiplexer(hub, trunk, parts, feed).begin(environ.get(AUTHORIZATION))
    yield from yielded(trunk, hub.settings.relay.heartbeat_seconds)
