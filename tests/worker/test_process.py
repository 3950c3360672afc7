"""What one process holds is told to leave, and ends."""

from collections.abc import Iterator
from typing import cast

import gevent
import pytest

from millrace.worker.contract.events import Chunk, Complete
from millrace.worker.contract.keys import keys_of
from millrace.worker.generation import generate
from millrace.worker.process import WorkerProcess
from millrace.worker.providers.protocol import Stopped
from millrace.worker.providers.stub import Stub
from millrace.worker.upkeep import watcher
from tests.valkey import ValkeyProcess
from tests.worker.desk import Desk, wait_until


@pytest.fixture
def desk(valkey: ValkeyProcess) -> Desk:
    return Desk(valkey.url, shutdown_grace_seconds=30)


@pytest.fixture
def process(desk: Desk) -> Iterator[WorkerProcess]:
    made = WorkerProcess(
        desk.settings, Stub([[Chunk("a"), lambda: gevent.sleep(0.5), Chunk("b"), Stopped("end_turn")]])
    )
    yield made
    made.stop()


def test_within_the_grace_what_runs_goes_on_to_its_end(desk: Desk, process: WorkerProcess) -> None:
    process.start()
    generation = desk.make("Why?")
    running = gevent.spawn(generate, process, generation)
    wait_until(lambda: desk.text(generation) == "a", "the first text")
    process.leave()
    running.get(timeout=30)
    assert isinstance(desk.transcript(generation).outcome, Complete)


def test_a_second_word_to_leave_gives_no_more_time(process: WorkerProcess) -> None:
    process.leave()
    leaves_at = process.watcher.leave_at
    process.leave()
    assert process.watcher.leave_at == leaves_at


def test_a_ring_from_before_redis_lost_the_claim_asks_the_model_no_second_time(
    desk: Desk, process: WorkerProcess
) -> None:
    process.start()
    generation = desk.make("Why?")
    keys = keys_of(generation)
    saved = {key: cast("bytes", desk.redis.dump(key)) for key in (keys.state, keys.log)}
    running = gevent.spawn(generate, process, generation)
    for text in ("a", "ab"):  # while it runs, and just after its end
        wait_until(lambda text=text: desk.text(generation) == text, "the text")
        if text == "ab":
            running.get(timeout=30)
        for key, value in saved.items():
            desk.redis.restore(key, 0, value, replace=True)
        generate(process, generation)
    assert desk.transcript(generation).content == "ab"
    assert len(cast("Stub", process.provider).prompts) == 1


def test_a_process_that_stops_is_not_held_up_by_what_has_just_ended(
    desk: Desk, process: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "STOP_SECONDS", 60)
    process.start()
    generate(process, desk.make("Why?"))
    with gevent.Timeout(30):
        process.stop()
