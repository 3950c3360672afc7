"""Answers on their way into the database, told by a scripted model into a real log."""

from collections.abc import Callable, Iterator, Sequence

import gevent
import pytest
from gevent.event import Event
from msgspec.structs import replace
from sqlalchemy import text

from millrace.worker.contract.events import (
    AnyEvent,
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
from millrace.worker.generation import generate
from millrace.worker.providers.protocol import Stopped, WholeAnswer
from millrace.worker.providers.stub import Reply, Step
from millrace.worker.store import answers, conversations, messages
from millrace.worker.store.answers import StoredAnswer
from millrace.worker.store.database import engine_url, make_engine
from tests.valkey import ValkeyProcess
from tests.worker.desk import Desk, wait_until
from tests.worker.scripted import Worker

END = (Stopped("end_turn"), Usage(3, 4))
FOR_EVER = Event().wait
Start = Callable[..., Worker]


@pytest.fixture
def start(valkey: ValkeyProcess) -> Iterator[Start]:
    made: list[Worker] = []

    def run(*scripts: Sequence[Step], replies: dict[str, Reply] | None = None, **settings: object) -> Worker:
        made.append(Worker(Desk(valkey.url, shutdown_grace_seconds=0, **settings), scripts, replies))
        return made[-1]

    yield run
    for each in made:
        each.process.stop()


def answered(worker: Worker, generation: str) -> list[AnyEvent]:
    generate(worker.process, generation)
    return worker.desk.ended(generation)


def test_a_whole_answer_is_stored_before_its_outcome_says_so(start: Start) -> None:
    worker = start([Reasoning("Hm."), Chunk("Be"), Chunk("cause."), ToolUse("1", "look", {"a": 1}), *END])
    generation = worker.desk.make("Why?")
    outcome = answered(worker, generation)[-2]
    assert isinstance(outcome, Complete)
    assert outcome.stored
    kept = worker.check_kept(generation)
    assert (kept.answer.model, kept.answer.provider) == (worker.desk.settings.models.model_id, "stub")
    assert worker.desk.redis.keys("*unstored") == []


def test_the_outcome_comes_after_the_answer_is_there(start: Start) -> None:
    """The database is looked at by the very first who hears of the outcome."""
    worker = start([Chunk("Because."), *END])
    generation = worker.desk.make("Why?")
    seen: list[bool] = []
    conclude = worker.process.writer.notice

    def look(outbox: object) -> None:
        if not seen and any(isinstance(queued.event, Complete) for queued in outbox._queue):  # type: ignore[attr-defined]
            seen.append(True)
            looked.append(worker.kept(generation) is not None)
        conclude(outbox)  # pyright: ignore[reportArgumentType]

    looked: list[bool] = []
    worker.process.writer.notice = look
    answered(worker, generation)
    assert looked == [True]


def test_a_cancelled_and_a_failed_answer_are_stored_as_far_as_they_came(start: Start) -> None:
    worker = start([Chunk("Beca"), FOR_EVER], [Chunk("Bec")])
    generation = worker.desk.make("Why?")
    running = gevent.spawn(answered, worker, generation)
    wait_until(lambda: worker.desk.text(generation) == "Beca", "the text")
    worker.desk.cancel(generation)
    running.get(timeout=10)
    assert isinstance(worker.check_kept(generation).answer.outcome, Cancelled)
    failed = worker.desk.make("Why?")
    answered(worker, failed)
    assert isinstance(worker.check_kept(failed).answer.outcome, Error)
    assert worker.desk.redis.keys("*unstored") == []


def test_title_and_suggestions_are_stored_before_done(start: Start) -> None:
    suggest: Reply = WholeAnswer("", {"suggestions": ["And then?", "Who says so?", "Since when?"]}, Usage(1, 1))
    worker = start([Chunk("Because."), *END], replies={"suggest_questions": suggest}, suggestions=1)
    generation = worker.desk.make("Why?")
    generate(worker.process, generation)
    told = worker.desk.events(generation)
    assert isinstance(told[-2], Suggestions)
    assert worker.check_kept(generation).answer.suggestions == tuple(told[-2].suggestions)
    assert worker.desk.redis.keys("*unstored") == []


def test_what_belongs_to_no_conversation_is_not_stored(start: Start) -> None:
    worker = start([Chunk("Because."), *END])
    generation = worker.desk.make("Why?", is_turn=False)
    outcome = answered(worker, generation)[-2]
    assert isinstance(outcome, Complete)
    assert not outcome.stored
    assert worker.kept(generation) is None
    assert worker.desk.redis.keys("*unstored") == []


def test_a_deleted_conversation_stays_deleted(start: Start) -> None:
    worker = start([Chunk("Because."), *END])
    generation = worker.desk.make("Why?")
    conversation = worker.state(generation).conversation
    worker.database.run(lambda session: conversations.create_or_touch(session, "somebody", conversation))
    worker.database.run(lambda session: conversations.delete(session, "somebody", conversation))
    outcome = answered(worker, generation)[-2]
    assert isinstance(outcome, Complete)
    assert not outcome.stored
    assert worker.kept(generation) is None
    assert worker.desk.redis.keys("*unstored") == []


def test_row_38_while_the_database_is_away_the_answer_is_told_and_stored_once_it_is_back(start: Start) -> None:
    worker = start([Chunk("Because."), *END], database_seconds=0.2)
    generation = worker.desk.make("Why?")
    worker.process.archivist.stop()
    engine = make_engine(engine_url(worker.desk.settings.database.url), 1, 30)
    with engine.begin() as other:
        other.execute(text("DELETE FROM messages"))  # it holds the lock that every write needs
        outcome = answered(worker, generation)[-2]
        assert isinstance(outcome, Complete)
        assert not outcome.stored
        assert worker.kept(generation) is None
    engine.dispose()
    worker.process.archivist.look()
    kept = worker.kept(generation)
    assert kept
    assert kept.answer.content == "Because."
    assert kept.answer.outcome == replace(outcome, stored=True)
    assert not worker.desk.redis.exists("*unstored")


@pytest.mark.parametrize("takeover", ["restart", "continue"])
def test_a_whole_answer_that_is_stored_is_told_by_the_next_worker_with_no_second_call(
    start: Start, takeover: str
) -> None:
    worker = start([Chunk("never asked"), *END], takeover=takeover)
    generation = worker.desk.make("Why?")
    first = claim(worker.desk.redis, generation, worker.desk.settings)
    assert first
    outcome = Complete("live", "end_turn", Usage(3, 4), Latency(1, 2), "a-model", "bedrock", first.message, stored=True)
    question = messages.StoredQuestion(first.question, first.owner, first.conversation, "Why?")
    answer = StoredAnswer(
        *(first.message, generation, first.claim.epoch, worker.state(generation).top, "Because.", outcome),
        reasoning="Hm.",
    )
    assert worker.database.run(lambda session: answers.save_answer(session, question, answer))
    release(worker.desk.redis, first.claim, worker.desk.settings)
    _, *events = answered(worker, generation)
    assert events == [Snapshot("Because.", "Hm.", [], [], "takeover"), outcome, Done("completed")]
    assert worker.stub.prompts == []
    assert worker.check_kept(generation).answer.epoch > first.claim.epoch


def test_a_partial_one_that_is_stored_is_answered_anew(start: Start) -> None:
    worker = start([Chunk("Because."), *END])
    generation = worker.desk.make("Why?")
    first = claim(worker.desk.redis, generation, worker.desk.settings)
    assert first
    question = messages.StoredQuestion(first.question, first.owner, first.conversation, "Why?")
    cut = Cancelled("user", Usage())
    half = StoredAnswer(first.message, generation, first.claim.epoch, worker.state(generation).top, "Bec", cut)
    assert worker.database.run(lambda session: answers.save_answer(session, question, half))
    release(worker.desk.redis, first.claim, worker.desk.settings)
    answered(worker, generation)
    assert worker.check_kept(generation).answer.content == "Because."


def test_row_45_what_a_later_claim_has_stored_stands(start: Start) -> None:
    worker = start([Chunk("of the one that stood still"), *END])
    generation = worker.desk.make("Why?")
    outcome = Complete("live", "end_turn", Usage(3, 4), Latency(1, 2), "a-model", "bedrock", "m", stored=True)

    def successor_stores() -> None:
        state = worker.state(generation)
        question = messages.StoredQuestion(state.question, state.owner, state.conversation, "Why?")
        later = StoredAnswer(state.message, generation, 4_000_000_000, state.top, "the successor's", outcome)
        assert worker.database.run(lambda session: answers.save_answer(session, question, later))

    worker.stub.scripts = [[Chunk("of the one that stood still"), successor_stores, *END]]
    told = answered(worker, generation)[-2]
    assert isinstance(told, Complete)
    assert not told.stored
    kept = worker.kept(generation)
    assert kept
    assert kept.answer.content == "the successor's"


def test_what_redis_loses_of_the_end_is_stored_as_it_is_told_again(start: Start, valkey: ValkeyProcess) -> None:
    worker = start([Chunk("Because."), *END])
    generation = worker.desk.make("Why?")
    answered(worker, generation)
    before = worker.kept(generation)
    assert before
    worker.desk.redis.flushall()
    wait_until(
        lambda: worker.desk.redis.exists(f"mr:{{b{int(generation[:2], 16) % 64:02}}}:{generation}:log"), "the log"
    )
    worker.desk.ended(generation)
    wait_until(lambda: (kept := worker.kept(generation)) and kept.answer.epoch > before.answer.epoch, "the new claim's")
    worker.check_kept(generation)
