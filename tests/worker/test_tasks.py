"""Real worker processes, started as in production, against a real Valkey and the local endpoint."""

import os
import signal
import subprocess
import sys
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
from tests.worker.celery_worker import ROOT, CeleryWorker
from tests.worker.harness import WorkerHarness, emulate, wait_until

Start = Callable[[], CeleryWorker]


@pytest.fixture
def harness(valkey: ValkeyProcess, emulator: EmulatorProcess) -> WorkerHarness:
    return WorkerHarness(valkey.url, bedrock_endpoint_url=emulator.url, shutdown_grace_seconds=0.5)


def test_worker_with_another_pool_ends_with_the_right_command() -> None:
    run = [sys.executable, "-m", "celery", "-A", "millrace.worker.app", "worker"]
    started = [
        subprocess.Popen([*run, *pool], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for pool in ([], ["--pool", "solo"], ["--pool", "threads"])
    ]
    for process in started:
        output = process.communicate(timeout=60)[0]
        assert process.returncode == 2
        last = output.splitlines()[-1]
        assert last.startswith("millrace: the worker runs in gevent's pool only. Start it with: millrace-worker, or ")
        assert "Traceback" not in output


def test_worker_whose_provider_refuses_a_setting_ends_with_its_name() -> None:
    run = [sys.executable, "-m", "celery", "-A", "millrace.worker.app", "worker", "--pool", "gevent"]
    environment = os.environ | {"MILLRACE_BEDROCK_REQUEST": '{"serviceTier": {"type": "none"}}'}
    refused = subprocess.run(run, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith("millrace: MILLRACE_BEDROCK_REQUEST: serviceTier.type: takes one")
    assert "Traceback" not in refused.stdout + refused.stderr


@pytest.fixture
def start(harness: WorkerHarness, tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:
        count = 0

        def run() -> CeleryWorker:
            nonlocal count
            count += 1
            started = stack.enter_context(CeleryWorker(harness, tmp_path, f"worker{count}"))
            started.wait_until_ready()
            return started

        yield run


def close_of(emulator: EmulatorProcess) -> dict[str, Any]:
    """Return the only call, once its client has closed it."""
    (call,) = emulator.wait_for(lambda calls: all(call["ended"] for call in calls))
    assert call["ended"] == "closed_by_client"
    return call


def test_an_answer_reaches_the_log_and_the_process_exits_cleanly(harness: WorkerHarness, start: Start) -> None:
    worker = start()
    text = "Ein Mühlgraben führt Wasser. 😀 " * 40
    generation = harness.ask(emulate(text=text, tokens=200, rate=400, split_surrogates=True))
    transcript = harness.transcript(generation)
    assert transcript.content == text
    assert isinstance(transcript.outcome, Complete)
    assert transcript.outcome.usage.exact
    wait_until(lambda: count_live_workers(harness.redis) == 1, "the canary's return")
    worker.send(signal.SIGTERM)
    assert worker.process.wait(30) == 0
    assert "Traceback" not in worker.log()
    assert "Mühlgraben" not in worker.log()


def test_a_cancel_during_an_answer_closes_the_models_socket_at_once(
    harness: WorkerHarness, start: Start, emulator: EmulatorProcess
) -> None:
    start()
    generation = harness.ask(emulate(tokens=2000, chars=5, rate=50))
    wait_until(lambda: len(harness.text(generation)) > 20, "some text")
    requested_at = time.time()
    harness.cancel(generation)
    transcript = harness.transcript(generation)
    assert isinstance(transcript.outcome, Cancelled)
    assert transcript.outcome.usage.output_tokens > 0
    assert not transcript.outcome.usage.exact
    assert close_of(emulator)["ended_at"] - requested_at < 10


@pytest.mark.parametrize(
    "script", [{"first_delay": 30}, {"fault": "stall", "at": 2}], ids=["before the first delta", "stalled"]
)
def test_a_cancel_while_the_model_is_silent_closes_its_socket_at_once(
    harness: WorkerHarness, start: Start, emulator: EmulatorProcess, script: dict[str, Any]
) -> None:
    start()
    generation = harness.ask(emulate(text="abcdef", tokens=3, **script))
    if "fault" in script:
        wait_until(lambda: harness.text(generation) == "abcd", "the text before the stall")
    else:
        emulator.wait_for(lambda calls: len(calls) == 1, 30)
    requested_at = time.time()
    harness.cancel(generation)
    assert isinstance(harness.transcript(generation).outcome, Cancelled)
    assert close_of(emulator)["ended_at"] - requested_at < 10


def test_a_task_delivered_many_times_runs_once(harness: WorkerHarness, start: Start, emulator: EmulatorProcess) -> None:
    start()
    generation = harness.create_generation(emulate(text="once", tokens=4, rate=20))
    for _ in range(10):
        harness.task_queue.enqueue(generation)
    assert harness.transcript(generation).content == "once"
    harness.task_queue.enqueue(generation)
    wait_until(lambda: harness.redis.llen("millrace") == 0, "the last task to be taken")
    assert len(emulator.calls()) == 1


def test_a_terminated_worker_hands_over_at_once(
    harness: WorkerHarness, start: Start, emulator: EmulatorProcess
) -> None:
    first = start()
    texts = {harness.ask(emulate(text=f"{n:03d} " * 160, tokens=160, rate=10)): f"{n:03d} " * 160 for n in range(40)}
    for generation in texts:
        wait_until(lambda generation=generation: harness.text(generation), "its first text")
    start()
    first.send(signal.SIGTERM)
    terminated_at = time.monotonic()
    assert first.process.wait(harness.settings.worker.shutdown_grace_seconds + 20) == 0
    for generation in texts:
        wait_until(lambda generation=generation: _is_taken_over(harness, generation), "the takeover")
    assert (
        time.monotonic() - terminated_at < 3 + harness.settings.generation.lease_seconds
    )  # by expired leases, it would be later
    for generation, text in texts.items():
        snapshots = [event for event in harness.wait_for_end(generation, 60) if isinstance(event, Snapshot)]
        assert [snapshot.reason for snapshot in snapshots] == ["takeover"]
        assert harness.transcript(generation).content == text
    assert len(emulator.calls()) == 2 * len(texts)


def _is_taken_over(harness: WorkerHarness, generation: str) -> bool:
    return any(isinstance(event, Snapshot) for event in harness.events(generation))


def test_a_short_answer_ends_within_the_grace(harness: WorkerHarness, start: Start, emulator: EmulatorProcess) -> None:
    worker = start()
    generation = harness.ask(emulate(text="abcd", tokens=4, rate=20))
    wait_until(lambda: harness.text(generation), "its first text")
    worker.send(signal.SIGTERM)
    assert harness.transcript(generation).content == "abcd"
    assert worker.process.wait(30) == 0
    assert len(emulator.calls()) == 1


def test_a_generation_continues_while_redis_restarts_and_nothing_blocks(
    harness: WorkerHarness, start: Start, valkey: ValkeyProcess, emulator: EmulatorProcess
) -> None:
    worker = start()
    text = "".join(f"{number:03d} " for number in range(150))
    generation = harness.ask(emulate(text=text, tokens=150, rate=30))
    wait_until(lambda: harness.text(generation), "its first text")
    valkey.stop()
    wait_until(lambda: "Cannot connect" in worker.log(), "the broker's loss")
    # Celery waits for seconds between its attempts to connect: the worker must keep reading during that time.
    emulator.wait_for(lambda calls: calls[0]["deltas_sent"] > 120, 30)
    valkey.start()
    assert harness.transcript(generation, 30).content == text
    assert "hub_blocked" not in worker.log()
    again = harness.ask(emulate(text="still here"))
    assert harness.transcript(again, 30).content == "still here"
    assert len(emulator.calls()) == 2


def test_an_emptied_redis_costs_no_second_model_call(
    harness: WorkerHarness, start: Start, valkey: ValkeyProcess, emulator: EmulatorProcess
) -> None:
    start()
    text = "".join(f"{number:03d} " for number in range(90))
    generation = harness.ask(emulate(text=text, tokens=90, rate=30))
    wait_until(lambda: len(harness.text(generation)) > 40, "some text")
    valkey.stop()
    valkey.wipe()
    valkey.start()
    wait_until(lambda: harness.redis.exists(keys_of(generation).log), "the log")
    assert harness.transcript(generation, 30).content == text
    assert len(emulator.calls()) == 1


def test_one_owners_hundred_questions_do_not_hold_up_another_owners_first(
    harness: WorkerHarness, tmp_path: Path
) -> None:
    with CeleryWorker(harness, tmp_path, "small", "--concurrency", "2") as worker:
        worker.wait_until_ready()
        many = [harness.create_generation(emulate(text="a", tokens=1, first_delay=0.05)) for _ in range(100)]
        for generation in many:
            harness.task_queue.enqueue(generation, "many")
        wait_until(lambda: harness.state(many[0]).is_done, "the first answer")
        other = harness.create_generation(emulate(text="b", tokens=1))
        before = sum(harness.state(each).attempt > 0 for each in many)
        harness.task_queue.enqueue(other, "other")
        wait_until(lambda: harness.state(other).attempt > 0, "the other owner's turn")
        overtaken = sum(harness.state(each).attempt > 0 for each in many) - before
        assert overtaken <= 8, f"{overtaken} of the first owner's questions ran before it"
        for generation in many:
            harness.cancel(generation)
        for generation in (other, *many):
            wait_until(lambda generation=generation: harness.state(generation).is_done, "its end")
        wait_until(lambda: not harness.redis.keys("mr:{waiting}*"), "the last key to go")
