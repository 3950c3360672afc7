"""Commands fail with RedisUnavailable, in bounded time, whenever Redis cannot serve them."""

import os
import signal
import socket
from pathlib import Path

import gevent
import pytest
from redis.exceptions import ResponseError

from millrace.worker.contract.creation import create
from millrace.worker.contract.redis.connection import (
    MAX_CONNECTIONS,
    Redis,
    connect,
    find_unavailable,
    is_unavailable,
    translate_redis_errors,
)
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.errors import RedisKeyInvalid, RedisUnavailable
from tests.valkey import ValkeyProcess, free_port
from tests.worker.contract.generations import SETTINGS, new_draft


def test_connection_is_opened_by_the_first_command() -> None:
    with (
        connect(f"redis://127.0.0.1:{free_port()}/0") as nobody,
        pytest.raises(RedisUnavailable),
        translate_redis_errors(),
    ):
        nobody.ping()


def test_silent_redis_is_unavailable_in_bounded_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        with connect(url, timeout_seconds=0.2) as client, pytest.raises(RedisUnavailable), translate_redis_errors():
            client.ping()


def test_stalled_redis_is_unavailable_until_it_continues(tmp_path: Path) -> None:
    with ValkeyProcess(tmp_path) as server, connect(server.url, timeout_seconds=0.2) as client:
        client.ping()
        os.kill(server.pid, signal.SIGSTOP)
        try:
            with pytest.raises(RedisUnavailable), translate_redis_errors():
                client.get("x")
        finally:
            os.kill(server.pid, signal.SIGCONT)
        client.set("x", "y")
        assert client.get("x") == b"y", "a late reply was taken for this command's reply"


def test_next_command_survives_a_restart(tmp_path: Path) -> None:
    with ValkeyProcess(tmp_path) as server, connect(server.url) as client:
        client.ping()
        server.stop()
        server.start()
        assert client.ping()


def test_read_only_redis_is_unavailable_and_creates_nothing(tmp_path: Path) -> None:
    with ValkeyProcess(tmp_path) as server, connect(server.url) as client:
        client.replicaof("127.0.0.1", free_port())
        with pytest.raises(RedisUnavailable):
            create(Streams(client), new_draft(), SETTINGS)
        client.replicaof("NO", "ONE")
        assert client.keys("*") == []


def test_other_errors_pass_unchanged(redis: Redis) -> None:
    with pytest.raises(ResponseError, match="unknown command"), translate_redis_errors():
        redis.execute_command("NOTHING")


def test_key_of_another_type_is_invalid_alone_in_a_pipeline_and_in_a_script(redis: Redis) -> None:
    redis.set("x", "text")
    pipeline = redis.pipeline(transaction=False)
    pipeline.lpush("x", "y")
    for use in (
        lambda: redis.lpush("x", "y"),
        pipeline.execute,
        lambda: redis.eval("redis.call('LPUSH', KEYS[1], 'y')", 1, "x"),
        lambda: redis.eval("return 1 < redis.call('GET', KEYS[1])", 1, "x"),
    ):
        with pytest.raises(RedisKeyInvalid), translate_redis_errors():
            use()


@pytest.mark.parametrize("code", ["BUSY", "MISCONF", "NOREPLICAS", "OOM", "READONLY", "MASTERDOWN", "CLUSTERDOWN"])
@pytest.mark.parametrize("is_stripped", [True, False])
def test_error_codes_of_a_redis_that_cannot_serve_mean_unavailable(code: str, is_stripped: bool) -> None:
    error = ResponseError("text", status_code=code) if is_stripped else None
    assert is_unavailable(error or ResponseError(f"{code} text"))


@pytest.mark.parametrize("text", ["ERR text", "WRONGTYPE text", "BUSYGROUP text", "NOSCRIPT text", ""])
def test_other_error_replies_do_not_mean_unavailable(text: str) -> None:
    assert not is_unavailable(ResponseError(text))


def test_five_hundred_commands_at_once_are_served_by_few_connections(redis: Redis) -> None:
    waiting = [gevent.spawn(redis.execute_command, "BLPOP", "nothing", "0.05") for _ in range(500)]
    gevent.joinall(waiting, timeout=60, raise_error=True)
    assert all(each.successful() for each in waiting)
    clients = redis.client_list()
    assert 1 < len(clients) <= MAX_CONNECTIONS
    redis.connection_pool.disconnect()


def test_full_connection_pool_raises_redis_unavailable(valkey: ValkeyProcess) -> None:
    narrow = connect(valkey.url, connections=1, timeout_seconds=0.1)
    busy = narrow.connection_pool.get_connection()
    with pytest.raises(RedisUnavailable), translate_redis_errors():
        narrow.ping()
    narrow.connection_pool.release(busy)
    narrow.close()


def test_unavailable_servers_are_named_with_their_place_and_without_their_password(tmp_path: Path) -> None:
    socket_path = tmp_path / "valkey.sock"
    with ValkeyProcess(tmp_path, "--unixsocket", str(socket_path)) as server, connect(server.url) as client:
        serving = {"A": server.url, "B": f"unix://{socket_path}?db=1"}
        assert find_unavailable(serving, 2.0) == ""
        client.config_set("requirepass", "right")
        for url, sentence in (
            (server.url, f"C: Redis at 127.0.0.1:{server.port} does not serve: its user name or password is missing"),
            (f"unix://:hidden@{socket_path}", f"C: Redis at {socket_path} does not serve: its user name or password"),
            ("redis://:hidden@[::1]:1", "C: Redis at [::1]:1 does not serve: "),
            (f"unix://{tmp_path}/absent", f"C: Redis at {tmp_path}/absent does not serve: No such file"),
            ("redis://:hidden@host.invalid", "C: Redis at host.invalid:6379 does not serve: "),
        ):
            found = find_unavailable({"A": f"redis://:right@127.0.0.1:{server.port}", "C": url}, 5.0)
            assert found.startswith(sentence)
            assert "hidden" not in found
