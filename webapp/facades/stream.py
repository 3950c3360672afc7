"""The event streams of the facades: a generation's log in a dialect, from the relay's renderings."""

import _socket
from collections.abc import Callable
from functools import partial

from flask import Response, request

from millrace.webapp.facades.dialect import Dialect, Line, encode_frame
from millrace.webapp.generation.creation import create_generation
from millrace.webapp.generation.responses import idempotency_key
from millrace.webapp.generation.validation import ParsedRequest
from millrace.webapp.guard.auth.protocol import AUTHORIZATION
from millrace.webapp.guard.client import CLIENT
from millrace.webapp.problems import Problem
from millrace.webapp.relay.frames import Frame
from millrace.webapp.relay.reader import EndReason, PullReader
from millrace.webapp.relay.rendering import Rendered, after_frame
from millrace.webapp.relay.socket_handover import hand_over_or_yield
from millrace.webapp.relay.socket_reader import SocketReader
from millrace.webapp.relay.stream import EventStream, gzip_for, headers_of, refuse_when_full
from millrace.webapp.services import services
from millrace.worker.contract.events import AnyEvent, Snapshot, decode
from millrace.worker.contract.state import GenerationState
from millrace.worker.observability.logs import get_logger

_OPENING = b": millrace\n\n"  # makes buffering proxies flush
_MAX_NUMBER = 10**9

MakeDialect = Callable[[GenerationState], Dialect]

_log = get_logger(__name__)


def stream_answer(
    owner: str, parsed: ParsedRequest, make: MakeDialect, headers: dict[str, str] | None = None
) -> Response:
    """Create the generation and return its stream; a client that leaves cancels it after the grace.

    A request that is repeated with its Idempotency-Key and a `Last-Event-ID` gets the frames after that one. Raises the
    errors of `create_generation`, and Problem 503 `too_many_readers` or 429 `too_many_streams` before anything is
    created.
    """
    key = idempotency_key()
    after = 0 if key is None else check_number(request.headers.get("Last-Event-ID", ""))
    refuse_when_full(services().hub, request.environ.get(CLIENT))
    state = create_generation(services(), owner, parsed, key, is_streamed=True)
    return _stream(state, make, after, headers)


def follow_answer(
    state: GenerationState, make: MakeDialect, after: int = 0, headers: dict[str, str] | None = None
) -> Response:
    """Return the stream of a generation after its first `after` frames, also when it has ended.

    Raises Problem 503 `too_many_readers` or 429 `too_many_streams`.
    """
    refuse_when_full(services().hub, request.environ.get(CLIENT))
    return _stream(state, make, after, headers)


def check_number(text: str) -> int:
    """Return the number of a frame as a client names it, 0 for an empty text; raises Problem 400."""
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal() and int(text[:10]) <= _MAX_NUMBER and len(text) <= 10):
        raise Problem(400, "bad_cursor", "Invalid cursor. Use the id of an event of this stream, such as 5.")
    return int(text)


def _stream(state: GenerationState, make: MakeDialect, after: int, headers: dict[str, str] | None) -> Response:
    hub, client = services().hub, request.environ.get(CLIENT)
    dialect = make(state)
    rendered = Rendered(
        state.generation,
        dialect.key,
        lambda: DialectRenderer(make(state)),
        cancels_unwatched=state.on_disconnect == "cancel",
    )
    last = encode_all(dialect.interrupted())
    gzip = gzip_for(hub, request.environ)
    body = hand_over_or_yield(
        request.environ,
        _OPENING,
        socket_reader=partial(FacadeReader, state.generation, after, dialect.heartbeat, last),
        pull_reader=partial(FacadePullReader, state.generation, after, dialect.heartbeat, last),
        attach=partial(
            services().renderings.follow,
            rendered=rendered,
            authorization=request.environ.get(AUTHORIZATION),
            client=client,
        ),
        refuse=lambda: last or b":\n\n" if hub.places.rejection(client) else b"",
        heartbeat_seconds=hub.settings.relay.heartbeat_seconds,
        gzip=gzip,
    )
    return EventStream(
        body, {**headers_of(hub.settings), "Millrace-Generation-Id": state.generation, **(headers or {})}, gzip
    )


def encode_all(lines: list[Line]) -> bytes:
    """Return the lines as SSE frames without ids."""
    return b"".join(map(encode_frame, lines))


class DialectRenderer:
    """Renders the frames of a log in a dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._has_failed = False

    @property
    def is_over(self) -> bool:
        """Whether the dialect has rendered its last line."""
        return self._dialect.is_over or self._has_failed

    def render(self, frame: Frame, number: int) -> list[bytes]:
        """Return the frames for an event.

        None for one that this version does not know, such as one of a newer worker, and after the dialect's end.
        """
        return self._render(frame, number, self._dialect.render)

    def rejoin(self, frame: Frame, number: int) -> list[bytes]:
        """Return the frames for the snapshot with which a log begins that has lost its beginning."""
        return self._render(frame, number, self._rejoin)

    def _rejoin(self, event: AnyEvent, number: int) -> list[Line]:
        assert isinstance(event, Snapshot)
        return self._dialect.rejoin(event, number)

    def _render(self, frame: Frame, number: int, render: Callable[[AnyEvent, int], list[Line]]) -> list[bytes]:
        if self.is_over:
            return []
        try:
            event = decode(frame.data)
        except ValueError as error:
            _log.warning("unknown_event_skipped", cursor=str(frame.cursor), error=error)
            return []
        try:
            return self._encode(render(event, number), number)
        except Exception:  # noqa: BLE001 - an error here would end the connection to Redis that all streams share
            _log.exception("rendering_failed", cursor=str(frame.cursor), dialect=type(self._dialect).__name__)
            self._has_failed = True
            return self._encode(self._dialect.interrupted(), number)

    def _encode(self, lines: list[Line], number: int) -> list[bytes]:
        if self._dialect.has_ids:
            return [encode_frame(line, position) for position, line in enumerate(lines, number + 1)]
        return [encode_frame(line) for line in lines]


class FacadePullReader(PullReader):
    """A client's reader whose frames are yielded to the server; `last` ends a stream that ends before its log."""

    __slots__ = ("_last", "heartbeat")

    def __init__(
        self, generation: str, after: int, heartbeat: bytes, last: bytes, on_stall: Callable[[], None] | None
    ) -> None:
        super().__init__(generation, after_frame(after), on_stall)
        self.heartbeat = heartbeat
        self._last = last

    def finish(self, why: EndReason, last_bytes: bytes = b"") -> None:
        """End cleanly, in the words of the dialect if the log has not ended yet."""
        super().finish(why, b"" if why == "done" else self._last)


class FacadeReader(SocketReader):
    """A client's reader on its socket; `last` ends a stream that ends before its log."""

    __slots__ = ("_last", "heartbeat")

    def __init__(self, generation: str, after: int, heartbeat: bytes, last: bytes, sock: _socket.socket) -> None:
        super().__init__(generation, after_frame(after), sock)
        self.heartbeat = heartbeat
        self._last = last

    def finish(self, why: EndReason, last_bytes: bytes = b"") -> None:
        """End cleanly, in the words of the dialect if the log has not ended yet."""
        super().finish(why, b"" if why == "done" else self._last)
