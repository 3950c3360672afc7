"""The story of one generation, told by a scripted model into a real log."""

from collections.abc import Callable, Iterator, Sequence

import gevent
import pytest
from gevent.event import Event

from millrace.worker.contract.events import (
    AnyEvent,
    Cancelled,
    Chunk,
    Complete,
    Done,
    Error,
    Reasoning,
    Snapshot,
    StatusEvent,
    ToolUse,
    Usage,
)
from millrace.worker.contract.lease import claim, release
from millrace.worker.errors import GenerationFailed
from millrace.worker.generation import generate
from millrace.worker.process import WorkerProcess
from millrace.worker.providers import retry
from millrace.worker.providers.protocol import Stopped
from millrace.worker.providers.stub import Step, Stub
from tests.valkey import ValkeyProcess
from tests.worker.desk import Desk, wait_until

END = (Stopped("end_turn"), Usage(3, 4))
BUSY = GenerationFailed("provider_throttled", retryable=True, is_transient=True)
FOR_EVER = Event().wait
Start = Callable[..., "Worker"]


class Worker:
    """One worker process's insides, in this one, with a scripted model."""

    def __init__(self, desk: Desk, scripts: Sequence[Sequence[Step]]) -> None:
        self.desk = desk
        self.stub = Stub(scripts)
        self.process = WorkerProcess(desk.settings, self.stub)
        self.process.start()

    def answer(self, generation: str | None = None) -> list[AnyEvent]:
        """Answer a generation, by default a new one, and return its log."""
        generation = generation or self.desk.make("Why?")
        generate(self.process, generation)
        assert not self.process.runs
        return self.desk.ended(generation)


@pytest.fixture
def start(valkey: ValkeyProcess) -> Iterator[Start]:
    made: list[Worker] = []

    def run(*scripts: Sequence[Step], **settings: object) -> Worker:
        made.append(Worker(Desk(valkey.url, shutdown_grace_seconds=0, **settings), scripts))
        return made[-1]

    yield run
    for each in made:
        each.process.stop()


@pytest.fixture(autouse=True)
def _short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "BASE_SECONDS", 0.01)


def outcome_of(events: list[AnyEvent]) -> AnyEvent:
    return events[-2]


def code_of(events: list[AnyEvent]) -> tuple[str, bool]:
    outcome = outcome_of(events)
    assert isinstance(outcome, Error)
    return outcome.code, outcome.retryable


def test_a_whole_answer_is_told_in_order(start: Start) -> None:
    worker = start([Reasoning("Hm."), Chunk("Be"), Chunk("cause."), ToolUse("1", "look", {"a": 1}), *END])
    queued, running, *content, outcome, done = worker.answer()
    assert isinstance(queued, StatusEvent)
    model = worker.desk.settings.models.model_id
    assert running == StatusEvent("running", attempt=1, model=model, provider="stub")
    assert content == [Reasoning("Hm."), Chunk("Be"), Chunk("cause."), ToolUse("1", "look", {"a": 1})]
    assert isinstance(outcome, Complete)
    assert (outcome.mode, outcome.stop_reason, outcome.usage) == ("live", "end_turn", Usage(3, 4))
    assert (outcome.model, outcome.provider, outcome.stored) == (model, "stub", True)
    assert outcome.message_id == queued.message_id
    assert outcome.latency.first_delta_ms is not None
    assert done == Done("completed")
    assert worker.stub.prompts[0].messages[0].content == "Why?"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ([Chunk("half")], ("truncated", True)),
        (END, ("empty_answer", True)),
        ([Chunk(""), *END], ("empty_answer", True)),
        ([Chunk("No"), Stopped("guardrail_intervened")], ("content_filtered", False)),
        ([Chunk("No"), Stopped("content_filtered")], ("content_filtered", False)),
        ([Stopped("model_context_window_exceeded")], ("context_too_long", False)),
        ([Chunk("x"), Stopped("malformed_tool_use")], ("provider_rejected", True)),
        ([Chunk("half"), BUSY], ("provider_throttled", True)),
        ([Chunk("half"), lambda: 1 / 0], ("internal", True)),
    ],
)
def test_every_other_end_is_an_error_with_the_text_kept(
    start: Start, script: Sequence[Step], expected: tuple[str, bool]
) -> None:
    events = start(script).answer()
    assert code_of(events) == expected
    assert events[-1] == Done("failed")
    said = "".join(step.content for step in script if isinstance(step, Chunk))
    assert "".join(event.content for event in events if isinstance(event, Chunk)) == said


def test_reasoning_alone_is_an_answer(start: Start) -> None:
    assert isinstance(outcome_of(start([Reasoning("Hm."), *END]).answer()), Complete)


def test_a_busy_model_is_asked_again_and_it_is_said(start: Start) -> None:
    worker = start([BUSY], [BUSY], [Chunk("At last."), *END])
    events = worker.answer()
    assert [event for event in events if event == StatusEvent("retrying", attempt=1)] == [events[2], events[3]]
    assert isinstance(outcome_of(events), Complete)
    assert worker.stub.closed == 3


def test_too_long_an_answer_is_cut_with_the_text_kept(start: Start) -> None:
    worker = start([*[Chunk("a" * 600)] * 2, *END], max_output_bytes=1024)
    events = worker.answer()
    assert code_of(events) == ("limit_exceeded", False)
    assert [event.content for event in events if isinstance(event, Chunk)] == ["a" * 600]
    assert worker.stub.closed == 1


def test_no_more_events_than_allowed(start: Start) -> None:
    events = start([*[ToolUse("1", "look", {})] * 50, *END], max_events=20).answer()
    assert code_of(events)[0] == "limit_exceeded"
    assert 15 <= len(events) <= 20


def test_a_silent_model_is_cut_when_the_time_is_up(start: Start) -> None:
    worker = start([Chunk("half"), FOR_EVER], max_seconds=1)
    events = worker.answer()
    assert code_of(events)[0] == "limit_exceeded"
    assert Chunk("half") in events
    assert worker.stub.closed == 1


@pytest.mark.parametrize("script", [[FOR_EVER], [Chunk("half"), FOR_EVER]], ids=["before", "after the first delta"])
def test_a_cancel_ends_a_blocked_read(start: Start, script: Sequence[Step]) -> None:
    worker = start(script)
    generation = worker.desk.make("Why?")
    running = gevent.spawn(worker.answer, generation)
    wait_until(lambda: worker.stub.prompts, "the question")
    worker.desk.cancel(generation)
    events = running.get(timeout=30)
    outcome = outcome_of(events)
    assert isinstance(outcome, Cancelled)
    assert (outcome.by, outcome.usage.exact) == ("user", False)
    assert worker.stub.closed == 1


def test_a_cancel_ends_the_wait_between_two_tries(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "BASE_SECONDS", 60)
    monkeypatch.setattr(retry, "MAX_SECONDS", 60)
    worker = start([BUSY])
    generation = worker.desk.make("Why?")
    running = gevent.spawn(worker.answer, generation)
    wait_until(lambda: worker.stub.closed, "the first try")
    worker.desk.cancel(generation)
    assert isinstance(outcome_of(running.get(timeout=30)), Cancelled)
    assert len(worker.stub.prompts) == 1


def test_a_second_attempt_begins_with_a_snapshot(start: Start) -> None:
    worker = start([Chunk("new"), *END])
    generation = worker.desk.make("Why?")
    first = claim(worker.desk.redis, generation, worker.desk.settings)
    assert first is not None
    release(worker.desk.redis, first.claim, worker.desk.settings)
    events = worker.answer(generation)
    assert events[1] == Snapshot("", "", [], [], "takeover")
    assert isinstance(events[2], StatusEvent)
    assert (events[2].status, events[2].attempt) == ("running", 2)


def test_a_leaving_process_hands_over_what_runs_and_another_goes_on(start: Start) -> None:
    worker = start([Chunk("half"), Chunk(" gathered"), FOR_EVER], flush_ms=5000)
    generation = worker.desk.make("Why?")
    running = gevent.spawn(generate, worker.process, generation)
    wait_until(lambda: "half" in worker.desk.text(generation), "some text")
    worker.process.leave()
    running.get(timeout=30)
    assert worker.stub.closed == 1
    assert worker.desk.text(generation) == "half gathered"
    assert worker.desk.redis.llen("millrace") == 1  # the ring
    start([Chunk("whole"), *END]).answer(generation)
    assert worker.desk.transcript(generation).content == "whole"


def test_a_leaving_process_claims_nothing_new_and_passes_the_ring_on(start: Start) -> None:
    worker = start([Chunk("never"), *END])
    worker.process.leave()
    generation = worker.desk.make("Why?")
    generate(worker.process, generation)
    assert worker.stub.prompts == []
    assert worker.desk.redis.llen("millrace") == 1


def test_a_fenced_worker_closes_its_stream_and_says_nothing_more(start: Start) -> None:
    worker = start([Chunk("mine"), FOR_EVER])
    generation = worker.desk.make("Why?")
    running = gevent.spawn(generate, worker.process, generation)
    wait_until(lambda: worker.desk.text(generation) == "mine", "some text")
    (run,) = worker.process.runs
    release(worker.desk.redis, run.outbox.claim, worker.desk.settings)
    running.get(timeout=30)
    assert worker.stub.closed == 1
    assert isinstance(worker.desk.events(generation)[-1], Chunk)
    assert not worker.process.runs


def test_what_another_holds_is_left_alone(start: Start) -> None:
    worker = start([Chunk("never"), *END])
    generation = worker.desk.make("Why?")
    assert claim(worker.desk.redis, generation, worker.desk.settings) is not None
    generate(worker.process, generation)
    assert worker.stub.prompts == []


def test_neither_question_nor_answer_reaches_the_log(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(0):
        worker = start([Chunk("the secret answer"), *END])
        generation = worker.desk.make("the secret question")
        worker.answer(generation)
    told = [record.getMessage() for record in caplog.records if record.name.startswith("millrace.worker")]
    ended = [line for line in told if line.startswith("ended ")]
    assert len(ended) == 1
    assert f"generation={generation} " in ended[0]
    assert "attempt=1 outcome=complete" in ended[0]
    assert "chars=17" in ended[0]
    assert "secret" not in caplog.text
