"""One generation from its claim to its `done`, with a scripted model and a real log."""

from collections.abc import Sequence

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
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.errors import ProviderError
from millrace.worker.generation import generate
from millrace.worker.providers import retry
from millrace.worker.providers.protocol import Stopped
from millrace.worker.providers.stub import Step
from tests.worker.conftest import MakeWorker
from tests.worker.harness import wait_until

END = (Stopped("end_turn"), Usage(3, 4))
THROTTLED = ProviderError("provider_throttled", retryable=True, is_transient=True)
WAIT_FOREVER = Event().wait


@pytest.fixture(autouse=True)
def _short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "BASE_SECONDS", 0.01)


def outcome_of(events: list[AnyEvent]) -> AnyEvent:
    return events[-2]


def code_of(events: list[AnyEvent]) -> tuple[str, bool]:
    outcome = outcome_of(events)
    assert isinstance(outcome, Error)
    return outcome.code, outcome.retryable


def test_a_complete_answer_is_published_in_order(make_worker: MakeWorker) -> None:
    worker = make_worker([Reasoning("Hm."), Chunk("Be"), Chunk("cause."), ToolUse("1", "look", {"a": 1}), *END])
    queued, running, *content, outcome, done = worker.answer()
    assert isinstance(queued, StatusEvent)
    model = worker.harness.settings.default_model
    assert running == StatusEvent("running", attempt=1, model=model, provider="bedrock", requested_model=model)
    assert content == [Reasoning("Hm."), Chunk("Be"), Chunk("cause."), ToolUse("1", "look", {"a": 1})]
    assert isinstance(outcome, Complete)
    assert (outcome.mode, outcome.stop_reason, outcome.usage) == ("live", "end_turn", Usage(3, 4))
    assert (outcome.model, outcome.provider, outcome.stored) == (model, "bedrock", True)
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
        ([Chunk("No"), Stopped("refused")], ("content_filtered", False)),
        ([Chunk("No"), Stopped("content_filtered")], ("content_filtered", False)),
        ([Stopped("context_exceeded")], ("context_too_long", False)),
        ([Chunk("x"), Stopped("malformed")], ("provider_rejected", True)),
        ([Chunk("half"), THROTTLED], ("provider_throttled", True)),
        ([Chunk("half"), lambda: 1 / 0], ("internal", True)),
    ],
)
def test_an_incomplete_answer_ends_with_an_error_and_keeps_its_text(
    make_worker: MakeWorker, script: Sequence[Step], expected: tuple[str, bool]
) -> None:
    events = make_worker(script).answer()
    assert code_of(events) == expected
    assert events[-1] == Done("failed")
    text = "".join(step.content for step in script if isinstance(step, Chunk))
    assert "".join(event.content for event in events if isinstance(event, Chunk)) == text


def test_reasoning_alone_is_an_empty_answer(make_worker: MakeWorker) -> None:
    outcome = outcome_of(make_worker([Reasoning("Hm."), *END]).answer())
    assert isinstance(outcome, Error)
    assert (outcome.code, outcome.retryable) == ("empty_answer", True)


def test_a_throttled_call_is_retried_with_a_status_event(make_worker: MakeWorker) -> None:
    worker = make_worker([THROTTLED], [THROTTLED], [Chunk("At last."), *END])
    events = worker.answer()
    model = worker.harness.settings.default_model
    retrying = StatusEvent("retrying", attempt=1, model=model, provider="bedrock", code="provider_throttled")
    running = StatusEvent("running", attempt=1, model=model, provider="bedrock", requested_model=model)
    assert events[1:6] == [running, retrying, retrying, running, Chunk("At last.")]
    assert isinstance(outcome_of(events), Complete)
    assert worker.stub.closed == 3


def test_an_answer_over_the_size_limit_ends_with_an_error_and_keeps_its_text(make_worker: MakeWorker) -> None:
    worker = make_worker([*[Chunk("a" * 600)] * 2, *END], max_output_bytes=1024)
    events = worker.answer()
    assert code_of(events) == ("limit_exceeded", False)
    assert [event.content for event in events if isinstance(event, Chunk)] == ["a" * 600]
    assert worker.stub.closed == 1


def test_a_log_has_at_most_max_events(make_worker: MakeWorker) -> None:
    events = make_worker([*[ToolUse("1", "look", {})] * 50, *END], max_events=20).answer()
    assert code_of(events)[0] == "limit_exceeded"
    assert 15 <= len(events) <= 20


def test_a_silent_model_is_interrupted_at_the_deadline(make_worker: MakeWorker) -> None:
    worker = make_worker([Chunk("half"), WAIT_FOREVER], max_seconds=1)
    events = worker.answer()
    assert code_of(events)[0] == "limit_exceeded"
    assert Chunk("half") in events
    assert worker.stub.closed == 1


@pytest.mark.parametrize(
    "script", [[WAIT_FOREVER], [Chunk("half"), WAIT_FOREVER]], ids=["before the first delta", "after the first delta"]
)
def test_a_cancel_interrupts_a_blocked_read(make_worker: MakeWorker, script: Sequence[Step]) -> None:
    worker = make_worker(script)
    generation = worker.harness.create_generation("Why?")
    running = gevent.spawn(worker.answer, generation)
    wait_until(lambda: worker.stub.prompts, "the model call")
    worker.harness.cancel(generation)
    events = running.get(timeout=30)
    outcome = outcome_of(events)
    assert isinstance(outcome, Cancelled)
    assert (outcome.by, outcome.usage.exact) == ("user", False)
    assert worker.stub.closed == 1


def test_a_cancel_interrupts_the_pause_before_a_retry(make_worker: MakeWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "BASE_SECONDS", 30)
    monkeypatch.setattr(retry, "MAX_SECONDS", 30)
    worker = make_worker([THROTTLED])
    generation = worker.harness.create_generation("Why?")
    running = gevent.spawn(worker.answer, generation)
    wait_until(lambda: worker.stub.closed, "the first call")
    worker.harness.cancel(generation)
    assert isinstance(outcome_of(running.get(timeout=30)), Cancelled)
    assert len(worker.stub.prompts) == 1


def test_a_second_attempt_begins_with_a_snapshot(make_worker: MakeWorker) -> None:
    worker = make_worker([Chunk("new"), *END])
    generation = worker.harness.create_generation("Why?")
    first = claim(Streams(worker.harness.redis), generation, worker.harness.settings)
    assert first is not None
    release(Streams(worker.harness.redis), first.claim, worker.harness.settings)
    events = worker.answer(generation)
    assert events[1] == Snapshot("", "", [], [], "takeover")
    assert isinstance(events[2], StatusEvent)
    assert (events[2].status, events[2].attempt) == ("running", 2)


def test_a_draining_process_hands_over_to_another(make_worker: MakeWorker) -> None:
    worker = make_worker([Chunk("half"), Chunk(" buffered"), WAIT_FOREVER], flush_ms=5000)
    generation = worker.harness.create_generation("Why?")
    running = gevent.spawn(generate, worker.process, generation)
    wait_until(lambda: "half" in worker.harness.text(generation), "some text")
    worker.process.drain()
    running.get(timeout=30)
    assert worker.stub.closed == 1
    assert worker.harness.text(generation) == "half buffered"
    assert worker.harness.redis.llen("millrace") == 1  # the enqueued task
    make_worker([Chunk("whole"), *END]).answer(generation)
    assert worker.harness.transcript(generation).content == "whole"


def test_a_draining_process_claims_nothing_and_enqueues_the_task_again(make_worker: MakeWorker) -> None:
    worker = make_worker([Chunk("never"), *END])
    worker.process.drain()
    generation = worker.harness.create_generation("Why?")
    generate(worker.process, generation)
    assert worker.stub.prompts == []
    assert worker.harness.redis.llen("millrace") == 1


def test_a_fenced_worker_closes_its_stream_and_publishes_nothing_more(make_worker: MakeWorker) -> None:
    worker = make_worker([Chunk("mine"), WAIT_FOREVER])
    generation = worker.harness.create_generation("Why?")
    running = gevent.spawn(generate, worker.process, generation)
    wait_until(lambda: worker.harness.text(generation) == "mine", "some text")
    (run,) = worker.process.running
    release(Streams(worker.harness.redis), run.outbox.claim, worker.harness.settings)
    running.get(timeout=30)
    assert worker.stub.closed == 1
    assert isinstance(worker.harness.events(generation)[-1], Chunk)
    assert not worker.process.running


def test_a_generation_that_another_worker_holds_is_skipped(make_worker: MakeWorker) -> None:
    worker = make_worker([Chunk("never"), *END])
    generation = worker.harness.create_generation("Why?")
    assert claim(Streams(worker.harness.redis), generation, worker.harness.settings) is not None
    generate(worker.process, generation)
    assert worker.stub.prompts == []


def test_neither_question_nor_answer_reaches_the_operators_log(
    make_worker: MakeWorker, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(0):
        worker = make_worker([Chunk("the secret answer"), *END])
        generation = worker.harness.create_generation("the secret question")
        worker.answer(generation)
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("millrace.worker")]
    ended = [line for line in lines if line.startswith("ended ")]
    assert len(ended) == 1
    assert f"generation={generation} " in ended[0]
    assert "attempt=1 outcome=complete" in ended[0]
    assert "chars=17" in ended[0]
    assert "secret" not in caplog.text
