"""An attempt after another worker's goes on from the text so far, or begins anew, and is judged as one answer."""

from collections.abc import Callable, Iterator, Sequence

import gevent
import pytest
from gevent.event import Event

from millrace.worker.contract.events import (
    AnyEvent,
    Cancelled,
    Chunk,
    Citation,
    Complete,
    Error,
    Reasoning,
    Snapshot,
    StatusEvent,
    ToolUse,
    Usage,
)
from millrace.worker.contract.keys import keys_of
from millrace.worker.errors import ErrorCode, GenerationFailed
from millrace.worker.generation import generate
from millrace.worker.interrupt import CancelAsked
from millrace.worker.process import WorkerProcess
from millrace.worker.providers import retry
from millrace.worker.providers.protocol import Stopped
from millrace.worker.providers.stub import Step, Stub
from millrace.worker.takeover import NOTHING, beginning
from tests.valkey import ValkeyProcess
from tests.worker.desk import Desk, wait_until
from tests.worker.succession import Successor

END = (Stopped("end_turn"), Usage(3, 4))
REFUSED = GenerationFailed("provider_rejected", retryable=False)
TIMED_OUT = GenerationFailed("provider_timeout", retryable=True)
BUSY = GenerationFailed("provider_throttled", retryable=True, is_transient=True)
FOR_EVER = Event().wait


Start = Callable[..., Successor]


@pytest.fixture
def start(valkey: ValkeyProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setattr(retry, "BASE_SECONDS", 0.01)
    made: list[Successor] = []

    def run(*scripts: Sequence[Step], takeover: str = "continue", **settings: object) -> Successor:
        desk, stub = Desk(valkey.url, takeover=takeover, **settings), Stub(scripts)
        made.append(Successor(desk, stub, WorkerProcess(desk.settings, stub)))
        made[-1].process.start()
        return made[-1]

    yield run
    for each in made:
        each.process.stop()


def chunks_of(events: list[AnyEvent]) -> list[str]:
    return [event.content for event in events if isinstance(event, Chunk)]


def test_the_text_so_far_stands_and_the_model_goes_on_from_it(start: Start) -> None:
    worker = start([Chunk(" no"), Chunk(" wind."), *END])
    snapshot, running, *rest = worker.answer(Reasoning("Hm."), Citation("T"), Chunk("There is"), Chunk(" \n"))
    assert isinstance(snapshot, Snapshot)
    assert (snapshot.content, snapshot.reasoning, snapshot.reason) == ("There is", "Hm.", "takeover")
    assert [each["title"] for each in snapshot.citations] == ["T"]
    assert running == StatusEvent("running", attempt=2, model=worker.desk.settings.models.model_id, provider="stub")
    assert "".join(chunks_of(rest)) == " no wind."
    assert isinstance(rest[-2], Complete)
    assert worker.prefills == ["There is"]


def test_by_default_all_begins_anew(start: Start) -> None:
    worker = start([Chunk("All."), *END], takeover="restart")
    assert worker.answer(Chunk("half"))[0] == NOTHING
    assert worker.prefills == [None]


@pytest.mark.parametrize(
    "told",
    [[], [Reasoning("Hm.")], [Chunk(" \n")], [ToolUse("1", "look", {}), Chunk("half")], [Chunk("half"), NOTHING]],
    ids=["nothing", "reasoning alone", "blank", "a tool", "nothing again"],
)
def test_what_cannot_be_gone_on_from_begins_anew(start: Start, told: list[AnyEvent]) -> None:
    worker = start([Chunk("All."), *END])
    added = worker.answer(*told)
    assert added[0] == NOTHING
    assert chunks_of(added) == ["All."]
    assert worker.prefills == [None]


@pytest.mark.parametrize("told", ["so \ud83d", "so\ud83d\ud83d ", "so\u2003\n"])
def test_half_a_character_at_the_cut_is_left_to_the_model(start: Start, told: str) -> None:
    worker = start([Chunk(" \U0001f600"), *END])
    added = worker.answer(Chunk(told))
    assert isinstance(added[0], Snapshot)
    assert added[0].content == "so"
    assert worker.prefills == ["so"]


def test_a_text_that_was_whole_already_is_no_empty_answer(start: Start) -> None:
    outcome = start(END).answer(Chunk("All."))[-2]
    assert isinstance(outcome, Complete)
    assert outcome.usage == Usage(3, 4)


@pytest.mark.parametrize("code", ["provider_rejected", "context_too_long"])
def test_a_model_that_does_not_go_on_is_asked_anew_and_nobody_is_told(start: Start, code: ErrorCode) -> None:
    worker = start([GenerationFailed(code, retryable=False)], [Chunk("All."), *END])
    added = worker.answer(Chunk("half"))
    assert isinstance(added[0], Snapshot)
    assert added[0].content == "half"
    assert [type(each).__name__ for each in added[1:]] == ["StatusEvent", "Snapshot", "Chunk", "Complete", "Done"]
    assert added[2] == NOTHING
    assert worker.prefills == ["half", None]


@pytest.mark.parametrize(
    ("told", "failure", "prefills"),
    [("half", REFUSED, ["half", None]), ("", REFUSED, [None]), ("half", TIMED_OUT, ["half"])],
    ids=["the question is refused", "there was no beginning", "a mishap"],
)
def test_what_is_not_said_of_the_beginning_ends_the_answer(
    start: Start, told: str, failure: GenerationFailed, prefills: list[str | None]
) -> None:
    worker = start([failure])
    outcome = worker.answer(Chunk(told))[-2]
    assert isinstance(outcome, Error)
    assert outcome.code == failure.code
    assert worker.prefills == prefills


def test_after_its_first_delta_a_model_is_not_asked_anew(start: Start) -> None:
    worker = start([Chunk(" and"), REFUSED])
    added = worker.answer(Chunk("half"))
    assert isinstance(added[-2], Error)
    assert chunks_of(added) == [" and"]
    assert worker.prefills == ["half"]


def test_a_busy_model_is_asked_again_to_go_on(start: Start) -> None:
    worker = start([BUSY], [Chunk(" and half"), *END])
    assert isinstance(worker.answer(Chunk("half"))[-2], Complete)
    assert worker.prefills == ["half", "half"]


def test_a_model_that_began_with_nothing_and_had_nothing_to_say_is_an_empty_answer(start: Start) -> None:
    outcome = start([REFUSED], END).answer(Chunk("half"))[-2]
    assert isinstance(outcome, Error)
    assert outcome.code == "empty_answer"


def test_the_limit_counts_what_stood_already(start: Start) -> None:
    worker = start([Chunk("b" * 300), Chunk("c" * 300), *END], max_output_bytes=1024)
    added = worker.answer(Reasoning("r" * 300), Chunk("a" * 300))
    assert isinstance(added[-2], Error)
    assert added[-2].code == "limit_exceeded"
    assert chunks_of(added) == ["b" * 300]


def test_after_a_new_beginning_the_limit_counts_nothing_else(start: Start) -> None:
    worker = start([REFUSED], [Chunk("b" * 1000), *END], max_output_bytes=1024)
    assert isinstance(worker.answer(Chunk("a" * 1000))[-2], Complete)


def test_a_cancel_ends_a_blocked_read_and_the_estimate_counts_the_text_as_asked(start: Start) -> None:
    worker = start([Chunk("12345678"), FOR_EVER])
    generation = worker.inherit(Chunk("a" * 40))
    running = gevent.spawn(generate, worker.process, generation)
    wait_until(lambda: worker.desk.text(generation).endswith("8"), "the rest")
    worker.desk.cancel(generation)
    running.get(timeout=30)
    outcome = worker.desk.ended(generation)[-2]
    assert outcome == Cancelled("user", Usage(input_tokens=11, output_tokens=2, exact=False))
    assert worker.desk.text(generation) == "a" * 40 + "12345678"


def test_an_absence_of_redis_is_waited_for_and_loses_no_text(start: Start, valkey: ValkeyProcess) -> None:
    worker = start([])
    holding = worker.take_over(Chunk("half"))
    valkey.stop()
    reading = gevent.spawn(lambda: beginning(worker.process, worker.process.begin(holding)))
    reading.join(0.5)
    assert not reading.dead
    valkey.start()
    assert reading.get(timeout=10) == Snapshot("half", "", [], [], "takeover")


def test_in_an_absence_of_redis_a_cancel_is_not_kept_waiting(start: Start, valkey: ValkeyProcess) -> None:
    worker = start([])
    holding = worker.take_over(Chunk("half"))
    valkey.stop()

    def struck() -> Snapshot | None:
        run = worker.process.begin(holding)
        run.interrupt.strike(CancelAsked("user"))
        return beginning(worker.process, run)

    assert gevent.spawn(struck).get(timeout=10) == NOTHING


def test_a_log_that_this_version_cannot_read_begins_anew(start: Start) -> None:
    worker = start([])
    holding = worker.take_over(Chunk("half"))
    log = keys_of(holding.claim.generation).log
    worker.desk.redis.xadd(log, {"d": b'{"type":"wave"}'}, f"{holding.claim.epoch}-9")
    assert beginning(worker.process, worker.process.begin(holding)) == NOTHING
