"""Frames written to a socket and frames yielded to the server give the same bytes, for any events and any timing."""

import errno
import random
import socket
from contextlib import ExitStack
from typing import Any

import gevent
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.webapp.relay.frames import TERMINATOR, make_frame
from millrace.webapp.relay.reader import PullReader
from millrace.webapp.relay.socket_handover import yield_bytes
from millrace.webapp.relay.socket_reader import SocketReader
from millrace.webapp.relay.tail import Tail
from millrace.worker.contract.events import AnyEvent, Chunk, Reasoning, ToolUse, encode
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.log import LogEntry
from millrace.worker.contract.redis.connection import Redis
from tests.webapp.relay.conftest import SETTINGS
from tests.webapp.relay.log_writer import COMPLETE, DONE, LogWriter
from tests.webapp.relay.relay_server import RelayServer, StreamClient
from tests.webapp.relay.test_tail import ignore, repair
from tests.webapp.relay.wire_format import events_in, unchunked

TEXTS = st.one_of(
    st.text(max_size=40),
    st.text(st.characters(codec=None), max_size=20),
    st.sampled_from(["\r\n\r\n", "data: x\n\n", "\u2028", "0\r\n\r\n", '{"type":"done"', "\ud83d"]),
    st.integers(1, 90_000).map(lambda size: "é" * size),
)
EVENTS = st.lists(
    st.one_of(
        TEXTS.map(Chunk),
        TEXTS.map(Reasoning),
        st.builds(ToolUse, st.just("t"), st.just("look"), st.dictionaries(st.text(max_size=5), st.integers())),
    ),
    max_size=40,
)


# A seed, because callbacks of the event loop cannot draw from hypothesis.
CHANCES = st.integers(0, 1 << 32).map(random.Random)


class ShortWriteSocket:
    """A socket that accepts nothing, a part, or everything, at random."""

    def __init__(self, sock: Any, chance: random.Random) -> None:
        self._sock = sock
        self._chance = chance

    def send(self, payload: bytes | memoryview) -> int:
        room = self._chance.choice([0, 1, 3, 100, 5000, len(payload), len(payload)])
        if not room:
            raise BlockingIOError(errno.EAGAIN, "no room")
        return int(self._sock.send(memoryview(payload)[:room]))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def read_all(sock: socket.socket, into: bytearray) -> None:
    while part := sock.recv(65_536):
        into += part


def collect(reader: PullReader, into: bytearray) -> None:
    for part in yield_bytes(reader, 60.0):
        into += part
        gevent.sleep(0)


@settings(max_examples=200)
@given(EVENTS, CHANCES)
def test_short_writes_and_pulls_make_the_same_body(events: list[AnyEvent], chance: random.Random) -> None:
    entries = [LogEntry(Cursor(1, number), encode(event)) for number, event in enumerate([*events, COMPLETE, DONE], 1)]
    log: list[LogEntry] = []
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    written, pulled = bytearray(), bytearray()

    def wake(tail: Tail) -> None:
        gevent.spawn(repair, tail, log)

    tail = Tail("g", b"c", wake, ignore)
    tail.open(Cursor(1, 0))
    direct: Any = SocketReader("g", Cursor(1, 0), ShortWriteSocket(ours, chance))  # type: ignore[arg-type]
    puller = PullReader("g", Cursor(1, 0))
    joining = chance.randrange(len(entries))
    with theirs, gevent.Timeout(30):
        followers = [gevent.spawn(read_all, theirs, written), gevent.spawn(collect, puller, pulled)]
        for number, entry in enumerate(entries):
            if number == joining:
                tail.flush()  # the messages of one read are delivered before anything else happens
                tail.add(direct)
                tail.add(puller)
            log.append(entry)
            assert tail.receive(b"%d-%d %b" % (*entry.cursor, entry.data))
            if chance.random() < 0.6:
                tail.flush()
            if chance.random() < 0.2:
                direct.send_heartbeat()
            if chance.random() < 0.3:
                tail.flush()
                gevent.sleep(0)
        tail.flush()
        gevent.joinall(followers, raise_error=True)
    assert direct.end_reason == puller.end_reason == "done"
    assert written.endswith(TERMINATOR)
    body = b"".join(make_frame(entry).body for entry in entries)
    assert events_in(unchunked(bytes(written))) == body
    assert pulled == body


@settings(max_examples=25)
@given(EVENTS, CHANCES)
def test_gunicorn_sends_the_same_body_over_http_1_0_and_1_1(
    server: RelayServer, redis: Redis, events: list[AnyEvent], chance: random.Random
) -> None:
    writer = LogWriter(redis, SETTINGS)
    with ExitStack() as held:

        def follow(**options: Any) -> StreamClient:
            buffer = chance.choice([0, 2048])
            return held.enter_context(server.follow(writer.generation, receive_buffer=buffer, **options))

        streams = [follow(), follow(query="?yielded=1"), follow(version="HTTP/1.0")]
        while events:
            count = chance.randint(1, 8)
            writer.write(*events[:count])
            events = events[count:]
        streams += [follow(), follow(query="?yielded=1"), follow(version="HTTP/1.0")]
        writer.end()
        # All at once: a stream that waits for the others would be cut as stalled on a slow machine.
        gevent.joinall([gevent.spawn(stream.rest) for stream in streams], raise_error=True)
        assert [stream.is_chunked for stream in streams] == [True, True, False] * 2
        assert all(stream.is_ended for stream in streams if stream.is_chunked)
        bodies = {bytes(stream.body).partition(b"\n\n")[2] for stream in streams}
        assert len(bodies) == 1
