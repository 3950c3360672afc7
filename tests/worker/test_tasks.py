"""Real worker processes, started as in production, against a real Valkey and the local Bedrock endpoint."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from millrace.worker.contract.events import Cancelled, Complete, Snapshot
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.presence import count_live_workers
from tests.emulator_process import EmulatorProcess
from tests.valkey import ValkeyProcess
from tests.worker.desk import Desk, WorkerProcess, emulate, wait_until

Start = Callable[[], WorkerProcess]


@pytest.fixture
def desk(valkey: ValkeyProcess, emulator: EmulatorProcess) -> Desk:
    return Desk(valkey.url, bedrock_endpoint_url=emulator.url, shutdown_grace_seconds=0.5)


@pytest.fixture
def start(desk: Desk, tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:
        count = 0

        def run() -> WorkerProcess:
            nonlocal count
            count += 1
            started = stack.enter_context(WorkerProcess(desk, tmp_path, f"worker{count}"))
            started.wait_until_ready()
            return started

        yield run


def close_of(emulator: EmulatorProcess) -> dict[str, Any]:
    """Return the one call, once its client has closed it."""
    (call,) = emulator.wait_for(lambda calls: all(call["ended"] for call in calls))
    assert call["ended"] == "closed_by_client"
    return call


def test_an_answer_reaches_the_log_and_the_process_ends_by_itself(desk: Desk, start: Start) -> None:
    worker = start()
    text = "Ein Mühlgraben führt Wasser. 😀 " * 40
    generation = desk.ask(emulate(text=text, tokens=200, rate=400, split_surrogates=True))
    transcript = desk.transcript(generation)
    assert transcript.content == text
    assert isinstance(transcript.outcome, Complete)
    assert transcript.outcome.usage.exact
    wait_until(lambda: count_live_workers(desk.redis) == 1, "a sign of life")
    worker.send(signal.SIGTERM)
    assert worker.process.wait(10) == 0
    assert "Traceback" not in worker.log()
    assert "Mühlgraben" not in worker.log()


def test_a_cancel_in_mid_answer_closes_the_models_socket_at_once(
    desk: Desk, start: Start, emulator: EmulatorProcess
) -> None:
    start()
    generation = desk.ask(emulate(tokens=2000, chars=5, rate=50))
    wait_until(lambda: len(desk.text(generation)) > 20, "some text")
    asked_at = time.time()
    desk.cancel(generation)
    transcript = desk.transcript(generation)
    assert isinstance(transcript.outcome, Cancelled)
    assert transcript.outcome.usage.output_tokens > 0
    assert not transcript.outcome.usage.exact
    assert close_of(emulator)["ended_at"] - asked_at < 0.5


@pytest.mark.parametrize("script", [{"first_delay": 30}, {"fault": "stall", "at": 2}], ids=["before", "stalled"])
def test_a_cancel_while_nothing_comes_closes_it_too(
    desk: Desk, start: Start, emulator: EmulatorProcess, script: dict[str, Any]
) -> None:
    start()
    generation = desk.ask(emulate(text="abcdef", tokens=3, **script))
    if "fault" in script:
        wait_until(lambda: desk.text(generation) == "abcd", "the text before the stall")
    else:
        emulator.wait_for(lambda calls: len(calls) == 1, 10)
    asked_at = time.time()
    desk.cancel(generation)
    assert isinstance(desk.transcript(generation).outcome, Cancelled)
    assert close_of(emulator)["ended_at"] - asked_at < 0.5


def test_the_same_task_delivered_many_times_runs_once(desk: Desk, start: Start, emulator: EmulatorProcess) -> None:
    start()
    generation = desk.make(emulate(text="once", tokens=4, rate=20))
    for _ in range(10):
        desk.task_queue.enqueue(generation)
    assert desk.transcript(generation).content == "once"
    desk.task_queue.enqueue(generation)
    wait_until(lambda: desk.redis.llen("millrace") == 0, "the last ring to be heard")
    assert len(emulator.calls()) == 1


def test_a_worker_told_to_end_hands_over_at_once_to_another(
    desk: Desk, start: Start, emulator: EmulatorProcess
) -> None:
    first = start()
    texts = {desk.ask(emulate(text=f"{n:03d} " * 160, tokens=160, rate=20)): f"{n:03d} " * 160 for n in range(40)}
    for generation in texts:
        wait_until(lambda generation=generation: desk.text(generation), "its first text")
    start()
    first.send(signal.SIGTERM)
    asked_at = time.monotonic()
    assert first.process.wait(desk.settings.worker.shutdown_grace_seconds + 6) == 0
    for generation in texts:
        wait_until(lambda generation=generation: _is_taken_over(desk, generation), "the takeover")
    assert time.monotonic() - asked_at < 3 + desk.settings.generation.lease_seconds  # by leases, it would be later
    for generation, text in texts.items():
        snapshots = [event for event in desk.ended(generation) if isinstance(event, Snapshot)]
        assert [snapshot.reason for snapshot in snapshots] == ["takeover"]
        assert desk.transcript(generation).content == text
    assert len(emulator.calls()) == 2 * len(texts)


def _is_taken_over(desk: Desk, generation: str) -> bool:
    return any(isinstance(event, Snapshot) for event in desk.events(generation))


def test_what_is_short_ends_within_the_grace(desk: Desk, start: Start, emulator: EmulatorProcess) -> None:
    worker = start()
    generation = desk.ask(emulate(text="abcd", tokens=4, rate=20))
    wait_until(lambda: desk.text(generation), "its first text")
    worker.send(signal.SIGTERM)
    assert desk.transcript(generation).content == "abcd"
    assert worker.process.wait(10) == 0
    assert len(emulator.calls()) == 1


def test_while_redis_restarts_what_runs_goes_on_and_nothing_blocks(
    desk: Desk, start: Start, valkey: ValkeyProcess, emulator: EmulatorProcess
) -> None:
    worker = start()
    text = "".join(f"{number:03d} " for number in range(150))
    generation = desk.ask(emulate(text=text, tokens=150, rate=30))
    wait_until(lambda: desk.text(generation), "its first text")
    valkey.stop()
    wait_until(lambda: "Cannot connect" in worker.log(), "the broker's loss")
    # Celery waits for seconds between its tries: the worker must go on reading meanwhile.
    emulator.wait_for(lambda calls: calls[0]["deltas_sent"] > 120, 10)
    valkey.start()
    assert desk.transcript(generation, 30).content == text
    assert "hub_blocked" not in worker.log()
    again = desk.ask(emulate(text="still here"))
    assert desk.transcript(again, 30).content == "still here"
    assert len(emulator.calls()) == 2


def test_redis_that_comes_back_empty_costs_no_second_call(
    desk: Desk, start: Start, valkey: ValkeyProcess, emulator: EmulatorProcess
) -> None:
    start()
    text = "".join(f"{number:03d} " for number in range(90))
    generation = desk.ask(emulate(text=text, tokens=90, rate=30))
    wait_until(lambda: len(desk.text(generation)) > 40, "some text")
    valkey.stop()
    valkey.wipe()
    valkey.start()
    wait_until(lambda: desk.redis.exists(keys_of(generation).log), "the log")
    assert desk.transcript(generation, 30).content == text
    assert len(emulator.calls()) == 1
