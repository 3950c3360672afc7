"""A worker process drains and stops."""

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
from tests.worker.harness import WorkerHarness, wait_until


@pytest.fixture
def harness(valkey: ValkeyProcess) -> WorkerHarness:
    return WorkerHarness(valkey.url, shutdown_grace_seconds=30)


@pytest.fixture
def stub() -> Stub:
    return Stub([[Chunk("a"), lambda: gevent.sleep(0.5), Chunk("b"), Stopped("end_turn")]])


@pytest.fixture
def process(harness: WorkerHarness, stub: Stub) -> Iterator[WorkerProcess]:
    process = WorkerProcess(harness.settings, {"bedrock": stub})
    yield process
    process.stop()


def test_a_generation_that_runs_ends_within_the_grace(harness: WorkerHarness, process: WorkerProcess) -> None:
    process.start()
    generation = harness.create_generation("Why?")
    running = gevent.spawn(generate, process, generation)
    wait_until(lambda: harness.text(generation) == "a", "the first text")
    process.drain()
    running.get(timeout=30)
    assert isinstance(harness.transcript(generation).outcome, Complete)


def test_a_second_drain_does_not_extend_the_grace(process: WorkerProcess) -> None:
    process.drain()
    handover_at = process.deadlines.handover_at
    process.drain()
    assert process.deadlines.handover_at == handover_at


def test_a_duplicate_task_after_redis_lost_the_claim_causes_no_second_model_call(
    harness: WorkerHarness, process: WorkerProcess, stub: Stub
) -> None:
    process.start()
    generation = harness.create_generation("Why?")
    keys = keys_of(generation)
    saved = {key: cast("bytes", harness.redis.dump(key)) for key in (keys.state, keys.log)}
    running = gevent.spawn(generate, process, generation)
    for text in ("a", "ab"):  # while it runs, and right after its end
        wait_until(lambda text=text: harness.text(generation) == text, "the text")
        if text == "ab":
            running.get(timeout=30)
        for key, value in saved.items():
            harness.redis.restore(key, 0, value, replace=True)
        generate(process, generation)
    assert harness.transcript(generation).content == "ab"
    assert len(stub.prompts) == 1


def test_a_generation_that_has_just_ended_does_not_delay_the_stop(
    harness: WorkerHarness, process: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "STOP_SECONDS", 60)
    process.start()
    generate(process, harness.create_generation("Why?"))
    with gevent.Timeout(30):
        process.stop()
