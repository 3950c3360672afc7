"""`DialectReader` on a real socket pair; the other files test `DialectPullReader` through Flask's test client."""

import socket
from collections.abc import Iterator

import gevent
import pytest

from millrace.webapp.facades.chat import ChatDialect
from millrace.webapp.facades.conversation import ConversationDialect
from millrace.webapp.facades.dialect import Dialect, encode_frames
from millrace.webapp.facades.stream import DialectPullReader, DialectReader
from millrace.webapp.relay.frames import Frame, join, make_frame, stream_end
from millrace.webapp.relay.reader import Reader
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


def expected(dialect: Dialect, events: list[AnyEvent]) -> bytes:
    return b"".join(encode_frames(dialect.render(event)) for event in events if not dialect.is_over)


class FrameSource:
    """A source that gives a reader its frames, seven at a time."""

    def __init__(self, frames: list[Frame]) -> None:
        self.frames = frames
        self.place = self.turns = 0
        self.gone: list[Reader] = []

    def resume(self, reader: Reader, /) -> None:
        self.turns += 1
        while self.place < len(self.frames) and not reader.is_full and not reader.end_reason:
            part = self.frames[self.place : self.place + 7]
            self.place += reader.take(part, join(part))

    def remove(self, reader: Reader, /) -> None:
        self.gone.append(reader)


def read_all(sock: socket.socket) -> bytes:
    received = b""
    while part := sock.recv(1500):
        received += part
        gevent.sleep(0)
    return received


@pytest.mark.parametrize("make", [ConversationDialect, ChatDialect])
def test_slow_reader_gets_every_byte_once_and_a_clean_end(make: type[Dialect], pair: Pair) -> None:
    ours, theirs = pair
    events: list[AnyEvent] = [
        QUEUED,
        *(Chunk(f"{number:05}" * (number % 700)) for number in range(300)),
        COMPLETE,
        DONE,
    ]
    frames = frames_of(*events)
    reader = DialectReader("g", ours, make())  # type: ignore[abstract]
    host = FrameSource(frames)
    reader.source = host
    gevent.spawn(host.resume, reader)
    with gevent.Timeout(20):
        assert unchunked(read_all(theirs)) == expected(make(), events)
    assert reader.end_reason == "done"
    assert host.place == len(frames)
    assert host.turns > 20, "the socket was never full"


def test_reader_is_removed_after_the_last_line_of_its_dialect(pair: Pair) -> None:
    ours, theirs = pair
    frames = frames_of(QUEUED, Chunk("a"), restart(), Chunk("b"), Chunk("c"))
    reader = DialectReader("g", ours, ChatDialect())
    host = FrameSource([])
    reader.source = host
    assert reader.take(frames, join(frames)) == 4
    assert host.gone == [reader]
    body = unchunked(read_all(theirs))
    assert body.count(b'data: {"content"') == 1
    assert body.count(b'data: {"error"') == 1


def test_event_that_this_version_does_not_know_is_skipped(pair: Pair) -> None:
    """An exception here would end the connection to Redis that all streams of the process share."""
    ours, theirs = pair
    unknown = (b'{"type":"of_a_newer_worker"}', b'{"type":"chunk","content":' + b"[" * 100_000 + b"}")
    frames = frames_of(QUEUED, Chunk("a"), Chunk("b"), Chunk("c"), COMPLETE, DONE)
    frames[2:4] = [make_frame(LogEntry(Cursor(1, number), data)) for number, data in enumerate(unknown, 3)]
    reader, pulled = DialectReader("g", ours, ChatDialect()), DialectPullReader("g", ChatDialect(), None)
    reader.source = FrameSource([])
    reader.take(frames, join(frames))
    rest = expected(ChatDialect(), [QUEUED, Chunk("a"), COMPLETE, DONE])
    assert unchunked(read_all(theirs)) == rest
    assert pulled.render(frames) == rest


def test_drained_reader_gets_the_error_of_its_dialect(pair: Pair) -> None:
    ours, theirs = pair
    reader = DialectReader("g", ours, ConversationDialect())
    frames = frames_of(QUEUED, Chunk("a"))
    reader.take(frames, join(frames))
    reader.finish("drained", stream_end())
    lines = unchunked(read_all(theirs)).decode().split("\n\n")
    assert '"type": "error"' in lines[-2]
    assert not any(line.startswith("retry:") for line in lines)
    assert reader.end_reason == "drained"
