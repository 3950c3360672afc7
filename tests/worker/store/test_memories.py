"""Memories: kept once, found by their words, and only by their owner."""

from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from millrace.worker.store import memories
from millrace.worker.store.database import Database


def contents(database: Database, about: str, owner: str = "ada", count: int = 9) -> list[str]:
    return [each.content for each in database.run(lambda session: memories.search(session, owner, about, count))]


def keep(database: Database, *facts: str, owner: str = "ada") -> None:
    for fact in facts:
        database.run(lambda session, fact=fact: memories.add(session, owner, fact))


def test_all_is_forgotten_of_one_owner_alone(database: Database) -> None:
    for owner in ("ada", "eve"):
        keep(database, "The cat is called Miller.", "The dog is called Baker.", owner=owner)
    assert database.run(lambda session: memories.delete_all(session, "ada")) == 2
    assert database.run(lambda session: memories.page(session, "ada", None, 9)).items == []
    assert contents(database, "cat") == []
    assert contents(database, "cat", "eve") == ["The cat is called Miller."]


def test_a_fact_is_kept_once_whatever_its_case_and_punctuation(database: Database) -> None:
    assert database.run(lambda session: memories.add(session, "ada", "Has a dog, Rex.", "c" * 32, "9" * 32))
    assert not database.run(lambda session: memories.add(session, "ada", "has a DOG: rex"))
    assert database.run(lambda session: memories.add(session, "eve", "Has a dog, Rex."))
    (kept,) = database.run(lambda session: memories.page(session, "ada", None, 9)).items
    assert (kept.content, kept.conversation, kept.generation) == ("Has a dog, Rex.", "c" * 32, "9" * 32)


@pytest.mark.parametrize(
    ("fact", "about"),
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
def test_a_fact_is_found_by_a_word_that_it_shares(database: Database, fact: str, about: str) -> None:
    keep(database, "Plays chess on Sundays", fact)
    assert contents(database, about) == [fact]
    assert contents(database, about, "eve") == []


@pytest.mark.parametrize("about", ["", "  ", "?!", "what is it that you have", '" OR owner_word: *', "NEAR(a b) - x'"])
def test_what_says_nothing_finds_nothing_and_is_no_query_language(database: Database, about: str) -> None:
    keep(database, "Her dog is called Rex")
    assert contents(database, about) == []


def test_the_fact_with_most_of_the_words_comes_first_and_the_count_is_kept(database: Database) -> None:
    keep(database, "A dog", "A dog called Rex of brown colour", "A cat called Tom")
    assert contents(database, "rex, the brown dog", count=1) == ["A dog called Rex of brown colour"]


def test_a_memory_is_deleted_by_its_owner_only_and_not_found_any_more(database: Database) -> None:
    keep(database, "Her dog is called Rex")
    (kept,) = database.run(lambda session: memories.page(session, "ada", None, 9)).items
    assert not database.run(lambda session: memories.delete(session, "eve", kept.id))
    assert database.run(lambda session: memories.delete(session, "ada", kept.id))
    assert contents(database, "dog") == []
    assert database.run(lambda session: memories.page(session, "ada", None, 9)).items == []
    keep(database, "Her dog is called Rex")
    assert contents(database, "dog") == ["Her dog is called Rex"]


def test_memories_are_listed_from_the_newest_on_in_pages(database: Database) -> None:
    keep(database, *"abcde")
    keep(database, "x", owner="eve")
    first = database.run(lambda session: memories.page(session, "ada", None, 3))
    rest = database.run(lambda session: memories.page(session, "ada", first.next_cursor, 3))
    assert [[each.content for each in page.items] for page in (first, rest)] == [["e", "d", "c"], ["b", "a"]]
    assert rest.next_cursor is None


def test_a_search_reads_the_index_alone_however_many_memories_there_are(database: Database) -> None:
    def fill(session: Session) -> None:
        for number in range(3000):
            memories.add(session, "ada" if number % 2 else "eve", f"Fact {number} is about thing {number % 100}")

    database.run(fill, 120)
    asked: list[tuple[str, Any]] = []

    def plan(session: Session) -> str:
        connection = session.connection()
        if not database.is_sqlite:  # so few rows it would rightly read one by one
            session.execute(text("SET LOCAL enable_seqscan = off"))
        note: Any = lambda *given: asked.append((given[2], given[3]))  # noqa: E731
        event.listen(connection, "before_cursor_execute", note)
        assert memories.search(session, "ada", "thing 7", 5)
        event.remove(connection, "before_cursor_execute", note)
        statement, wanted = asked[0]
        explain = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
        return str(connection.exec_driver_sql(explain + statement, wanted).all())

    told = database.run(plan)
    assert ("VIRTUAL TABLE INDEX" if database.is_sqlite else "Bitmap Index Scan on memories_index") in told
