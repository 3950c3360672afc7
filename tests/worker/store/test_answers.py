"""Answers: once, by the newest claim, and what a prompt is told of them."""

from dataclasses import replace

import pytest

from millrace.worker.contract.events import Cancelled, Error, Usage
from millrace.worker.contract.ids import Cursor
from millrace.worker.store import answers, conversations, messages
from millrace.worker.store.answers import HistoryTurn
from millrace.worker.store.database import Database
from tests.worker.store.samples import answer, question
from tests.worker.store.test_messages import HOSTILE

CUT = Cancelled("user", Usage(1, 2, exact=False))
FAILED = Error("provider_timeout", "The model has said nothing.", retryable=True)


def test_an_answer_comes_back_as_it_was_with_its_question_and_title(database: Database) -> None:
    asked = question(HOSTILE)
    said = answer(
        *(HOSTILE, 7),
        model="a-model",
        provider="bedrock",
        reasoning=HOSTILE,
        citations=({"title": HOSTILE},),
        tools=({"id": "1", "name": "look", "input": {"x": [None, HOSTILE]}},),
        suggestions=("and then?",),
    )
    assert database.run(lambda session: answers.save_answer(session, asked, said))
    database.run(lambda session: conversations.set_title_if_untitled(session, "ada", asked.conversation, "Reasons"))
    for kept in (
        database.run(lambda session: answers.find_answer(session, said.id)),
        database.run(lambda session: answers.find_answer_of_generation(session, said.generation)),
    ):
        assert kept
        assert (kept.question, kept.answer, kept.title) == (asked, said, "Reasons")


@pytest.mark.parametrize("outcome", [CUT, FAILED])
def test_a_partial_answer_is_kept_with_how_it_ended(database: Database, outcome: Cancelled | Error) -> None:
    asked, said = question(), answer("beca", outcome=outcome)
    database.run(lambda session: answers.save_answer(session, asked, said))
    message = database.run(lambda session: messages.find(session, "ada", asked.conversation, said.id))
    assert message
    assert (message.content, message.outcome, message.parent) == ("beca", outcome, asked.id)


def test_row_45_what_an_older_claim_brings_never_replaces_a_later_ones(database: Database) -> None:
    asked, said = question(), answer("the successor's", epoch=5, last_event=Cursor(5, 30))
    late = replace(said, content="of the one that stood still", epoch=4, last_event=Cursor(4, 20))
    assert database.run(lambda session: answers.save_answer(session, asked, late))
    assert database.run(lambda session: answers.save_answer(session, asked, said))
    assert not database.run(lambda session: answers.save_answer(session, asked, late))
    assert database.run(lambda session: answers.save_answer(session, asked, said))
    kept = database.run(lambda session: answers.find_answer(session, said.id))
    assert kept
    assert kept.answer == said
    assert len(database.run(lambda session: messages.page(session, "ada", asked.conversation, None, 9)).items) == 2


def test_an_answer_to_somebody_elses_conversation_is_not_kept(database: Database) -> None:
    asked, said = question(), answer()
    database.run(lambda session: messages.save_question(session, asked))
    assert not database.run(lambda session: answers.save_answer(session, replace(asked, owner="eve"), said))
    assert database.run(lambda session: answers.find_answer(session, said.id)) is None


def test_a_prompt_is_told_of_turns_with_text_oldest_first_and_of_each_the_last_answer(database: Database) -> None:
    asked = question("q0")
    for number, said in enumerate(
        [
            [answer("a0")],
            [answer("", outcome=FAILED)],
            [answer("a2"), answer("a2 again"), answer("", outcome=FAILED)],
            [answer("a3 in pa", outcome=CUT)],
            [answer(" \n", outcome=CUT)],
        ]
    ):
        each = replace(asked, content=f"q{number}", id=f"{number:032}")
        for one in said:
            database.run(lambda session, each=each, one=one: answers.save_answer(session, each, one))
    unanswered = replace(asked, content="q5", id=f"{5:032}")
    database.run(lambda session: messages.save_question(session, unanswered))

    def told(before: str | None, most: int = 9) -> list[HistoryTurn]:
        return database.run(lambda session: answers.read_history(session, asked.conversation, before, most))

    whole = [HistoryTurn("q0", "a0"), HistoryTurn("q2", "a2 again"), HistoryTurn("q3", "a3 in pa")]
    assert told(None) == told(unanswered.id) == told("f" * 32) == whole
    assert told(f"{3:032}") == whole[:2]
    assert told(f"{3:032}", 1) == [HistoryTurn("q2", "a2 again")]
    assert told(f"{0:032}") == []


def test_only_a_complete_answer_is_learned_from_and_once(database: Database) -> None:
    asked, said, cut = question(), answer(), answer("beca", outcome=CUT)
    for each in (said, cut):
        database.run(lambda session, each=each: answers.save_answer(session, asked, each))
    kept = database.run(lambda session: answers.mark_learned(session, said.generation))
    assert kept
    assert kept.answer == said
    for generation in (said.generation, cut.generation, "0" * 32):
        assert database.run(lambda session, g=generation: answers.mark_learned(session, g)) is None


def test_learning_that_fails_may_be_done_again(database: Database) -> None:
    asked, said = question(), answer()
    database.run(lambda session: answers.save_answer(session, asked, said))

    def fail(session: object) -> None:
        assert answers.mark_learned(session, said.generation)  # pyright: ignore[reportArgumentType]
        raise LookupError

    with pytest.raises(LookupError):
        database.run(fail)
    assert database.run(lambda session: answers.mark_learned(session, said.generation))
