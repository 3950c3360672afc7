"""Conversations: ownership, order, titles, JSON context and deletion."""

import pytest

from millrace.worker.contract.ids import new_id
from millrace.worker.store import answers, conversations, memories, messages
from millrace.worker.store.database import Database
from tests.worker.store.samples import answer, question


def create(database: Database, owner: str = "ada") -> str:
    conversation = new_id()
    assert database.run(lambda session: conversations.create_or_touch(session, owner, conversation))
    return conversation


def test_conversation_is_created_once_and_belongs_to_its_owner(database: Database) -> None:
    created = create(database)
    assert database.run(lambda session: conversations.create_or_touch(session, "ada", created))
    assert not database.run(lambda session: conversations.create_or_touch(session, "eve", created))
    found = database.run(lambda session: conversations.find(session, "ada", created))
    assert found
    assert (found.id, found.owner, found.title, found.context) == (created, "ada", None, {})
    assert database.run(lambda session: conversations.find(session, "eve", created)) is None


def test_conversations_are_listed_by_last_update_newest_first(database: Database) -> None:
    created = [create(database) for _ in range(5)]
    create(database, "eve")
    database.run(lambda session: conversations.create_or_touch(session, "ada", created[0]))
    listed: list[str] = []
    cursor: str | None = None
    for count in (2, 2, 1):
        page = database.run(lambda session, cursor=cursor: conversations.page(session, "ada", cursor, 2))
        assert len(page.items) == count
        listed += [each.id for each in page.items]
        cursor = page.next_cursor
    assert cursor is None
    assert listed[0] == created[0]
    assert sorted(listed) == sorted(created)


@pytest.mark.parametrize("cursor", ["", "x", "1", "1-", "1-ä", "1-2-3", "٣-1"])
def test_malformed_cursor_is_rejected(database: Database, cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        database.run(lambda session: conversations.page(session, "ada", cursor, 2))


def test_title_of_the_model_never_replaces_an_existing_one(database: Database) -> None:
    created = create(database)
    assert database.run(lambda s: conversations.set_title_if_untitled(s, "ada", created, "by the model"))
    assert database.run(lambda s: conversations.rename(s, "ada", created, "mine \0 \ud800"))
    assert not database.run(lambda s: conversations.set_title_if_untitled(s, "ada", created, "by the model"))
    assert not database.run(lambda s: conversations.rename(s, "eve", created, "hers"))
    found = database.run(lambda s: conversations.find(s, "ada", created))
    assert found
    assert found.title == "mine \0 \ud800"


def test_context_is_replaced_and_merged_by_its_owner_only(database: Database) -> None:
    created = create(database)
    assert database.run(lambda s: conversations.replace_context(s, "ada", created, {"city": "Tokyo", "for": 2}))
    merged = database.run(lambda s: conversations.merge_context(s, "ada", created, {"for": None, "day": "Friday\0"}))
    assert merged == {"city": "Tokyo", "day": "Friday\0"}
    assert database.run(lambda s: conversations.merge_context(s, "eve", created, {"x": 1})) is None
    assert not database.run(lambda s: conversations.replace_context(s, "eve", created, {}))
    found = database.run(lambda s: conversations.find(s, "ada", created))
    assert found
    assert found.context == merged


def test_merge_that_exceeds_the_context_limit_changes_nothing(database: Database) -> None:
    created = create(database)
    database.run(lambda s: conversations.merge_context(s, "ada", created, {"city": "Tokyo"}))
    large = "x" * conversations.MAX_CONTEXT_CHARS
    with pytest.raises(conversations.ContextFull):
        database.run(lambda s: conversations.merge_context(s, "ada", created, {"large": large}))
    found = database.run(lambda s: conversations.find(s, "ada", created))
    assert found
    assert found.context == {"city": "Tokyo"}


def test_deleted_conversation_loses_its_messages_and_cannot_be_recreated(database: Database) -> None:
    asked, saved = question(), answer()
    database.run(lambda session: answers.save_answer(session, asked, saved))
    database.run(lambda session: memories.add(session, "ada", "has a dog", asked.conversation))
    assert not database.run(lambda session: conversations.delete(session, "eve", asked.conversation))
    assert database.run(lambda session: conversations.delete(session, "ada", asked.conversation))
    assert not database.run(lambda session: conversations.delete(session, "ada", asked.conversation))
    assert database.run(lambda session: conversations.find(session, "ada", asked.conversation)) is None
    assert database.run(lambda session: answers.find_answer(session, saved.id)) is None
    assert not database.run(lambda session: answers.save_answer(session, asked, saved))
    assert not database.run(lambda session: messages.save_question(session, asked))
    assert database.run(lambda session: messages.page(session, "ada", asked.conversation, None, 9)).items == []
    assert len(database.run(lambda session: memories.page(session, "ada", None, 9)).items) == 1
