"""Conversations in the database."""

import pytest

from millrace.worker.contract.ids import new_id
from millrace.worker.store import answers, conversations, memories, messages
from millrace.worker.store.database import Database
from tests.worker.store.samples import answer, question


def make(database: Database, owner: str = "ada") -> str:
    conversation = new_id()
    assert database.run(lambda session: conversations.create_or_touch(session, owner, conversation))
    return conversation


def test_a_conversation_is_made_once_and_is_its_owners(database: Database) -> None:
    made = make(database)
    assert database.run(lambda session: conversations.create_or_touch(session, "ada", made))
    assert not database.run(lambda session: conversations.create_or_touch(session, "eve", made))
    found = database.run(lambda session: conversations.find(session, "ada", made))
    assert found
    assert (found.id, found.owner, found.title, found.context) == (made, "ada", None, {})
    assert database.run(lambda session: conversations.find(session, "eve", made)) is None


def test_they_are_listed_from_the_one_that_changed_last_on(database: Database) -> None:
    made = [make(database) for _ in range(5)]
    make(database, "eve")
    database.run(lambda session: conversations.create_or_touch(session, "ada", made[0]))
    listed: list[str] = []
    before: str | None = None
    for count in (2, 2, 1):
        page = database.run(lambda session, mark=before: conversations.page(session, "ada", mark, 2))
        assert len(page.items) == count
        listed += [each.id for each in page.items]
        before = page.next_cursor
    assert before is None
    assert listed[0] == made[0]
    assert sorted(listed) == sorted(made)


@pytest.mark.parametrize("cursor", ["", "x", "1", "1-", "1-ä", "1-2-3", "٣-1"])
def test_what_is_no_cursor_is_refused(database: Database, cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        database.run(lambda session: conversations.page(session, "ada", cursor, 2))


def test_a_title_of_the_models_never_replaces_one_that_is_there(database: Database) -> None:
    made = make(database)
    assert database.run(lambda session: conversations.set_title_if_untitled(session, "ada", made, "by the model"))
    assert database.run(lambda session: conversations.rename(session, "ada", made, "mine \0 \ud800"))
    assert not database.run(lambda session: conversations.set_title_if_untitled(session, "ada", made, "by the model"))
    assert not database.run(lambda session: conversations.rename(session, "eve", made, "hers"))
    found = database.run(lambda session: conversations.find(session, "ada", made))
    assert found
    assert found.title == "mine \0 \ud800"


def test_its_context_is_replaced_and_merged_by_its_owner_only(database: Database) -> None:
    made = make(database)
    assert database.run(
        lambda session: conversations.replace_context(session, "ada", made, {"city": "Tokyo", "for": 2})
    )
    merged = database.run(
        lambda session: conversations.merge_context(session, "ada", made, {"for": None, "day": "Friday\0"})
    )
    assert merged == {"city": "Tokyo", "day": "Friday\0"}
    assert database.run(lambda session: conversations.merge_context(session, "eve", made, {"x": 1})) is None
    assert not database.run(lambda session: conversations.replace_context(session, "eve", made, {}))
    found = database.run(lambda session: conversations.find(session, "ada", made))
    assert found
    assert found.context == merged


def test_a_deleted_one_is_gone_with_its_messages_and_can_not_be_brought_back(database: Database) -> None:
    asked, said = question(), answer()
    database.run(lambda session: answers.save_answer(session, asked, said))
    database.run(lambda session: memories.add(session, "ada", "has a dog", asked.conversation))
    assert not database.run(lambda session: conversations.delete(session, "eve", asked.conversation))
    assert database.run(lambda session: conversations.delete(session, "ada", asked.conversation))
    assert not database.run(lambda session: conversations.delete(session, "ada", asked.conversation))
    assert database.run(lambda session: conversations.find(session, "ada", asked.conversation)) is None
    assert database.run(lambda session: answers.find_answer(session, said.id)) is None
    assert not database.run(lambda session: answers.save_answer(session, asked, said))
    assert not database.run(lambda session: messages.save_question(session, asked))
    assert database.run(lambda session: messages.page(session, "ada", asked.conversation, None, 9)).items == []
    assert len(database.run(lambda session: memories.page(session, "ada", None, 9)).items) == 1
