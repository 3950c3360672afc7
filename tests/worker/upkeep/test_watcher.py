"""The watcher renews leases and passes on cancels."""

import time

import pytest

from millrace.worker.contract.events import Snapshot
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.lease import claim, reclaim, release
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.sweep import sweep
from millrace.worker.interrupt import CancelRequested, LeaseLost
from millrace.worker.publishing.writer import LogWriter
from millrace.worker.upkeep import watcher as subject
from tests.valkey import ValkeyProcess
from tests.worker.harness import COMPLETE, WorkerHarness, claim_attempt, wait_until
from tests.worker.upkeep.watcher_harness import WatcherHarness


def test_a_lease_is_renewed_before_it_expires(harness: WorkerHarness, watch: WatcherHarness) -> None:
    watch.watcher.start()
    ends_at = time.monotonic() + 3 * harness.settings.generation.lease_seconds
    suspected = 0
    while time.monotonic() < ends_at:
        suspected += sweep(Streams(harness.redis), harness.settings).suspected
        time.sleep(0.05)
    assert suspected == 0
    assert claim(Streams(harness.redis), watch.attempt.generation, harness.settings) is None
    assert watch.attempt.interrupt.reason is None


def test_a_lease_is_renewed_while_appends_make_other_queries_unnecessary(
    harness: WorkerHarness, watch: WatcherHarness
) -> None:
    renewals = 0
    ends_at = time.monotonic() + 3 * harness.settings.generation.lease_seconds
    while time.monotonic() < ends_at:
        watch.attempt.outbox.last_progress_at = time.monotonic()  # as if Redis had just acknowledged one
        watch.watcher.renew_leases()
        assert sweep(Streams(harness.redis), harness.settings).suspected == 0
        renewals += 1
        time.sleep(0.02)
    assert renewals > 10


def test_a_cancel_arrives_at_once_without_an_append(valkey: ValkeyProcess) -> None:
    harness = WorkerHarness(valkey.url, lease_seconds=60)
    watch = WatcherHarness(harness)
    watch.watcher.start()
    watch.watcher.renew_leases()
    harness.cancel(watch.attempt.generation)
    requested_at = time.monotonic()
    wait_until(lambda: watch.attempt.interrupt.reason, "the cancel")
    assert time.monotonic() - requested_at < 10, "it came with the renewal of the lease"
    assert isinstance(watch.attempt.interrupt.reason, CancelRequested)
    watch.watcher.stop()


def test_a_generation_that_another_worker_has_claimed_is_abandoned(
    harness: WorkerHarness, watch: WatcherHarness
) -> None:
    watch.writer.start()
    release(Streams(harness.redis), watch.attempt.outbox.claim, harness.settings)
    watch.watcher.renew_leases()
    wait_until(lambda: not watch.attempt.outbox.is_active, "the end of the outbox")
    assert isinstance(watch.attempt.interrupt.reason, LeaseLost)


def test_a_reclaim_whose_reply_was_lost_does_not_fence_its_own_worker(
    harness: WorkerHarness, watch: WatcherHarness
) -> None:
    watch.writer.start()
    unanswered = reclaim(harness.redis, watch.attempt.claimed, watch.attempt.outbox.claim, harness.settings)
    assert unanswered is not None
    watch.watcher.renew_leases()
    wait_until(lambda: watch.attempt.outbox.claim.token == unanswered.claim.token, "the claim")
    assert watch.attempt.interrupt.reason is None
    watch.attempt.outbox.finish(COMPLETE)
    assert isinstance(harness.wait_for_end(watch.attempt.generation)[1], Snapshot)


def test_a_generation_held_for_the_longest_time_allowed_is_abandoned_at_once(
    harness: WorkerHarness, watch: WatcherHarness
) -> None:
    harness.redis.hset(keys_of(watch.attempt.generation).state, "run_until", "1")
    watch.watcher.renew_leases()
    assert not watch.attempt.outbox.is_active
    assert watch.recovered == []


def test_a_finishing_generation_is_left_to_its_appends(harness: WorkerHarness, watch: WatcherHarness) -> None:
    watch.attempt.outbox.finish(COMPLETE)  # the log writer is not started: it may be in the log already
    release(Streams(harness.redis), watch.attempt.outbox.claim, harness.settings)
    watch.watcher.renew_leases()
    assert watch.recovered == []
    assert watch.attempt.outbox.has_unacknowledged


def test_a_claim_that_redis_has_lost_is_recovered(harness: WorkerHarness, watch: WatcherHarness) -> None:
    harness.redis.flushall()
    watch.watcher.renew_leases()
    assert watch.recovered == [watch.attempt.outbox]
    assert watch.attempt.outbox.is_active


def test_a_reply_about_a_claim_that_was_replaced_during_the_call_is_ignored(
    harness: WorkerHarness, watch: WatcherHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = subject.renew_all

    def slow(*arguments: object) -> object:
        release(Streams(harness.redis), watch.attempt.outbox.claim, harness.settings)
        renewals = real(*arguments)  # pyright: ignore[reportArgumentType]
        again = claim(Streams(harness.redis), watch.attempt.generation, harness.settings)
        assert again is not None
        watch.attempt.outbox.claim = again.claim
        return renewals

    monkeypatch.setattr(subject, "renew_all", slow)
    watch.watcher.renew_leases()
    assert watch.attempt.outbox.is_active


def test_an_error_in_one_pass_does_not_end_the_watcher(
    harness: WorkerHarness, watch: WatcherHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, errors = subject.renew_all, 2

    def broken(*arguments: object) -> object:
        nonlocal errors
        if errors:
            errors -= 1
            raise ZeroDivisionError
        return real(*arguments)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(subject, "renew_all", broken)
    watch.watcher.start()
    harness.cancel(watch.attempt.generation)
    wait_until(lambda: watch.attempt.interrupt.reason, "the cancel")
    assert "watcher_failed" in caplog.text


def test_a_rejected_renewal_does_not_affect_the_others(harness: WorkerHarness, watch: WatcherHarness) -> None:
    other = claim_attempt(harness, LogWriter(harness.redis, harness.settings))
    watch.running.add(other.to_run(harness.settings))
    harness.redis.delete(keys_of(other.generation).state)
    harness.redis.set(keys_of(other.generation).state, "of another application")
    harness.cancel(watch.attempt.generation)
    watch.watcher.renew_leases()
    assert isinstance(watch.attempt.interrupt.reason, CancelRequested)
    assert other.outbox.is_active
