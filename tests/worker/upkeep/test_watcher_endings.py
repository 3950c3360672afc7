"""What Redis loses of an end is told again, for a moment after it."""

from collections.abc import Iterator

import pytest

from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.lease import claim, reclaim
from millrace.worker.errors import RedisUnavailable
from millrace.worker.upkeep import watcher as subject
from tests.valkey import ValkeyProcess
from tests.worker.desk import Desk, wait_until
from tests.worker.watching import Watch


@pytest.fixture
def desk(valkey: ValkeyProcess) -> Desk:
    return Desk(valkey.url, lease_seconds=1)


@pytest.fixture
def watch(desk: Desk) -> Iterator[Watch]:
    made = Watch(desk)
    yield made
    made.stop()


def test_an_end_that_redis_has_lost_is_told_again_as_often_as_it_is_lost(desk: Desk, watch: Watch) -> None:
    watch.end()
    for times in (1, 2):
        watch.watcher.look_back()
        assert len(watch.recovered) == times - 1
        desk.redis.flushall()
        watch.watcher.look_back()
        wait_until(lambda: desk.events(watch.held.generation), "the log")
        assert desk.transcript(watch.held.generation).content == "all"
        assert len(watch.recovered) == times
        wait_until(lambda: watch.held.outbox.has_ended, "the reply to its `done`")


def test_an_end_that_is_being_told_again_keeps_its_lease(desk: Desk, watch: Watch) -> None:
    watch.end()
    watch.writer.stop()
    desk.redis.flushall()
    again = reclaim(desk.redis, watch.held.holding, watch.held.outbox.claim, desk.settings)
    assert again is not None
    watch.held.outbox.reclaimed(again)
    desk.redis.hset(keys_of(watch.held.generation).state, "suspect", "1")
    watch.watcher.look()
    assert not desk.redis.hexists(keys_of(watch.held.generation).state, "suspect")


def test_an_end_that_redis_keeps_is_forgotten_after_a_while(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    watch.end()
    watch.watcher.look_back()
    assert watch.watcher.has_kept(watch.held.generation)
    monkeypatch.setattr(subject, "KEPT_SECONDS", 0)
    watch.watcher.look_back()
    assert not watch.watcher.has_kept(watch.held.generation)


def test_an_end_is_looked_after_for_as_long_as_redis_is_away(
    watch: Watch, valkey: ValkeyProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "KEPT_SECONDS", 0)
    watch.end()
    valkey.stop()
    with pytest.raises(RedisUnavailable):
        watch.watcher.look_back()
    assert watch.watcher.has_kept(watch.held.generation)


def test_a_lost_end_is_not_told_where_somebody_else_has_claimed_it_since(desk: Desk, watch: Watch) -> None:
    watch.end()
    state = keys_of(watch.held.generation).state
    desk.redis.hdel(state, "done", "outcome")
    desk.redis.hset(state, "token", "")
    assert claim(desk.redis, watch.held.generation, desk.settings) is not None
    watch.watcher.look_back()
    wait_until(lambda: not watch.held.outbox.has_ended, "the refusal")
    watch.watcher.look_back()
    assert len(watch.recovered) == 1
    assert not watch.watcher.has_kept(watch.held.generation)
