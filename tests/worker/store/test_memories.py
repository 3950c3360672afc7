"""Memories: saved once, found by their words, and only by their owner."""

from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from millrace.worker.store import memories
from millrace.worker.store.database import Database


def search(database: Database, query: str, owner: str = "ada", count: int = 9) -> list[str]:
    return [each.content for each in database.run(lambda session: memories.search(session, owner, query, count))]


def save(database: Database, *facts: str, owner: str = "ada") -> None:
    for fact in facts:
        database.run(lambda session, fact=fact: memories.add(session, owner, fact))


def test_delete_all_deletes_one_owners_memories_only(database: Database) -> None:
    for owner in ("ada", "eve"):
        save(database, "The cat is called Miller.", "The dog is called Baker.", owner=owner)
    assert database.run(lambda session: memories.delete_all(session, "ada")) == 2
    assert database.run(lambda session: memories.page(session, "ada", None, 9)).items == []
    assert search(database, "cat") == []
    assert search(database, "cat", "eve") == ["The cat is called Miller."]


def test_fact_is_saved_once_regardless_of_case_and_punctuation(database: Database) -> None:
    assert database.run(lambda session: memories.add(session, "ada", "Has a dog, Rex.", "c" * 32, "9" * 32))
    assert not database.run(lambda session: memories.add(session, "ada", "has a DOG: rex"))
    assert database.run(lambda session: memories.add(session, "eve", "Has a dog, Rex."))
    (memory,) = database.run(lambda session: memories.page(session, "ada", None, 9)).items
    assert (memory.content, memory.conversation, memory.generation) == ("Has a dog, Rex.", "c" * 32, "9" * 32)


@pytest.mark.parametrize(
    ("fact", "query"),
    [
        ("Her dog is called Rex", "What is my dog's name?"),
        ("Likes walking in the mountains", "where could I walk on a mountain"),
        ("Lives in São Paulo", "weather in sao paulo"),
        ("家に猫がいます", "猫の名前は?"),
        ("Живёт в Москве", "погода в москве"),
        ("서울에 삽니다", "서울에 날씨"),
        ("Has a 😀 tattoo \0 \ud800", "tattoo ideas \0 \udc00"),
    ],
)
def test_fact_is_found_by_a_shared_word(database: Database, fact: str, query: str) -> None:
    save(database, "Plays chess on Sundays", fact)
    assert search(database, query) == [fact]
    assert search(database, query, "eve") == []


@pytest.mark.parametrize("query", ["", "  ", "?!", "what is it that you have", '" OR owner_word: *', "NEAR(a b) - x'"])
def test_query_without_search_terms_finds_nothing_and_operators_are_ignored(database: Database, query: str) -> None:
    save(database, "Her dog is called Rex")
    assert search(database, query) == []


def test_fact_with_the_most_shared_words_comes_first_and_the_count_is_respected(database: Database) -> None:
    save(database, "A dog", "A dog called Rex of brown colour", "A cat called Tom")
    assert search(database, "rex, the brown dog", count=1) == ["A dog called Rex of brown colour"]


def test_memory_is_deleted_by_its_owner_only_and_is_no_longer_found(database: Database) -> None:
    save(database, "Her dog is called Rex")
    (memory,) = database.run(lambda session: memories.page(session, "ada", None, 9)).items
    assert not database.run(lambda session: memories.delete(session, "eve", memory.id))
    assert database.run(lambda session: memories.delete(session, "ada", memory.id))
    assert search(database, "dog") == []
    assert database.run(lambda session: memories.page(session, "ada", None, 9)).items == []
    save(database, "Her dog is called Rex")
    assert search(database, "dog") == ["Her dog is called Rex"]


def test_memories_are_listed_in_pages_newest_first(database: Database) -> None:
    save(database, *"abcde")
    save(database, "x", owner="eve")
    first = database.run(lambda session: memories.page(session, "ada", None, 3))
    rest = database.run(lambda session: memories.page(session, "ada", first.next_cursor, 3))
    assert [[each.content for each in page.items] for page in (first, rest)] == [["e", "d", "c"], ["b", "a"]]
    assert rest.next_cursor is None


def test_search_uses_the_full_text_index(database: Database) -> None:
    def fill(session: Session) -> None:
        for number in range(3000):
            memories.add(session, "ada" if number % 2 else "eve", f"Fact {number} is about thing {number % 100}")

    database.run(fill, 120)
    executed: list[tuple[str, Any]] = []

    def plan(session: Session) -> str:
        connection = session.connection()
        if not database.is_sqlite:  # it would rightly scan so few rows
            session.execute(text("SET LOCAL enable_seqscan = off"))
        record: Any = lambda *given: executed.append((given[2], given[3]))  # noqa: E731
        event.listen(connection, "before_cursor_execute", record)
        assert memories.search(session, "ada", "thing 7", 5)
        event.remove(connection, "before_cursor_execute", record)
        statement, parameters = executed[0]
        explain = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
        return str(connection.exec_driver_sql(explain + statement, parameters).all())

    explained = database.run(plan)
    assert ("VIRTUAL TABLE INDEX" if database.is_sqlite else "Bitmap Index Scan on memories_index") in explained
