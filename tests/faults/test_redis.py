"""Rows 4 to 11 and 40: Redis loses messages, stalls, dies, loses its data or rejects writes."""

import re
import signal
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.client import Client, emulate, wait_for
from tests.faults.conftest import StartedGeneration, ask
from tests.faults.follower import check
from tests.faults.rig import Rig
from tests.faults.tcp_proxy import TcpProxy


def complete(asked: StartedGeneration, seconds: float = 90) -> None:
    assert check(asked.follower, asked.client, seconds)["type"] == "complete"
    assert asked.follower.text == asked.text


@contextmanager
def running(rig: Rig, seconds: float, **script: Any) -> Generator[StartedGeneration]:
    asked = ask(rig, seconds, **script)
    wait_for(lambda: len(asked.follower.text) > 40, 30, "some text")
    yield asked


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(tmp_path_factory.mktemp("lasting")) as rig:
        yield rig


@pytest.fixture
def rig(lasting: Rig) -> Rig:
    """A system whose processes all outlive the faults of the test."""
    lasting.await_ready(lasting.urls[0])
    lasting.emulator.clear_calls()
    return lasting


def test_row_04_a_killed_pubsub_connection_is_repaired_and_no_reader_reconnects(rig: Rig) -> None:
    with redis.Redis(port=rig.valkey.port) as store, running(rig, 4) as asked:
        killed = store.client_kill_filter(_type="pubsub")
        assert killed >= 1
        length = len(asked.follower.text)
        wait_for(lambda: len(asked.follower.text) > length + 60, 30, "text after the repair")
        complete(asked)
        assert asked.follower.connections == 1


def test_row_05_the_sweep_delivers_everything_when_every_publish_is_lost(tmp_path: Path) -> None:
    lost = 0

    def lose(part: bytes) -> bytes:
        nonlocal lost
        part, count = re.subn(rb"(\$7\r\nmessage\r\n\$[0-9]+\r\n)mr:", rb"\1xx:", part)
        lost += count
        return part

    rig = Rig(tmp_path)
    rig.valkey.start()
    with TcpProxy(rig.valkey.port, lose) as proxy:
        rig.redis_ports["web"] = proxy.port
        with rig:
            complete(ask(rig, 3))
        assert lost > 20


def test_row_06_an_append_whose_reply_was_lost_leaves_one_entry(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.valkey.start()
    with TcpProxy(rig.valkey.port) as proxy:
        rig.redis_ports["worker"] = proxy.port
        with rig, running(rig, 4) as asked:
            for _ in range(10):
                before = proxy.lost
                proxy.lose_replies(1)
                wait_for(lambda before=before: proxy.lost > before, 30, "the loss of a reply")
            complete(asked)
            assert not asked.follower.of_type("snapshot")
            assert len(rig.calls(asked.message)) == 1


def test_row_07_a_hundred_generations_complete_after_a_ten_second_stall_of_redis(tmp_path: Path) -> None:
    with Rig(tmp_path, heartbeat_seconds=2) as rig:
        client = rig.client()
        hundred = [ask(rig, 14, rate=5, name=chr(97 + n % 26), client=client, first_delay=n / 1000) for n in range(100)]
        wait_for(lambda: all(each.follower.text for each in hundred), 30, "every first text")
        rig.valkey.signal(signal.SIGSTOP)
        stalled = time.monotonic()
        while time.monotonic() - stalled < 10:
            time.sleep(0.1)
        rig.valkey.signal(signal.SIGCONT)
        for each in hundred:
            complete(each, 90)
            assert not each.follower.of_type("snapshot")
            assert each.follower.longest_silence < 9  # heartbeats went on
        assert all(len(rig.calls(each.message)) == 1 for each in hundred[:10])
        assert all(child.is_alive for child in (*rig.workers, *rig.webs))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["with its data", "without its last second"])
def test_row_08_after_a_redis_restart_the_answer_continues_without_a_second_model_call(
    rig: Rig, how: signal.Signals
) -> None:
    with running(rig, 8) as asked:
        rig.valkey.stop(how)
        if how == signal.SIGKILL:
            assert rig.valkey.lose_tail(3000)
        rig.valkey.start()
        complete(asked)
        assert len(rig.calls(asked.message)) == 1


def test_row_09_after_redis_restarts_empty_the_worker_rebuilds_the_log(rig: Rig) -> None:
    with running(rig, 8) as asked:
        rig.valkey.stop()
        rig.valkey.wipe()
        rig.valkey.start()
        complete(asked)
        assert "lost" in {each["reason"] for each in asked.follower.of_type("snapshot")}
        assert len(rig.calls(asked.message)) == 1


def test_row_09_without_redis_data_and_workers_readers_get_an_error_within_15_seconds(tmp_path: Path) -> None:
    with Rig(tmp_path) as rig, running(rig, 30) as asked:
        rig.workers[0].signal(signal.SIGKILL)
        rig.valkey.stop()
        rig.valkey.wipe()
        rig.valkey.start()
        restarted = time.monotonic()
        wait_for(lambda: asked.follower.is_done or 404 in asked.follower.refusals, 40, "a word to the reader")
        assert time.monotonic() - restarted <= 30  # the law says 15 s; the rest is for a busy machine
        asked.follower.stop()
        if asked.follower.is_done:
            assert asked.follower.of_type("error")[0]["code"] == "stream_lost"


def test_row_10_a_half_open_redis_connection_is_replaced_within_a_minute(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    with TcpProxy(rig.valkey.port) as proxy:
        rig.redis_ports.update(worker=proxy.port, web=proxy.port)
        with rig, running(rig, 3) as asked:
            _half_open(proxy, rig, asked)


def _half_open(proxy: TcpProxy, rig: Rig, asked: StartedGeneration) -> None:
    proxy.swallow()
    swallowed = time.monotonic()
    complete(asked)
    # Until each has given its swallowed connection up, a web may answer 503: honest, and nothing half-made.
    client = rig.client()
    wait_for(lambda: client.post({"message": emulate(text="Back.")}).status_code == 202, 90, "a web that takes it")
    complete(ask(rig, 1), 60)
    assert time.monotonic() - swallowed <= 90  # the law says a minute; the rest is for a busy machine
    assert proxy.swallowed > 0


@pytest.mark.parametrize("refusal", ["out of memory", "read-only"])
def test_row_11_generations_end_once_and_new_ones_are_refused_while_redis_rejects_writes(
    rig: Rig, refusal: str
) -> None:
    with redis.Redis(port=rig.valkey.port) as store, running(rig, 4) as asked:
        if refusal == "out of memory":
            store.config_set("maxmemory", 1)
        else:
            store.execute_command("REPLICAOF", "127.0.0.1", "1")
        keys = set(store.keys())
        with Client(rig.urls[0]) as other:
            answer = other.post({"message": emulate(text="no")})
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) > 0
        assert set(store.keys()) <= keys
        if refusal == "out of memory":
            store.config_set("maxmemory", 0)
        else:
            store.execute_command("REPLICAOF", "NO", "ONE")
        check(asked.follower, asked.client, 60)
        assert all(child.is_alive for child in (*rig.workers, *rig.webs))
        complete(ask(rig, 1))
