"""Messages: questions are saved once, pages keep the order of the conversation."""

from typing import Any

import pytest
from sqlalchemy import Executable, event
from sqlalchemy.orm import Session

from millrace.worker.contract.ids import new_id
from millrace.worker.store import answers, conversations, messages
from millrace.worker.store.database import Database
from millrace.worker.store.messages import StoredQuestion
from tests.worker.store.samples import answer, question

HOSTILE = "\0 \r\n \u2028 \ud800 \udc00 😀 \\u0000 \\ ' \" שלום"


def contents(database: Database, conversation: str, owner: str = "ada") -> list[str]:
    page = database.run(lambda session: messages.page(session, owner, conversation, None, 9))
    return [message.content for message in page.items]


def test_question_of_any_text_is_saved_once(database: Database) -> None:
    asked = question(HOSTILE)
    assert database.run(lambda session: messages.save_question(session, asked))
    assert database.run(lambda session: messages.save_question(session, asked))
    page = database.run(lambda session: messages.page(session, "ada", asked.conversation, None, 9))
    assert [(each.role, each.content, each.parent) for each in page.items] == [("user", HOSTILE, None)]


def test_question_in_another_users_conversation_is_not_saved(database: Database) -> None:
    asked = question()
    database.run(lambda session: messages.save_question(session, asked))
    foreign = question("mine now", asked.conversation, "eve")
    assert not database.run(lambda session: messages.save_question(session, foreign))
    assert contents(database, asked.conversation, "eve") == []
    assert len(contents(database, asked.conversation)) == 1


def test_a_turn_is_stored_in_few_statements_that_are_built_once(database: Database) -> None:
    """Building a statement takes several times as long as running it, while a client waits for the first text."""

    def store(session: Session) -> list[Executable]:
        run: list[Executable] = []

        def record(*given: Any) -> None:
            run.append(given[4].invoked_statement)

        connection, asked = session.connection(), question()
        event.listen(connection, "before_cursor_execute", record)
        messages.save_question(session, asked)
        answers.save_answer(session, asked, answer())
        event.remove(connection, "before_cursor_execute", record)
        return run

    first, second = database.run(store), database.run(store)
    assert [id(each) for each in first] == [id(each) for each in second]
    assert len(first) == 2 + 2 + 2  # the question, once more with its answer, and the answer


def test_pages_go_from_newest_to_oldest_and_keep_the_order_within_a_page(database: Database) -> None:
    first = question("q0")
    questions = [first, *(question(f"q{number}", first.conversation) for number in (1, 2, 3))]
    for number, asked in enumerate(questions):
        database.run(lambda session, asked=asked: messages.save_question(session, asked))
        saved = answer(f"a{number}", outcome=answer().outcome)
        database.run(lambda session, asked=asked, saved=saved: answers.save_answer(session, asked, saved))
    again = answer("a1 again")
    database.run(lambda session: answers.save_answer(session, questions[1], again))
    pages: list[list[str]] = []
    cursor: str | None = None
    while True:
        page = database.run(lambda session, at=cursor: messages.page(session, "ada", first.conversation, at, 3))
        pages.append([each.content for each in page.items])
        cursor = page.next_cursor
        if cursor is None:
            break
    assert pages == [["a2", "q3", "a3"], ["a1", "a1 again", "q2"], ["q0", "a0", "q1"]]


def test_page_ends_before_the_message_that_exceeds_its_bytes_but_holds_one(database: Database) -> None:
    conversation = new_id()
    texts = ["\u00e9" * size for size in (100, 5000, 100, 100)]
    for text in texts:
        question = StoredQuestion(new_id(), "ada", conversation, text)
        assert database.run(lambda session, asked=question: messages.save_question(session, asked))
    pages: list[list[str]] = []
    cursor: str | None = None
    while not pages or cursor:
        page = database.run(
            lambda session, at=cursor: messages.page(session, "ada", conversation, at, 9, max_bytes=1000)
        )
        pages.append([each.content for each in page.items])
        cursor = page.next_cursor
    assert pages == [texts[2:], texts[1:2], texts[:1]]


@pytest.mark.parametrize("cursor", ["", "x", "1-a", "999999999999-0", "0-99999999999", f"0-{2**31}"])
def test_cursor_that_is_no_position_in_a_conversation_is_rejected(database: Database, cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        database.run(lambda session: messages.page(session, "ada", "0" * 32, cursor, 9))


def test_cursor_of_the_highest_position_is_accepted(database: Database) -> None:
    last = f"{2**31 - 1}-{2**31 - 1}"
    assert database.run(lambda session: messages.page(session, "ada", "0" * 32, last, 9)).items == []


def test_question_of_an_answer_is_found_by_its_owner_only(database: Database) -> None:
    asked, saved = question(), answer()
    database.run(lambda session: answers.save_answer(session, asked, saved))
    found = database.run(lambda session: messages.find_question(session, "ada", asked.conversation, saved.id))
    assert found == asked
    for owner, message in (("eve", saved.id), ("ada", asked.id), ("ada", "0" * 32)):
        assert not database.run(
            lambda session, o=owner, m=message: messages.find_question(session, o, asked.conversation, m)
        )


@pytest.mark.parametrize("is_opening", [True, False])
def test_unanswered_question_is_deleted_with_the_conversation_it_opened(database: Database, is_opening: bool) -> None:
    asked = question()

    def exists() -> bool:
        return database.run(lambda session: conversations.find(session, "ada", asked.conversation)) is not None

    def delete(owner: str) -> None:
        database.run(
            lambda session: messages.delete_unanswered(
                session, owner, asked.conversation, asked.id, is_opening=is_opening
            )
        )

    database.run(lambda session: messages.save_question(session, asked))
    delete("eve")
    assert contents(database, asked.conversation) == ["why?"]
    delete("ada")
    assert contents(database, asked.conversation) == []
    assert exists() is not is_opening


def test_answered_question_and_used_conversation_are_not_deleted(database: Database) -> None:
    asked = question()
    unanswered = question("and then?", asked.conversation)
    database.run(lambda session: answers.save_answer(session, asked, answer()))
    database.run(lambda session: messages.save_question(session, unanswered))
    for each in (asked, unanswered):
        database.run(
            lambda session, each=each: messages.delete_unanswered(
                session, "ada", each.conversation, each.id, is_opening=True
            )
        )
    assert contents(database, asked.conversation) == ["why?", "because"]


def test_deleted_answer_takes_its_question_and_an_empty_conversation_with_it(database: Database) -> None:
    asked, following = question(), None
    first, second = answer(), answer(id=new_id(), generation=new_id())
    for each in (first, second):
        assert database.run(lambda session, each=each: answers.save_answer(session, asked, each))
    following = question("and then?", asked.conversation)
    later = answer(id=new_id(), generation=new_id(), content="so")
    assert database.run(lambda session: answers.save_answer(session, following, later))

    def delete(owner: str, generation: str) -> list[str]:
        database.run(lambda session: messages.delete_answer(session, owner, asked.conversation, generation, ""))
        return contents(database, asked.conversation)

    assert len(delete("eve", first.generation)) == 5
    assert delete("ada", first.generation) == ["why?", "because", "and then?", "so"]
    assert delete("ada", second.generation) == ["and then?", "so"]
    assert delete("ada", second.generation) == ["and then?", "so"]
    assert delete("ada", later.generation) == []
    assert database.run(lambda session: conversations.find(session, "ada", asked.conversation)) is None
