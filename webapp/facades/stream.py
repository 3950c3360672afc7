"""A generation's stream in a dialect: the relay's own way to the socket, with other bytes on it."""

import _socket
import time
from collections.abc import Iterator, Sequence
from wsgiref.types import WSGIEnvironment

from flask import Response, request

from millrace.webapp.facades.dialect import Dialect, Line, spell
from millrace.webapp.generation.creation import create_generation, idempotency_key
from millrace.webapp.generation.validation import ParsedRequest
from millrace.webapp.guard.auth.protocol import AUTHORIZATION
from millrace.webapp.guard.ownership import generation_not_found, read_state_with_retry
from millrace.webapp.relay.frames import HEARTBEAT, Frame, chunked, entry_in
from millrace.webapp.relay.handover import can_take, let_go, take_socket
from millrace.webapp.relay.hub import Hub
from millrace.webapp.relay.reader import PullReader, Why
from millrace.webapp.relay.socket_reader import SocketReader, write_nothing
from millrace.webapp.relay.stream import HEADERS, EventStream, pulled, refuse_when_full
from millrace.webapp.services import services
from millrace.worker.contract.events import decode
from millrace.worker.contract.ids import START
from millrace.worker.contract.state import GenerationState

_OPENING = b": millrace\n\n"  # wakes proxies that buffer; no `retry:`, because nobody comes back to such a stream


def stream_answer(owner: str, asked: ParsedRequest, dialect: Dialect) -> Response:
    """Make the generation and return its whole stream in a dialect; who leaves it has it cancelled after the grace.

    Raises what `make` raises, and Problem 503 `too_many_readers` before anything is made.
    """
    hub = services().hub
    refuse_when_full(hub)
    ids = create_generation(services(), owner, asked, idempotency_key(request), is_streamed=True)
    state = read_state_with_retry(ids.generation)
    if state is None:
        raise generation_not_found()
    headers = {**HEADERS, "Millrace-Generation-Id": ids.generation}
    return EventStream(_stream(hub, request.environ, state, dialect), headers=headers, content_type="text/event-stream")


def _stream(hub: Hub, environ: WSGIEnvironment, state: GenerationState, dialect: Dialect) -> Iterator[bytes]:
    yield _OPENING
    cancels = state.on_disconnect == "cancel"
    if can_take(environ):
        taken = DialectReader(state.generation, take_socket(environ), dialect)
        hub.follow(taken, cancels_unwatched=cancels, right=environ.get(AUTHORIZATION))
        raise let_go()
    reader = pulled(environ, state.generation, START)
    hub.follow(reader, cancels_unwatched=cancels, right=environ.get(AUTHORIZATION))
    yield from _yielded(reader, dialect, hub.settings.relay.heartbeat_seconds)


def _yielded(reader: PullReader, dialect: Dialect, heartbeat_seconds: float) -> Iterator[bytes]:
    beat_at = time.monotonic() + heartbeat_seconds
    try:
        while not (reader.is_over or dialect.is_over):
            lines: list[Line] = []
            for frame in reader.pull(beat_at - time.monotonic()):
                lines += [] if dialect.is_over else dialect.tell(decode(entry_in(frame).data))
            if lines:
                yield spell(lines)
            if time.monotonic() >= beat_at:
                beat_at += heartbeat_seconds
                yield HEARTBEAT
        if not dialect.is_over:
            yield spell(dialect.interrupted())
    finally:
        reader.close("client_left")


class DialectReader(SocketReader):
    """A reader at the other end of a socket who is told everything in a dialect."""

    __slots__ = ("_dialect",)

    def __init__(self, generation: str, sock: _socket.socket, dialect: Dialect) -> None:
        super().__init__(generation, START, sock)
        self.write = write_nothing
        self._dialect = dialect

    def take_rest(self, frames: Sequence[Frame], written: int | OSError) -> int:
        """Send all the frames, translated one by one; what a dialect has told can't be told again, so it is kept."""
        count = 0
        for frame in frames:
            if self.is_full or self.ended_because:
                break
            if lines := self._dialect.tell(decode(entry_in(frame).data)):
                self.say(chunked(spell(lines)))
            if self._dialect.is_over:
                self.finish("done")
            count += 1
        return count

    def finish(self, why: Why, last_words: bytes = b"") -> None:
        """End cleanly; where that is before the end, say so in the dialect."""
        super().finish(why, b"" if self._dialect.is_over else spell(self._dialect.interrupted()))

    def _open_up(self) -> None:
        self.is_full = False
