"""The behaviour of a real gunicorn that the relay relies on when it takes a socket, and the yielded streams."""

import random
import signal
import time

import gevent

from millrace.worker.contract.events import Chunk, Reasoning, Title
from millrace.worker.contract.redis.connection import connect
from tests.valkey import ValkeyProcess
from tests.webapp.relay.conftest import SETTINGS
from tests.webapp.relay.log_writer import LogWriter
from tests.webapp.relay.relay_server import RelayServer, StreamClient
from tests.webapp.relay.wire_format import events_in


def test_taken_socket_outlives_the_request(server: RelayServer, writer: LogWriter) -> None:
    with server.follow(writer.generation) as stream:
        assert stream.headers["transfer-encoding"] == "chunked"
        stream.events(1)
        for number in range(20):
            writer.chunks(str(number))
            stream.events(number + 2)
        writer.end()
        stream.rest()
        assert stream.is_ended
    assert not errors(server)


def errors(server: RelayServer) -> str:
    return "".join(line for line in server.log.read_text().splitlines() if "ERROR" in line or "Traceback" in line)


def test_taken_streams_log_no_error_in_gunicorn(server: RelayServer, writer: LogWriter) -> None:
    for _ in range(5):
        with server.follow(writer.generation) as stream:
            stream.events(1)
    server.wait_for_readers(0)
    assert not errors(server)


def test_stream_follows_another_request_on_the_same_connection(server: RelayServer, writer: LogWriter) -> None:
    writer.chunks("a")
    with StreamClient(
        server.port, "/statistics", behind=f"GET /{writer.generation}/events HTTP/1.1\r\nHost: h\r\n\r\n".encode()
    ) as one:
        while b"text/event-stream" not in one.body:
            one._more()
        while b'"a"' not in one.body:
            one._more()


def test_head_attaches_no_reader(server: RelayServer, writer: LogWriter) -> None:
    server.wait_for_readers(0)
    behind = b"GET /statistics HTTP/1.1\r\nHost: h\r\n\r\n"
    with server.follow(writer.generation, method="HEAD", behind=behind) as stream:
        assert stream.status == 200
        while b'"readers":0' not in bytes(stream._raw + stream.body):
            stream._more()


def test_requests_pipelined_after_a_stream_are_ignored(server: RelayServer, writer: LogWriter) -> None:
    behind = b"GET /statistics HTTP/1.1\r\nHost: h\r\n\r\n" * 20
    with server.follow(writer.generation, behind=behind) as stream:
        stream.events(1)
        stream.socket.sendall(behind)
        writer.chunks("a")
        writer.end()
        assert [event["type"] for _, event in stream.rest()] == ["status", "chunk", "complete", "done"]
        assert stream.is_ended


def test_post_is_answered_with_a_stream(server: RelayServer, writer: LogWriter) -> None:
    with server.follow(writer.generation, method="POST") as stream:
        writer.chunks("a")
        writer.end()
        assert len(stream.rest()) == 4
        assert stream.is_ended


def test_reader_needs_less_than_8_kb(server: RelayServer, writer: LogWriter) -> None:
    server.wait_for_readers(0)
    warm = [server.follow(writer.generation) for _ in range(50)]
    server.wait_for_readers(50)
    before = server.statistics()["resident"]
    more = [server.follow(writer.generation) for _ in range(300)]
    server.wait_for_readers(350)
    assert (server.statistics()["resident"] - before) / 300 < 8192
    for each in warm + more:
        each.socket.close()
    server.wait_for_readers(0)


def test_http_1_0_gets_the_same_bytes_and_heartbeats(own_valkey: ValkeyProcess) -> None:
    chance = random.Random(3)
    redis = connect(own_valkey.url)
    with RelayServer(own_valkey.directory.parent, own_valkey.url, heartbeat_seconds=0.5) as server:
        for _ in range(5):
            writer = LogWriter(redis, SETTINGS)
            with (
                server.follow(writer.generation) as taken,
                server.follow(writer.generation, version="HTTP/1.0") as yielded,
            ):
                assert "transfer-encoding" not in yielded.headers
                for number in range(chance.randint(1, 60)):
                    kind = chance.choice([Chunk, Reasoning, Title])
                    writer.write(kind(str(number) * chance.randint(0, 3000)))
                writer.end()
                assert taken.rest() == yielded.rest()
                assert events_in(bytes(taken.body)) == events_in(bytes(yielded.body))
        with server.follow(LogWriter(redis, SETTINGS).generation, version="HTTP/1.0") as yielded:
            yielded.read_until(2 * b'event: ping\ndata: {"type":"ping"}\n\n')
        server.wait_for_readers(0)


def test_stalled_pull_reader_is_cut(own_valkey: ValkeyProcess) -> None:
    writer = LogWriter(connect(own_valkey.url), SETTINGS)
    with RelayServer(own_valkey.directory.parent, own_valkey.url, reader_stall_seconds=2) as server:
        with server.follow(writer.generation, version="HTTP/1.0", receive_buffer=2048):
            for begin in range(0, 2000, 250):
                writer.chunks(*(f"{number:0500}" for number in range(begin, begin + 250)))
            server.wait_for_readers(1)
            server.wait_for_readers(0)
        assert "why=stalled" in server.log.read_text()


def test_term_ends_streams_cleanly_with_a_retry_spread_over_the_grace(own_valkey: ValkeyProcess) -> None:
    writer = LogWriter(connect(own_valkey.url), SETTINGS)
    server = RelayServer(own_valkey.directory.parent, own_valkey.url, shutdown_grace_seconds=2)
    with server:
        streams = [server.follow(writer.generation) for _ in range(40)]
        for stream in streams:
            stream.events(1)
        server.process.send_signal(signal.SIGTERM)
        began, ends = time.monotonic(), list[float]()

        def read(stream: StreamClient) -> None:
            stream.rest()
            ends.append(time.monotonic() - began)

        gevent.joinall([gevent.spawn(read, stream) for stream in streams], raise_error=True)
        for stream in streams:
            assert stream.is_ended
            assert stream.body.count(b"retry: ") == 2
            stream.socket.close()
        assert server.process.wait(30) == 0
        assert max(ends) < 15
        assert max(ends) - min(ends) > 0.5
    assert not errors(server)
    assert server.log.read_text().count("why=drained") == 40
