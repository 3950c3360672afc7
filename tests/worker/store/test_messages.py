"""Questions, and the order of all that a conversation holds."""

import pytest

from millrace.worker.store import answers, messages
from millrace.worker.store.database import Database
from tests.worker.store.samples import answer, question

HOSTILE = "\0 \r\n \u2028 \ud800 \udc00 😀 \\u0000 \\ ' \" שלום"


def test_a_question_is_kept_once_with_any_text(database: Database) -> None:
    asked = question(HOSTILE)
    assert database.run(lambda session: messages.save_question(session, asked))
    assert database.run(lambda session: messages.save_question(session, asked))
    page = database.run(lambda session: messages.page(session, "ada", asked.conversation, None, 9))
    assert [(each.role, each.content, each.parent) for each in page.items] == [("user", HOSTILE, None)]


def test_a_question_in_somebody_elses_conversation_is_not_kept(database: Database) -> None:
    asked = question()
    database.run(lambda session: messages.save_question(session, asked))
    foreign = question("mine now", asked.conversation, "eve")
    assert not database.run(lambda session: messages.save_question(session, foreign))
    assert database.run(lambda session: messages.page(session, "eve", asked.conversation, None, 9)).items == []
    assert len(database.run(lambda session: messages.page(session, "ada", asked.conversation, None, 9)).items) == 1


def test_pages_go_from_the_newest_back_each_in_the_order_of_the_talk(database: Database) -> None:
    first = question("q0")
    asked = [first, *(question(f"q{number}", first.conversation) for number in (1, 2, 3))]
    for number, each in enumerate(asked):
        database.run(lambda session, each=each: messages.save_question(session, each))
        said = answer(f"a{number}", outcome=answer().outcome)
        database.run(lambda session, each=each, said=said: answers.save_answer(session, each, said))
    again = answer("a1 again")
    database.run(lambda session: answers.save_answer(session, asked[1], again))
    pages: list[list[str]] = []
    before: str | None = None
    while True:
        page = database.run(lambda session, mark=before: messages.page(session, "ada", first.conversation, mark, 3))
        pages.append([each.content for each in page.items])
        before = page.next_cursor
        if before is None:
            break
    assert pages == [["a2", "q3", "a3"], ["a1", "a1 again", "q2"], ["q0", "a0", "q1"]]


@pytest.mark.parametrize("cursor", ["", "x", "1-a", "999999999999-0", "0-99999999999", f"0-{2**31}"])
def test_what_is_no_place_in_a_conversation_is_refused(database: Database, cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        database.run(lambda session: messages.page(session, "ada", "0" * 32, cursor, 9))


def test_the_highest_place_is_one(database: Database) -> None:
    last = f"{2**31 - 1}-{2**31 - 1}"
    assert database.run(lambda session: messages.page(session, "ada", "0" * 32, last, 9)).items == []


def test_an_answers_question_is_found_to_be_asked_once_more(database: Database) -> None:
    asked, said = question(), answer()
    database.run(lambda session: answers.save_answer(session, asked, said))
    found = database.run(lambda session: messages.find_question(session, "ada", asked.conversation, said.id))
    assert found == asked
    for owner, message in (("eve", said.id), ("ada", asked.id), ("ada", "0" * 32)):
        assert not database.run(
            lambda session, o=owner, m=message: messages.find_question(session, o, asked.conversation, m)
        )
