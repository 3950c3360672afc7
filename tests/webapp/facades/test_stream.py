"""The bytes of a facade's stream: dialects rendered frame by frame, and the readers that deliver them."""

import json
import socket
from collections.abc import Callable, Iterator, Sequence

import gevent
import pytest

from millrace.webapp.facades.chat import ChatDialect
from millrace.webapp.facades.conversation import ConversationDialect
from millrace.webapp.facades.dialect import Dialect, Line
from millrace.webapp.facades.stream import DialectRenderer, FacadePullReader, FacadeReader, check_number
from millrace.webapp.problems import Problem
from millrace.webapp.relay.frames import COMMENT, Frame, chunked, join, make_frame, stream_end
from millrace.webapp.relay.reader import Reader
from millrace.webapp.relay.socket_handover import yield_bytes
from millrace.worker.contract.events import AnyEvent, Chunk, encode
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.log import LogEntry
from tests.webapp.facades.test_dialect import COMPLETE, DONE, QUEUED, restart

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with ours, theirs:
        yield ours, theirs


def frames_of(*events: AnyEvent) -> list[Frame]:
    return [make_frame(LogEntry(Cursor(1, number), encode(event))) for number, event in enumerate(events, 1)]


def unchunked(raw: bytes) -> bytes:
    body = b""
    while raw:
        size, _, rest = raw.partition(b"\r\n")
        length = int(size, 16)
        assert rest[length : length + 2] == b"\r\n"
        body, raw = body + rest[:length], rest[length + 2 :]
        if not length:
            assert not raw
            return body
    raise AssertionError("the chunked body has no end")


def rendered(dialect: Dialect, frames: Sequence[Frame]) -> list[bytes]:
    renderer, bodies = DialectRenderer(dialect), list[bytes]()
    for frame in frames:
        bodies += renderer.render(frame, len(bodies))
    return bodies


def numbered(bodies: list[bytes]) -> list[Frame]:
    return [Frame(1, number, chunked(body), number == len(bodies)) for number, body in enumerate(bodies, 1)]


class FrameSource:
    """A source that gives a reader its frames, seven at a time, and then ends it."""

    def __init__(self, frames: list[Frame]) -> None:
        self.frames = frames
        self.place = self.turns = 0
        self.gone: list[Reader] = []

    def resume(self, reader: Reader, /) -> None:
        self.turns += 1
        while self.place < len(self.frames) and not reader.is_full and not reader.end_reason:
            part = self.frames[self.place : self.place + 7]
            self.place += reader.take(part, join(part))
        if self.place == len(self.frames):
            reader.finish("done")

    def remove(self, reader: Reader, /) -> None:
        self.gone.append(reader)


def read_all(sock: socket.socket) -> bytes:
    received = b""
    while part := sock.recv(1500):
        received += part
        gevent.sleep(0)
    return received


@pytest.mark.parametrize("make", [ConversationDialect, ChatDialect])
def test_slow_reader_gets_every_byte_once_and_a_clean_end(make: Callable[[], Dialect], pair: Pair) -> None:
    ours, theirs = pair
    chunks = [Chunk(f"{number:05}" * (number % 700)) for number in range(300)]
    bodies = rendered(make(), frames_of(QUEUED, *chunks, COMPLETE, DONE))
    reader = FacadeReader("g", 0, COMMENT, b"never sent", ours)
    source = FrameSource(numbered(bodies))
    reader.source = source
    gevent.spawn(source.resume, reader)
    with gevent.Timeout(20):
        assert unchunked(read_all(theirs)) == b"".join(bodies)
    assert reader.end_reason == "done"
    assert source.turns > 20, "the socket was never full"


def test_event_that_this_version_does_not_know_is_skipped() -> None:
    """An exception here would end the connection to Redis that all streams of the process share."""
    unknown = (b'{"type":"of_a_newer_worker"}', b'{"type":"chunk","content":' + b"[" * 100_000 + b"}")
    frames = frames_of(QUEUED, Chunk("a"), Chunk("b"), Chunk("c"), COMPLETE, DONE)
    frames[2:4] = [make_frame(LogEntry(Cursor(1, number), data)) for number, data in enumerate(unknown, 3)]
    assert rendered(ChatDialect(), frames) == rendered(ChatDialect(), frames_of(QUEUED, Chunk("a"), COMPLETE, DONE))


def test_dialect_that_fails_ends_its_streams_only() -> None:
    class FailingDialect(ChatDialect):
        """A dialect with a defect."""

        def render(self, event: AnyEvent, number: int) -> list[Line]:
            return super().render(event, 1 // (3 - number))

    bodies = rendered(FailingDialect(), frames_of(QUEUED, *map(Chunk, "abcdef")))
    assert len(bodies) == 4
    assert b"error" in bodies[-1]


def test_nothing_is_rendered_after_the_last_line_of_the_dialect() -> None:
    bodies = rendered(ChatDialect(), frames_of(QUEUED, Chunk("a"), restart(), Chunk("b"), Chunk("c")))
    assert [list(json.loads(body.removeprefix(b"data: "))) for body in bodies] == [["content"], ["error"]]


@pytest.mark.parametrize("version", ["socket", "iterator"])
def test_stream_that_ends_before_its_log_ends_in_the_words_of_the_dialect(version: str, pair: Pair) -> None:
    ours, theirs = pair
    (body,) = rendered(ConversationDialect(), frames_of(Chunk("a")))
    frames = [Frame(1, 1, chunked(body))]
    if version == "socket":
        reader = FacadeReader("g", 0, COMMENT, b"data: last\n\n", ours)
        reader.take(frames, join(frames))
        reader.finish("drained", stream_end())
        assert unchunked(read_all(theirs)) == body + b"data: last\n\n"
    else:
        pulled = FacadePullReader("g", 0, COMMENT, b"data: last\n\n", None)
        pulled.take(frames, join(frames))
        pulled.finish("drained", stream_end())
        assert b"".join(yield_bytes(pulled, 15)) == body + b"data: last\n\n"


def test_resume_number_is_checked() -> None:
    assert [check_number(text) for text in ("", "0", "17")] == [0, 0, 17]
    for text in ("-1", "1-5", "1.0", " 1", "٣", "99999999999", "x" * 10_000):
        with pytest.raises(Problem) as caught:
            check_number(text)
        assert (caught.value.status, caught.value.code) == (400, "bad_cursor")
