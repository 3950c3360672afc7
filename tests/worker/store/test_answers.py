"""Answers: saved once, fenced by epoch; the history for a prompt; the mark of learning."""

from dataclasses import replace

import pytest
from sqlalchemy.orm import Session

from millrace.worker.contract.events import Cancelled, Error, ImageReference, Usage
from millrace.worker.contract.ids import Cursor, new_id
from millrace.worker.contract.request import ReasoningState
from millrace.worker.store import answers, conversations, messages
from millrace.worker.store.answers import HistoryTurn
from millrace.worker.store.database import Database
from tests.worker.store.samples import answer, question
from tests.worker.store.test_messages import HOSTILE

CANCELLED = Cancelled("user", Usage(1, 2, exact=False))
FAILED = Error("provider_timeout", "The model did not answer in time.", retryable=True)


def test_answer_is_found_unchanged_with_its_question_and_title(database: Database) -> None:
    asked = question(HOSTILE)
    saved = answer(
        *(HOSTILE, 7),
        model="a-model",
        provider="bedrock",
        reasoning=HOSTILE,
        citations=({"title": HOSTILE},),
        tools=({"id": "1", "name": "look", "input": {"x": [None, HOSTILE]}},),
        suggestions=("and then?",),
        images=(ImageReference("i", "png", 9),),
        reasoning_state=ReasoningState("bedrock", "a-model", [{"text": HOSTILE}], is_requested=True),
    )
    assert database.run(lambda session: answers.save_answer(session, asked, saved))
    database.run(lambda session: conversations.set_title_if_untitled(session, "ada", asked.conversation, "Reasons"))
    for found in (
        database.run(lambda session: answers.find_answer(session, saved.id)),
        database.run(lambda session: answers.find_answer_of_generation(session, saved.generation)),
    ):
        assert found
        assert (found.question, found.answer, found.title) == (asked, saved, "Reasons")


@pytest.mark.parametrize("outcome", [CANCELLED, FAILED])
def test_partial_answer_is_saved_with_its_outcome(database: Database, outcome: Cancelled | Error) -> None:
    asked, saved = question(), answer("beca", outcome=outcome)
    database.run(lambda session: answers.save_answer(session, asked, saved))
    message = database.run(lambda session: messages.find(session, "ada", asked.conversation, saved.id))
    assert message
    assert (message.content, message.outcome, message.parent) == ("beca", outcome, asked.id)


def test_row_45_answer_of_an_older_claim_never_replaces_that_of_a_newer_one(database: Database) -> None:
    asked, newer = question(), answer("from the successor", epoch=5, last_event=Cursor(5, 30))
    older = replace(newer, content="from the suspended worker", epoch=4, last_event=Cursor(4, 20))
    assert database.run(lambda session: answers.save_answer(session, asked, older))
    assert database.run(lambda session: answers.save_answer(session, asked, newer))
    assert not database.run(lambda session: answers.save_answer(session, asked, older))
    assert database.run(lambda session: answers.save_answer(session, asked, newer))
    found = database.run(lambda session: answers.find_answer(session, newer.id))
    assert found
    assert found.answer == newer
    assert len(database.run(lambda session: messages.page(session, "ada", asked.conversation, None, 9)).items) == 2


def test_answer_in_another_users_conversation_is_not_saved(database: Database) -> None:
    asked, foreign = question(), answer()
    database.run(lambda session: messages.save_question(session, asked))
    assert not database.run(lambda session: answers.save_answer(session, replace(asked, owner="eve"), foreign))
    assert database.run(lambda session: answers.find_answer(session, foreign.id)) is None


def test_history_holds_each_turns_last_answer_with_text_and_the_question_of_a_failed_one(database: Database) -> None:
    first = question("q0")
    for number, turn_answers in enumerate(
        [
            [answer("a0")],
            [answer("", outcome=FAILED)],
            [answer("a2"), answer("a2 again"), answer("", outcome=FAILED)],
            [answer("a3 in pa", outcome=CANCELLED)],
            [answer(" \n", outcome=CANCELLED)],
        ]
    ):
        asked = replace(first, content=f"q{number}", id=f"{number:032}")
        for each in turn_answers:
            database.run(lambda session, asked=asked, each=each: answers.save_answer(session, asked, each))
    unanswered = replace(first, content="q5", id=f"{5:032}")
    database.run(lambda session: messages.save_question(session, unanswered))

    def history(before: str | None, max_turns: int = 9) -> list[HistoryTurn]:
        return database.run(lambda session: answers.read_history(session, first.conversation, before, max_turns))

    complete = [
        HistoryTurn("q0", "a0"),
        HistoryTurn("q1", ""),
        HistoryTurn("q2", "a2 again"),
        HistoryTurn("q3", "a3 in pa"),
    ]
    assert history(None) == history(unanswered.id) == history("f" * 32) == complete
    assert history(f"{3:032}") == complete[:3]
    assert history(f"{3:032}", 1) == [HistoryTurn("q2", "a2 again")]
    assert history(f"{0:032}") == []


def test_history_ends_with_the_turn_that_exceeds_the_character_limit(database: Database) -> None:
    first = question("q0")
    for number in range(4):
        asked = replace(first, content=f"q{number}", id=f"{number:032}")
        database.run(lambda session, asked=asked, n=number: answers.save_answer(session, asked, answer(f"a{n}")))

    def history(max_chars: int) -> list[str]:
        turns = database.run(lambda session: answers.read_history(session, first.conversation, None, 9, max_chars))
        return [turn.question for turn in turns]

    assert history(0) == ["q3"]
    assert history(7) == ["q2", "q3"]
    assert history(8) == ["q1", "q2", "q3"]


def test_only_a_complete_answer_is_marked_as_learned_and_only_once(database: Database) -> None:
    asked, complete, cancelled = question(), answer(), answer("beca", outcome=CANCELLED)
    for each in (complete, cancelled):
        database.run(lambda session, each=each: answers.save_answer(session, asked, each))
    found = database.run(lambda session: answers.mark_learned(session, complete.generation))
    assert found
    assert found.answer == complete
    for generation in (complete.generation, cancelled.generation, "0" * 32):
        assert database.run(lambda session, g=generation: answers.mark_learned(session, g)) is None


def test_mark_of_learning_is_rolled_back_when_the_transaction_fails(database: Database) -> None:
    asked, saved = question(), answer()
    database.run(lambda session: answers.save_answer(session, asked, saved))

    def fail(session: Session) -> None:
        assert answers.mark_learned(session, saved.generation)
        raise LookupError

    with pytest.raises(LookupError):
        database.run(fail)
    assert database.run(lambda session: answers.mark_learned(session, saved.generation))


def test_history_has_the_reasoning_of_each_answer(database: Database) -> None:
    first, state = question("q0"), ReasoningState("bedrock", "m", [{"a": 1}])
    for asked, said in ((first, answer("a0", reasoning_state=state)), (replace(first, id=new_id()), answer("a1"))):
        database.run(lambda session, asked=asked, said=said: answers.save_answer(session, asked, said))
    found = database.run(lambda session: answers.read_history(session, first.conversation, None, 9))
    assert [each.reasoning_state for each in found] == [state, None]
