"""A WebSocket reader on a pair of sockets: frames out, messages in, bounds on both, and every way to close."""

import json
import time
from collections.abc import Callable, Iterator

import gevent
import pytest
from gevent.event import Event
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from millrace.webapp.relay.frames import Frame, join
from millrace.webapp.relay.places import ReceivedBytes
from millrace.webapp.relay.websocket_frames import text_frame
from millrace.webapp.relay.websocket_reader import MessageLimits, WebSocketReader
from tests.webapp.relay.websocket_client import PairedClient

MAX_BYTES = 100_000
SILENCE_SECONDS = 1.0


class Pair:
    """A reader and its client; `received` are the messages that the server has handled."""

    def __init__(self, seconds: float = 30.0, limit: int = 10 << 20) -> None:
        self.client = PairedClient()
        self.received: list[bytes] = []
        self.may_go_on = Event()
        self.may_go_on.set()
        self.budget = ReceivedBytes(limit)
        limits = MessageLimits(MAX_BYTES, seconds, SILENCE_SECONDS, self.budget)
        self.reader = WebSocketReader(
            self.client.server_socket, Connection(ConnectionType.SERVER), limits, self._on_message
        )

    def _on_message(self, message: bytes) -> None:
        self.may_go_on.wait()
        self.received.append(message)

    def close(self) -> None:
        """Close both ends; nothing is held any more."""
        self.reader.close("client_left")
        self.client.socket.close()
        assert self.budget._held == 0

    def fill(self) -> int:
        """Send frames until the reader is full; return how many it has accepted."""
        count = 0
        while not self.reader.is_full:
            frame = Frame(1, count + 1, text_frame(json.dumps({"type": "event", "n": count, "x": "x" * 5000}).encode()))
            count += self.reader.take([frame], join([frame]))
        return count


def wait(condition: Callable[[], object]) -> None:
    with gevent.Timeout(30, AssertionError("the condition did not come true")):
        while not condition():
            gevent.sleep(0.005)


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.close()


def test_messages_are_handled_in_order_and_in_parts(pair: Pair) -> None:
    pair.client.say("one")
    pair.client.say("two, ", message_finished=False)
    pair.client.say("ü", message_finished=False)
    pair.client.send(Ping(b"between the parts"))
    pair.client.say(" and the rest")
    pair.client.say("three")
    wait(lambda: len(pair.received) == 3)
    assert pair.received == [b"one", "two, ü and the rest".encode(), b"three"]
    assert pair.client.receive() == {"type": "pong frame", "payload": "between the parts"}


def test_reading_stops_while_too_many_messages_wait(pair: Pair) -> None:
    pair.may_go_on.clear()
    sent: list[bytes] = []

    def flood() -> None:
        for number in range(3000):
            pair.client.say(f"{number:0400}")
            sent.append(f"{number:0400}".encode())

    flooding = gevent.spawn(flood)
    wait(lambda: pair.reader._is_paused)
    gevent.sleep(0.1)
    assert not flooding.ready()
    assert len(pair.reader._inbox) < 100
    pair.may_go_on.set()
    flooding.get(timeout=30)
    wait(lambda: len(pair.received) == 3000)
    assert pair.received == sent


def test_full_socket_takes_no_frames_and_the_reply_precedes_those_that_follow(pair: Pair) -> None:
    count = pair.fill()
    frame = Frame(1, count + 1, text_frame(b'{"type":"event","n":"late"}'))
    assert pair.reader.take([frame], frame.payload) == 0
    sender = gevent.spawn(pair.reader.send_message, b'{"type":"reply"}')
    gevent.sleep(0.05)
    assert not sender.ready()

    class Source:
        def resume(self, reader: WebSocketReader) -> None:
            reader.take([frame], frame.payload)

        def remove(self, reader: WebSocketReader) -> None:
            pass

    pair.reader.source = Source()  # type: ignore[assignment]
    numbers = [pair.client.receive().get("n", "reply") for _ in range(count + 2)]
    assert numbers == [*range(count), "reply", "late"]
    assert sender.get(timeout=30)


def test_heartbeat_is_sent_and_silent_clients_are_cut(pair: Pair) -> None:
    pair.reader.send_heartbeat()
    pair.client.wait_for_ping()
    pair.client.send(Ping(b"alive"))
    wait(lambda: pair.reader._pinged_at is None)
    pair.reader.send_heartbeat()
    pair.reader.send_heartbeat()
    assert not pair.reader.end_reason
    gevent.sleep(SILENCE_SECONDS + 0.01)
    pair.reader.send_heartbeat()
    assert pair.reader.end_reason == "stalled"


def test_clients_close_is_answered(pair: Pair) -> None:
    pair.client.send(CloseConnection(1000, "bye"))
    assert pair.client.wait_for_close(answers=False) == (1000, "bye")
    assert pair.client.is_at_end()
    assert pair.reader.end_reason == "client_left"


def test_client_that_vanishes_without_a_close_has_left(pair: Pair) -> None:
    pair.client.socket.close()
    wait(lambda: pair.reader.end_reason == "client_left")
    assert not pair.reader.send_message(b"{}")


def test_end_waits_for_the_clients_close(pair: Pair) -> None:
    pair.reader.finish("revoked", b"ignored")
    gevent.sleep(0.02)
    assert not pair.reader.end_reason
    assert not pair.reader.send_message(b"{}")
    pair.client.say("too late")
    assert pair.client.wait_for_close()[0] == 4401
    wait(lambda: pair.reader.end_reason == "revoked")
    assert pair.received == []


def test_client_that_does_not_answer_the_close_is_cut_with_its_reason(pair: Pair) -> None:
    pair.reader.finish("drained")
    assert pair.reader.is_full
    assert pair.reader.full_since <= time.monotonic()
    pair.reader.cut()
    assert pair.reader.end_reason == "drained"


def test_close_frame_follows_what_was_accepted(pair: Pair) -> None:
    count = pair.fill()
    pair.reader.finish("drained")
    assert [pair.client.receive()["n"] for _ in range(count)] == list(range(count))
    assert pair.client.wait_for_close()[0] == 1012
    wait(lambda: pair.reader.end_reason == "drained")


def test_too_large_message_closes_the_socket_though_the_client_goes_on_sending(pair: Pair) -> None:
    part = TextMessage("x" * 50_000, message_finished=False)
    sender = gevent.spawn(pair.client.socket.sendall, b"".join([pair.client.protocol.send(part) for _ in range(40)]))
    code, reason = pair.client.wait_for_close(answers=False)
    assert (code, reason) == (1009, "A message has at most 100000 bytes (MILLRACE_MAX_BODY_BYTES).")
    sender.join(30)
    assert sender.successful()
    pair.client.socket.close()
    wait(lambda: pair.reader.end_reason == "error")


def test_largest_message_passes(pair: Pair) -> None:
    pair.client.say("x" * MAX_BYTES)
    wait(lambda: pair.received)
    assert len(pair.received[0]) == MAX_BYTES


@pytest.mark.parametrize("frame", [b"\x89\x80", b"\x8a\x80", b"\x00\x80"], ids=["ping", "pong", "part"])
def test_client_that_floods_with_small_frames_is_closed(pair: Pair, frame: bytes) -> None:
    masked = frame + b"\0\0\0\0"
    pair.client.say("a", message_finished=False)
    pair.client.socket.sendall(masked * 999)
    pair.client.send(TextMessage("b"))
    wait(lambda: pair.received == [b"ab"])
    pair.reader.send_heartbeat()  # from here on they are counted again
    pair.client.say("c", message_finished=False)
    pair.client.socket.sendall(masked * 999)
    pair.client.send(TextMessage("d"))
    wait(lambda: pair.received == [b"ab", b"cd"])
    one_too_many = pair.client.protocol.send(TextMessage("e", message_finished=False))
    pair.client.socket.sendall(one_too_many + masked * 5000)
    code, reason = pair.client.wait_for_close(answers=False)
    assert (code, reason) == (1008, "Too many small frames. Send each message in one.")
    wait(lambda: pair.reader._discarded > 4000 * len(masked))
    assert pair.reader._small_frames == 1001, "what follows is not even parsed"


def test_messages_without_io_let_others_run_in_between(pair: Pair) -> None:
    seen_counts: set[int] = set()

    def count() -> None:
        seen = -1
        while seen < 16:
            if len(pair.received) != seen:
                seen = len(pair.received)
                seen_counts.add(seen)
            gevent.sleep(0)

    pair.client.socket.sendall(b"".join(pair.client.protocol.send(TextMessage("a")) for _ in range(16)))
    counting = gevent.spawn(count)
    wait(counting.ready)
    assert len(seen_counts) > 8, "another greenlet has seen them one by one"


def test_binary_message_closes_the_socket(pair: Pair) -> None:
    pair.client.send(BytesMessage(b"{}"))
    assert pair.client.wait_for_close()[0] == 1003


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"\x81\x02hi", 1002),  # not masked
        (b"\xf1\x80aaaa", 1002),  # a reserved bit, as of a compressed message
        (b"\x81\x82\0\0\0\0\xff\xfe", 1007),  # not UTF-8
        (b"GET / HTTP/1.1\r\n\r\n", 1002),
    ],
)
def test_invalid_frame_closes_the_socket(pair: Pair, raw: bytes, code: int) -> None:
    pair.client.socket.sendall(raw)
    assert pair.client.wait_for_close(answers=False)[0] == code
    pair.client.socket.sendall(b"more that is not parsed")
    pair.client.socket.close()
    wait(lambda: pair.reader.end_reason == "error")


def test_late_message_closes_the_socket() -> None:
    pair = Pair(seconds=0.05)
    pair.client.say("half", message_finished=False)
    wait(lambda: pair.reader._message)
    gevent.sleep(0.06)
    pair.reader.send_heartbeat()
    assert pair.client.wait_for_close()[0] == 1008
    wait(lambda: pair.reader.end_reason == "error")
    pair.close()


def test_messages_of_all_sockets_are_bounded_together() -> None:
    one, two = Pair(limit=60_000), Pair()
    two.reader._limits = one.reader._limits
    for pair in (one, two):
        pair.client.say("x" * 50_000, message_finished=False)
    wait(lambda: one.reader.is_ending or two.reader.is_ending)
    later = one if one.reader.is_ending else two
    assert later.client.wait_for_close()[0] == 1013
    for pair in (two, one):
        pair.close()
