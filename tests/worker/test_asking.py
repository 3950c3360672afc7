"""What is asked of the model is built on the sources, and told to the reader before the answer's first word."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import gevent
import pytest
from gevent.event import Event

from millrace.worker.context.source import ContextPart, ContextQuestion, ContextSource, Material
from millrace.worker.context.sources import Sources
from millrace.worker.contract.creation import Draft, create, new_ids
from millrace.worker.contract.events import (
    AnyEvent,
    Cancelled,
    Chunk,
    Complete,
    ContextEvent,
    Error,
    Link,
    Snapshot,
    StatusEvent,
    Usage,
)
from millrace.worker.contract.lease import claim, release
from millrace.worker.contract.request import ModelRequest, PromptMessage
from millrace.worker.errors import GenerationFailed
from millrace.worker.generation import generate
from millrace.worker.process import WorkerProcess
from millrace.worker.providers.protocol import Provider, Stopped
from millrace.worker.providers.stub import Stub
from tests.valkey import ValkeyProcess
from tests.worker.desk import Desk

END = (Stopped("end_turn"), Usage(3, 4))
TOO_LONG = GenerationFailed("context_too_long", retryable=False)
HISTORY = [PromptMessage("user", "One?"), PromptMessage("assistant", "Two.")]
Start = Callable[..., WorkerProcess]


@dataclass
class Given:
    """A source that gives what it is told to."""

    gives: Callable[[ContextQuestion], ContextPart | None]
    name: str = "given"
    seconds: float = 5.0

    def gather(self, question: ContextQuestion) -> ContextPart | None:
        return self.gives(question)


@pytest.fixture
def desk(valkey: ValkeyProcess) -> Desk:
    return Desk(valkey.url, titles="off", suggestions="off", bedrock_tries=1)


@pytest.fixture
def start(desk: Desk) -> Iterator[Start]:
    made: list[WorkerProcess] = []

    def run(provider: Provider, *sources: ContextSource) -> WorkerProcess:
        process = WorkerProcess(desk.settings, provider)
        process.sources = Sources(sources)
        process.start()
        made.append(process)
        return process

    yield run
    for each in made:
        each.stop()


def ask(desk: Desk, text: str) -> str:
    ids = new_ids()
    request = ModelRequest([*HISTORY, PromptMessage("user", text)], desk.settings.models.model_id, 4096)
    create(desk.redis, Draft(ids, "somebody", request, "continue", 1), desk.settings)
    return ids.generation


def answered(process: WorkerProcess, desk: Desk, generation: str) -> list[AnyEvent]:
    generate(process, generation)
    return desk.ended(generation)


def test_the_reader_is_told_between_the_status_and_the_first_word(desk: Desk, start: Start) -> None:
    def search(question: ContextQuestion) -> ContextPart:
        question.on_search()
        return ContextPart(materials=(Material("search_result", "Water.", "Mill", "https://mill.example"),))

    stub = Stub([[Chunk("Because."), *END]])
    _, running, searching, told, chunk, *_ = answered(start(stub, Given(search)), desk, ask(desk, "Why?"))
    assert isinstance(running, StatusEvent)
    assert searching == StatusEvent("searching", attempt=1)
    assert told == ContextEvent([Link("Mill", "https://mill.example")], history=2, profile=0, memory=0, failed=0)
    assert chunk == Chunk("Because.")
    assert "Water." in stub.prompts[0].messages[2].content


def test_the_sources_know_whose_question_it_is(desk: Desk, start: Start) -> None:
    asked: list[ContextQuestion] = []
    generation = ask(desk, "Why?")
    answered(start(Stub([[Chunk("x"), *END]]), Given(asked.append)), desk, generation)
    (question,) = asked
    assert (question.generation, question.owner, question.text) == (generation, "somebody", "Why?")


def test_an_answer_goes_on_without_a_source_that_fails(desk: Desk, start: Start) -> None:
    def fails(_question: ContextQuestion) -> ContextPart:
        raise OSError("away")

    events = answered(start(Stub([[Chunk("x"), *END]]), Given(fails)), desk, ask(desk, "Why?"))
    (told,) = [event for event in events if isinstance(event, ContextEvent)]
    assert told.failed == 1
    assert isinstance(events[-2], Complete)


def test_a_cancel_ends_the_gathering(desk: Desk, start: Start) -> None:
    gathering = Event()

    def hangs(_question: ContextQuestion) -> None:
        gathering.set()
        gevent.sleep(60)

    stub = Stub([[Chunk("x"), *END]])
    process, generation = start(stub, Given(hangs, seconds=60)), ask(desk, "Why?")
    running = gevent.spawn(answered, process, desk, generation)
    assert gathering.wait(30)
    desk.cancel(generation)
    outcome = running.get(timeout=30)[-2]
    assert isinstance(outcome, Cancelled)
    assert outcome.usage == Usage(0, 0, exact=False)
    assert stub.prompts == []


def test_a_later_attempt_gathers_anew_and_tells_nothing_behind_its_snapshot(desk: Desk, start: Start) -> None:
    generation = ask(desk, "Why?")
    first = claim(desk.redis, generation, desk.settings)
    assert first is not None
    release(desk.redis, first.claim, desk.settings)
    stub = Stub([[Chunk("x"), *END]])
    events = answered(start(stub, Given(lambda _: ContextPart(instructions="Be brief."))), desk, generation)
    assert isinstance(events[1], Snapshot)
    assert not [event for event in events if isinstance(event, ContextEvent)]
    assert stub.prompts[0].system == ("Be brief.",)


def test_a_prompt_that_the_model_finds_too_long_is_asked_again_with_less(desk: Desk, start: Start) -> None:
    stub = Stub([[TOO_LONG], [Chunk("x"), *END]])
    events = answered(start(stub), desk, ask(desk, "Why?"))
    assert isinstance(events[-2], Complete)
    assert [len(prompt.messages) for prompt in stub.prompts] == [3, 1]


def test_a_question_that_is_too_long_alone_ends_in_an_error(desk: Desk, start: Start) -> None:
    stub = Stub([[TOO_LONG]])
    outcome = answered(start(stub), desk, ask(desk, "Why?"))[-2]
    assert isinstance(outcome, Error)
    assert outcome.code == "context_too_long"
    assert len(stub.prompts) == 2


def test_once_something_is_said_nothing_is_asked_again(desk: Desk, start: Start) -> None:
    stub = Stub([[Chunk("x"), TOO_LONG]])
    assert isinstance(answered(start(stub), desk, ask(desk, "Why?"))[-2], Error)
    assert len(stub.prompts) == 1
