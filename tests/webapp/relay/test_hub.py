"""The hub of one process: limits, watched generations, one read of a log for all its readers."""

import time
from collections.abc import Callable

from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.redis.connection import Redis, connect
from tests.valkey import ValkeyProcess
from tests.webapp.relay.conftest import SETTINGS
from tests.webapp.relay.log_writer import LogWriter
from tests.webapp.relay.relay_server import RelayServer


def test_reader_limit_counts_both_kinds_and_frees_slots_at_once(own_valkey: ValkeyProcess) -> None:
    writer = LogWriter(connect(own_valkey.url), SETTINGS)
    with RelayServer(own_valkey.directory.parent, own_valkey.url, max_readers=3) as server:
        streams = [server.follow(writer.generation, version=f"HTTP/1.{number % 2}") for number in range(3)]
        server.wait_for_readers(3)
        with server.follow(writer.generation) as refused:
            assert refused.status == 503
        streams[1].socket.close()
        server.wait_for_readers(2)
        with server.follow(writer.generation) as taken:
            assert taken.status == 200
            writer.chunks("others continue")
            assert streams[0].events(2)
            assert streams[2].events(2)
        for stream in streams:
            stream.socket.close()


def test_watched_lists_followed_generations_that_cancel_unwatched(server: RelayServer, redis: Redis) -> None:
    watched, other = LogWriter(redis, SETTINGS, "cancel"), LogWriter(redis, SETTINGS)
    with server.follow(watched.generation) as one, server.follow(other.generation) as two:
        one.events(1)
        two.events(1)
        assert server.statistics()["watched"] == [watched.generation]
    server.wait_for_readers(0)
    assert server.statistics()["watched"] == []


def test_log_is_read_from_redis_once_for_many_readers(
    server: RelayServer, redis: Redis, make_writer: Callable[[], LogWriter]
) -> None:
    writer = make_writer()
    writer.chunks(*(f"{number}" for number in range(400)))
    reads_before = redis.info("commandstats")["cmdstat_xrange"]["calls"]
    streams = [server.follow(writer.generation, "" if number % 2 else "0-1") for number in range(60)]
    for number, stream in enumerate(streams):
        stream.events(400 + number % 2)
    writer.end()
    for stream in streams:
        stream.rest()
        stream.socket.close()
    assert redis.info("commandstats")["cmdstat_xrange"]["calls"] - reads_before <= 4


def test_two_hundred_readers_reconnect_at_once_within_ten_seconds(server: RelayServer, redis: Redis) -> None:
    writers = [LogWriter(redis, SETTINGS) for _ in range(100)]
    for writer in writers:
        writer.chunks("a", "b")
        writer.end()
    began = time.monotonic()
    streams = [server.follow(writer.generation) for writer in writers for _ in range(2)]
    for stream in streams:
        assert len(stream.rest()) == 5
        stream.socket.close()
    assert time.monotonic() - began < 20
    assert int(redis.info("clients")["connected_clients"]) < 40


def test_unknown_id_creates_no_key(server: RelayServer, redis: Redis) -> None:
    with server.follow("0" * 32) as stream:
        assert stream.status == 404
    assert not redis.exists(*keys_of("0" * 32)[:2])
