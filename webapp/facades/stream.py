"""A generation's stream in a dialect: the readers of the relay, which render foreign frames instead of ours."""

import _socket
from collections.abc import Callable, Sequence
from functools import partial

from flask import Response, request

from millrace.webapp.facades.dialect import Dialect, Line, encode_frames
from millrace.webapp.generation.creation import create_generation
from millrace.webapp.generation.responses import idempotency_key
from millrace.webapp.generation.validation import ParsedRequest
from millrace.webapp.guard.auth.protocol import AUTHORIZATION
from millrace.webapp.guard.client import CLIENT
from millrace.webapp.relay.frames import COMMENT, Frame, chunked
from millrace.webapp.relay.reader import EndReason, PullReader, write_nothing
from millrace.webapp.relay.socket_handover import hand_over_or_yield
from millrace.webapp.relay.socket_reader import SocketReader
from millrace.webapp.relay.stream import HEADERS, EventStream, refuse_when_full
from millrace.webapp.services import services
from millrace.worker.contract.events import decode
from millrace.worker.contract.ids import START
from millrace.worker.observability.logs import get_logger

_OPENING = b": millrace\n\n"  # makes buffering proxies flush; no `retry:`, because a client cannot resume such a stream

_log = get_logger(__name__)


def stream_answer(owner: str, parsed: ParsedRequest, dialect: Dialect) -> Response:
    """Create the generation and return its whole stream in a dialect; a client that leaves cancels it after the grace.

    Raises the errors of `create_generation`, and Problem 503 `too_many_readers` or 429 `too_many_streams` before
    anything is created.
    """
    hub = services().hub
    client = request.environ.get(CLIENT)
    refuse_when_full(hub, client)
    state = create_generation(services(), owner, parsed, idempotency_key(), is_streamed=True)
    body = hand_over_or_yield(
        request.environ,
        _OPENING,
        socket_reader=partial(DialectReader, state.generation, dialect=dialect),
        pull_reader=partial(DialectPullReader, state.generation, dialect),
        attach=partial(
            hub.follow,
            cancels_unwatched=state.on_disconnect == "cancel",
            authorization=request.environ.get(AUTHORIZATION),
            client=client,
        ),
        refuse=lambda: encode_frames(dialect.interrupted()) if hub.places.rejection(client) else b"",
        heartbeat_seconds=hub.settings.relay.heartbeat_seconds,
    )
    return EventStream(body, {**HEADERS, "Millrace-Generation-Id": state.generation})


def _render(dialect: Dialect, frame: Frame) -> list[Line]:
    """Return the lines of a frame; none for an event that this version does not know, such as one of a newer worker."""
    try:
        event = decode(frame.data)
    except ValueError as error:
        _log.warning("unknown_event_skipped", cursor=str(frame.cursor), error=error)
        return []
    return dialect.render(event)


class DialectPullReader(PullReader):
    """A reader whose frames are yielded to the server in a dialect."""

    __slots__ = ("_dialect",)
    heartbeat = COMMENT

    def __init__(self, generation: str, dialect: Dialect, on_stall: Callable[[], None] | None) -> None:
        super().__init__(generation, START, on_stall)
        self._dialect = dialect

    def render(self, frames: list[Frame]) -> bytes:
        """Return the frames in the dialect, up to its end, with which the stream ends."""
        rendered = b""
        for frame in frames:
            if self._dialect.is_over:
                break
            rendered += encode_frames(_render(self._dialect, frame))
        if self._dialect.is_over:
            self.finish("done")
        return rendered

    def render_end(self) -> bytes:
        """Return the dialect's error if the stream ends before the answer does."""
        return b"" if self._dialect.is_over else encode_frames(self._dialect.interrupted())


class DialectReader(SocketReader):
    """A reader on a client's socket that sends every event in a dialect."""

    __slots__ = ("_dialect",)
    heartbeat = COMMENT

    def __init__(self, generation: str, sock: _socket.socket, dialect: Dialect) -> None:
        super().__init__(generation, START, sock)
        self.write = write_nothing
        self._dialect = dialect

    def take_rest(self, frames: Sequence[Frame], written: int | OSError) -> int:
        """Send the frames, translated one by one; a dialect renders each event once only, so its bytes are kept."""
        count = 0
        for frame in frames:
            if self.is_full or self.end_reason:
                break
            if lines := _render(self._dialect, frame):
                self.send(chunked(encode_frames(lines)))
            if self._dialect.is_over:
                self.finish("done")
            count += 1
        return count

    def finish(self, why: EndReason, last_bytes: bytes = b"") -> None:
        """End cleanly, with the dialect's error if the answer has not ended yet."""
        super().finish(why, b"" if self._dialect.is_over else encode_frames(self._dialect.interrupted()))

    def _accept_frames(self) -> None:
        self.is_full = False
