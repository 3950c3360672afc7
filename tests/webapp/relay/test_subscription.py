"""The pub/sub connection: shared, replaced when it is killed or half open, over RESP2 and RESP3."""

import time

from millrace.worker.contract.keys import channel_of
from millrace.worker.contract.redis.connection import Redis, connect
from tests.client import wait_for
from tests.faults.tcp_proxy import TcpProxy
from tests.valkey import ValkeyProcess
from tests.webapp.relay.conftest import SETTINGS
from tests.webapp.relay.log_writer import LogWriter
from tests.webapp.relay.relay_server import RelayServer


def subscribers(redis: Redis, writer: LogWriter) -> int:
    return dict(redis.pubsub_numsub(channel_of(writer.generation)))[channel_of(writer.generation)]


def test_all_readers_of_a_process_share_one_connection(server: RelayServer, redis: Redis, writer: LogWriter) -> None:
    other = LogWriter(redis, SETTINGS)
    streams = [server.follow(each.generation) for each in (writer, other) for _ in range(5)]
    for stream in streams:
        stream.events(1)
    assert subscribers(redis, writer) == subscribers(redis, other) == 1
    assert len(redis.client_list(_type="pubsub")) == 1
    for stream in streams:
        stream.socket.close()


def test_killed_connection_is_replaced_without_a_sweep(own_valkey: ValkeyProcess, unswept_server: RelayServer) -> None:
    redis = connect(own_valkey.url)
    writer = LogWriter(redis, SETTINGS)
    with unswept_server.follow(writer.generation) as stream:
        stream.events(1)
        for number in range(5):
            redis.client_kill_filter(_type="pubsub")
            writer.chunks(f"{number} lost")
            stream.events(2 * number + 2)
            wait_for(lambda: subscribers(redis, writer) == 1)
            writer.chunks(f"{number} live")
            stream.events(2 * number + 3)
        writer.end()
        assert len(stream.rest()) == 13


def test_half_open_connection_is_detected_and_replaced(own_valkey: ValkeyProcess) -> None:
    writer = LogWriter(connect(own_valkey.url), SETTINGS)
    with (
        TcpProxy(own_valkey.port) as proxy,
        RelayServer(own_valkey.directory.parent, f"redis://127.0.0.1:{proxy.port}/0") as server,
        server.follow(writer.generation) as stream,
    ):
        stream.events(1)
        proxy.swallow()
        writer.chunks("a")
        began = time.monotonic()
        stream.events(2)
        assert time.monotonic() - began < 25
        wait_for(lambda: subscribers(writer.redis, writer) == 2, 30, "a new subscription")
        writer.chunks("b")
        stream.events(3)


def test_resp2_and_resp3_both_work(own_valkey: ValkeyProcess) -> None:
    writer = LogWriter(connect(own_valkey.url), SETTINGS)
    for protocol in (2, 3):
        url = f"{own_valkey.url}?protocol={protocol}"
        unswept = RelayServer(own_valkey.directory.parent, url, is_swept=False)
        with unswept as server, server.follow(writer.generation) as stream:
            stream.events(1)
            writer.chunks("a")
            stream.events(writer.last.seq)
