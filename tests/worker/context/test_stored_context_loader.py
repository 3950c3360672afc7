"""The sources of one question share one transaction, and each of them raises its failure."""

from dataclasses import replace
from typing import Any

import gevent
import msgspec
import pytest
from sqlalchemy import event
from sqlalchemy.engine.interfaces import CacheStats

from millrace.worker.context.stored_context import ContextLoader
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import DatabaseUnavailable
from millrace.worker.settings.schema import Settings
from millrace.worker.store.database import Database
from tests.worker.context.harness import StoredConversation


def test_concurrent_loads_of_one_question_share_one_transaction(
    settings: Settings, conversation: StoredConversation
) -> None:
    transactions: list[object] = []
    event.listen(conversation.database._engine, "begin", transactions.append)
    loader, question = ContextLoader(settings, conversation.database), conversation.store_question("Why?")
    transactions.clear()
    stored = [greenlet.get() for greenlet in [gevent.spawn(loader.load, question) for _ in range(4)]]
    assert len(transactions) == 1
    assert all(each is stored[0] for each in stored)
    loader.load(question)
    assert len(transactions) == 2


def test_first_load_after_a_warm_up_compiles_no_statement(settings: Settings, conversation: StoredConversation) -> None:
    compiled: list[str] = []
    conversation.store_turn("One?", "Two.")
    question = conversation.store_question("Why?")
    engine = conversation.database._engine

    def record(*given: Any) -> None:
        if given[4].cache_hit is not CacheStats.CACHE_HIT:
            compiled.append(given[2])

    event.listen(engine, "before_cursor_execute", record)
    loader = ContextLoader(settings, conversation.database)
    engine._compiled_cache.clear()  # pyright: ignore[reportOptionalMemberAccess]
    loader.warm_up()
    assert len([each for each in compiled if each.startswith("SELECT")]) == 4
    compiled.clear()
    assert len(loader.load(question).turns) == 1
    assert not [each for each in compiled if each.startswith("SELECT")]


def test_question_that_opens_its_conversation_reads_nothing_of_it(
    settings: Settings, conversation: StoredConversation
) -> None:
    read: list[str] = []
    question = conversation.store_question("Why?")
    opening = replace(question, request=msgspec.structs.replace(question.request, opens_conversation=True))
    event.listen(conversation.database._engine, "before_cursor_execute", lambda *given: read.append(given[2]))
    assert ContextLoader(settings, conversation.database).load(opening).turns == []
    assert not any("conversations" in each or "messages" in each for each in read)
    read.clear()
    ContextLoader(settings, conversation.database).load(question)
    assert any("conversations" in each for each in read)


def test_warm_up_without_a_database_returns(settings: Settings, unmigrated_database: Database) -> None:
    ContextLoader(settings, unmigrated_database).warm_up()


def test_two_questions_are_loaded_separately(settings: Settings, conversation: StoredConversation) -> None:
    conversation.store_turn("One?", "Two.")
    loader, other = ContextLoader(settings, conversation.database), StoredConversation(conversation.database)
    first, second = [gevent.spawn(loader.load, each.store_question("Why?")) for each in (conversation, other)]
    assert (len(first.get().turns), len(second.get().turns)) == (1, 0)


def test_a_failure_reaches_every_waiting_greenlet_and_the_next_load_reads_again(
    settings: Settings, unmigrated_database: Database
) -> None:
    loader, question = (
        ContextLoader(settings, unmigrated_database),
        StoredConversation(unmigrated_database).question("Why?"),
    )
    greenlets = [gevent.spawn(loader.load, question) for _ in range(3)]
    gevent.joinall(greenlets)
    assert [type(each.exception) for each in greenlets] == [DatabaseUnavailable] * 3
    with pytest.raises(DatabaseUnavailable):
        loader.load(question)


def test_a_killed_load_leaves_nothing_behind(settings: Settings, conversation: StoredConversation) -> None:
    loader, question = ContextLoader(settings, conversation.database), conversation.store_question("Why?")
    killed = gevent.spawn(loader.load, question)
    gevent.sleep(0)
    killed.kill()
    assert loader.load(question).profile is None


def test_a_request_with_its_own_history_gets_no_turns_and_no_slots(
    settings: Settings, conversation: StoredConversation
) -> None:
    conversation.store_turn("One?", "Two.")
    own = (PromptMessage("user", "A?"), PromptMessage("assistant", "B."))
    stored = ContextLoader(settings, conversation.database).load(conversation.question("Why?", *own))
    assert (stored.turns, stored.slots) == ([], {})
