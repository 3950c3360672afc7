"""The canary: one at a time is sent through the queue, and only its return is a sign of life."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from millrace.worker.contract.keys import canary_queue
from millrace.worker.contract.presence import count_live_workers
from millrace.worker.errors import QueueUnavailable
from millrace.worker.process import WorkerProcess
from millrace.worker.providers.stub import Stub
from millrace.worker.upkeep import canary as subject
from millrace.worker.upkeep.canary import INTERVAL_SECONDS, RESEND_SECONDS, Canary
from millrace.worker.upkeep.heartbeat_file import heartbeat_age
from tests.valkey import ValkeyProcess, free_port
from tests.worker.harness import WorkerHarness, wait_until

NAME = "worker1@here"
NOON = 43_200.0


@pytest.fixture
def harness(valkey: ValkeyProcess) -> WorkerHarness:
    return WorkerHarness(valkey.url)


@pytest.fixture
def canary(harness: WorkerHarness) -> Iterator[Canary]:
    process = WorkerProcess(harness.settings, {"bedrock": Stub([])})
    yield Canary(process, NAME, concurrency=500)
    process.stop()


def queued(harness: WorkerHarness) -> int:
    return harness.redis.llen(canary_queue(NAME))


def test_no_second_canary_is_sent_while_the_first_may_return(harness: WorkerHarness, canary: Canary) -> None:
    for seconds in (0, 1, RESEND_SECONDS - 0.1):
        assert canary.send_when_due(NOON + seconds) == pytest.approx(seconds)
    assert queued(harness) == 1


def test_a_canary_that_may_be_lost_is_sent_again_and_the_silence_continues(
    harness: WorkerHarness, canary: Canary
) -> None:
    for seconds in (0, RESEND_SECONDS, RESEND_SECONDS + 1):
        assert canary.send_when_due(NOON + seconds) == pytest.approx(seconds)
    assert queued(harness) == 2


def test_only_the_return_of_a_canary_is_a_sign_of_life(harness: WorkerHarness, canary: Canary) -> None:
    canary.send_when_due(NOON)
    assert count_live_workers(harness.redis) == 0
    canary.record_return()
    assert count_live_workers(harness.redis) == 1


def test_after_a_return_the_next_canary_is_sent_and_the_silence_starts_at_zero(
    harness: WorkerHarness, canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary.send_when_due(NOON)
    monkeypatch.setattr(subject.time, "monotonic", lambda: NOON + 1)
    canary.record_return()
    assert canary.send_when_due(NOON + 2) == 0
    assert queued(harness) == 1
    assert canary.send_when_due(NOON + 1 + INTERVAL_SECONDS) == 0
    assert queued(harness) == 2


def test_a_process_at_its_concurrency_limit_counts_as_alive(harness: WorkerHarness) -> None:
    process = WorkerProcess(harness.settings, {"bedrock": Stub([])})
    full = Canary(process, NAME, concurrency=0)
    assert full.send_when_due(NOON) == 0
    assert count_live_workers(harness.redis) == 1
    assert queued(harness) == 0
    process.stop()


def test_an_unavailable_queue_raises_queue_unavailable(harness: WorkerHarness) -> None:
    process = WorkerProcess(WorkerHarness(f"redis://127.0.0.1:{free_port()}/0").settings, {"bedrock": Stub([])})
    with pytest.raises(QueueUnavailable):
        Canary(process, NAME, concurrency=500).send_when_due(NOON)
    process.stop()


def test_a_queue_that_stays_away_is_logged_once_in_half_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = WorkerProcess(WorkerHarness(f"redis://127.0.0.1:{free_port()}/0").settings, {"bedrock": Stub([])})
    canary, attempts, send = Canary(process, NAME, concurrency=500), list[float](), process.task_queue.send_canary

    def count(name: str) -> None:
        attempts.append(0)
        send(name)

    monkeypatch.setattr(process.task_queue, "send_canary", count)
    monkeypatch.setattr(subject, "POLL_SECONDS", 0.01)
    canary.start()
    try:
        wait_until(lambda: len(attempts) > 5, "some attempts")
        assert caplog.text.count("canary_not_sent") == 1
        monkeypatch.setattr(subject, "REPEAT_SECONDS", 0.0)
        wait_until(lambda: caplog.text.count("canary_not_sent") > 1, "a repetition")
    finally:
        canary.stop()
        process.stop()


def test_an_unconsumed_canary_expires_and_leaves_nothing_in_the_broker(harness: WorkerHarness, canary: Canary) -> None:
    canary.send_when_due(NOON)
    assert 0 < harness.redis.ttl(canary_queue(NAME)) <= 30
    assert harness.redis.keys("*") == [canary_queue(NAME).encode()]


def test_the_heartbeat_is_written_while_the_process_consumes_or_cannot_be_expected_to(
    valkey: ValkeyProcess, tmp_path: Path
) -> None:
    heartbeat = tmp_path / "heartbeat"
    harness = WorkerHarness(valkey.url, pulse_file=heartbeat)
    process = WorkerProcess(harness.settings, {"bedrock": Stub([])})
    canary = Canary(process, NAME, concurrency=500)

    def is_written(within: float = RESEND_SECONDS + 30) -> bool:
        heartbeat.unlink(missing_ok=True)
        with suppress(AssertionError):
            return wait_until(heartbeat.exists, "a heartbeat", within)
        return False

    canary.start()
    try:
        wait_until(lambda: queued(harness), "a canary in the queue, which no worker consumes")
        assert not is_written(within=1.5)
        canary.record_return()
        assert heartbeat_age(heartbeat) < 10
        wait_until(lambda: queued(harness) > 1, "the next")
        valkey.stop()
        assert is_written(), "the queue is unavailable"
        valkey.start()
        heartbeat.unlink()
        process.drain()
        assert is_written(), "the process drains"
    finally:
        canary.stop()
        process.stop()


def test_a_heartbeat_that_cannot_be_written_is_logged_and_ends_nothing(
    valkey: ValkeyProcess, caplog: pytest.LogCaptureFixture
) -> None:
    process = WorkerProcess(WorkerHarness(valkey.url, pulse_file="/nowhere/at/all").settings, {"bedrock": Stub([])})
    Canary(process, NAME, concurrency=500).record_return()
    assert "heartbeat_not_written error=[Errno 2]" in caplog.text
    assert count_live_workers(process.redis) == 1
    process.stop()
