"""What one process holds is told to leave, and ends."""

from collections.abc import Iterator

import gevent
import pytest

from tests.valkey import ValkeyProcess
from tests.worker.desk import Desk, wait_until
from worker.contract.events import Chunk, Complete
from worker.contract.presence import count_alive
from worker.generation import generate
from worker.process import Process
from worker.providers.protocol import Stopped
from worker.providers.stub import Stub


@pytest.fixture
def desk(valkey: ValkeyProcess) -> Desk:
    return Desk(valkey.url, shutdown_grace_seconds=30)


@pytest.fixture
def process(desk: Desk) -> Iterator[Process]:
    made = Process(desk.settings, Stub([[Chunk("a"), lambda: gevent.sleep(0.5), Chunk("b"), Stopped("end_turn")]]))
    yield made
    made.stop()


def test_within_the_grace_what_runs_goes_on_to_its_end(desk: Desk, process: Process) -> None:
    process.start()
    generation = desk.make("Why?")
    running = gevent.spawn(generate, process, generation)
    wait_until(lambda: desk.text(generation) == "a", "the first text")
    process.leave()
    running.get(timeout=5)
    assert isinstance(desk.transcript(generation).outcome, Complete)


def test_a_process_that_leaves_is_no_sign_of_life_and_a_second_word_gives_no_more_time(
    desk: Desk, process: Process
) -> None:
    process.leave()
    leaves_at = process.watcher.leave_at
    process.leave()
    process.sweeper.sweep()
    assert count_alive(desk.redis) == 0
    assert process.watcher.leave_at == leaves_at
