"""The search finds conversations by their titles and messages, in any script, and only those of the owner."""

from dataclasses import replace

import pytest
from sqlalchemy import select

from millrace.worker.contract.ids import new_id
from millrace.worker.store import answers, conversation_search, conversations, messages
from millrace.worker.store.conversation_search import ROWS, ConversationMatch, index_pending, search
from millrace.worker.store.database import Database
from millrace.worker.store.edits import replace_turns
from millrace.worker.store.tables import SearchEntryRow
from tests.worker.store.samples import answer, question


def make_turn(database: Database, asked: str, said: str, conversation: str | None = None, owner: str = "ada") -> str:
    stored = question(asked, conversation, owner)
    assert database.run(lambda session: answers.save_answer(session, stored, answer(said)))
    return stored.conversation


def index_all(database: Database) -> None:
    while index_pending(database):
        pass


def find(database: Database, query: str, owner: str = "ada") -> list[ConversationMatch]:
    index_all(database)
    return database.run(lambda session: search(session, owner, query, None, 20)).items


def ids(database: Database, query: str, owner: str = "ada") -> list[str]:
    return [each.conversation.id for each in find(database, query, owner)]


@pytest.mark.parametrize(
    ("text", "found", "not_found"),
    [
        (
            "The water wheel turns slowly",
            ("water", "WATER wheel", "whee tur", "slow wat"),
            ("heel", "water mill", "xyz"),
        ),
        ("Größe und Müller", ("große", "grösse", "Müller", "mueller", "muller", "GRÖSSE"), ("rösse",)),
        ("Привет, мельница", ("мельниц", "ПРИВЕТ"), ("вет",)),
        ("水車の話をしました", ("水車", "車の", "話", "しまし"), ("水話", "川")),
        ("ฉันชอบกาแฟ", ("กาแฟ", "ชอบ"), ("ชา",)),
        ("커피를 좋아해요", ("커피", "좋아", "피를"), ("녹차",)),
        ("قرأت الكتاب", ("كتاب", "الكتاب"), ("قلم",)),
        ("version 3.14 of foo_bar()", ("3.14", "foo_bar", "bar", "ver"), ("3.15",)),
        ("naïve café", ("naive", "CAFÉ", "cafe\u0301"), ()),
    ],
)
def test_words_are_found_by_their_beginning_and_scripts_without_spaces_by_any_part(
    database: Database, text: str, found: tuple[str, ...], not_found: tuple[str, ...]
) -> None:
    conversation = make_turn(database, "unrelated", text)
    for query in found:
        assert ids(database, query) == [conversation], query
    for query in not_found:
        assert ids(database, query) == [], query


def test_match_names_the_message_and_shows_the_hit(database: Database) -> None:
    conversation = make_turn(database, "first " * 50 + "needle here " + "last " * 50, "nothing")
    database.run(lambda session: conversations.rename(session, "ada", conversation, "A titled talk"))
    (match,) = find(database, "needle")
    stored = database.run(lambda session: messages.page(session, "ada", conversation, None, 9)).items
    assert (match.message, match.role) == (stored[0].id, "user")
    assert [each.text for each in match.excerpt if each.is_hit] == ["needle"]
    shown = "".join(each.text for each in match.excerpt)
    assert shown.startswith("…first")
    assert shown.endswith("last…")
    (match,) = find(database, "titled")
    assert (match.message, match.role) == (None, None)
    assert [(each.text, each.is_hit) for each in match.excerpt] == [("A ", False), ("titled", True), (" talk", False)]


def test_conversations_are_paged_last_changed_first_each_once(database: Database) -> None:
    made = [make_turn(database, f"wheel {number}", "a wheel as well") for number in range(5)]
    index_all(database)
    found: list[str] = []
    cursor: str | None = None
    for count in (2, 2, 1):
        page = database.run(lambda session, cursor=cursor: search(session, "ada", "wheel", cursor, 2))
        assert len(page.items) == count
        found += [each.conversation.id for each in page.items]
        cursor = page.next_cursor
    assert cursor is None
    assert sorted(found) == sorted(made)
    with pytest.raises(ValueError, match="cursor"):
        database.run(lambda session: search(session, "ada", "wheel", "x", 2))


def test_only_the_owner_finds_a_conversation(database: Database) -> None:
    hers = make_turn(database, "a secret wheel", "yes", owner="eve")
    mine = make_turn(database, "a wheel", "yes")
    assert ids(database, "wheel") == [mine]
    assert ids(database, "wheel", "eve") == [hers]
    assert ids(database, "secret") == []


@pytest.mark.parametrize(
    ("is_found", "queries"),
    [
        (
            True,
            (
                "wheel*",
                '"wheel',
                "(wheel",
                "wheel)",
                "wheel & ",
                "| wheel",
                "!wheel",
                "<-> wheel",
                "wheel:*",
                "wheel\\",
            ),
        ),
        (True, ("^wheel", "-wheel", "wheel\x00", "wheel \ud800", "wheel'", "% wheel", "{wheel}", "wheel;--")),
        (False, ("wheel OR", "NOT wheel", "NEAR(wheel)", "terms: wheel", "wheel AND", "wheel'::text", "' OR 1=1 --")),
        (False, ('"', "'", "*", "%", "_", "\ud800", ":*", "&&", "\u202e", " \n ", "\U0001f600", "''", "\\'")),
    ],
)
def test_query_syntax_is_text(database: Database, is_found: bool, queries: tuple[str, ...]) -> None:
    conversation = make_turn(database, "the wheel", "yes")
    for query in queries:
        assert ids(database, query) == ([conversation] if is_found else []), query


def test_index_follows_renames_deletions_edits_and_later_answers(database: Database) -> None:
    conversation = make_turn(database, "alpha", "beta")
    assert ids(database, "alpha") == [conversation]
    for title in ("gamma", "delta"):
        database.run(lambda session, title=title: conversations.rename(session, "ada", conversation, title))
        assert ids(database, title) == [conversation]
    assert ids(database, "gamma") == []
    stored = database.run(lambda session: messages.page(session, "ada", conversation, None, 9)).items
    edited = question("epsilon", conversation)
    assert database.run(lambda session: replace_turns(session, edited, stored[0].id))
    assert (ids(database, "alpha"), ids(database, "beta"), ids(database, "epsilon")) == ([], [], [conversation])
    partial, whole = answer("zeta", epoch=1), answer("zeta eta", epoch=2)
    for said in (partial, replace(whole, id=partial.id, generation=partial.generation)):
        assert database.run(lambda session, said=said: answers.save_answer(session, edited, said))
        index_all(database)
    assert ids(database, "eta") == [conversation]
    assert database.run(lambda session: conversations.delete(session, "ada", conversation))
    assert database.run(lambda session: session.scalars(select(SearchEntryRow)).all()) == []
    assert ids(database, "epsilon") == ids(database, "delta") == []


def test_index_is_filled_in_batches_and_texts_of_any_form_do_not_stop_it(database: Database) -> None:
    odd = ("", "\x00", "\ud800", "\U0001f600" * 50, "x" * 100_000, "水" * 100_000, "a" * 100, "ﷺ" * 2000)
    conversation = new_id()
    for text in (*odd, *(f"word{number}" for number in range(ROWS))):
        make_turn(database, "q", text, conversation)
    assert index_pending(database) == ROWS
    assert ids(database, f"word{ROWS - 1}") == [conversation]
    assert index_pending(database) == 0
    assert ids(database, "水水") == [conversation]


def test_word_of_more_messages_than_are_looked_at_first_is_found_on_every_page(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation_search, "NEWEST", 3)
    made = [make_turn(database, "a common question", "a common answer") for _ in range(4)]
    index_all(database)
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = database.run(lambda session, cursor=cursor: search(session, "ada", "common", cursor, 1))
        found += [each.conversation.id for each in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    order = database.run(lambda session: conversations.page(session, "ada", None, 10)).items
    assert found == [each.id for each in order]
    assert sorted(found) == sorted(made)
