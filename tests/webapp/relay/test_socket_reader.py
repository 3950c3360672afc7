"""Readers on real sockets: slow, stalled, leaving, vanished; heartbeats and the log line of a stream's end."""

import time

from millrace.worker.contract.events import Chunk
from millrace.worker.contract.redis.connection import Redis
from tests.client import wait_for
from tests.webapp.relay.log_writer import LogWriter
from tests.webapp.relay.relay_server import RelayServer


def test_slow_reader_catches_up_byte_for_byte(server: RelayServer, redis: Redis, writer: LogWriter) -> None:
    with server.follow(writer.generation) as quick, server.follow(writer.generation, receive_buffer=2048) as slow:
        quick.events(1)
        for begin in range(0, 2000, 50):
            writer.chunks(*(f"{number:0500}" for number in range(begin, begin + 50)))
        quick.events(2001)
        writer.end()
        quick.rest()
        assert len(slow.rest()) == 2003
        assert slow.is_ended
        assert quick.body.partition(b"\n\n")[2] == slow.body.partition(b"\n\n")[2]


def test_large_event_reaches_a_slow_reader(server: RelayServer, redis: Redis, writer: LogWriter) -> None:
    with server.follow(writer.generation, receive_buffer=4096) as slow:
        writer.chunks("a", "é" * 700_000, "b")
        writer.end()
        assert [event.get("content", "") for _, event in slow.rest()][1:4] == ["a", "é" * 700_000, "b"]


def test_leaving_reader_frees_its_slot_at_once(server: RelayServer, writer: LogWriter) -> None:
    server.wait_for_readers(0)
    streams = [server.follow(writer.generation) for _ in range(20)]
    server.wait_for_readers(20)
    descriptors = server.statistics()["descriptors"]
    for stream in streams:
        stream.socket.close()
    began = time.monotonic()
    server.wait_for_readers(0)
    assert time.monotonic() - began < 8
    wait_for(lambda: server.statistics()["descriptors"] <= descriptors - 20, what="the descriptors to be closed")


def test_reader_that_keeps_sending_is_cut(server: RelayServer, writer: LogWriter) -> None:
    server.wait_for_readers(0)
    with server.follow(writer.generation) as stream:
        server.wait_for_readers(1)
        stream.socket.sendall(b"x" * 100_000)
        server.wait_for_readers(0)


def test_ended_stream_is_logged_in_one_line(server: RelayServer, writer: LogWriter) -> None:
    with server.follow(writer.generation) as stream:
        writer.write(Chunk("a"))
        stream.events(2)
        writer.end()
        stream.rest()

    def line() -> str:
        found = [each for each in server.log.read_text().splitlines() if f"generation={writer.generation}" in each]
        return found[0] if found else ""

    assert f"last={writer.last} " in wait_for(line)
    assert "why=done" in line()
