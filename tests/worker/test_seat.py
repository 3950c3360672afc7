"""What has its last chance runs alone in its process, and the next begins as soon as it is over."""

from collections.abc import Callable, Iterator, Sequence

import gevent
import pytest
from gevent.event import Event

from millrace.worker.contract.events import Chunk, Complete
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.lease import claim
from millrace.worker.generation import generate
from millrace.worker.process import WorkerProcess
from millrace.worker.providers.protocol import Stopped
from millrace.worker.providers.stub import Step, Stub
from millrace.worker.seat import LastAttemptSlot
from tests.valkey import ValkeyProcess
from tests.worker.desk import Desk, wait_until

Start = Callable[..., tuple[WorkerProcess, Stub]]


@pytest.fixture
def desk(valkey: ValkeyProcess) -> Desk:
    return Desk(valkey.url, shutdown_grace_seconds=0)


@pytest.fixture
def start(desk: Desk) -> Iterator[Start]:
    made: list[WorkerProcess] = []

    def run(*scripts: Sequence[Step]) -> tuple[WorkerProcess, Stub]:
        stub = Stub(scripts)
        made.append(WorkerProcess(desk.settings, stub))
        made[-1].start()
        return made[-1], stub

    yield run
    for each in made:
        each.stop()


def make_with_last_chance(desk: Desk) -> str:
    generation = desk.make("Why?")
    desk.redis.hset(keys_of(generation).state, "losses", desk.settings.generation.max_attempts - 1)
    return generation


def test_who_waits_goes_in_order_and_once() -> None:
    seat = LastAttemptSlot()
    for generation in ("a", "b", "a"):
        seat.wait(generation)
    assert [seat.take(), seat.take()] == ["a", None]
    seat.leave()
    assert seat.take() == "b"
    seat.leave()
    assert seat.take() is None


def test_last_chances_go_one_at_a_time_and_the_next_begins_as_soon_as_the_seat_is_free(
    desk: Desk, start: Start
) -> None:
    ends = [Event() for _ in range(3)]
    process, stub = start(*[[Chunk("mine"), end.wait, Stopped("end_turn")] for end in ends])
    generations = [make_with_last_chance(desk) for _ in ends]
    rung = [gevent.spawn(generate, process, generation) for generation in generations]
    for served, end in enumerate(ends, 1):
        wait_until(lambda served=served: len(stub.prompts) == served, "the next in the seat")
        for generation in generations:
            generate(process, generation)  # rung again, whoever has the seat
        assert (len(process.runs), len(stub.prompts)) == (1, served)
        end.set()
    gevent.joinall(rung, timeout=30, raise_error=True)
    assert all(isinstance(desk.transcript(generation).outcome, Complete) for generation in generations)


def test_others_run_beside_the_seat(desk: Desk, start: Start) -> None:
    process, stub = start([Chunk("never"), Event().wait], [Chunk("mine"), Stopped("end_turn")])
    gevent.spawn(generate, process, make_with_last_chance(desk))
    wait_until(lambda: stub.prompts, "the one in the seat")
    other = desk.make("Why?")
    generate(process, other)
    assert desk.transcript(other).content == "mine"


def test_an_error_in_the_seat_leaves_it_free(desk: Desk, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    process, _ = start([Chunk("mine"), Stopped("end_turn")])
    monkeypatch.setattr(process, "begin", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        generate(process, make_with_last_chance(desk))
    monkeypatch.undo()
    following = make_with_last_chance(desk)
    generate(process, following)
    assert desk.transcript(following).content == "mine"


def test_who_waits_in_a_process_that_leaves_is_left_to_others(desk: Desk, start: Start) -> None:
    process, stub = start([Chunk("half"), Event().wait], [Chunk("never"), Stopped("end_turn")])
    first, second = make_with_last_chance(desk), make_with_last_chance(desk)
    rung = [gevent.spawn(generate, process, generation) for generation in (first, second)]
    wait_until(lambda: stub.prompts, "the question")
    process.leave()
    gevent.joinall(rung, timeout=30, raise_error=True)
    assert len(stub.prompts) == 1
    assert claim(desk.redis, second, desk.settings) is not None
