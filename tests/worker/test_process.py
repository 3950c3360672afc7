"""A worker process drains and stops."""

import time
from collections.abc import Iterator
from typing import cast

import gevent
import pytest

from millrace.worker.contract.events import Chunk, Complete
from millrace.worker.contract.ids import new_generation
from millrace.worker.contract.keys import keys_of
from millrace.worker.generation import CLAIM_SECONDS, generate
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


@pytest.fixture
def process_without_node(valkey: ValkeyProcess) -> Iterator[WorkerProcess]:
    """A process whose stream node `b` does not answer, as it has noticed."""
    harness = WorkerHarness(valkey.url, stream_redis_urls="b=redis://127.0.0.1:1/0")
    process = WorkerProcess(harness.settings, {"bedrock": Stub([])})
    process.streams.node("b").status.down_since = time.monotonic()
    yield process
    process.stop()


def test_a_generation_of_a_lost_node_keeps_that_nodes_tasks(process_without_node: WorkerProcess) -> None:
    generation = new_generation("b")
    tasks = process_without_node.tasks_of(generation)
    assert tasks is not process_without_node.tasks_of(new_generation())
    process_without_node.streams.node("b").status.down_since = time.monotonic() - 3600
    assert process_without_node.streams.is_lost(generation)
    assert process_without_node.tasks_of(generation) is tasks


def test_a_task_of_a_node_that_is_away_ends_at_once_instead_of_trying_to_claim(
    process_without_node: WorkerProcess,
) -> None:
    started_at = time.monotonic()
    generate(process_without_node, new_generation("b"), needs_turn=False)
    assert time.monotonic() - started_at < CLAIM_SECONDS / 2
