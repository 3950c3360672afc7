"""Last attempts run one at a time in their process, and the next starts as soon as one ends."""

from collections.abc import Callable, Iterator, Sequence

import gevent
import pytest
from gevent.event import Event

from millrace.worker.contract.events import Chunk, Complete
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.lease import claim
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.generation import generate
from millrace.worker.process import LastAttemptQueue, WorkerProcess
from millrace.worker.providers.protocol import Stopped
from millrace.worker.providers.stub import Step, Stub
from tests.valkey import ValkeyProcess
from tests.worker.harness import WorkerHarness, wait_until

Start = Callable[..., tuple[WorkerProcess, Stub]]


@pytest.fixture
def harness(valkey: ValkeyProcess) -> WorkerHarness:
    return WorkerHarness(valkey.url, shutdown_grace_seconds=0)


@pytest.fixture
def start(harness: WorkerHarness) -> Iterator[Start]:
    processes: list[WorkerProcess] = []

    def run(*scripts: Sequence[Step]) -> tuple[WorkerProcess, Stub]:
        stub = Stub(scripts)
        processes.append(WorkerProcess(harness.settings, {"bedrock": stub}))
        processes[-1].start()
        return processes[-1], stub

    yield run
    for each in processes:
        each.stop()


def create_with_last_attempt(harness: WorkerHarness) -> str:
    generation = harness.create_generation("Why?")
    harness.redis.hset(keys_of(generation).state, "losses", harness.settings.generation.max_attempts - 1)
    return generation


def test_waiting_generations_are_taken_in_order_and_once() -> None:
    queue = LastAttemptQueue()
    for generation in ("a", "b", "a"):
        queue.add(generation)
    assert [queue.take(), queue.take()] == ["a", None]
    queue.release()
    assert queue.take() == "b"
    queue.release()
    assert queue.take() is None


def test_last_attempts_run_one_at_a_time_and_the_next_starts_when_one_ends(
    harness: WorkerHarness, start: Start
) -> None:
    ends = [Event() for _ in range(3)]
    process, stub = start(*[[Chunk("mine"), end.wait, Stopped("end_turn")] for end in ends])
    generations = [create_with_last_attempt(harness) for _ in ends]
    running = [gevent.spawn(generate, process, generation) for generation in generations]
    for count, end in enumerate(ends, 1):
        wait_until(lambda count=count: len(stub.prompts) == count, "the next last attempt")
        for generation in generations:
            generate(process, generation)  # a duplicate task, whichever of them runs
        assert (len(process.running), len(stub.prompts)) == (1, count)
        end.set()
    gevent.joinall(running, timeout=30, raise_error=True)
    assert all(isinstance(harness.transcript(generation).outcome, Complete) for generation in generations)


def test_other_generations_run_beside_a_last_attempt(harness: WorkerHarness, start: Start) -> None:
    process, stub = start([Chunk("never"), Event().wait], [Chunk("mine"), Stopped("end_turn")])
    gevent.spawn(generate, process, create_with_last_attempt(harness))
    wait_until(lambda: stub.prompts, "the last attempt")
    other = harness.create_generation("Why?")
    generate(process, other)
    assert harness.transcript(other).content == "mine"


def test_an_error_in_a_last_attempt_frees_the_slot(
    harness: WorkerHarness, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, _ = start([Chunk("mine"), Stopped("end_turn")])
    monkeypatch.setattr(process, "register", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        generate(process, create_with_last_attempt(harness))
    monkeypatch.undo()
    following = create_with_last_attempt(harness)
    generate(process, following)
    assert harness.transcript(following).content == "mine"


def test_a_draining_process_leaves_waiting_last_attempts_to_others(harness: WorkerHarness, start: Start) -> None:
    process, stub = start([Chunk("half"), Event().wait], [Chunk("never"), Stopped("end_turn")])
    first, second = create_with_last_attempt(harness), create_with_last_attempt(harness)
    running = [gevent.spawn(generate, process, generation) for generation in (first, second)]
    wait_until(lambda: stub.prompts, "the question")
    process.drain()
    gevent.joinall(running, timeout=30, raise_error=True)
    assert len(stub.prompts) == 1
    assert claim(Streams(harness.redis), second, harness.settings) is not None
