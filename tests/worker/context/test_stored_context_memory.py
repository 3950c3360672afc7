"""Facts learned in one conversation are found in another of the same owner, also after a restart."""

from millrace.worker.context.source import Material
from millrace.worker.context.stored_context import MAX_MEMORIES
from millrace.worker.settings.schema import Settings
from millrace.worker.store import memories
from millrace.worker.store.database import Database
from tests.worker.context.harness import StoredConversation, stored_source


def store_facts(database: Database, owner: str, *facts: str) -> None:
    for fact in facts:
        database.run(lambda session, fact=fact: memories.add(session, owner, fact))


def recalled(
    settings: Settings, conversation: StoredConversation, text: str, database: Database | None = None
) -> list[str]:
    part = stored_source(settings, database or conversation.database).gather(conversation.store_question(text))
    assert part is None or all(isinstance(each, Material) and each.kind == "memory" for each in part.materials)
    return [each.text for each in part.materials] if part else []


def test_a_fact_is_found_by_the_words_of_the_question(settings: Settings, conversation: StoredConversation) -> None:
    store_facts(conversation.database, "ada", "The user's cat is called Miller.", "The user lives in Leeds.")
    assert recalled(settings, conversation, "What is my cat called?") == ["The user's cat is called Miller."]
    assert recalled(settings, conversation, "Hello!") == []


def test_a_fact_is_found_for_its_owner_only(settings: Settings, conversation: StoredConversation) -> None:
    store_facts(conversation.database, "ada", "The user's cat is called Miller.")
    assert recalled(settings, StoredConversation(conversation.database, "bob"), "What is my cat called?") == []
    assert recalled(settings, StoredConversation(conversation.database, "ada"), "What is my cat called?") != []


def test_a_fact_is_found_after_a_restart(settings: Settings, conversation: StoredConversation) -> None:
    store_facts(conversation.database, "ada", "The user's cat is called Miller.")
    conversation.database.close()
    reopened = Database(settings)
    assert recalled(settings, StoredConversation(reopened), "What is my cat called?", reopened) != []
    reopened.close()


def test_the_best_matches_come_first_and_their_number_is_limited(
    settings: Settings, conversation: StoredConversation
) -> None:
    store_facts(conversation.database, "ada", *(f"The cat has seen mouse number {number}." for number in range(20)))
    store_facts(conversation.database, "ada", "The cat is called Miller.")
    found = recalled(settings, conversation, "What is the cat called?")
    assert len(found) == MAX_MEMORIES
    assert found[0] == "The cat is called Miller."
