"""Heartbeats, cutting of stalled readers, and draining, over real sockets and with readers that only record."""

import time

from millrace.webapp.relay.heartbeats import cut_stalled, drain
from millrace.webapp.relay.reader import PullReader, Reader
from millrace.worker.contract.ids import START
from millrace.worker.contract.redis.connection import connect
from tests.valkey import ValkeyProcess
from tests.webapp.relay.conftest import SETTINGS
from tests.webapp.relay.log_writer import LogWriter
from tests.webapp.relay.relay_server import RelayServer, StreamClient
from tests.webapp.relay.wire_format import is_heartbeat


def test_heartbeats_reach_every_reader_while_redis_is_down(own_valkey: ValkeyProcess) -> None:
    writer = LogWriter(connect(own_valkey.url), SETTINGS)
    with RelayServer(own_valkey.directory.parent, own_valkey.url, heartbeat_seconds=1) as server:
        streams: list[StreamClient] = [server.follow(writer.generation) for _ in range(10)]
        for stream in streams:
            stream.events(1)
        own_valkey.stop()
        began = time.monotonic()
        for stream in streams:
            while sum(map(is_heartbeat, bytes(stream.body).split(b"\n\n"))) < 4:  # the first one opens the stream
                stream._more()
        assert time.monotonic() - began < 20
        for stream in streams:
            stream.socket.close()
        own_valkey.start()


def test_stalled_readers_are_cut_while_memory_stays_flat_and_others_continue(own_valkey: ValkeyProcess) -> None:
    redis = connect(own_valkey.url)
    writer = LogWriter(redis, SETTINGS)
    directory = own_valkey.directory.parent
    with (
        RelayServer(directory, own_valkey.url, reader_stall_seconds=12) as server,
        server.follow(writer.generation) as quick,
    ):
        stopped = [server.follow(writer.generation, receive_buffer=2048) for _ in range(50)]
        quick.events(1)
        before = server.statistics()["resident"]
        for begin in range(0, 5000, 250):
            writer.chunks(*(f"{number:0500}" for number in range(begin, begin + 250)))
            quick.events(begin + 250)
        assert server.statistics()["readers"] == 51
        assert server.statistics()["resident"] - before < 16 << 20
        server.wait_for_readers(1, 40)
        assert server.log.read_text().count("why=stalled") == 50
        writer.chunks("still here")
        assert quick.events(5002)[-1][1] == {"type": "chunk", "content": "still here"}
        for each in stopped:
            each.socket.close()


class LeavingSource:
    """A source whose closed readers leave a set, as those of a hub do."""

    def __init__(self, readers: set[Reader]) -> None:
        self._readers = readers

    def resume(self, reader: Reader, /) -> None:
        pass

    def remove(self, reader: Reader, /) -> None:
        self._readers.discard(reader)


def test_only_readers_that_are_full_for_too_long_are_cut() -> None:
    full, full_lately, idle = (PullReader("g", START) for _ in range(3))
    full.is_full = full_lately.is_full = True
    full.full_since, full_lately.full_since = 10.0, 20.0
    cut_stalled({full, full_lately, idle}, since=15.0)
    assert (full.end_reason, full_lately.end_reason, idle.end_reason) == ("stalled", None, None)


def test_drain_ends_every_reader_with_a_retry_and_survives_a_closed_notify_file() -> None:
    calls: list[float] = []

    def notify() -> None:
        calls.append(time.monotonic())
        raise ValueError("I/O operation on closed file")

    readers: set[Reader] = set()
    pulled = [PullReader("g", START) for _ in range(20)]
    for reader in pulled:
        reader.source = LeavingSource(readers)
        readers.add(reader)
    drain(readers, 0.3, notify)
    assert not readers
    assert {reader.end_reason for reader in pulled} == {"drained"}
    assert all(reader.render_end().startswith(b"retry: ") for reader in pulled)
    assert len(calls) == 1
