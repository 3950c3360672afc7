"""A pooled connection is checked before it is used again."""

import time
from typing import Any

import pytest
import redis as redis_py
from redis._parsers import hiredis as redis_pys_question

from millrace.worker.contract.redis.connection import Redis, connect
from millrace.worker.contract.redis.connection_pool import connection_class
from millrace.worker.settings.redis_url import read_redis_url
from tests.valkey import ValkeyProcess


def wait_for_bytes(connection: Any) -> None:
    deadline = time.monotonic() + 60
    while not connection.can_read():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_idle_connection_is_used_without_a_poll(valkey: ValkeyProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(valkey.url) as client:
        client.set("x", "y")
        monkeypatch.delattr(redis_pys_question, "_socket_can_read")
        assert client.get("x") == b"y"


def test_closed_connection_is_replaced_before_anything_is_sent(valkey: ValkeyProcess, redis: Redis) -> None:
    with connect(valkey.url, retries=0) as client:
        client.client_setname("doomed")
        redis.client_kill_filter(_id=str(client.client_id()))
        assert client.ping()
        assert client.client_getname() is None


def test_unread_bytes_are_found_on_the_socket_and_in_the_parser(valkey: ValkeyProcess) -> None:
    with connect(valkey.url) as client:
        connection: Any = client.connection_pool.get_connection()
        assert not connection.can_read()
        connection.send_packed_command(connection.pack_commands([("ECHO", "first"), ("ECHO", "second")]))
        wait_for_bytes(connection)
        connection.send_command("ECHO", "third")
        assert connection.read_response() == b"first"
        wait_for_bytes(connection)
        assert [connection.read_response(), connection.read_response()] == [b"second", b"third"]
        assert not connection.can_read()
        client.connection_pool.release(connection)


def test_tls_and_unix_sockets_keep_their_classes() -> None:
    assert issubclass(connection_class(read_redis_url("redis://h:1/0")), redis_py.Connection)
    assert issubclass(connection_class(read_redis_url("rediss://h:1/0")), redis_py.SSLConnection)
    assert connection_class(read_redis_url("unix:///s")) is redis_py.UnixDomainSocketConnection
