"""Edits: a question and all that follows it make room for a new question, also where an answer is still on its way."""

from sqlalchemy import update
from sqlalchemy.orm import Session

from millrace.worker.contract.events import Link
from millrace.worker.contract.ids import new_id
from millrace.worker.store import answers, conversations, messages
from millrace.worker.store.answers import StoredAnswer
from millrace.worker.store.conversations import TOMBSTONE_MS
from millrace.worker.store.database import Database
from millrace.worker.store.edits import Replaced, find_turn, replace_turns
from millrace.worker.store.messages import StoredQuestion
from millrace.worker.store.tables import RemovedQuestionRow
from tests.worker.store.samples import answer, question

Turn = tuple[StoredQuestion, StoredAnswer]
NOTHING = Replaced(frozenset(), frozenset())


def make_turns(database: Database, count: int, conversation: str) -> list[Turn]:
    turns = [(question(f"q{number}", conversation), answer(f"a{number}")) for number in range(count)]
    for each in turns:
        assert database.run(lambda session, each=each: answers.save_answer(session, *each))
    return turns


def contents(database: Database, conversation: str) -> list[str]:
    def read(session: Session) -> list[str]:
        return [each.content for each in messages.page(session, "ada", conversation, None, 100).items]

    return database.run(read)


def test_question_its_answers_and_all_later_turns_are_replaced(database: Database) -> None:
    conversation = new_id()
    first, second, third = make_turns(database, 3, conversation)
    again = answer("a1 again")
    assert database.run(lambda session: answers.save_answer(session, second[0], again))
    edited = question("q1, edited", conversation)
    replaced = database.run(lambda session: replace_turns(session, edited, second[0].id))
    assert replaced == Replaced(
        frozenset({second[0].id, third[0].id}),
        frozenset({second[1].generation, again.generation, third[1].generation}),
    )
    assert contents(database, conversation) == ["q0", "a0", "q1, edited"]
    assert database.run(lambda session: answers.read_history(session, conversation, edited.id, 10)) == [
        answers.HistoryTurn("q0", "a0")
    ]
    assert database.run(lambda session: replace_turns(session, edited, second[0].id)) == NOTHING, "repeated"
    last = question("from the start", conversation)
    replaced = database.run(lambda session: replace_turns(session, last, first[1].id))
    assert replaced is not None
    assert replaced.questions == {first[0].id, edited.id}
    assert contents(database, conversation) == ["from the start"]


def test_late_answer_to_a_replaced_question_is_refused(database: Database) -> None:
    conversation = new_id()
    make_turns(database, 1, conversation)
    asked, unstored = question("asked", conversation), question("not stored yet", conversation)
    assert database.run(lambda session: messages.save_question(session, asked))
    edited = question("edited", conversation)
    replaced = database.run(lambda session: replace_turns(session, edited, asked.id, unstored.id))
    assert replaced == Replaced(frozenset({asked.id, unstored.id}), frozenset())
    for each in (asked, unstored):
        assert not database.run(lambda session, each=each: answers.save_answer(session, each, answer("late")))
    assert contents(database, conversation) == ["q0", "a0", "edited"]
    reply = answer("reply", sources=(Link("A page", "https://example.com/"),))
    assert database.run(lambda session: answers.save_answer(session, edited, reply))
    found = database.run(lambda session: messages.page(session, "ada", conversation, None, 1)).items
    assert found[0].sources == (Link("A page", "https://example.com/"),)


def test_latest_question_stays_where_an_earlier_turn_was_answered_again_and_a_later_one_is_edited(
    database: Database,
) -> None:
    conversation = new_id()
    first, second = make_turns(database, 2, conversation)
    edited = question("edited", conversation)
    replaced = database.run(lambda session: replace_turns(session, edited, second[0].id, first[0].id))
    assert replaced is not None
    assert replaced.questions == {second[0].id}
    assert database.run(lambda session: answers.save_answer(session, first[0], answer("a0 again")))
    assert contents(database, conversation) == ["q0", "a0", "a0 again", "edited"]


def test_edit_of_a_conversation_that_is_not_stored_yet_stores_it(database: Database) -> None:
    conversation, unstored = new_id(), new_id()
    edited = question("edited", conversation)
    replaced = database.run(lambda session: replace_turns(session, edited, unstored, unstored))
    assert replaced == Replaced(frozenset({unstored}), frozenset())
    assert contents(database, conversation) == ["edited"]


def test_edit_that_was_interrupted_keeps_the_answer_that_a_worker_has_stored(database: Database) -> None:
    conversation = new_id()
    (first,) = make_turns(database, 1, conversation)
    edited, reply = question("edited", conversation), answer("reply")
    assert database.run(lambda session: answers.save_answer(session, edited, reply))
    replaced = database.run(lambda session: replace_turns(session, edited, first[0].id))
    assert replaced == Replaced(frozenset({first[0].id}), frozenset({first[1].generation}))
    assert contents(database, conversation) == ["edited", "reply"]


def test_absent_foreign_and_deleted_messages_change_nothing(database: Database) -> None:
    conversation, others = new_id(), new_id()
    (first,) = make_turns(database, 1, conversation)
    (other,) = make_turns(database, 1, others)
    for message in (new_id(), other[0].id):
        edited = question("edited", conversation)
        assert database.run(lambda session, e=edited, m=message: replace_turns(session, e, m)) is None
    foreign = question("edited", conversation, owner="eve")
    assert database.run(lambda session: replace_turns(session, foreign, first[0].id)) is None
    assert database.run(lambda session: find_turn(session, "eve", conversation, first[0].id)) is None
    assert contents(database, conversation) == ["q0", "a0"]
    assert database.run(lambda session: conversations.delete(session, "ada", conversation))
    edited = question("edited", conversation)
    assert database.run(lambda session: replace_turns(session, edited, first[0].id)) is None
    assert database.run(lambda session: replace_turns(session, edited, first[0].id, first[0].id)) is None
    assert contents(database, conversation) == []


def test_ids_of_replaced_questions_are_dropped_after_a_day(database: Database) -> None:
    conversation = new_id()
    (first,) = make_turns(database, 1, conversation)
    edited, later = question("edited", conversation), question("later", conversation)
    assert database.run(lambda session: replace_turns(session, edited, first[0].id))
    age = update(RemovedQuestionRow).values(removed_ms=RemovedQuestionRow.removed_ms - TOMBSTONE_MS - 1000)
    database.run(lambda session: session.execute(age))
    assert database.run(lambda session: replace_turns(session, later, edited.id))
    left = database.run(lambda session: [each.id for each in session.query(RemovedQuestionRow)])
    assert left == [edited.id]
