"""The answer of GET …/events: its headers, its first bytes, and then whichever way the frames take."""

import random
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from flask import Response
from gevent.socket import socket as gevent_socket

from millrace.webapp.guard.auth.protocol import AUTHORIZATION
from millrace.webapp.problems import Problem
from millrace.webapp.relay.frames import HEARTBEAT, body_of, opening
from millrace.webapp.relay.handover import can_take, let_go, take_socket
from millrace.webapp.relay.hub import Hub
from millrace.webapp.relay.reader import PullReader
from millrace.webapp.relay.socket_reader import SocketReader, prepare
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.state import GenerationState

HEADERS = {
    "Cache-Control": "no-cache, no-store, no-transform",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}


class EventStream(Response):
    """A response whose connection ends with it, and that says so: else a client sends its next request into the end."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer; gunicorn writes `Connection: close` where its response is told so, and ignores it as a header."""
        theirs: Any = getattr(start_response, "__self__", None)
        if hasattr(theirs, "force_close") and environ.get("REQUEST_METHOD") != "HEAD":
            theirs.force_close()
        return super().__call__(environ, start_response)


def event_stream(hub: Hub, environ: WSGIEnvironment, state: GenerationState, after: Cursor) -> Response:
    """Return the event stream of a generation after the cursor; 204 where it has ended and nothing comes after.

    Raises Problem 503 `too_many_readers`. Does no I/O before the headers are out.
    """
    if state.is_done and after == state.top:
        return Response(status=204, headers=HEADERS)
    refuse_when_full(hub)
    return EventStream(_stream(hub, environ, state, after), headers=HEADERS, content_type="text/event-stream")


def refuse_when_full(hub: Hub, places: int = 1) -> None:
    """Raise Problem 503 where so many more readers would have no place."""
    if not hub.has_room(places):
        detail = "This server follows as many streams as it may. Please try again in a moment."
        raise Problem(503, "too_many_readers", detail, retry_after=random.randint(1, 5))


def _stream(hub: Hub, environ: WSGIEnvironment, state: GenerationState, after: Cursor) -> Iterator[bytes]:
    """Yield the first bytes, then hand the socket over; where that can't be, yield the frames themselves."""
    yield opening()
    cancels = state.on_disconnect == "cancel"
    if can_take(environ):
        reader = SocketReader(state.generation, after, take_socket(environ))
        hub.follow(reader, cancels_unwatched=cancels, right=environ.get(AUTHORIZATION))
        raise let_go()
    reader = pulled(environ, state.generation, after)
    hub.follow(reader, cancels_unwatched=cancels, right=environ.get(AUTHORIZATION))
    yield from yielded(reader, hub.settings.relay.heartbeat_seconds)


def pulled(environ: WSGIEnvironment, generation: str, after: Cursor) -> PullReader:
    """Return a reader for an iterator whose server writes to the socket, which is shut where the reader stalls."""
    theirs: Any = environ.get("gunicorn.socket")
    if isinstance(theirs, socket.socket | gevent_socket):
        prepare(theirs)
    return PullReader(generation, after, None if theirs is None else partial(_shut, theirs))


def yielded(reader: PullReader, heartbeat_seconds: float) -> Iterator[bytes]:
    """Yield what a reader is given, with heartbeats between, to its end; the reader is closed then."""
    beat_at = time.monotonic() + heartbeat_seconds
    try:
        while not reader.is_over:
            if frames := reader.pull(beat_at - time.monotonic()):
                yield b"".join(map(body_of, frames))
            if time.monotonic() >= beat_at:
                beat_at += heartbeat_seconds
                yield HEARTBEAT
        if reader.last_words:
            yield reader.last_words
    finally:
        reader.close("client_left")


def _shut(sock: Any) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
