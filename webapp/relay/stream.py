"""The HTTP responses of the event routes: one generation's stream, and several streams on one connection."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from flask import Response
from gevent.monkey import is_module_patched

from millrace.webapp.guard.auth.protocol import AUTHORIZATION
from millrace.webapp.guard.client import CLIENT, Client
from millrace.webapp.guard.rejections import accepts_event_stream, delayed_reconnect
from millrace.webapp.problems import Problem, note
from millrace.webapp.relay.compression import GzipStream, choose_encoding
from millrace.webapp.relay.frames import stream_end, stream_start
from millrace.webapp.relay.hub import Hub
from millrace.webapp.relay.multiplexer import FollowedGeneration, Multiplexer
from millrace.webapp.relay.places import CROWDED_SECONDS
from millrace.webapp.relay.reader import PullReader, Reader
from millrace.webapp.relay.socket_handover import hand_over_or_yield
from millrace.webapp.relay.socket_reader import SocketReader
from millrace.worker.contract.feed import FeedPosition
from millrace.worker.contract.ids import START, Cursor
from millrace.worker.contract.state import GenerationState
from millrace.worker.settings.schema import Settings

HEADERS = {
    "Cache-Control": "no-cache, no-store, no-transform",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}
_MULTIPLEXED = "many"  # stands for the generation's id in the log line of a connection that carries several streams


def ended_stream() -> Response:
    """Return the 204 that makes an EventSource stop; some clients check its type first."""
    return Response(status=204, headers=HEADERS, content_type="text/event-stream")


def headers_of(settings: Settings) -> dict[str, str]:
    """Return the headers of a native stream; a client takes a connection without heartbeats for a dead one."""
    return {**HEADERS, "Millrace-Heartbeat-Seconds": f"{settings.relay.heartbeat_seconds:g}"}


def gzip_for(hub: Hub, environ: WSGIEnvironment) -> GzipStream | None:
    """Return the compressed body of a stream where the setting and the client allow one."""
    if hub.settings.relay.compression == "off" or not choose_encoding(environ.get("HTTP_ACCEPT_ENCODING", "")):
        return None
    return GzipStream(hub.pieces)


class EventStream(Response):
    """A response whose connection ends with it and says so; otherwise a client would send its next request into it."""

    def __init__(
        self, body: Iterable[bytes], headers: dict[str, str] = HEADERS, gzip: GzipStream | None = None
    ) -> None:
        super().__init__(body, headers=headers, content_type="text/event-stream")
        self.vary.add("Accept-Encoding")
        if gzip is not None:
            self.content_encoding = "gzip"

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer; gunicorn sends `Connection: close` if its own response object says so, and ignores the header."""
        server_response: Any = getattr(start_response, "__self__", None)
        if hasattr(server_response, "force_close") and environ.get("REQUEST_METHOD") != "HEAD":
            server_response.force_close()
        return super().__call__(environ, start_response)


def event_stream(
    hub: Hub, environ: WSGIEnvironment, state: GenerationState, after: Cursor, *, is_admitted: bool = False
) -> Response:
    """Return the event stream of a generation after the cursor; 204 if it has ended and nothing follows the cursor.

    `is_admitted` where `refuse_when_full` has been called before something was created. Otherwise an EventSource whose
    user has too many streams gets an empty stream with a long `retry:`, and other clients a problem. Raises Problem 503
    `too_many_readers`, 429 `too_many_streams`. Does no I/O before the headers are out.
    """
    if state.is_done and after == state.top:
        return ended_stream()
    client = environ.get(CLIENT)
    if not is_admitted and (rejection := _reject_when_full(hub, client)):
        return rejection
    gzip = gzip_for(hub, environ)
    body = hand_over_or_yield(
        environ,
        stream_start(hub.settings.relay.heartbeat_seconds),
        socket_reader=partial(SocketReader, state.generation, after),
        pull_reader=partial(PullReader, state.generation, after),
        attach=partial(
            hub.follow,
            cancels_unwatched=state.on_disconnect == "cancel",
            authorization=environ.get(AUTHORIZATION),
            client=client,
        ),
        refuse=lambda: stream_end() if hub.places.rejection(client) else b"",
        heartbeat_seconds=hub.settings.relay.heartbeat_seconds,
        gzip=gzip,
    )
    return EventStream(body, headers_of(hub.settings), gzip)


def multiplexed_stream(
    hub: Hub,
    environ: WSGIEnvironment,
    followed: Sequence[tuple[GenerationState, Cursor]],
    feed: tuple[str, FeedPosition] | None,
) -> Response:
    """Return one stream of the generations after their cursors, and of an owner's feed after its position.

    204 if all generations have ended, nothing follows any cursor, and there is no feed. Without a feed the stream ends
    with the last `done`. Where there is no room, the same as `event_stream`. Does no I/O before the headers are out.
    """
    if feed is None and all(state.is_done and after == state.top for state, after in followed):
        return ended_stream()
    client, places = environ.get(CLIENT), 1 + len(followed)
    if rejection := _reject_when_full(hub, client, places):
        return rejection
    parts = [FollowedGeneration(state.generation, after, state.on_disconnect == "cancel") for state, after in followed]

    def attach(connection: Reader) -> None:
        Multiplexer(hub, connection, parts, feed).start(environ.get(AUTHORIZATION), client)

    gzip = gzip_for(hub, environ)
    body = hand_over_or_yield(
        environ,
        stream_start(hub.settings.relay.heartbeat_seconds),
        socket_reader=partial(SocketReader, _MULTIPLEXED, START),
        pull_reader=partial(PullReader, _MULTIPLEXED, START),
        attach=attach,
        refuse=lambda: stream_end() if hub.places.rejection(client, places) else b"",
        heartbeat_seconds=hub.settings.relay.heartbeat_seconds,
        gzip=gzip,
    )
    return EventStream(body, headers_of(hub.settings), gzip)


def refuse_when_full(hub: Hub, client: Client | None, places: int = 1) -> None:
    """Return if there is room for this many more readers of the client.

    Raises Problem 503 `too_many_readers` or 429 `too_many_streams` otherwise, and 503 `unsupported_server` where no
    reader would ever get an event: readers are served by greenlets, which do not run while an unpatched server waits in
    its threads.
    """
    if not is_module_patched("socket"):
        raise Problem(
            503,
            "unsupported_server",
            "Streams need gunicorn with gevent workers. Start this server with Millrace's configuration of gunicorn.",
        )
    if rejection := hub.places.rejection(client, places):
        raise rejection


def _reject_when_full(hub: Hub, client: Client | None, places: int = 1) -> Response | None:
    try:
        refuse_when_full(hub, client, places)
    except Problem as problem:
        if problem.status == 429 and accepts_event_stream():
            note(problem)
            return delayed_reconnect(CROWDED_SECONDS)
        raise
    return None
