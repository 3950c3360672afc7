"""The prompt is built on the sources, and the context event comes before the first delta."""

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
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.request import ModelRequest, PromptMessage
from millrace.worker.errors import ProviderError
from millrace.worker.generation import generate
from millrace.worker.process import WorkerProcess
from millrace.worker.providers.protocol import Provider, Stopped
from millrace.worker.providers.stub import Stub
from tests.valkey import ValkeyProcess
from tests.worker.harness import WorkerHarness

END = (Stopped("end_turn"), Usage(3, 4))
TOO_LONG = ProviderError("context_too_long", retryable=False)
HISTORY = [PromptMessage("user", "One?"), PromptMessage("assistant", "Two.")]
Start = Callable[..., WorkerProcess]


@dataclass
class FakeSource:
    """A source that returns what the test's function returns."""

    function: Callable[[ContextQuestion], ContextPart | None]
    name: str = "fake"
    seconds: float = 5.0

    def gather(self, question: ContextQuestion) -> ContextPart | None:
        return self.function(question)


@pytest.fixture
def harness(valkey: ValkeyProcess) -> WorkerHarness:
    return WorkerHarness(valkey.url, titles="off", suggestions="off", tries=1)


@pytest.fixture
def start(harness: WorkerHarness) -> Iterator[Start]:
    processes: list[WorkerProcess] = []

    def run(provider: Provider, *sources: ContextSource) -> WorkerProcess:
        process = WorkerProcess(harness.settings, {"bedrock": provider})
        process.sources = Sources(sources)
        process.start()
        processes.append(process)
        return process

    yield run
    for each in processes:
        each.stop()


def create_generation(harness: WorkerHarness, text: str) -> str:
    ids = new_ids()
    request = ModelRequest([*HISTORY, PromptMessage("user", text)], harness.settings.default_model, 4096)
    create(Streams(harness.redis), Draft(ids, "somebody", request, "continue", 1), harness.settings)
    return ids.generation


def answer(process: WorkerProcess, harness: WorkerHarness, generation: str) -> list[AnyEvent]:
    generate(process, generation)
    return harness.wait_for_end(generation)


def test_the_context_event_comes_between_the_status_and_the_first_delta(harness: WorkerHarness, start: Start) -> None:
    def search(question: ContextQuestion) -> ContextPart:
        question.on_search()
        return ContextPart(materials=(Material("search_result", "Water.", "Mill", "https://mill.example"),))

    stub = Stub([[Chunk("Because."), *END]])
    _, running, searching, context, chunk, *_ = answer(
        start(stub, FakeSource(search)), harness, create_generation(harness, "Why?")
    )
    assert isinstance(running, StatusEvent)
    assert searching == StatusEvent("searching", attempt=1)
    assert context == ContextEvent([Link("Mill", "https://mill.example")], history=2, profile=0, memory=0, failed=0)
    assert chunk == Chunk("Because.")
    assert "Water." in stub.prompts[0].messages[2].content


def test_sources_receive_the_question_and_its_owner(harness: WorkerHarness, start: Start) -> None:
    asked: list[ContextQuestion] = []
    generation = create_generation(harness, "Why?")
    answer(start(Stub([[Chunk("x"), *END]]), FakeSource(asked.append)), harness, generation)
    (question,) = asked
    assert (question.generation, question.owner, question.text) == (generation, "somebody", "Why?")


def test_an_answer_continues_without_a_source_that_fails(harness: WorkerHarness, start: Start) -> None:
    def fails(_question: ContextQuestion) -> ContextPart:
        raise OSError("away")

    events = answer(start(Stub([[Chunk("x"), *END]]), FakeSource(fails)), harness, create_generation(harness, "Why?"))
    (context,) = [event for event in events if isinstance(event, ContextEvent)]
    assert context.failed == 1
    assert isinstance(events[-2], Complete)


def test_a_cancel_interrupts_the_gathering_of_context(harness: WorkerHarness, start: Start) -> None:
    gathering = Event()

    def hangs(_question: ContextQuestion) -> None:
        gathering.set()
        gevent.sleep(60)

    stub = Stub([[Chunk("x"), *END]])
    process, generation = start(stub, FakeSource(hangs, seconds=60)), create_generation(harness, "Why?")
    running = gevent.spawn(answer, process, harness, generation)
    assert gathering.wait(30)
    harness.cancel(generation)
    outcome = running.get(timeout=30)[-2]
    assert isinstance(outcome, Cancelled)
    assert outcome.usage == Usage(0, 0, exact=False)
    assert stub.prompts == []


def test_a_later_attempt_gathers_again_and_publishes_no_context_event_after_its_snapshot(
    harness: WorkerHarness, start: Start
) -> None:
    generation = create_generation(harness, "Why?")
    first = claim(Streams(harness.redis), generation, harness.settings)
    assert first is not None
    release(Streams(harness.redis), first.claim, harness.settings)
    stub = Stub([[Chunk("x"), *END]])
    events = answer(start(stub, FakeSource(lambda _: ContextPart(instructions="Be brief."))), harness, generation)
    assert isinstance(events[1], Snapshot)
    assert not [event for event in events if isinstance(event, ContextEvent)]
    assert stub.prompts[0].system == ("Be brief.",)


def test_a_prompt_that_is_too_long_for_the_model_is_sent_again_shortened(harness: WorkerHarness, start: Start) -> None:
    stub = Stub([[TOO_LONG], [Chunk("x"), *END]])
    events = answer(start(stub), harness, create_generation(harness, "Why?"))
    assert isinstance(events[-2], Complete)
    assert [len(prompt.messages) for prompt in stub.prompts] == [3, 1]


def test_a_question_that_is_too_long_by_itself_ends_in_an_error(harness: WorkerHarness, start: Start) -> None:
    stub = Stub([[TOO_LONG]])
    outcome = answer(start(stub), harness, create_generation(harness, "Why?"))[-2]
    assert isinstance(outcome, Error)
    assert outcome.code == "context_too_long"
    assert len(stub.prompts) == 2


def test_no_shorter_prompt_is_sent_after_the_first_delta(harness: WorkerHarness, start: Start) -> None:
    stub = Stub([[Chunk("x"), TOO_LONG]])
    assert isinstance(answer(start(stub), harness, create_generation(harness, "Why?"))[-2], Error)
    assert len(stub.prompts) == 1
