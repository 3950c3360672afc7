"""What was learned in one conversation is found again in another, of the same owner's alone, and after a restart."""

from millrace.worker.context.loader import MOST_MEMORIES, ContextLoader
from millrace.worker.context.memory import Memory
from millrace.worker.context.source import Material
from millrace.worker.settings.schema import Settings
from millrace.worker.store import memories
from millrace.worker.store.database import Database
from tests.worker.context.asked import Asking


def learn(database: Database, owner: str, *facts: str) -> None:
    for fact in facts:
        database.run(lambda session, fact=fact: memories.add(session, owner, fact))


def recalled(settings: Settings, asking: Asking, text: str, database: Database | None = None) -> list[str]:
    piece = Memory(ContextLoader(settings, database or asking.database)).gather(asking.ask(text))
    assert piece is None or all(isinstance(each, Material) and each.kind == "memory" for each in piece.materials)
    return [each.text for each in piece.materials] if piece else []


def test_a_fact_is_found_by_the_questions_words(settings: Settings, asking: Asking) -> None:
    learn(asking.database, "ada", "The user's cat is called Miller.", "The user lives in Leeds.")
    assert recalled(settings, asking, "What is my cat called?") == ["The user's cat is called Miller."]
    assert recalled(settings, asking, "Hello!") == []


def test_a_fact_is_its_owners_alone(settings: Settings, asking: Asking) -> None:
    learn(asking.database, "ada", "The user's cat is called Miller.")
    assert recalled(settings, Asking(asking.database, "bob"), "What is my cat called?") == []
    assert recalled(settings, Asking(asking.database, "ada"), "What is my cat called?") != []


def test_a_fact_is_there_after_a_restart(settings: Settings, asking: Asking) -> None:
    learn(asking.database, "ada", "The user's cat is called Miller.")
    asking.database.close()
    again = Database(settings)
    assert recalled(settings, Asking(again), "What is my cat called?", again) != []
    again.close()


def test_the_best_are_told_and_no_more_than_a_few(settings: Settings, asking: Asking) -> None:
    learn(asking.database, "ada", *(f"The cat has seen mouse number {number}." for number in range(20)))
    learn(asking.database, "ada", "The cat is called Miller.")
    found = recalled(settings, asking, "What is the cat called?")
    assert len(found) == MOST_MEMORIES
    assert found[0] == "The cat is called Miller."
