"""For a moment after a generation has ended, the watcher restores an end that Redis has lost."""

import pytest

from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.lease import claim, reclaim
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.errors import RedisUnavailable
from millrace.worker.upkeep import watcher as subject
from tests.valkey import ValkeyProcess
from tests.worker.harness import WorkerHarness, wait_until
from tests.worker.upkeep.watcher_harness import WatcherHarness


def test_a_lost_end_is_published_again_each_time_it_is_lost(harness: WorkerHarness, watch: WatcherHarness) -> None:
    watch.finish_generation()
    for times in (1, 2):
        watch.watcher.restore_lost_ends()
        assert len(watch.recovered) == times - 1
        harness.redis.flushall()
        watch.watcher.restore_lost_ends()
        wait_until(lambda: harness.events(watch.attempt.generation), "the log")
        assert harness.transcript(watch.attempt.generation).content == "all"
        assert len(watch.recovered) == times
        wait_until(lambda: watch.attempt.outbox.is_finished, "the reply to its `done`")


def test_the_lease_is_renewed_while_an_end_is_published_again(harness: WorkerHarness, watch: WatcherHarness) -> None:
    watch.finish_generation()
    watch.writer.stop()
    harness.redis.flushall()
    again = reclaim(harness.redis, watch.attempt.claimed, watch.attempt.outbox.claim, harness.settings)
    assert again is not None
    watch.attempt.outbox.resume(again)
    harness.redis.hset(keys_of(watch.attempt.generation).state, "suspect", "1")
    watch.watcher.renew_leases()
    assert not harness.redis.hexists(keys_of(watch.attempt.generation).state, "suspect")


def test_an_end_that_redis_keeps_is_no_longer_watched_after_a_while(
    watch: WatcherHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.finish_generation()
    watch.watcher.restore_lost_ends()
    assert watch.watcher.is_watching_end(watch.attempt.generation)
    monkeypatch.setattr(subject, "ENDED_WATCH_SECONDS", 0)
    watch.watcher.restore_lost_ends()
    assert not watch.watcher.is_watching_end(watch.attempt.generation)


def test_an_end_is_watched_as_long_as_redis_is_unavailable(
    watch: WatcherHarness, valkey: ValkeyProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "ENDED_WATCH_SECONDS", 0)
    watch.finish_generation()
    valkey.stop()
    with pytest.raises(RedisUnavailable):
        watch.watcher.restore_lost_ends()
    assert watch.watcher.is_watching_end(watch.attempt.generation)


def test_a_lost_end_is_not_published_after_another_worker_has_claimed_the_generation(
    harness: WorkerHarness, watch: WatcherHarness
) -> None:
    watch.finish_generation()
    state = keys_of(watch.attempt.generation).state
    harness.redis.hdel(state, "done", "outcome")
    harness.redis.hset(state, "token", "")
    assert claim(Streams(harness.redis), watch.attempt.generation, harness.settings) is not None
    watch.watcher.restore_lost_ends()
    wait_until(lambda: not watch.attempt.outbox.is_finished, "the abandoned outbox")
    watch.watcher.restore_lost_ends()
    assert len(watch.recovered) == 1
    assert not watch.watcher.is_watching_end(watch.attempt.generation)
