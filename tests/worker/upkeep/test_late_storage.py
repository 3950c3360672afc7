"""What has ended unstored is stored from its log, by whoever looks first."""

import logging
from collections.abc import Iterator

import gevent
import pytest
from sqlalchemy import text

from millrace.worker.contract.events import Cancelled
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.state import read_state
from millrace.worker.errors import DatabaseUnavailable, RedisUnavailable
from millrace.worker.store import answers, conversations
from millrace.worker.store.answers import AnswerRecord
from millrace.worker.store.database import Database, engine_url, make_engine
from millrace.worker.upkeep.late_storage import LateStorage
from tests.valkey import ValkeyProcess
from tests.worker.desk import Desk, wait_until


class Office:
    """A desk, and an archivist with its database."""

    def __init__(self, url: str) -> None:
        self.desk = Desk(url, database_seconds=0.3)
        self.database = Database(self.desk.settings)
        self.archivist = LateStorage(self.desk.redis, self.database)

    def end(self) -> str:
        """Make a generation and cancel it in the queue."""
        generation = self.desk.make("Why?")
        self.desk.cancel(generation)
        return generation

    def kept(self, generation: str) -> AnswerRecord | None:
        return self.database.run(lambda session: answers.find_answer_of_generation(session, generation), 20)

    def is_noted(self, generation: str) -> bool:
        return self.desk.redis.zscore(keys_of(generation).unstored, generation) is not None

    def let_time_come(self, generation: str) -> None:
        self.desk.redis.zadd(keys_of(generation).unstored, {generation: 1})


@pytest.fixture
def office(valkey: ValkeyProcess) -> Iterator[Office]:
    made = Office(valkey.url)
    yield made
    made.archivist.stop()
    made.database.close()


def test_what_ended_in_the_queue_is_stored_with_its_question(office: Office) -> None:
    generation = office.end()
    office.archivist.look()
    state = read_state(office.desk.redis, generation)
    kept = office.kept(generation)
    assert kept
    assert state
    assert isinstance(kept.answer.outcome, Cancelled)
    assert (kept.answer.id, kept.answer.content, kept.answer.last_event) == (state.message, "", state.top)
    assert (kept.question.id, kept.question.content) == (state.question, "Why?")
    assert (kept.question.owner, kept.question.conversation) == ("somebody", state.conversation)
    assert not office.is_noted(generation)


def test_it_looks_by_itself(office: Office) -> None:
    generation = office.end()
    office.archivist.start()
    wait_until(lambda: office.kept(generation) and not office.is_noted(generation), "the answer")


def test_any_number_may_look_at_once(office: Office) -> None:
    generations = [office.end() for _ in range(20)]
    looking = [gevent.spawn(LateStorage(office.desk.redis, office.database).look) for _ in range(5)]
    gevent.joinall(looking, raise_error=True)
    assert all(office.kept(generation) for generation in generations)
    assert not any(office.is_noted(generation) for generation in generations)


def test_while_the_database_is_away_it_stays_noted(office: Office) -> None:
    generation = office.end()
    engine = make_engine(engine_url(office.desk.settings.database.url), 1, 30)
    with engine.begin() as other:
        other.execute(text("DELETE FROM messages"))
        with pytest.raises(DatabaseUnavailable):
            office.archivist.look()
    engine.dispose()
    assert office.is_noted(generation)
    office.let_time_come(generation)
    office.archivist.look()
    assert office.kept(generation)
    assert not office.is_noted(generation)


def test_while_redis_is_away_it_says_so(office: Office, valkey: ValkeyProcess) -> None:
    valkey.stop()
    with pytest.raises(RedisUnavailable):
        office.archivist.look()


def test_one_whose_log_has_expired_is_given_up_and_the_log_says_so(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    generation = office.end()
    office.desk.redis.delete(keys_of(generation).log)
    with caplog.at_level(logging.ERROR):
        office.archivist.look()
    assert f"answer_not_stored generation={generation}" in caplog.text
    assert not office.is_noted(generation)


def test_one_that_can_not_be_stored_keeps_back_none_of_the_others(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    damaged, sound = office.end(), office.end()
    office.desk.redis.hset(keys_of(damaged).state, "request", "{")
    office.archivist.look()
    assert office.kept(sound)
    assert f"store_failed generation={damaged}" in caplog.text
    assert office.is_noted(damaged)


def test_a_deleted_conversation_is_not_brought_back(office: Office) -> None:
    generation = office.end()
    state = read_state(office.desk.redis, generation)
    assert state
    office.database.run(lambda session: conversations.create_or_touch(session, "somebody", state.conversation))
    office.database.run(lambda session: conversations.delete(session, "somebody", state.conversation))
    office.archivist.look()
    assert office.kept(generation) is None
    assert not office.is_noted(generation)
