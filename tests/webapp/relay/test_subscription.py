import time

from millrace.worker.contract.connection import Redis, connect
from millrace.worker.contract.keys import channel_of
from tests.client import wait_for
from tests.faults.tcp_proxy import TcpProxy
from tests.valkey import ValkeyProcess
from tests.webapp.relay.author import Author
from tests.webapp.relay.conftest import SETTINGS
from tests.webapp.relay.serving import Served


def subscribers(redis: Redis, author: Author) -> int:
    return dict(redis.pubsub_numsub(channel_of(author.generation)))[channel_of(author.generation)]


def test_all_readers_of_a_process_share_one_connection(web: Served, redis: Redis, author: Author) -> None:
    other = Author(redis, SETTINGS)
    streams = [web.follow(each.generation) for each in (author, other) for _ in range(5)]
    for stream in streams:
        stream.events(1)
    assert subscribers(redis, author) == subscribers(redis, other) == 1
    assert len(redis.client_list(_type="pubsub")) == 1
    for stream in streams:
        stream.socket.close()


def test_a_killed_connection_is_mended_within_a_second_and_by_no_sweep(
    own_valkey: ValkeyProcess, unswept_web: Served
) -> None:
    redis = connect(own_valkey.url)
    author = Author(redis, SETTINGS)
    with unswept_web.follow(author.generation) as stream:
        stream.events(1)
        for number in range(5):
            redis.client_kill_filter(_type="pubsub")
            author.chunks(f"{number} lost")
            began = time.monotonic()
            stream.events(2 * number + 2)
            assert time.monotonic() - began < 1.2
            wait_for(lambda: subscribers(redis, author) == 1)
            author.chunks(f"{number} live")
            stream.events(2 * number + 3)
        author.end()
        assert len(stream.rest()) == 13


def test_a_half_open_connection_is_found_and_replaced(own_valkey: ValkeyProcess) -> None:
    author = Author(connect(own_valkey.url), SETTINGS)
    with (
        TcpProxy(own_valkey.port) as proxy,
        Served(own_valkey.directory.parent, f"redis://127.0.0.1:{proxy.port}/0") as web,
        web.follow(author.generation) as stream,
    ):
        stream.events(1)
        proxy.swallow()
        author.chunks("a")
        began = time.monotonic()
        stream.events(2)
        assert time.monotonic() - began < 15
        wait_for(lambda: subscribers(author.redis, author) == 2, 15, "a new subscription")
        author.chunks("b")
        stream.events(3)


def test_either_protocol_of_redis_will_do(own_valkey: ValkeyProcess) -> None:
    author = Author(connect(own_valkey.url), SETTINGS)
    for protocol in (2, 3):
        url = f"{own_valkey.url}?protocol={protocol}"
        unswept = Served(own_valkey.directory.parent, url, is_swept=False)
        with unswept as web, web.follow(author.generation) as stream:
            stream.events(1)
            began = time.monotonic()
            author.chunks("a")
            stream.events(author.last.seq)
            assert time.monotonic() - began < 1
