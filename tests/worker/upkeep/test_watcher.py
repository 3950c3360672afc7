"""Leases stay held, cancels are heard of, deadlines and the process's end are kept."""

import logging
import time
from collections.abc import Iterator

import pytest

from millrace.worker.contract.events import Snapshot
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.lease import claim, reclaim, release
from millrace.worker.contract.sweep import sweep
from millrace.worker.interrupt import CancelAsked, HandOver, HoldLost, TimeIsUp
from millrace.worker.publishing.writer import Writer
from millrace.worker.run import RunningGeneration
from millrace.worker.upkeep import watcher as subject
from millrace.worker.upkeep.watcher import FAREWELL_SECONDS
from tests.valkey import ValkeyProcess
from tests.worker.desk import Desk, wait_until
from tests.worker.holding import COMPLETE, hold
from tests.worker.watching import Watch


@pytest.fixture
def desk(valkey: ValkeyProcess) -> Desk:
    return Desk(valkey.url, lease_seconds=1)


@pytest.fixture
def watch(desk: Desk) -> Iterator[Watch]:
    made = Watch(desk)
    yield made
    made.stop()


def test_a_lease_is_held_for_longer_than_it_lasts(desk: Desk, watch: Watch) -> None:
    watch.watcher.start()
    ends_at = time.monotonic() + 3 * desk.settings.generation.lease_seconds
    suspected = 0
    while time.monotonic() < ends_at:
        suspected += sweep(desk.redis, desk.settings).suspected
        time.sleep(0.05)
    assert suspected == 0
    assert claim(desk.redis, watch.held.generation, desk.settings) is None
    assert watch.held.interrupt.noted is None


def test_a_lease_is_held_while_appends_tell_of_cancels_and_no_other_look_is_needed(desk: Desk, watch: Watch) -> None:
    renewals = 0
    ends_at = time.monotonic() + 3 * desk.settings.generation.lease_seconds
    while time.monotonic() < ends_at:
        watch.held.outbox.heard_at = time.monotonic()  # as if Redis had just acknowledged one
        watch.watcher.look()
        assert sweep(desk.redis, desk.settings).suspected == 0
        renewals += 1
        time.sleep(0.02)
    assert renewals > 10


def test_a_cancel_is_heard_of_without_an_append(valkey: ValkeyProcess) -> None:
    desk = Desk(valkey.url)
    watch = Watch(desk)
    watch.watcher.start()
    watch.watcher.look()
    desk.cancel(watch.held.generation)
    asked_at = time.monotonic()
    wait_until(lambda: watch.held.interrupt.noted, "the cancel")
    assert time.monotonic() - asked_at < 0.5
    assert isinstance(watch.held.interrupt.noted, CancelAsked)
    watch.watcher.stop()


def test_a_generation_that_somebody_else_holds_is_stopped(desk: Desk, watch: Watch) -> None:
    watch.writer.start()
    release(desk.redis, watch.held.outbox.claim, desk.settings)
    watch.watcher.look()
    wait_until(lambda: not watch.held.outbox.is_alive, "the end of the outbox", 1)
    assert isinstance(watch.held.interrupt.noted, HoldLost)


def test_a_reclaim_whose_reply_was_lost_does_not_stop_its_own_worker(desk: Desk, watch: Watch) -> None:
    watch.writer.start()
    unheard = reclaim(desk.redis, watch.held.holding, watch.held.outbox.claim, desk.settings)
    assert unheard is not None
    watch.watcher.look()
    wait_until(lambda: watch.held.outbox.claim.token == unheard.claim.token, "the claim")
    assert watch.held.interrupt.noted is None
    watch.held.outbox.end(COMPLETE)
    assert isinstance(desk.ended(watch.held.generation)[1], Snapshot)


def test_a_generation_that_was_held_for_as_long_as_one_may_be_is_stopped_at_once(desk: Desk, watch: Watch) -> None:
    desk.redis.hset(keys_of(watch.held.generation).state, "run_until", "1")
    watch.watcher.look()
    assert not watch.held.outbox.is_alive
    assert watch.recovered == []


def test_what_is_on_its_way_to_its_end_is_left_to_its_appends(desk: Desk, watch: Watch) -> None:
    watch.held.outbox.end(COMPLETE)  # and the writer stands still: it may be in the log already
    release(desk.redis, watch.held.outbox.claim, desk.settings)
    watch.watcher.look()
    assert watch.recovered == []
    assert watch.held.outbox.is_waiting


def test_a_claim_that_redis_has_lost_is_recovered(desk: Desk, watch: Watch) -> None:
    desk.redis.flushall()
    watch.watcher.look()
    assert watch.recovered == [watch.held.outbox]
    assert watch.held.outbox.is_alive


def test_an_answer_about_a_claim_made_anew_meanwhile_is_of_no_meaning(
    desk: Desk, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = subject.renew_all

    def slow(*arguments: object) -> object:
        release(desk.redis, watch.held.outbox.claim, desk.settings)
        renewals = real(*arguments)  # pyright: ignore[reportArgumentType]
        again = claim(desk.redis, watch.held.generation, desk.settings)
        assert again is not None
        watch.held.outbox.claim = again.claim
        return renewals

    monkeypatch.setattr(subject, "renew_all", slow)
    watch.watcher.look()
    assert watch.held.outbox.is_alive


def test_an_answer_that_has_taken_too_long_is_interrupted(watch: Watch) -> None:
    watch.watcher.keep_deadlines(watch.run.ends_by - 1)
    assert watch.held.interrupt.noted is None
    watch.watcher.keep_deadlines(watch.run.ends_by)
    assert isinstance(watch.held.interrupt.noted, TimeIsUp)


def test_when_the_process_leaves_what_runs_is_handed_over_and_in_the_end_let_go(watch: Watch) -> None:
    now = time.monotonic()
    watch.watcher.leave_at = now + 1
    watch.watcher.keep_deadlines(now)
    assert watch.held.interrupt.noted is None
    watch.watcher.keep_deadlines(now + 1)
    assert isinstance(watch.held.interrupt.noted, HandOver)
    assert watch.held.outbox.is_alive
    watch.watcher.keep_deadlines(now + 1 + FAREWELL_SECONDS)
    assert not watch.held.outbox.is_alive


def test_deadlines_are_kept_while_redis_is_away(watch: Watch, valkey: ValkeyProcess) -> None:
    valkey.stop()
    watch.run.ends_by = time.monotonic() + 0.5
    watch.watcher.start()
    wait_until(lambda: isinstance(watch.held.interrupt.noted, TimeIsUp), "the deadline", 5)


def test_an_error_in_one_round_does_not_end_the_watch(
    desk: Desk, watch: Watch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
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
    desk.cancel(watch.held.generation)
    wait_until(lambda: watch.held.interrupt.noted, "the cancel")
    assert "watcher_failed" in caplog.text


def test_one_renewal_that_redis_refuses_leaves_the_others_alone(desk: Desk, watch: Watch) -> None:
    other = hold(desk, Writer(desk.redis, desk.settings))
    watch.runs.add(RunningGeneration(other.holding, other.interrupt, other.outbox, ends_by=time.monotonic() + 60))
    desk.redis.delete(keys_of(other.generation).state)
    desk.redis.set(keys_of(other.generation).state, "somebody else's")
    desk.cancel(watch.held.generation)
    watch.watcher.look()
    assert isinstance(watch.held.interrupt.noted, CancelAsked)
    assert other.outbox.is_alive


def test_a_blocked_hub_is_told(watch: Watch, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "LAG_SECONDS", -1.0)
    with caplog.at_level(logging.WARNING):
        watch.watcher.start()
        wait_until(lambda: "hub_blocked" in caplog.text, "the warning")
