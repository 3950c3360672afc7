"""The sweeper enqueues generations whose worker is gone, and survives errors."""

from collections.abc import Iterator, Sequence

import pytest

from millrace.worker.contract.queue import TaskQueue
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.publishing.writer import LogWriter
from millrace.worker.upkeep import sweeper as subject
from millrace.worker.upkeep.sweeper import Sweeper
from tests.worker.harness import WorkerHarness, claim_attempt, wait_until


class RecordingQueue(TaskQueue):
    """A task queue that only records."""

    def __init__(self) -> None:
        self.enqueued: list[str] = []

    def remove(self, generations: Sequence[str]) -> None:
        pass

    def enqueue(self, generation: str, lane: str = "") -> None:
        self.enqueued.append(generation)


@pytest.fixture
def queue() -> RecordingQueue:
    return RecordingQueue()


@pytest.fixture
def sweeper(harness: WorkerHarness, queue: RecordingQueue) -> Iterator[Sweeper]:
    made = Sweeper(Streams(harness.redis), harness.settings, queue)
    yield made
    made.stop()


def test_a_generation_whose_lease_expires_is_enqueued(
    harness: WorkerHarness, sweeper: Sweeper, queue: RecordingQueue
) -> None:
    generation = claim_attempt(harness, LogWriter(harness.redis, harness.settings)).generation
    sweeper.start()
    wait_until(lambda: generation in queue.enqueued, "the task", 30)


def test_an_error_in_one_sweep_does_not_end_the_sweeper(
    harness: WorkerHarness,
    sweeper: Sweeper,
    queue: RecordingQueue,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sweeper.seconds = 0.05
    monkeypatch.setattr(subject, "sweep_and_enqueue", lambda *_: 1 / 0)
    sweeper.start()
    wait_until(lambda: "task_failed" in caplog.text, "the failure")
    monkeypatch.undo()
    generation = claim_attempt(harness, LogWriter(harness.redis, harness.settings)).generation
    wait_until(lambda: generation in queue.enqueued, "the task", 30)
