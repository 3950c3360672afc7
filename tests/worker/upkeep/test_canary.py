"""The canary: sent round the queue, one at a time, and its return is the process's only sign of life."""

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
from millrace.worker.upkeep.canary import FLIGHT_SECONDS, LOST_SECONDS, Canary
from millrace.worker.upkeep.heartbeat_file import silent_seconds
from tests.valkey import ValkeyProcess, free_port
from tests.worker.desk import Desk, wait_until

NAME = "worker1@here"
NOON = 43_200.0


@pytest.fixture
def desk(valkey: ValkeyProcess) -> Desk:
    return Desk(valkey.url)


@pytest.fixture
def canary(desk: Desk) -> Iterator[Canary]:
    process = WorkerProcess(desk.settings, Stub([]))
    yield Canary(process, NAME, concurrency=500)
    process.stop()


def out(desk: Desk) -> int:
    return desk.redis.llen(canary_queue(NAME))


def test_one_is_sent_and_no_second_while_it_may_yet_return(desk: Desk, canary: Canary) -> None:
    for seconds in (0, 1, LOST_SECONDS - 0.1):
        assert canary.silence(NOON + seconds) == pytest.approx(seconds)
    assert out(desk) == 1


def test_one_that_may_be_lost_is_followed_by_another_and_the_silence_goes_on(desk: Desk, canary: Canary) -> None:
    for seconds in (0, LOST_SECONDS, LOST_SECONDS + 1):
        assert canary.silence(NOON + seconds) == pytest.approx(seconds)
    assert out(desk) == 2


def test_only_its_return_is_a_sign_of_life(desk: Desk, canary: Canary) -> None:
    canary.silence(NOON)
    assert count_live_workers(desk.redis) == 0
    canary.returned()
    assert count_live_workers(desk.redis) == 1


def test_after_its_return_the_next_is_sent_and_the_silence_begins_anew(
    desk: Desk, canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary.silence(NOON)
    monkeypatch.setattr(subject.time, "monotonic", lambda: NOON + 1)
    canary.returned()
    assert canary.silence(NOON + 2) == 0
    assert out(desk) == 1
    assert canary.silence(NOON + 1 + FLIGHT_SECONDS) == 0
    assert out(desk) == 2


def test_a_process_whose_hands_are_full_is_as_it_should_be(desk: Desk) -> None:
    process = WorkerProcess(desk.settings, Stub([]))
    full = Canary(process, NAME, concurrency=0)
    assert full.silence(NOON) == 0
    assert count_live_workers(desk.redis) == 1
    assert out(desk) == 0
    process.stop()


def test_a_queue_that_is_away_is_said(desk: Desk) -> None:
    process = WorkerProcess(Desk(f"redis://127.0.0.1:{free_port()}/0").settings, Stub([]))
    with pytest.raises(QueueUnavailable):
        Canary(process, NAME, concurrency=500).silence(NOON)
    process.stop()


def test_what_nobody_takes_is_gone_after_a_while_and_leaves_nothing_in_the_broker(desk: Desk, canary: Canary) -> None:
    canary.silence(NOON)
    assert 0 < desk.redis.ttl(canary_queue(NAME)) <= 30
    assert desk.redis.keys("*") == [canary_queue(NAME).encode()]


def test_the_pulse_beats_while_it_consumes_or_can_not_be_expected_to(valkey: ValkeyProcess, tmp_path: Path) -> None:
    pulse = tmp_path / "pulse"
    desk = Desk(valkey.url, pulse_file=pulse)
    process = WorkerProcess(desk.settings, Stub([]))
    canary = Canary(process, NAME, concurrency=500)

    def beats(within: float = LOST_SECONDS + 5) -> bool:
        pulse.unlink(missing_ok=True)
        with suppress(AssertionError):
            return wait_until(pulse.exists, "a beat", within)
        return False

    canary.start()
    try:
        wait_until(lambda: out(desk), "a canary in the queue, which nobody consumes")
        assert not beats(within=1.5)
        canary.returned()
        assert silent_seconds(pulse) < 1
        wait_until(lambda: out(desk) > 1, "the next")
        valkey.stop()
        assert beats(), "the queue is away"
        valkey.start()
        pulse.unlink()
        process.leave()
        assert beats(), "the process leaves"
    finally:
        canary.stop()
        process.stop()


def test_a_pulse_that_can_not_be_written_is_said_and_ends_nothing(
    valkey: ValkeyProcess, caplog: pytest.LogCaptureFixture
) -> None:
    process = WorkerProcess(Desk(valkey.url, pulse_file="/nowhere/at/all").settings, Stub([]))
    Canary(process, NAME, concurrency=500).returned()
    assert "pulse_not_written error=[Errno 2]" in caplog.text
    assert count_live_workers(process.redis) == 1
    process.stop()
