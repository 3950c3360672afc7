import json
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest

from millrace.webapp.relay import Hub, repair
from millrace.webapp.relay import hub as hub_module
from millrace.webapp.relay.rebuilding import fold_log
from millrace.worker.contract.connection import Redis, connect
from millrace.worker.contract.events import Chunk, Snapshot, decode
from millrace.worker.contract.ids import START, Cursor
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.log import LogEntry, LogSlice, read
from millrace.worker.contract.transcript import fold
from millrace.worker.errors import RedisUnavailable
from tests.client import wait_for
from tests.valkey import ValkeyProcess
from tests.webapp.relay.author import COMPLETE, DONE, Author
from tests.webapp.relay.conftest import SETTINGS
from tests.webapp.relay.serving import Served


@pytest.fixture
def own_web(own_valkey: ValkeyProcess) -> Iterator[Served]:
    with Served(own_valkey.directory.parent, own_valkey.url) as served:
        yield served


def test_a_restart_of_redis_with_its_data_goes_unnoticed(own_valkey: ValkeyProcess, own_web: Served) -> None:
    author = Author(connect(own_valkey.url), SETTINGS)
    with own_web.follow(author.generation) as stream:
        author.chunks("a")
        stream.events(2)
        author.chunks("b")
        own_valkey.stop()
        own_valkey.start()
        author.chunks("c")
        author.end()
        assert [event["type"] for _, event in stream.rest()] == ["status", *["chunk"] * 3, "complete", "done"]


def forget_newest(author: Author, count: int) -> None:
    """What a restart that loses the last writes does to a log."""
    keys = keys_of(author.generation)
    newest: list[Any] = author.redis.xrevrange(keys.log, count=count + 1) or []
    author.redis.xdel(keys.log, *(entry for entry, _ in newest[:-1]))
    author.redis.hset(keys.state, "top", newest[-1][0])


def test_lost_entries_are_answered_by_a_snapshot(own_valkey: ValkeyProcess, own_web: Served) -> None:
    author = Author(connect(own_valkey.url), SETTINGS)
    with own_web.follow(author.generation) as stream:
        author.chunks(*"abcd")
        stream.events(5)
        forget_newest(author, 2)
        cursor, event = stream.events(6)[5]
        assert event["type"] == "snapshot"
        assert event["content"] == "ab"
        assert event["reason"] == "lost"
        author.reclaim()
        assert cursor == str(author.last)
        author.write(Snapshot("abcd", "", [], [], "lost"))
        author.chunks("e")
        author.end()
        rest = [event for _, event in stream.rest()][6:]
        assert [event["type"] for event in rest] == ["snapshot", "chunk", "complete", "done"]


def test_a_worker_that_goes_on_after_a_loss_is_followed_at_once_and_by_no_sweep(
    own_valkey: ValkeyProcess, unswept_web: Served
) -> None:
    author = Author(connect(own_valkey.url), SETTINGS)
    with unswept_web.follow(author.generation) as stream:
        author.chunks(*"abcd")
        stream.events(5)
        forget_newest(author, 2)
        author.reclaim()
        began = time.monotonic()
        author.write(Snapshot("abcd", "", [], [], "lost"))
        author.chunks("e")
        author.end()
        rest = [event for _, event in stream.rest()][5:]
        assert time.monotonic() - began < 3
        assert fold(decode(json.dumps(event)) for event in rest).content == "abcde"
        assert rest[0]["type"] == "snapshot"
        assert [event["type"] for event in rest[-2:]] == ["complete", "done"]


@pytest.fixture
def unswept_hub(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """One whose sweep does not find what is forgotten here."""
    monkeypatch.setattr(hub_module, "_SILENT_SECONDS", 3600.0)
    hub = Hub(redis, SETTINGS)
    yield hub
    hub.stop()


def test_what_is_told_while_a_log_is_folded_is_read_after_it(
    unswept_hub: Hub, author: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fold_and_go_on(*given: Any) -> list[LogEntry]:
        entries = fold_log(*given)
        author.chunks("e")
        author.end()
        wait_for(lambda: unswept_hub._tails[author.generation].claimed == author.last, what="the news")
        return entries

    monkeypatch.setattr(repair, "fold_log", fold_and_go_on)
    author.chunks(*"abcd")
    received = unswept_hub.entries(author.generation, START, 10)
    assert len(list(islice(received, 5))) == 5
    forget_newest(author, 2)
    author.reclaim()
    author.write(Snapshot("abcd", "", [], [], "lost"))
    events = [decode(entry.data) for entry in received]
    assert fold(events).content == "abcde"
    assert events[-1] == DONE


def test_a_reading_that_fails_is_tried_again(unswept_hub: Hub, author: Author, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = 1

    def read_or_fail(*given: Any) -> LogSlice:
        nonlocal failures
        if failures:
            failures -= 1
            raise RedisUnavailable("it stalls")
        return read(*given)

    received = unswept_hub.entries(author.generation, START, 10)
    next(received)
    author.write_silently(Chunk("a"), COMPLETE, DONE)
    monkeypatch.setattr(repair, "read", read_or_fail)
    unswept_hub._check_all()  # as after a new connection
    assert [decode(entry.data) for entry in received] == [Chunk("a"), COMPLETE, DONE]
    assert not failures


def test_when_redis_restarts_empty_nobody_hangs(own_valkey: ValkeyProcess, own_web: Served) -> None:
    author = Author(connect(own_valkey.url), SETTINGS)
    with own_web.follow(author.generation) as stream, own_web.follow(author.generation, str(author.last)) as other:
        author.chunks("a")
        stream.events(2)
        other.events(1)
        own_valkey.stop()
        own_valkey.wipe()
        own_valkey.start()
        began = time.monotonic()
        events = stream.rest()
        assert time.monotonic() - began < 15
        assert [event["type"] for _, event in events[2:]] == ["error", "done"]
        assert events[2][1]["code"] == "stream_lost"
        assert events[2][1]["retryable"]
        assert events[3][1]["status"] == "failed"
        last = author.last
        ids = [str(Cursor(last.epoch, last.seq + 1)), str(Cursor(last.epoch, last.seq + 2))]
        assert [cursor for cursor, _ in events[2:]] == ids
        assert stream.is_ended
        assert [cursor for cursor, _ in other.rest()[-2:]] == ids


def test_when_redis_restarts_empty_and_the_worker_makes_it_anew_readers_follow(
    own_valkey: ValkeyProcess, own_web: Served
) -> None:
    author = Author(connect(own_valkey.url), SETTINGS)
    with own_web.follow(author.generation) as stream:
        author.chunks("a")
        stream.events(2)
        own_valkey.stop()
        own_valkey.wipe()
        own_valkey.start()
        author.reclaim()
        author.write(Snapshot("a", "", [], [], "lost"), Chunk("b"), COMPLETE, DONE)
        events = [event for _, event in stream.rest()][2:]
        assert events[0]["type"] == "snapshot"
        assert fold(decode(json.dumps(event)) for event in events).content == "ab"
        assert [event["type"] for event in events[-2:]] == ["complete", "done"]


def test_a_reader_who_comes_while_redis_is_away_is_served_when_it_is_back(
    own_valkey: ValkeyProcess, own_web: Served
) -> None:
    author = Author(connect(own_valkey.url), SETTINGS)
    with own_web.follow(author.generation) as first:
        first.events(1)
        author.chunks("a")
        first.events(2)
        own_valkey.stop()
        first.socket.close()
        own_valkey.start()
        with own_web.follow(author.generation, "0-1") as stream:
            assert stream.events(1)[0][1]["content"] == "a"
            author.end()
            assert len(stream.rest()) == 3


def test_an_expired_log_ends_rather_than_hangs(own_valkey: ValkeyProcess, own_web: Served) -> None:
    author = Author(connect(own_valkey.url), SETTINGS)
    author.chunks("a")
    author.end()
    author.redis.delete(keys_of(author.generation).log)
    with own_web.follow(author.generation) as stream:
        assert [event["type"] for _, event in stream.rest()] == ["error", "done"]


def test_a_log_that_is_gone_though_its_state_is_there_is_told_lost(own_valkey: ValkeyProcess, own_web: Served) -> None:
    author = Author(connect(own_valkey.url), SETTINGS)
    author.redis.delete(keys_of(author.generation).log)
    with own_web.follow(author.generation) as stream:
        began = time.monotonic()
        assert [event["type"] for _, event in stream.rest()] == ["error", "done"]
        assert time.monotonic() - began < 15
