"""Answers that ended without being stored are stored from their logs, by any worker."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import gevent
import pytest
from sqlalchemy import text

from millrace.worker.contract.events import (
    Cancelled,
    Chunk,
    Complete,
    ContextEvent,
    Latency,
    Link,
    Reasoning,
    Suggestions,
    ToolUse,
    Usage,
)
from millrace.worker.contract.ids import Cursor, bucket_of
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.request import ModelRequest, PromptMessage
from millrace.worker.contract.state import read_state
from millrace.worker.contract.transcript import fold
from millrace.worker.errors import DatabaseUnavailable, RedisUnavailable
from millrace.worker.store import answers, conversations
from millrace.worker.store.answers import AnswerRecord
from millrace.worker.store.database import Database, engine_url, make_engine
from millrace.worker.upkeep.late_storage import LateStorage, make_stored_answer
from tests.valkey import ValkeyProcess
from tests.worker.harness import WorkerHarness, wait_until

REQUEST = ModelRequest([PromptMessage("user", "Why?")], "asked-model", 100)
IDS: Any = {"message": "m", "generation": "g"}
PAGE = Link("A page", "https://example.com/")
TRANSCRIPT = fold(
    [
        ContextEvent([PAGE], 0, 0, 0, 0),
        Reasoning("Hm."),
        Chunk("Because."),
        ToolUse("1", "look", {}),
        Suggestions(["And then?"]),
    ]
)


class LateStorageHarness:
    """Late storage with a database, not started, and generations that ended without being stored."""

    def __init__(self, url: str) -> None:
        self.harness = WorkerHarness(url, database_seconds=2)
        self.database = Database(self.harness.settings)
        self.late_storage = LateStorage(Streams(self.harness.redis), self.database)

    def create_ended(self) -> str:
        """Create a generation, and cancel it before a worker claims it."""
        generation = self.harness.create_generation("Why?")
        self.harness.cancel(generation)
        return generation

    def stored(self, generation: str) -> AnswerRecord | None:
        return self.database.run(lambda session: answers.find_answer_of_generation(session, generation), 20)

    def is_pending(self, generation: str) -> bool:
        return self.harness.redis.zscore(keys_of(generation).unstored, generation) is not None

    def make_due(self, generation: str) -> None:
        self.harness.redis.zadd(keys_of(generation).unstored, {generation: 1})


@pytest.fixture
def storage(valkey: ValkeyProcess) -> Iterator[LateStorageHarness]:
    opened = LateStorageHarness(valkey.url)
    yield opened
    opened.late_storage.stop()
    opened.database.close()


def test_an_answer_cancelled_in_the_queue_is_stored_with_its_question(storage: LateStorageHarness) -> None:
    generation = storage.create_ended()
    storage.late_storage.store_due()
    state = read_state(Streams(storage.harness.redis), generation)
    record = storage.stored(generation)
    assert record
    assert state
    assert isinstance(record.answer.outcome, Cancelled)
    assert (record.answer.id, record.answer.content, record.answer.last_event) == (state.message, "", state.top)
    assert (record.question.id, record.question.content) == (state.question, "Why?")
    assert (record.question.owner, record.question.conversation) == ("somebody", state.conversation)
    assert not storage.is_pending(generation)


def test_a_started_task_stores_by_itself(storage: LateStorageHarness) -> None:
    generation = storage.create_ended()
    storage.late_storage.start()
    wait_until(lambda: storage.stored(generation) and not storage.is_pending(generation), "the answer")


def test_concurrent_late_storage_stores_every_answer(storage: LateStorageHarness) -> None:
    generations = [storage.create_ended() for _ in range(20)]
    storing = [gevent.spawn(LateStorage(Streams(storage.harness.redis), storage.database).store_due) for _ in range(5)]
    gevent.joinall(storing, raise_error=True)
    assert all(storage.stored(generation) for generation in generations)
    assert not any(storage.is_pending(generation) for generation in generations)


def test_an_answer_stays_pending_while_the_database_is_unavailable(storage: LateStorageHarness) -> None:
    generation = storage.create_ended()
    engine = make_engine(engine_url(storage.harness.settings.database.url), 1, 30)
    with engine.begin() as other:
        other.execute(text("DELETE FROM messages"))
        with pytest.raises(DatabaseUnavailable):
            storage.late_storage.store_due()
    engine.dispose()
    assert storage.is_pending(generation)
    storage.make_due(generation)
    storage.late_storage.store_due()
    assert storage.stored(generation)
    assert not storage.is_pending(generation)


def test_an_unavailable_redis_raises_redis_unavailable(storage: LateStorageHarness, valkey: ValkeyProcess) -> None:
    valkey.stop()
    with pytest.raises(RedisUnavailable):
        storage.late_storage.store_due()


def test_an_answer_whose_log_has_expired_is_given_up_and_logged(
    storage: LateStorageHarness, caplog: pytest.LogCaptureFixture
) -> None:
    generation = storage.create_ended()
    storage.harness.redis.delete(keys_of(generation).log)
    with caplog.at_level(logging.ERROR):
        storage.late_storage.store_due()
    assert f"answer_not_stored generation={generation}" in caplog.text
    assert not storage.is_pending(generation)


def test_an_answer_that_cannot_be_stored_does_not_hold_up_the_others(
    storage: LateStorageHarness, caplog: pytest.LogCaptureFixture
) -> None:
    damaged, foreign, sound = storage.create_ended(), storage.create_ended(), storage.create_ended()
    redis = storage.harness.redis
    redis.hset(keys_of(damaged).state, "request", "{")
    redis.set(keys_of(foreign).log, "not a stream")
    storage.late_storage.store_due()
    assert storage.stored(sound)
    assert f"generation_unreadable generation={damaged} verdict=postponed" in caplog.text
    assert storage.is_pending(damaged), "a newer version may be able to read it"
    assert not redis.exists(*keys_of(foreign)[:2])


def test_an_answer_that_the_database_rejects_does_not_hold_up_the_others_for_long(storage: LateStorageHarness) -> None:
    first, *others = sorted((storage.create_ended() for _ in range(6)), key=lambda each: (bucket_of(each), each))
    storage.database.run(
        lambda session: session.execute(
            text(
                f"CREATE TRIGGER rejecting BEFORE INSERT ON messages WHEN NEW.generation = '{first}' "
                "BEGIN SELECT RAISE(ABORT, 'rejected'); END"
            )
        )
    )
    for _ in range(100):
        with suppress(DatabaseUnavailable):
            storage.late_storage.store_due()
        left = [each for each in others if storage.is_pending(each)]
        if not left:
            break
        for each in (first, *left):
            storage.make_due(each)
    assert all(storage.stored(each) for each in others)
    assert storage.is_pending(first)
    assert storage.stored(first) is None


def test_a_deleted_conversation_is_not_restored(storage: LateStorageHarness) -> None:
    generation = storage.create_ended()
    state = read_state(Streams(storage.harness.redis), generation)
    assert state
    storage.database.run(lambda session: conversations.create_or_touch(session, "somebody", state.conversation))
    storage.database.run(lambda session: conversations.delete(session, "somebody", state.conversation))
    storage.late_storage.store_due()
    assert storage.stored(generation) is None
    assert not storage.is_pending(generation)


def test_a_complete_answer_is_marked_as_stored_and_names_the_model_that_gave_it() -> None:
    outcome = Complete("live", "end_turn", Usage(3, 4), Latency(1, 2), "a-model", "bedrock", "m", stored=False)
    answer = make_stored_answer(TRANSCRIPT, outcome, Cursor(7, 9), REQUEST, **IDS)
    assert (answer.content, answer.reasoning, answer.suggestions) == ("Because.", "Hm.", ("And then?",))
    assert answer.tools == ({"id": "1", "name": "look", "input": {}},)
    assert answer.sources == (PAGE,)
    assert (answer.epoch, answer.last_event) == (7, Cursor(7, 9))
    assert isinstance(answer.outcome, Complete)
    assert answer.outcome.stored
    assert (answer.model, answer.provider) == ("a-model", "bedrock")


def test_an_incomplete_answer_names_who_gave_it_or_else_the_model_that_was_asked() -> None:
    for cancelled, expected in (
        (Cancelled("user", Usage()), ("asked-model", None)),
        (Cancelled("user", Usage(), "a-model", "bedrock"), ("a-model", "bedrock")),
    ):
        answer = make_stored_answer(TRANSCRIPT, cancelled, Cursor(7, 9), REQUEST, **IDS)
        assert (answer.outcome, answer.model, answer.provider) == (cancelled, *expected)
