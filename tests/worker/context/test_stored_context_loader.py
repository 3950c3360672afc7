"""The sources of one question share one connection, and each of them raises its failure."""

from dataclasses import replace
from typing import Any

import gevent
import msgspec
import pytest
from sqlalchemy import event

from millrace.worker.context.stored_context import ContextLoader
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import DatabaseUnavailable
from millrace.worker.settings.schema import Settings
from millrace.worker.store import answers, conversations, memories, prepared, profiles
from millrace.worker.store.database import Database
from tests.worker.context.harness import StoredConversation


def test_concurrent_loads_of_one_question_share_one_connection(
    settings: Settings, conversation: StoredConversation
) -> None:
    checkouts: list[object] = []
    loader, question = ContextLoader(settings, conversation.database), conversation.store_question("Why?")
    event.listen(conversation.database._engine, "checkout", lambda *given: checkouts.append(given))
    stored = [greenlet.get() for greenlet in [gevent.spawn(loader.load, question) for _ in range(4)]]
    assert len(checkouts) == 1
    assert all(each is stored[0] for each in stored)
    loader.load(question)
    assert len(checkouts) == 2


def test_first_load_after_a_warm_up_compiles_no_statement(
    settings: Settings, conversation: StoredConversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []
    conversation.store_turn("One?", "Two.")
    question = conversation.store_question("Why?")

    class Recorded(prepared.CompiledQuery):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            compiled.append(self.sql)

    for query in (profiles._FIND, memories._SEARCH_SQLITE, conversations._FIND, answers._HISTORY):
        query._compiled.clear()
    monkeypatch.setattr(prepared, "CompiledQuery", Recorded)
    loader = ContextLoader(settings, conversation.database)
    loader.warm_up()
    assert len(compiled) == 4
    assert len(loader.load(question).turns) == 1
    assert len(compiled) == 4


def test_question_that_opens_its_conversation_reads_nothing_of_it(
    settings: Settings, conversation: StoredConversation
) -> None:
    read: list[str] = []
    question = conversation.store_question("Why?")
    opening = replace(question, request=msgspec.structs.replace(question.request, opens_conversation=True))
    event.listen(conversation.database._engine, "checkout", lambda *given: given[0].set_trace_callback(read.append))
    assert ContextLoader(settings, conversation.database).load(opening).turns == []
    assert any("profiles" in each for each in read)
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
