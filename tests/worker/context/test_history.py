"""The history is what was said before the question, in its own conversation."""

import pytest

from millrace.worker.context.history import History
from millrace.worker.context.loader import ContextLoader
from millrace.worker.context.source import ContextPart, ContextQuestion
from millrace.worker.contract.ids import new_id
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import DatabaseUnavailable
from millrace.worker.settings.schema import Settings, load
from millrace.worker.store import conversations
from millrace.worker.store.database import Database
from tests.worker.context.asked import CUT, Asking


def said(settings: Settings, asking: Asking, question: ContextQuestion) -> list[str]:
    piece = History(ContextLoader(settings, asking.database)).gather(question)
    return [f"{message.role}: {message.content}" for message in piece.history] if piece else []


def test_it_is_the_turns_before_the_question_oldest_first(settings: Settings, asking: Asking) -> None:
    asking.turn("One?", "Two.")
    asking.turn("Three?", "Fo", CUT)
    question = asking.ask("Five?")
    assert said(settings, asking, question) == ["user: One?", "assistant: Two.", "user: Three?", "assistant: Fo"]


def test_a_question_that_is_asked_again_does_not_see_its_own_turn(settings: Settings, asking: Asking) -> None:
    asking.turn("One?", "Two.")
    again = asking.turn("Three?", "Four.")
    asking.turn("Five?", "Six.")
    question = asking.question("Three?", asked=again.id)
    assert said(settings, asking, question) == ["user: One?", "assistant: Two."]


def test_another_conversation_is_not_looked_into(settings: Settings, asking: Asking) -> None:
    asking.turn("One?", "Two.")
    assert said(settings, asking, Asking(asking.database).ask("Three?")) == []


def test_a_request_that_brings_its_history_has_none_besides(settings: Settings, asking: Asking) -> None:
    asking.turn("One?", "Two.")
    own = (PromptMessage("user", "A?"), PromptMessage("assistant", "B."))
    assert said(settings, asking, asking.ask("Three?", *own)) == []


def test_no_more_turns_are_read_than_a_history_may_have(settings: Settings, asking: Asking) -> None:
    for number in range(4):
        asking.turn(f"{number}?", f"{number}.")
    few = load({"MILLRACE_MAX_MESSAGES": "4"})
    assert said(few, asking, asking.ask("Why?")) == ["user: 2?", "assistant: 2.", "user: 3?", "assistant: 3."]


def test_no_more_is_read_than_any_prompt_could_hold(settings: Settings, asking: Asking) -> None:
    asking.turns([(f"{number}?", "x" * 5000) for number in range(6)])
    few = load({"MILLRACE_CONTEXT_TOKENS": "2000"})
    assert len(said(few, asking, asking.ask("Why?"))) == 2 * 3  # 12,000 characters, and the turn that passes them


def test_the_conversations_own_context_comes_with_it(settings: Settings, asking: Asking) -> None:
    question, source = asking.ask("Why?"), History(ContextLoader(settings, asking.database))
    assert source.gather(question) is None
    kept = {"to": "Oslo", "people": 4}
    asking.database.run(lambda session: conversations.replace_context(session, "ada", asking.conversation, kept))
    assert source.gather(question) == ContextPart(slots=kept)
    assert source.gather(Asking(asking.database).ask("Why?")) is None


def test_a_foreign_conversation_tells_nothing(settings: Settings, asking: Asking) -> None:
    asking.turn("One?", "Two.")
    asking.database.run(lambda session: conversations.replace_context(session, "ada", asking.conversation, {"a": 1}))
    asking.owner = "bob"
    assert History(ContextLoader(settings, asking.database)).gather(asking.question("Why?", asked=new_id())) is None


def test_a_store_that_is_away_is_said(settings: Settings, asking: Asking, away: Database) -> None:
    with pytest.raises(DatabaseUnavailable):
        History(ContextLoader(settings, away)).gather(asking.ask("Why?"))
