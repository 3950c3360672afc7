"""Readers of a log that Redis has lost in part or whole, or cannot return for a while."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from typing import Any

import pytest

from millrace.webapp.relay import Hub, node_relay, repair
from millrace.webapp.relay.recovery import fold_log
from millrace.worker.contract.events import Chunk, Snapshot, decode
from millrace.worker.contract.ids import START, Cursor
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.log import LogEntry, LogSlice, read
from millrace.worker.contract.redis.connection import Redis, connect
from millrace.worker.contract.redis.streams import CONTROL, Streams
from millrace.worker.contract.transcript import fold
from millrace.worker.errors import RedisUnavailable
from tests.client import wait_for
from tests.valkey import ValkeyProcess
from tests.webapp.relay.conftest import SETTINGS
from tests.webapp.relay.log_writer import COMPLETE, DONE, LogWriter
from tests.webapp.relay.relay_server import RelayServer


@pytest.fixture(scope="module")
def own_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyProcess]:
    """A Valkey that these tests stop and start; each of them leaves it running."""
    with ValkeyProcess(tmp_path_factory.mktemp("redis")) as process:
        yield process


@pytest.fixture(scope="module")
def own_server(own_valkey: ValkeyProcess) -> Iterator[RelayServer]:
    with RelayServer(own_valkey.directory.parent, own_valkey.url) as served:
        yield served


def test_restart_of_redis_with_its_data_loses_nothing(own_valkey: ValkeyProcess, own_server: RelayServer) -> None:
    writer = LogWriter(connect(own_valkey.url), SETTINGS)
    with own_server.follow(writer.generation) as stream:
        writer.chunks("a")
        stream.events(2)
        writer.chunks("b")
        own_valkey.stop()
        own_valkey.start()
        writer.chunks("c")
        writer.end()
        assert [event["type"] for _, event in stream.rest()] == ["status", *["chunk"] * 3, "complete", "done"]


def forget_newest(writer: LogWriter, count: int) -> None:
    """Remove the newest entries, as a restart of Redis does that loses its last writes."""
    keys = keys_of(writer.generation)
    newest: list[Any] = writer.redis.xrevrange(keys.log, count=count + 1) or []
    writer.redis.xdel(keys.log, *(entry for entry, _ in newest[:-1]))
    writer.redis.hset(keys.state, "top", newest[-1][0])


def test_lost_entries_are_replaced_by_a_snapshot(own_valkey: ValkeyProcess, own_server: RelayServer) -> None:
    writer = LogWriter(connect(own_valkey.url), SETTINGS)
    with own_server.follow(writer.generation) as stream:
        writer.chunks(*"abcd")
        stream.events(5)
        forget_newest(writer, 2)
        cursor, event = stream.events(6)[5]
        assert event["type"] == "snapshot"
        assert own_server.statistics()["counts"]["repairs"] == {"gap": 0, "lost": 1}
        assert event["content"] == "ab"
        assert event["reason"] == "lost"
        writer.reclaim()
        assert cursor == str(writer.last)
        writer.write(Snapshot("abcd", "", [], [], "lost"))
        writer.chunks("e")
        writer.end()
        rest = [event for _, event in stream.rest()][6:]
        assert [event["type"] for event in rest] == ["snapshot", "chunk", "complete", "done"]


def test_worker_that_continues_after_a_loss_is_followed_without_a_sweep(
    own_valkey: ValkeyProcess, unswept_server: RelayServer
) -> None:
    writer = LogWriter(connect(own_valkey.url), SETTINGS)
    with unswept_server.follow(writer.generation) as stream:
        writer.chunks(*"abcd")
        stream.events(5)
        forget_newest(writer, 2)
        writer.reclaim()
        writer.write(Snapshot("abcd", "", [], [], "lost"))
        writer.chunks("e")
        writer.end()
        rest = [event for _, event in stream.rest()][5:]
        assert fold(decode(json.dumps(event)) for event in rest).content == "abcde"
        assert rest[0]["type"] == "snapshot"
        assert [event["type"] for event in rest[-2:]] == ["complete", "done"]


@pytest.fixture
def unswept_hub(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub whose sweep does not compare silent tails with their logs."""
    monkeypatch.setattr(node_relay, "_SILENT_SECONDS", 3600.0)
    hub = Hub(Streams(redis), SETTINGS)
    yield hub
    hub.stop()


def test_events_published_while_a_log_is_folded_are_read_afterwards(
    unswept_hub: Hub, writer: LogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fold_and_go_on(*given: Any) -> list[LogEntry]:
        entries = fold_log(*given)
        writer.chunks("e")
        writer.end()
        tails = unswept_hub._relays[CONTROL].tails
        wait_for(lambda: tails[writer.generation].announced == writer.last, what="the announcement")
        return entries

    monkeypatch.setattr(repair, "fold_log", fold_and_go_on)
    writer.chunks(*"abcd")
    received = unswept_hub.entries(writer.generation, START, 10)
    assert len(list(islice(received, 5))) == 5
    forget_newest(writer, 2)
    writer.reclaim()
    writer.write(Snapshot("abcd", "", [], [], "lost"))
    events = [decode(entry.data) for entry in received]
    assert fold(events).content == "abcde"
    assert events[-1] == DONE


def test_failed_read_of_the_log_is_retried(
    unswept_hub: Hub, writer: LogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = 1

    def read_or_fail(*given: Any) -> LogSlice:
        nonlocal failures
        if failures:
            failures -= 1
            raise RedisUnavailable("it stalls")
        return read(*given)

    received = unswept_hub.entries(writer.generation, START, 10)
    next(received)
    writer.write_silently(Chunk("a"), COMPLETE, DONE)
    monkeypatch.setattr(repair, "read", read_or_fail)
    unswept_hub._relays[CONTROL]._check_all()  # as after a reconnect
    assert [decode(entry.data) for entry in received] == [Chunk("a"), COMPLETE, DONE]
    assert not failures


def test_readers_get_stream_lost_when_redis_restarts_empty(own_valkey: ValkeyProcess, own_server: RelayServer) -> None:
    writer = LogWriter(connect(own_valkey.url), SETTINGS)
    with (
        own_server.follow(writer.generation) as stream,
        own_server.follow(writer.generation, str(writer.last)) as other,
    ):
        writer.chunks("a")
        stream.events(2)
        other.events(1)
        own_valkey.stop()
        own_valkey.wipe()
        own_valkey.start()
        began = time.monotonic()
        events = stream.rest()
        assert time.monotonic() - began < 25
        assert [event["type"] for _, event in events[2:]] == ["error", "done"]
        assert events[2][1]["code"] == "stream_lost"
        assert events[2][1]["retryable"]
        assert events[3][1]["status"] == "failed"
        last = writer.last
        ids = [str(Cursor(last.epoch, last.seq + 1)), str(Cursor(last.epoch, last.seq + 2))]
        assert [cursor for cursor, _ in events[2:]] == ids
        assert stream.is_ended
        assert [cursor for cursor, _ in other.rest()[-2:]] == ids


def test_readers_follow_a_log_that_the_worker_restores_after_redis_restarts_empty(
    own_valkey: ValkeyProcess, own_server: RelayServer
) -> None:
    writer = LogWriter(connect(own_valkey.url), SETTINGS)
    with own_server.follow(writer.generation) as stream:
        writer.chunks("a")
        stream.events(2)
        own_valkey.stop()
        own_valkey.wipe()
        own_valkey.start()
        writer.reclaim()
        writer.write(Snapshot("a", "", [], [], "lost"), Chunk("b"), COMPLETE, DONE)
        events = [event for _, event in stream.rest()][2:]
        assert events[0]["type"] == "snapshot"
        assert fold(decode(json.dumps(event)) for event in events).content == "ab"
        assert [event["type"] for event in events[-2:]] == ["complete", "done"]


def test_reader_is_served_after_redis_recovers(own_valkey: ValkeyProcess, own_server: RelayServer) -> None:
    writer = LogWriter(connect(own_valkey.url), SETTINGS)
    with own_server.follow(writer.generation) as first:
        first.events(1)
        writer.chunks("a")
        first.events(2)
        own_valkey.stop()
        first.socket.close()
        own_valkey.start()
        with own_server.follow(writer.generation, "0-1") as stream:
            assert stream.events(1)[0][1]["content"] == "a"
            writer.end()
            assert len(stream.rest()) == 3


def test_expired_log_ends_with_an_error(own_valkey: ValkeyProcess, own_server: RelayServer) -> None:
    writer = LogWriter(connect(own_valkey.url), SETTINGS)
    writer.chunks("a")
    writer.end()
    writer.redis.delete(keys_of(writer.generation).log)
    with own_server.follow(writer.generation) as stream:
        assert [event["type"] for _, event in stream.rest()] == ["error", "done"]


def test_missing_or_unreadable_log_ends_in_stream_lost_and_other_readers_get_everything(
    own_valkey: ValkeyProcess, own_server: RelayServer
) -> None:
    redis = connect(own_valkey.url)
    missing, text, junk, no_state, healthy = (LogWriter(redis, SETTINGS) for _ in range(5))
    keys = {each: keys_of(each.generation) for each in (missing, text, junk, no_state)}
    with ExitStack() as stack:
        live = stack.enter_context(own_server.follow(no_state.generation))
        other = stack.enter_context(own_server.follow(healthy.generation))
        live.events(1)
        other.events(1)
        redis.delete(*(keys[each].log for each in (missing, text, junk)), keys[no_state].state)
        redis.set(keys[text].log, "not a stream")
        redis.xadd(keys[junk].log, {"d": '{"type":"chunk","content":"x"}\nid: 9-9\n\ndata: {"type":"done"}'}, id="0-1")
        redis.set(keys[no_state].state, "not a hash")
        began = time.monotonic()
        lost = [stack.enter_context(own_server.follow(each.generation)) for each in (missing, text, junk)]
        healthy.write_silently(Chunk("a"), Chunk("b"))
        assert [event["type"] for _, event in other.events(3)] == ["status", "chunk", "chunk"]
        healthy.end()
        assert other.rest()[-1][1] == {"type": "done", "status": "completed"}
        for stream in (*lost, live):
            assert [event["type"] for _, event in stream.rest()][-2:] == ["error", "done"]
        assert time.monotonic() - began < 25
