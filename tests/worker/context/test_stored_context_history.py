"""The history is the turns before the question, in its own conversation."""

import pytest

from millrace.worker.context.source import ContextPart, ContextQuestion
from millrace.worker.contract.ids import new_id
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import DatabaseUnavailable
from millrace.worker.settings.schema import Settings, load
from millrace.worker.store import conversations
from millrace.worker.store.database import Database
from tests.worker.context.harness import CANCELLED, StoredConversation, stored_source


def history_of(settings: Settings, conversation: StoredConversation, question: ContextQuestion) -> list[str]:
    part = stored_source(settings, conversation.database).gather(question)
    return [f"{message.role}: {message.content}" for message in part.history] if part else []


def test_history_is_the_turns_before_the_question_oldest_first(
    settings: Settings, conversation: StoredConversation
) -> None:
    conversation.store_turn("One?", "Two.")
    conversation.store_turn("Three?", "Fo", CANCELLED)
    question = conversation.store_question("Five?")
    assert history_of(settings, conversation, question) == [
        "user: One?",
        "assistant: Two.",
        "user: Three?",
        "assistant: Fo",
    ]


def test_a_regenerated_question_does_not_see_its_own_turn_or_later_ones(
    settings: Settings, conversation: StoredConversation
) -> None:
    conversation.store_turn("One?", "Two.")
    again = conversation.store_turn("Three?", "Four.")
    conversation.store_turn("Five?", "Six.")
    question = conversation.question("Three?", question_id=again.id)
    assert history_of(settings, conversation, question) == ["user: One?", "assistant: Two."]


def test_another_conversation_is_not_read(settings: Settings, conversation: StoredConversation) -> None:
    conversation.store_turn("One?", "Two.")
    assert history_of(settings, conversation, StoredConversation(conversation.database).store_question("Three?")) == []


def test_a_request_with_its_own_history_gets_no_stored_one(
    settings: Settings, conversation: StoredConversation
) -> None:
    conversation.store_turn("One?", "Two.")
    own = (PromptMessage("user", "A?"), PromptMessage("assistant", "B."))
    assert history_of(settings, conversation, conversation.store_question("Three?", *own)) == []


def test_the_number_of_turns_is_limited_by_max_messages(settings: Settings, conversation: StoredConversation) -> None:
    for number in range(4):
        conversation.store_turn(f"{number}?", f"{number}.")
    few = load({"MILLRACE_MAX_MESSAGES": "4"})
    assert history_of(few, conversation, conversation.store_question("Why?")) == [
        "user: 2?",
        "assistant: 2.",
        "user: 3?",
        "assistant: 3.",
    ]


def test_the_text_read_is_limited_by_the_token_budget(settings: Settings, conversation: StoredConversation) -> None:
    conversation.store_turns([(f"{number}?", "x" * 5000) for number in range(6)])
    few = load({"MILLRACE_CONTEXT_TOKENS": "2000"})
    assert (
        len(history_of(few, conversation, conversation.store_question("Why?"))) == 2 * 3
    )  # 12,000 characters, and the turn that exceeds them


def test_the_context_of_the_conversation_is_included(settings: Settings, conversation: StoredConversation) -> None:
    question, source = (
        conversation.store_question("Why?"),
        stored_source(settings, conversation.database),
    )
    assert source.gather(question) is None
    slots = {"to": "Oslo", "people": 4}
    conversation.database.run(lambda session: conversations.replace_context(session, "ada", conversation.id, slots))
    assert source.gather(question) == ContextPart(slots=slots)
    assert source.gather(StoredConversation(conversation.database).store_question("Why?")) is None


def test_another_users_conversation_is_not_read(settings: Settings, conversation: StoredConversation) -> None:
    conversation.store_turn("One?", "Two.")
    conversation.database.run(lambda session: conversations.replace_context(session, "ada", conversation.id, {"a": 1}))
    conversation.owner = "bob"
    assert (
        stored_source(settings, conversation.database).gather(conversation.question("Why?", question_id=new_id()))
        is None
    )


def test_an_unavailable_database_is_an_error(
    settings: Settings, conversation: StoredConversation, unmigrated_database: Database
) -> None:
    with pytest.raises(DatabaseUnavailable):
        stored_source(settings, unmigrated_database).gather(conversation.store_question("Why?"))
