import time
from collections.abc import Callable

from millrace.worker.contract.connection import Redis, connect
from millrace.worker.contract.keys import keys_of
from tests.valkey import ValkeyProcess
from tests.webapp.relay.author import Author
from tests.webapp.relay.conftest import SETTINGS
from tests.webapp.relay.serving import Served


def test_the_cap_counts_taken_and_yielding_readers_and_a_slot_is_free_at_once(own_valkey: ValkeyProcess) -> None:
    author = Author(connect(own_valkey.url), SETTINGS)
    with Served(own_valkey.directory.parent, own_valkey.url, max_readers=3) as web:
        streams = [web.follow(author.generation, version=f"HTTP/1.{number % 2}") for number in range(3)]
        web.wait_for_readers(3)
        with web.follow(author.generation) as refused:
            assert refused.status == 503
        streams[1].socket.close()
        web.wait_for_readers(2)
        with web.follow(author.generation) as taken:
            assert taken.status == 200
            author.chunks("others go on")
            assert streams[0].events(2)
            assert streams[2].events(2)
        for stream in streams:
            stream.socket.close()


def test_only_what_is_cancelled_unwatched_and_has_readers_is_watched(web: Served, redis: Redis) -> None:
    watched, other = Author(redis, SETTINGS, "cancel"), Author(redis, SETTINGS)
    with web.follow(watched.generation) as one, web.follow(other.generation) as two:
        one.events(1)
        two.events(1)
        assert web.figures()["watched"] == [watched.generation]
    web.wait_for_readers(0)
    assert web.figures()["watched"] == []


def test_a_stream_is_read_from_redis_once_for_many_readers(
    web: Served, redis: Redis, write: Callable[[], Author]
) -> None:
    author = write()
    author.chunks(*(f"{number}" for number in range(400)))
    reads_before = redis.info("commandstats")["cmdstat_xrange"]["calls"]
    streams = [web.follow(author.generation, "" if number % 2 else "0-1") for number in range(60)]
    for number, stream in enumerate(streams):
        stream.events(400 + number % 2)
    author.end()
    for stream in streams:
        stream.rest()
        stream.socket.close()
    assert redis.info("commandstats")["cmdstat_xrange"]["calls"] - reads_before <= 4


def test_two_hundred_readers_who_come_back_at_once_wait_for_no_one(web: Served, redis: Redis) -> None:
    authors = [Author(redis, SETTINGS) for _ in range(100)]
    for author in authors:
        author.chunks("a", "b")
        author.end()
    began = time.monotonic()
    streams = [web.follow(author.generation) for author in authors for _ in range(2)]
    for stream in streams:
        assert len(stream.rest()) == 5
        stream.socket.close()
    assert time.monotonic() - began < 10
    assert int(redis.info("clients")["connected_clients"]) < 40


def test_a_foreign_id_makes_no_key(web: Served, redis: Redis) -> None:
    with web.follow("0" * 32) as stream:
        assert stream.status == 404
    assert not redis.exists(*keys_of("0" * 32)[:2])
