"""The writer against a real Valkey that stalls, loses, refuses, or has given the log to somebody else."""

import re
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
import redis
from gevent.event import Event as Signal

from millrace.worker.contract.connection import Redis
from millrace.worker.contract.events import Chunk, Complete, Error, Snapshot, StatusEvent
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.lease import claim, reclaim, release
from millrace.worker.contract.log import Append, AppendResult, append_all
from millrace.worker.errors import RedisUnavailable
from millrace.worker.interrupt import CancelAsked, HoldLost
from millrace.worker.publishing import writer as subject
from millrace.worker.publishing.writer import Writer
from tests.valkey import ValkeyProcess
from tests.worker.desk import Desk, wait_until
from tests.worker.holding import COMPLETE, Held, hold


@pytest.fixture
def desk(valkey: ValkeyProcess) -> Desk:
    return Desk(valkey.url, flush_ms=20)


@pytest.fixture
def writer(desk: Desk) -> Iterator[Writer]:
    running = Writer(desk.connect(retries=0), desk.settings)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def held(desk: Desk, writer: Writer) -> Held:
    return hold(desk, writer)


def say(held: Held, *texts: str) -> None:
    """Write each text as an event of its own, and wait until it is in the log."""
    for text in texts:
        held.outbox.write(Chunk(text))
    assert held.outbox.wait(10)


def test_many_generations_are_written_in_their_own_order(desk: Desk, writer: Writer) -> None:
    many = [hold(desk, writer, flush_bytes=4) for _ in range(50)]
    for number in range(100):
        for each in many:
            each.outbox.gather(Chunk(f"{number} "))
    for each in many:
        each.outbox.end(COMPLETE)
    for each in many:
        assert each.outbox.wait(20)
        assert desk.transcript(each.generation).content == "".join(f"{number} " for number in range(100))


def test_what_is_gathered_is_written_even_when_the_model_falls_silent(desk: Desk, held: Held) -> None:
    held.outbox.gather(Chunk("first"))
    held.outbox.gather(Chunk(", second"))
    wait_until(lambda: desk.text(held.generation) == "first, second", "the flush")


def test_what_is_gathered_while_the_queue_waits_is_flushed_too(desk: Desk, held: Held) -> None:
    held.outbox.gather(Chunk("first"))
    held.outbox.write(StatusEvent("retrying"))
    held.outbox.gather(Chunk(", second"))
    assert held.outbox.is_waiting
    wait_until(lambda: desk.text(held.generation) == "first, second", "the flush")


def test_a_lost_reply_leaves_one_entry(desk: Desk, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = 3

    def lossy(store: Redis, appends: list[Append], ttl: int) -> list[AppendResult | Exception]:
        nonlocal losses
        answers = append_all(store, appends, ttl)
        if losses:
            losses -= 1
            raise RedisUnavailable("the reply is lost")
        return answers

    monkeypatch.setattr(subject, "append_all", lossy)
    say(held, "a", "b", "c")
    assert losses == 0
    assert desk.events(held.generation)[1:] == [Chunk("a"), Chunk("b"), Chunk("c")]


def test_while_redis_is_away_all_is_kept(desk: Desk, held: Held, valkey: ValkeyProcess) -> None:
    say(held, "before, ")
    valkey.stop()
    held.outbox.write(Chunk("meanwhile, "))
    assert not held.outbox.wait(0.5)
    valkey.start()
    held.outbox.end(COMPLETE)
    assert held.outbox.wait(10)
    assert desk.transcript(held.generation).content == "before, meanwhile, "


def test_out_of_memory_passes(desk: Desk, held: Held) -> None:
    desk.redis.config_set("maxmemory", 1)
    held.outbox.write(Chunk("patience"))
    assert not held.outbox.wait(0.5)
    assert held.outbox.is_open
    desk.redis.config_set("maxmemory", 0)
    assert held.outbox.wait(10)
    assert desk.text(held.generation) == "patience"


def test_a_lost_tail_is_made_good_by_a_snapshot(desk: Desk, held: Held) -> None:
    say(held, "a", "b", "c")
    keys = keys_of(held.generation)
    entries: Any = desk.redis.xrange(keys.log)
    for key, _ in entries[2:]:  # "b" and "c", as a restart loses its last second
        desk.redis.xdel(keys.log, key)
    desk.redis.hset(keys.state, "top", entries[1][0])
    say(held, "d")
    held.outbox.end(COMPLETE)
    assert held.outbox.wait(10)
    assert desk.events(held.generation)[1:4] == [Chunk("a"), Snapshot("abc", "", [], [], "lost"), Chunk("d")]
    assert desk.transcript(held.generation).content == "abcd"


def test_after_everything_is_lost_the_log_is_made_anew(desk: Desk, held: Held) -> None:
    first = desk.events(held.generation)[0]
    say(held, "a", "b")
    desk.redis.flushall()
    say(held, "c")
    assert desk.events(held.generation) == [first, Snapshot("ab", "", [], [], "lost"), Chunk("c")]


def test_a_lost_claim_is_made_good_without_anything_to_append(desk: Desk, writer: Writer, held: Held) -> None:
    say(held, "a")
    desk.redis.flushall()
    writer.recover(held.outbox)
    wait_until(lambda: desk.redis.exists(keys_of(held.generation).log), "the log")
    wait_until(lambda: desk.text(held.generation) == "a", "the snapshot")


def test_a_lost_claim_that_somebody_else_has_made_since_is_let_go(desk: Desk, held: Held) -> None:
    say(held, "a")
    release(desk.redis, held.outbox.claim, desk.settings)
    assert claim(desk.redis, held.generation, desk.settings) is not None
    held.outbox.write(Chunk("not mine to say"))
    assert held.outbox.wait(10)
    assert not held.outbox.is_alive
    assert isinstance(held.interrupt.noted, HoldLost)
    assert desk.text(held.generation) == "a"


def test_a_reclaim_whose_reply_is_lost_is_found_again(desk: Desk, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    real, losses = subject.reclaim, 1

    def lossy(*arguments: object) -> object:
        nonlocal losses
        found = real(*arguments)  # pyright: ignore[reportArgumentType]
        if losses:
            losses -= 1
            raise RedisUnavailable("the reply is lost")
        return found

    monkeypatch.setattr(subject, "reclaim", lossy)
    say(held, "a")
    desk.redis.flushall()
    say(held, "b")
    assert (losses, desk.text(held.generation)) == (0, "ab")


def test_an_append_fenced_by_this_very_workers_reclaim_goes_on_under_that(desk: Desk, held: Held) -> None:
    say(held, "a")
    unheard = reclaim(desk.redis, held.holding, held.outbox.claim, desk.settings)
    say(held, "b")
    assert unheard is not None
    assert held.outbox.claim.token == unheard.claim.token
    assert desk.text(held.generation) == "ab"


def test_a_fence_tells_of_no_cancel(desk: Desk, held: Held) -> None:
    desk.cancel(held.generation)
    assert release(desk.redis, held.outbox.claim, desk.settings)
    held.outbox.write(Chunk("not mine to say"))
    with pytest.raises(HoldLost), held.interrupt.armed(), gevent.Timeout(10):
        Signal().wait()


def test_a_cancel_is_heard_of_in_the_reply_to_an_append(desk: Desk, held: Held) -> None:
    desk.cancel(held.generation)
    say(held, "a")
    assert isinstance(held.interrupt.noted, CancelAsked)
    assert held.interrupt.noted.by == "user"


def test_an_event_that_redis_never_takes_ends_its_own_generation_only(
    desk: Desk, writer: Writer, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    def picky(store: Redis, appends: list[Append], ttl: int) -> list[AppendResult | Exception]:
        answers = append_all(store, [append for append in appends if b"poison" not in append.data], ttl)
        queue = iter(answers)
        return [
            redis.ResponseError("ERR no") if re.search(b"poison", append.data) else next(queue) for append in appends
        ]

    monkeypatch.setattr(subject, "append_all", picky)
    other = hold(desk, writer)
    held.outbox.write(Chunk("good, "))
    held.outbox.write(Chunk("poison"))
    held.outbox.write(Chunk("too late"))
    say(other, "a", "b")
    other.outbox.end(COMPLETE)
    assert isinstance(desk.transcript(held.generation).outcome, Error)
    assert desk.transcript(held.generation).content == "good, "
    assert isinstance(desk.transcript(other.generation).outcome, Complete)


def test_a_key_that_is_no_longer_ours_stops_its_own_generation_only(desk: Desk, writer: Writer, held: Held) -> None:
    other = hold(desk, writer)
    desk.redis.delete(keys_of(held.generation).state)
    desk.redis.set(keys_of(held.generation).state, "somebody else's")
    held.outbox.write(Chunk("a"))
    say(other, "b")
    wait_until(lambda: not held.outbox.is_alive, "the end of the outbox")
    assert desk.text(other.generation) == "b"


def test_what_redis_has_not_taken_for_too_long_is_given_up(
    held: Held, valkey: ValkeyProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "GIVE_UP_SECONDS", 0.3)
    valkey.stop()
    held.outbox.write(Chunk("to nobody"))
    assert held.outbox.wait(10)
    assert not held.outbox.is_alive
    assert isinstance(held.interrupt.noted, HoldLost)


def test_a_queue_that_is_full_has_room_again_once_it_is_written(desk: Desk, held: Held, valkey: ValkeyProcess) -> None:
    valkey.stop()
    for _ in range(2):
        held.outbox.write(Chunk("a" * desk.settings.worker.buffer_bytes))
    assert not held.outbox.has_room
    valkey.start()
    held.outbox.wait_for_room()
    assert held.outbox.has_room
