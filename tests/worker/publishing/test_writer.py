"""The log writer with a real Valkey that stalls, loses or rejects events, or has another worker's claim."""

import re
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
import redis
from gevent.event import Event as Signal

from millrace.worker.contract.events import Chunk, Complete, Error, Snapshot, StatusEvent
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.lease import claim, reclaim, release
from millrace.worker.contract.log import Append, AppendResult, append_all
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.errors import RedisUnavailable
from millrace.worker.interrupt import CancelRequested, LeaseLost
from millrace.worker.publishing import writer as subject
from millrace.worker.publishing.writer import LogWriter
from tests.valkey import ValkeyProcess
from tests.worker.harness import COMPLETE, Attempt, WorkerHarness, claim_attempt, wait_until


@pytest.fixture
def harness(valkey: ValkeyProcess) -> WorkerHarness:
    return WorkerHarness(valkey.url, flush_ms=20)


@pytest.fixture
def writer(harness: WorkerHarness) -> Iterator[LogWriter]:
    running = LogWriter(harness.connect(retries=0), harness.settings)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def attempt(harness: WorkerHarness, writer: LogWriter) -> Attempt:
    return claim_attempt(harness, writer)


def write(attempt: Attempt, *texts: str) -> None:
    """Emit each text as an event, and wait until all are in the log."""
    for text in texts:
        attempt.outbox.emit(Chunk(text))
    assert attempt.outbox.wait_until_empty(10)


def test_each_of_many_generations_is_written_in_order(harness: WorkerHarness, writer: LogWriter) -> None:
    many = [claim_attempt(harness, writer, flush_bytes=4) for _ in range(50)]
    for number in range(100):
        for each in many:
            each.outbox.add(Chunk(f"{number} "))
    for each in many:
        each.outbox.finish(COMPLETE)
    for each in many:
        assert each.outbox.wait_until_empty(20)
        assert harness.transcript(each.generation).content == "".join(f"{number} " for number in range(100))


def test_buffered_deltas_are_flushed_when_the_model_pauses(harness: WorkerHarness, attempt: Attempt) -> None:
    attempt.outbox.add(Chunk("first"))
    attempt.outbox.add(Chunk(", second"))
    wait_until(lambda: harness.text(attempt.generation) == "first, second", "the flush")


def test_deltas_buffered_behind_queued_events_are_flushed(harness: WorkerHarness, attempt: Attempt) -> None:
    attempt.outbox.add(Chunk("first"))
    attempt.outbox.emit(StatusEvent("retrying"))
    attempt.outbox.add(Chunk(", second"))
    assert attempt.outbox.has_unacknowledged
    wait_until(lambda: harness.text(attempt.generation) == "first, second", "the flush")


def test_event_that_is_not_urgent_is_written_when_nothing_follows(harness: WorkerHarness, attempt: Attempt) -> None:
    attempt.outbox.emit(StatusEvent("running"), is_urgent=False)
    assert attempt.outbox.can_wait
    wait_until(lambda: harness.events(attempt.generation)[1:] == [StatusEvent("running")], "the flush")
    assert attempt.outbox.wait_until_empty(5)


def test_an_append_whose_reply_is_lost_leaves_one_entry(
    harness: WorkerHarness, attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = 3

    def lossy(store: Redis, appends: list[Append], ttl: int) -> list[AppendResult | Exception]:
        nonlocal losses
        answers = append_all(store, appends, ttl)
        if losses:
            losses -= 1
            raise RedisUnavailable("the reply is lost")
        return answers

    monkeypatch.setattr(subject, "append_all", lossy)
    write(attempt, "a", "b", "c")
    assert losses == 0
    assert harness.events(attempt.generation)[1:] == [Chunk("a"), Chunk("b"), Chunk("c")]


def test_events_are_kept_while_redis_is_unavailable(
    harness: WorkerHarness, attempt: Attempt, valkey: ValkeyProcess
) -> None:
    write(attempt, "before, ")
    valkey.stop()
    attempt.outbox.emit(Chunk("during, "))
    assert not attempt.outbox.wait_until_empty(0.5)
    valkey.start()
    attempt.outbox.finish(COMPLETE)
    assert attempt.outbox.wait_until_empty(10)
    assert harness.transcript(attempt.generation).content == "before, during, "


def test_events_are_kept_while_redis_is_out_of_memory(harness: WorkerHarness, attempt: Attempt) -> None:
    harness.redis.config_set("maxmemory", 1)
    attempt.outbox.emit(Chunk("patience"))
    assert not attempt.outbox.wait_until_empty(0.5)
    assert attempt.outbox.is_open
    harness.redis.config_set("maxmemory", 0)
    assert attempt.outbox.wait_until_empty(10)
    assert harness.text(attempt.generation) == "patience"


def test_a_lost_end_of_the_log_is_replaced_by_a_snapshot(harness: WorkerHarness, attempt: Attempt) -> None:
    write(attempt, "a", "b", "c")
    keys = keys_of(attempt.generation)
    entries: Any = harness.redis.xrange(keys.log)
    for key, _ in entries[2:]:  # "b" and "c": a restart loses the last second
        harness.redis.xdel(keys.log, key)
    harness.redis.hset(keys.state, "top", entries[1][0])
    write(attempt, "d")
    attempt.outbox.finish(COMPLETE)
    assert attempt.outbox.wait_until_empty(10)
    assert harness.events(attempt.generation)[1:4] == [Chunk("a"), Snapshot("abc", "", [], [], "lost"), Chunk("d")]
    assert harness.transcript(attempt.generation).content == "abcd"


def test_a_lost_log_is_created_again_with_its_first_event_and_a_snapshot(
    harness: WorkerHarness, attempt: Attempt
) -> None:
    first = harness.events(attempt.generation)[0]
    write(attempt, "a", "b")
    harness.redis.flushall()
    write(attempt, "c")
    assert harness.events(attempt.generation) == [first, Snapshot("ab", "", [], [], "lost"), Chunk("c")]


def test_a_lost_claim_is_recovered_with_nothing_to_append(
    harness: WorkerHarness, writer: LogWriter, attempt: Attempt
) -> None:
    write(attempt, "a")
    harness.redis.flushall()
    writer.recover(attempt.outbox)
    wait_until(lambda: harness.redis.exists(keys_of(attempt.generation).log), "the log")
    wait_until(lambda: harness.text(attempt.generation) == "a", "the snapshot")


def test_a_generation_that_another_worker_has_claimed_is_abandoned(harness: WorkerHarness, attempt: Attempt) -> None:
    write(attempt, "a")
    release(Streams(harness.redis), attempt.outbox.claim, harness.settings)
    assert claim(Streams(harness.redis), attempt.generation, harness.settings) is not None
    attempt.outbox.emit(Chunk("fenced"))
    assert attempt.outbox.wait_until_empty(10)
    assert not attempt.outbox.is_active
    assert isinstance(attempt.interrupt.reason, LeaseLost)
    assert harness.text(attempt.generation) == "a"


def test_a_reclaim_whose_reply_is_lost_is_repeated(
    harness: WorkerHarness, attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, losses = subject.reclaim, 1

    def lossy(*arguments: object) -> object:
        nonlocal losses
        found = real(*arguments)  # pyright: ignore[reportArgumentType]
        if losses:
            losses -= 1
            raise RedisUnavailable("the reply is lost")
        return found

    monkeypatch.setattr(subject, "reclaim", lossy)
    write(attempt, "a")
    harness.redis.flushall()
    write(attempt, "b")
    assert (losses, harness.text(attempt.generation)) == (0, "ab")


def test_an_append_fenced_by_this_workers_own_reclaim_continues_under_it(
    harness: WorkerHarness, attempt: Attempt
) -> None:
    write(attempt, "a")
    unanswered = reclaim(harness.redis, attempt.claimed, attempt.outbox.claim, harness.settings)
    write(attempt, "b")
    assert unanswered is not None
    assert attempt.outbox.claim.token == unanswered.claim.token
    assert harness.text(attempt.generation) == "ab"


def test_a_fenced_append_reports_no_cancel(harness: WorkerHarness, attempt: Attempt) -> None:
    harness.cancel(attempt.generation)
    assert release(Streams(harness.redis), attempt.outbox.claim, harness.settings)
    attempt.outbox.emit(Chunk("fenced"))
    with pytest.raises(LeaseLost), attempt.interrupt.armed(), gevent.Timeout(30):
        Signal().wait()


def test_a_cancel_arrives_in_the_reply_to_an_append(harness: WorkerHarness, attempt: Attempt) -> None:
    harness.cancel(attempt.generation)
    write(attempt, "a")
    assert isinstance(attempt.interrupt.reason, CancelRequested)
    assert attempt.interrupt.reason.by == "user"


def test_a_rejected_event_ends_only_its_own_generation(
    harness: WorkerHarness, writer: LogWriter, attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    def picky(store: Redis, appends: list[Append], ttl: int) -> list[AppendResult | Exception]:
        answers = append_all(store, [append for append in appends if b"poison" not in append.data], ttl)
        queue = iter(answers)
        return [
            redis.ResponseError("ERR no") if re.search(b"poison", append.data) else next(queue) for append in appends
        ]

    monkeypatch.setattr(subject, "append_all", picky)
    other = claim_attempt(harness, writer)
    attempt.outbox.emit(Chunk("good, "))
    attempt.outbox.emit(Chunk("poison"))
    attempt.outbox.emit(Chunk("too late"))
    write(other, "a", "b")
    other.outbox.finish(COMPLETE)
    assert isinstance(harness.transcript(attempt.generation).outcome, Error)
    assert harness.transcript(attempt.generation).content == "good, "
    assert isinstance(harness.transcript(other.generation).outcome, Complete)


def test_a_key_of_the_wrong_type_stops_only_its_own_generation(
    harness: WorkerHarness, writer: LogWriter, attempt: Attempt
) -> None:
    other = claim_attempt(harness, writer)
    harness.redis.delete(keys_of(attempt.generation).state)
    harness.redis.set(keys_of(attempt.generation).state, "of another application")
    attempt.outbox.emit(Chunk("a"))
    write(other, "b")
    wait_until(lambda: not attempt.outbox.is_active, "the end of the outbox")
    assert harness.text(other.generation) == "b"


def test_a_generation_is_abandoned_when_redis_stays_unavailable_too_long(
    attempt: Attempt, writer: LogWriter, valkey: ValkeyProcess
) -> None:
    writer._give_up_seconds = 0.3
    valkey.stop()
    attempt.outbox.emit(Chunk("lost"))
    assert attempt.outbox.wait_until_empty(10)
    assert not attempt.outbox.is_active
    assert isinstance(attempt.interrupt.reason, LeaseLost)
    assert attempt.outbox.unwritten is not None
    assert attempt.outbox.unwritten.content == "lost", "the text can still be stored"


def test_a_full_queue_has_capacity_again_once_it_is_written(
    harness: WorkerHarness, attempt: Attempt, valkey: ValkeyProcess
) -> None:
    valkey.stop()
    for _ in range(2):
        attempt.outbox.emit(Chunk("a" * harness.settings.worker.buffer_bytes))
    assert not attempt.outbox.has_capacity
    valkey.start()
    attempt.outbox.wait_for_capacity()
    assert attempt.outbox.has_capacity
