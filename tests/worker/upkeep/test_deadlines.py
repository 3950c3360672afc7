"""Deadlines and the end of the process interrupt generations, whether Redis answers or not."""

import logging
import time
from collections.abc import Iterator

import pytest

from millrace.worker.interrupt import DeadlineExceeded, HandoverRequested
from millrace.worker.upkeep import deadlines as subject
from millrace.worker.upkeep.deadlines import HANDOVER_SECONDS, Deadlines
from tests.valkey import ValkeyProcess
from tests.worker.harness import wait_until
from tests.worker.upkeep.watcher_harness import WatcherHarness


@pytest.fixture
def deadlines(watch: WatcherHarness) -> Iterator[Deadlines]:
    made = Deadlines(watch.running)
    yield made
    made.stop()


def test_an_answer_is_interrupted_at_its_deadline(watch: WatcherHarness, deadlines: Deadlines) -> None:
    deadlines.enforce(watch.run.deadline - 1)
    assert watch.attempt.interrupt.reason is None
    deadlines.enforce(watch.run.deadline)
    assert isinstance(watch.attempt.interrupt.reason, DeadlineExceeded)


def test_a_draining_process_hands_over_its_generations_and_abandons_the_rest(
    watch: WatcherHarness, deadlines: Deadlines
) -> None:
    now = time.monotonic()
    deadlines.handover_at = now + 1
    deadlines.enforce(now)
    assert watch.attempt.interrupt.reason is None
    deadlines.enforce(now + 1)
    assert isinstance(watch.attempt.interrupt.reason, HandoverRequested)
    assert watch.attempt.outbox.is_active
    deadlines.enforce(now + 1 + HANDOVER_SECONDS)
    assert not watch.attempt.outbox.is_active


def test_deadlines_are_enforced_while_redis_is_unavailable(
    watch: WatcherHarness, deadlines: Deadlines, valkey: ValkeyProcess
) -> None:
    valkey.stop()
    watch.run.deadline = time.monotonic() + 0.5
    watch.watcher.start()
    deadlines.start()
    wait_until(lambda: isinstance(watch.attempt.interrupt.reason, DeadlineExceeded), "the deadline")


def test_a_blocked_hub_is_logged(
    deadlines: Deadlines, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "LAG_SECONDS", -1.0)
    with caplog.at_level(logging.WARNING):
        deadlines.start()
        wait_until(lambda: "hub_blocked" in caplog.text, "the warning")
