"""Two ways to the client, written by the hub or yielded to the server: the same bytes, whatever is sent and however."""

import errno
import random
import socket
from contextlib import ExitStack
from typing import Any

import gevent
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.webapp.relay.frames import TERMINATOR, body_of, make_frame
from millrace.webapp.relay.reader import PullReader
from millrace.webapp.relay.socket_reader import SocketReader
from millrace.webapp.relay.stream import yielded
from millrace.webapp.relay.tail import Tail
from millrace.worker.contract.connection import Redis
from millrace.worker.contract.events import AnyEvent, Chunk, Reasoning, ToolUse, encode
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.log import LogEntry
from tests.webapp.relay.author import COMPLETE, DONE, Author
from tests.webapp.relay.conftest import SETTINGS
from tests.webapp.relay.serving import Served, Stream
from tests.webapp.relay.test_frames import unchunked
from tests.webapp.relay.test_tail import mend, nobody

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


# By a seed: callbacks of the loop can't draw from hypothesis.
CHANCES = st.integers(0, 1 << 32).map(random.Random)


class Choppy:
    """A socket that takes as much as chance has it: nothing, a part, or all."""

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
    for part in yielded(reader, 60.0):
        into += part
        gevent.sleep(0)


@settings(max_examples=200, deadline=None)
@given(EVENTS, CHANCES)
def test_short_writes_and_pulls_make_the_same_body(events: list[AnyEvent], chance: random.Random) -> None:
    to_come = [LogEntry(Cursor(1, number), encode(event)) for number, event in enumerate([*events, COMPLETE, DONE], 1)]
    log: list[LogEntry] = []
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    written, pulled = bytearray(), bytearray()

    def wake(tail: Tail) -> None:
        gevent.spawn(mend, tail, log)

    tail = Tail("g", b"c", wake, nobody)
    tail.open(Cursor(1, 0))
    direct: Any = SocketReader("g", Cursor(1, 0), Choppy(ours, chance))  # type: ignore[arg-type]
    puller = PullReader("g", Cursor(1, 0))
    joining = chance.randrange(len(to_come))
    with theirs, gevent.Timeout(30):
        followers = [gevent.spawn(read_all, theirs, written), gevent.spawn(collect, puller, pulled)]
        for number, entry in enumerate(to_come):
            if number == joining:
                tail.flush()  # the messages of one read go out before anything else happens
                tail.add(direct)
                tail.add(puller)
            log.append(entry)
            assert tail.receive(b"%d-%d %b" % (*entry.cursor, entry.data))
            if chance.random() < 0.6:
                tail.flush()
            if chance.random() < 0.2:
                direct.beat()
            if chance.random() < 0.3:
                tail.flush()
                gevent.sleep(0)
        tail.flush()
        gevent.joinall(followers, raise_error=True)
    assert direct.ended_because == puller.ended_because == "done"
    assert written.endswith(TERMINATOR)
    body = b"".join(map(body_of, map(make_frame, to_come)))
    assert unchunked(bytes(written)).replace(b":\n\n", b"") == body
    assert pulled == body


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EVENTS, CHANCES)
def test_through_gunicorn_http_1_0_and_1_1_carry_the_same_body(
    web: Served, redis: Redis, events: list[AnyEvent], chance: random.Random
) -> None:
    author = Author(redis, SETTINGS)
    with ExitStack() as held:

        def follow(**options: Any) -> Stream:
            buffer = chance.choice([0, 2048])
            return held.enter_context(web.follow(author.generation, receive_buffer=buffer, **options))

        streams = [follow(), follow(query="?yielded=1"), follow(version="HTTP/1.0")]
        while events:
            count = chance.randint(1, 8)
            author.write(*events[:count])
            events = events[count:]
        streams += [follow(), follow(query="?yielded=1"), follow(version="HTTP/1.0")]
        author.end()
        # All at once: one that is not read meanwhile would be cut as stalled on a slow machine.
        gevent.joinall([gevent.spawn(stream.rest) for stream in streams], raise_error=True)
        assert [stream.is_chunked for stream in streams] == [True, True, False] * 2
        assert all(stream.is_ended for stream in streams if stream.is_chunked)
        bodies = {bytes(stream.body).partition(b"\n\n")[2] for stream in streams}
        assert len(bodies) == 1
