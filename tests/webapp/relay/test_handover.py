"""Pins what the relay relies on in gunicorn's gevent worker, on a real one; and the other way, for whom it isn't."""

import random
import signal
import time

import gevent

from millrace.worker.contract.connection import connect
from millrace.worker.contract.events import Chunk, Reasoning, Title
from tests.valkey import ValkeyProcess
from tests.webapp.relay.author import Author
from tests.webapp.relay.conftest import SETTINGS
from tests.webapp.relay.serving import Served, Stream


def test_the_socket_outlives_gunicorns_request(web: Served, author: Author) -> None:
    with web.follow(author.generation) as stream:
        assert stream.headers["transfer-encoding"] == "chunked"
        stream.events(1)
        for number in range(20):
            author.chunks(str(number))
            stream.events(number + 2)
        author.end()
        stream.rest()
        assert stream.is_ended
    assert not errors(web)


def errors(web: Served) -> str:
    return "".join(line for line in web.log.read_text().splitlines() if "ERROR" in line or "Traceback" in line)


def test_nothing_of_a_taken_stream_is_an_error_to_gunicorn(web: Served, author: Author) -> None:
    for _ in range(5):
        with web.follow(author.generation) as stream:
            stream.events(1)
    web.wait_for_readers(0)
    assert not errors(web)


def test_a_request_before_on_the_same_connection_does_no_harm(web: Served, author: Author) -> None:
    author.chunks("a")
    with Stream(
        web.port, "/figures", behind=f"GET /{author.generation}/events HTTP/1.1\r\nHost: h\r\n\r\n".encode()
    ) as one:
        while b"text/event-stream" not in one.body:
            one._more()
        while b'"a"' not in one.body:
            one._more()


def test_head_never_attaches(web: Served, author: Author) -> None:
    web.wait_for_readers(0)
    behind = b"GET /figures HTTP/1.1\r\nHost: h\r\n\r\n"
    with web.follow(author.generation, method="HEAD", behind=behind) as stream:
        assert stream.status == 200
        while b'"readers":0' not in bytes(stream._raw + stream.body):
            stream._more()


def test_requests_pipelined_behind_a_stream_are_let_be(web: Served, author: Author) -> None:
    behind = b"GET /figures HTTP/1.1\r\nHost: h\r\n\r\n" * 20
    with web.follow(author.generation, behind=behind) as stream:
        stream.events(1)
        stream.socket.sendall(behind)
        author.chunks("a")
        author.end()
        assert [event["type"] for _, event in stream.rest()] == ["status", "chunk", "complete", "done"]
        assert stream.is_ended


def test_a_stream_may_be_the_answer_to_a_post(web: Served, author: Author) -> None:
    with web.follow(author.generation, method="POST") as stream:
        author.chunks("a")
        author.end()
        assert len(stream.rest()) == 4
        assert stream.is_ended


def test_many_readers_need_no_greenlet_and_little_memory(web: Served, author: Author) -> None:
    web.wait_for_readers(0)
    warm = [web.follow(author.generation) for _ in range(50)]
    web.wait_for_readers(50)
    before = web.figures()["resident"]
    more = [web.follow(author.generation) for _ in range(300)]
    web.wait_for_readers(350)
    assert (web.figures()["resident"] - before) / 300 < 8192
    for each in warm + more:
        each.socket.close()
    web.wait_for_readers(0)


def test_http_1_0_gets_the_very_same_bytes_and_the_heartbeats(own_valkey: ValkeyProcess) -> None:
    chance = random.Random(3)
    redis = connect(own_valkey.url)
    with Served(own_valkey.directory.parent, own_valkey.url, heartbeat_seconds=0.5) as web:
        for _ in range(5):
            author = Author(redis, SETTINGS)
            with web.follow(author.generation) as taken, web.follow(author.generation, version="HTTP/1.0") as yielded:
                assert "transfer-encoding" not in yielded.headers
                for number in range(chance.randint(1, 60)):
                    kind = chance.choice([Chunk, Reasoning, Title])
                    author.write(kind(str(number) * chance.randint(0, 3000)))
                author.end()
                assert taken.rest() == yielded.rest()
                assert frames_alone(taken) == frames_alone(yielded)
        with web.follow(Author(redis, SETTINGS).generation, version="HTTP/1.0") as yielded:
            yielded.read_until(b":\n\n:\n\n")
        web.wait_for_readers(0)


def frames_alone(stream: Stream) -> bytes:
    """The body without its opening, whose `retry:` is jittered, and without heartbeats."""
    return bytes(stream.body).partition(b"\n\n")[2].replace(b":\n\n", b"")


def test_a_yielding_reader_that_stops_is_cut_too(own_valkey: ValkeyProcess) -> None:
    author = Author(connect(own_valkey.url), SETTINGS)
    with Served(own_valkey.directory.parent, own_valkey.url, reader_stall_seconds=2) as web:
        with web.follow(author.generation, version="HTTP/1.0", receive_buffer=2048):
            for begin in range(0, 2000, 250):
                author.chunks(*(f"{number:0500}" for number in range(begin, begin + 250)))
            web.wait_for_readers(1)
            web.wait_for_readers(0, 8)
        assert "why=stalled" in web.log.read_text()


def test_term_ends_streams_cleanly_with_a_retry_spread_over_the_time(own_valkey: ValkeyProcess) -> None:
    author = Author(connect(own_valkey.url), SETTINGS)
    web = Served(own_valkey.directory.parent, own_valkey.url, shutdown_grace_seconds=2)
    with web:
        streams = [web.follow(author.generation) for _ in range(40)]
        for stream in streams:
            stream.events(1)
        web.process.send_signal(signal.SIGTERM)
        began, ends = time.monotonic(), list[float]()

        def read(stream: Stream) -> None:
            stream.rest()
            ends.append(time.monotonic() - began)

        gevent.joinall([gevent.spawn(read, stream) for stream in streams], raise_error=True)
        for stream in streams:
            assert stream.is_ended
            assert stream.body.count(b"retry: ") == 2
            stream.socket.close()
        assert web.process.wait(10) == 0
        assert max(ends) < 6
        assert max(ends) - min(ends) > 0.5
    assert not errors(web)
    assert web.log.read_text().count("why=drained") == 40
