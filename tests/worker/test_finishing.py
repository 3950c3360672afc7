"""The end of a generation: the answer is stored, then its outcome and `done` are published."""

import gevent
import pytest
from gevent.event import Event
from msgspec.structs import replace
from sqlalchemy import text

from millrace.worker.contract.events import (
    Cancelled,
    Chunk,
    Complete,
    Done,
    Error,
    Latency,
    Reasoning,
    Snapshot,
    Suggestions,
    ToolUse,
    Usage,
)
from millrace.worker.contract.lease import claim, release
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.request import ReasoningState
from millrace.worker.errors import ProviderError
from millrace.worker.generation import generate
from millrace.worker.providers.protocol import ReasoningBlock, Stopped, WholeAnswer
from millrace.worker.providers.stub import Reply
from millrace.worker.store import answers, conversations, messages
from millrace.worker.store.answers import StoredAnswer
from millrace.worker.store.database import engine_url, make_engine
from tests.valkey import ValkeyProcess
from tests.worker.conftest import MakeWorker
from tests.worker.harness import wait_until

END = (Stopped("end_turn"), Usage(3, 4))
WAIT_FOREVER = Event().wait
REFUSED = ProviderError("provider_rejected", retryable=False)


def test_a_complete_answer_is_stored_as_the_log_has_it(make_worker: MakeWorker) -> None:
    worker = make_worker([Reasoning("Hm."), Chunk("Be"), Chunk("cause."), ToolUse("1", "look", {"a": 1}), *END])
    generation = worker.harness.create_generation("Why?")
    outcome = worker.answer(generation)[-2]
    assert isinstance(outcome, Complete)
    assert outcome.stored
    record = worker.check_stored(generation)
    assert (record.answer.model, record.answer.provider) == (worker.harness.settings.default_model, "bedrock")
    assert worker.harness.redis.keys("*unstored") == []


def test_reasoning_in_the_providers_form_is_stored_with_a_complete_answer_and_never_published(
    make_worker: MakeWorker,
) -> None:
    steps = [Reasoning("Hm."), ReasoningBlock({"signature": "abc"}), Chunk("Because."), *END]
    worker = make_worker(steps, [ReasoningBlock({"a": 1}), Chunk("Be"), REFUSED])
    complete, failed = (worker.harness.create_generation("Why?") for _ in range(2))
    assert "abc" not in str(worker.answer(complete))
    model = worker.harness.settings.default_model
    stored = worker.check_stored(complete).answer.reasoning_state
    assert stored == ReasoningState("bedrock", model, [{"signature": "abc"}])
    worker.answer(failed)
    assert worker.check_stored(failed).answer.reasoning_state is None


def test_a_complete_answer_is_stored_before_its_outcome_is_published(make_worker: MakeWorker) -> None:
    """The database is read at the moment when the outcome enters the outbox."""
    worker = make_worker([Chunk("Because."), *END])
    generation = worker.harness.create_generation("Why?")
    seen: list[bool] = []
    schedule = worker.process.tasks_of(generation).writers.of(generation).schedule

    def look(outbox: object) -> None:
        if not seen and any(isinstance(queued.event, Complete) for queued in outbox._queue):  # type: ignore[attr-defined]
            seen.append(True)
            looked.append(worker.stored(generation) is not None)
        schedule(outbox)  # pyright: ignore[reportArgumentType]

    looked: list[bool] = []
    worker.process.tasks_of(generation).writers.of(generation).schedule = look
    worker.answer(generation)
    assert looked == [True]


def test_cancelled_and_failed_answers_are_stored_with_the_text_so_far(make_worker: MakeWorker) -> None:
    worker = make_worker([Chunk("Beca"), WAIT_FOREVER], [Chunk("Bec")])
    generation = worker.harness.create_generation("Why?")
    running = gevent.spawn(worker.answer, generation)
    wait_until(lambda: worker.harness.text(generation) == "Beca", "the text")
    worker.harness.cancel(generation)
    running.get(timeout=30)
    assert isinstance(worker.check_stored(generation).answer.outcome, Cancelled)
    failed = worker.harness.create_generation("Why?")
    worker.answer(failed)
    assert isinstance(worker.check_stored(failed).answer.outcome, Error)
    assert worker.harness.redis.keys("*unstored") == []


def test_title_and_suggestions_are_stored_before_done(make_worker: MakeWorker) -> None:
    suggest: Reply = WholeAnswer("", {"suggestions": ["And then?", "Who says so?", "Since when?"]}, Usage(1, 1))
    worker = make_worker([Chunk("Because."), *END], replies={"suggest_questions": suggest}, suggestions=1)
    generation = worker.harness.create_generation("Why?")
    generate(worker.process, generation)
    events = worker.harness.events(generation)
    assert isinstance(events[-2], Suggestions)
    assert worker.check_stored(generation).answer.suggestions == tuple(events[-2].suggestions)
    assert worker.harness.redis.keys("*unstored") == []


def test_an_answer_without_a_conversation_is_not_stored(make_worker: MakeWorker) -> None:
    worker = make_worker([Chunk("Because."), *END])
    generation = worker.harness.create_generation("Why?", is_turn=False)
    outcome = worker.answer(generation)[-2]
    assert isinstance(outcome, Complete)
    assert not outcome.stored
    assert worker.stored(generation) is None
    assert worker.harness.redis.keys("*unstored") == []


def test_an_answer_in_a_deleted_conversation_is_not_stored(make_worker: MakeWorker) -> None:
    worker = make_worker([Chunk("Because."), *END])
    generation = worker.harness.create_generation("Why?")
    conversation = worker.harness.state(generation).conversation
    worker.database.run(lambda session: conversations.create_or_touch(session, "somebody", conversation))
    worker.database.run(lambda session: conversations.delete(session, "somebody", conversation))
    outcome = worker.answer(generation)[-2]
    assert isinstance(outcome, Complete)
    assert not outcome.stored
    assert worker.stored(generation) is None
    assert worker.harness.redis.keys("*unstored") == []


def test_row_38_an_answer_is_published_while_the_database_is_unavailable_and_stored_when_it_recovers(
    make_worker: MakeWorker,
) -> None:
    worker = make_worker([Chunk("Because."), *END], database_seconds=1.5)
    generation = worker.harness.create_generation("Why?")
    worker.process.tasks_of(generation).late_storage.stop()
    engine = make_engine(engine_url(worker.harness.settings.database.url), 1, 30)
    with engine.begin() as other:
        other.execute(text("DELETE FROM messages"))  # holds the lock that every write needs
        outcome = worker.answer(generation)[-2]
        assert isinstance(outcome, Complete)
        assert not outcome.stored
        assert worker.stored(generation) is None
    engine.dispose()
    worker.process.tasks_of(generation).late_storage.store_due()
    record = worker.stored(generation)
    assert record
    assert record.answer.content == "Because."
    assert record.answer.outcome == replace(outcome, stored=True)
    assert not worker.harness.redis.exists("*unstored")


@pytest.mark.parametrize("takeover", ["restart", "continue"])
def test_a_stored_complete_answer_is_published_by_the_next_worker_without_a_second_call(
    make_worker: MakeWorker, takeover: str
) -> None:
    worker = make_worker([Chunk("never generated"), *END], takeover=takeover)
    generation = worker.harness.create_generation("Why?")
    first = claim(Streams(worker.harness.redis), generation, worker.harness.settings)
    assert first
    outcome = Complete("live", "end_turn", Usage(3, 4), Latency(1, 2), "a-model", "bedrock", first.message, stored=True)
    question = messages.StoredQuestion(first.question, first.owner, first.conversation, "Why?")
    answer = StoredAnswer(
        *(first.message, generation, first.claim.epoch, worker.harness.state(generation).top, "Because.", outcome),
        reasoning="Hm.",
        reasoning_state=ReasoningState("bedrock", "a-model", [{"a": 1}]),
    )
    assert worker.database.run(lambda session: answers.save_answer(session, question, answer))
    release(Streams(worker.harness.redis), first.claim, worker.harness.settings)
    _, *events = worker.answer(generation)
    assert events == [Snapshot("Because.", "Hm.", [], [], "takeover"), outcome, Done("completed")]
    assert worker.stub.prompts == []
    stored = worker.check_stored(generation).answer
    assert stored.epoch > first.claim.epoch
    assert stored.reasoning_state == answer.reasoning_state


def test_a_stored_incomplete_answer_is_generated_again(make_worker: MakeWorker) -> None:
    worker = make_worker([Chunk("Because."), *END])
    generation = worker.harness.create_generation("Why?")
    first = claim(Streams(worker.harness.redis), generation, worker.harness.settings)
    assert first
    question = messages.StoredQuestion(first.question, first.owner, first.conversation, "Why?")
    cancelled = Cancelled("user", Usage())
    half = StoredAnswer(
        first.message, generation, first.claim.epoch, worker.harness.state(generation).top, "Bec", cancelled
    )
    assert worker.database.run(lambda session: answers.save_answer(session, question, half))
    release(Streams(worker.harness.redis), first.claim, worker.harness.settings)
    worker.answer(generation)
    assert worker.check_stored(generation).answer.content == "Because."


def test_row_45_an_answer_stored_under_a_later_claim_is_not_overwritten(make_worker: MakeWorker) -> None:
    worker = make_worker([Chunk("of the stopped worker"), *END])
    generation = worker.harness.create_generation("Why?")
    outcome = Complete("live", "end_turn", Usage(3, 4), Latency(1, 2), "a-model", "bedrock", "m", stored=True)

    def successor_stores() -> None:
        state = worker.harness.state(generation)
        question = messages.StoredQuestion(state.question, state.owner, state.conversation, "Why?")
        later = StoredAnswer(state.message, generation, 4_000_000_000, state.top, "the successor's", outcome)
        assert worker.database.run(lambda session: answers.save_answer(session, question, later))

    worker.stub.scripts = [[Chunk("of the stopped worker"), successor_stores, *END]]
    outcome_here = worker.answer(generation)[-2]
    assert isinstance(outcome_here, Complete)
    assert not outcome_here.stored
    record = worker.stored(generation)
    assert record
    assert record.answer.content == "the successor's"


def test_an_end_that_redis_loses_is_stored_again_as_it_is_published_again(
    make_worker: MakeWorker, valkey: ValkeyProcess
) -> None:
    worker = make_worker([Chunk("Because."), *END])
    generation = worker.harness.create_generation("Why?")
    worker.answer(generation)
    before = worker.stored(generation)
    assert before
    worker.harness.redis.flushall()
    wait_until(
        lambda: worker.harness.redis.exists(f"mr:{{b{int(generation[:2], 16) % 64:02}}}:{generation}:log"), "the log"
    )
    worker.harness.wait_for_end(generation)
    wait_until(
        lambda: (record := worker.stored(generation)) and record.answer.epoch > before.answer.epoch, "the new claim's"
    )
    worker.check_stored(generation)
