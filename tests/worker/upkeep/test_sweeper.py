"""The sweeper rings for what has lost its holder, and outlives errors."""

from collections.abc import Iterator

import pytest

from millrace.worker.contract.queue import TaskQueue
from millrace.worker.publishing.writer import Writer
from millrace.worker.upkeep import sweeper as subject
from millrace.worker.upkeep.sweeper import Sweeper
from tests.valkey import ValkeyProcess
from tests.worker.desk import Desk, wait_until
from tests.worker.holding import hold


@pytest.fixture
def desk(valkey: ValkeyProcess) -> Desk:
    return Desk(valkey.url, lease_seconds=1)


class Ears(TaskQueue):
    """A task_queue that only remembers."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def enqueue(self, generation: str) -> None:
        self.heard.append(generation)


@pytest.fixture
def ears() -> Ears:
    return Ears()


@pytest.fixture
def sweeper(desk: Desk, ears: Ears) -> Iterator[Sweeper]:
    made = Sweeper(desk.redis, desk.settings, ears)
    yield made
    made.stop()


def test_what_has_lost_its_holder_is_rung_for(desk: Desk, sweeper: Sweeper, ears: Ears) -> None:
    generation = hold(desk, Writer(desk.redis, desk.settings)).generation
    sweeper.start()
    wait_until(lambda: generation in ears.heard, "the ring", 15)


def test_an_error_in_one_round_does_not_end_the_sweeps(
    desk: Desk, sweeper: Sweeper, ears: Ears, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sweeper.seconds = 0.05
    monkeypatch.setattr(subject, "sweep_and_enqueue", lambda *_: 1 / 0)
    sweeper.start()
    wait_until(lambda: "task_failed" in caplog.text, "the failure")
    monkeypatch.undo()
    generation = hold(desk, Writer(desk.redis, desk.settings)).generation
    wait_until(lambda: generation in ears.heard, "the ring", 15)
