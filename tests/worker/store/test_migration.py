"""The migration: complete, reversible and safe to run concurrently."""

from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.orm import Session

from millrace.worker.contract.events import ImageReference, Link
from millrace.worker.contract.ids import new_id
from millrace.worker.contract.request import ReasoningState
from millrace.worker.errors import DatabaseUnavailable, SettingError
from millrace.worker.settings.schema import Settings
from millrace.worker.store import answers, conversations, memories
from millrace.worker.store.database import Database, engine_url, make_engine
from millrace.worker.store.migration import VERSION_TABLE, alembic_config, current_revision, migrate
from millrace.worker.store.search_terms import fact_digest
from millrace.worker.store.tables import Base
from tests.forks import outputs_of
from tests.postgres import PostgresProcess
from tests.worker.store.samples import answer, question


def engine_of(settings: Settings) -> Engine:
    database = settings.database
    return make_engine(engine_url(database.url), 1, 30, schema=database.schema, lock_seconds=30)


def make_directory(settings: Settings) -> None:
    """Make the directory of a SQLite file, as a host application has done before."""
    url = engine_url(settings.database.url)
    if url.get_backend_name() == "sqlite" and url.database:
        Path(url.database).parent.mkdir(exist_ok=True)


def change(settings: Settings, *statements: str) -> None:
    engine = engine_of(settings)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def rows_of(settings: Settings, query: str) -> list[tuple[object, ...]]:
    engine = engine_of(settings)
    with engine.begin() as connection:
        found = [tuple(row) for row in connection.exec_driver_sql(query)]
    engine.dispose()
    return found


def differences(connection: Connection) -> list[str]:
    """Return how the database differs from `tables.py`, apart from the full-text index, which is plain SQL."""

    def is_ours(_object: object, name: str | None, *_: object) -> bool:
        return not (name or "").startswith(("memories_index", "search_index", "lexemes", "millrace_"))

    context = MigrationContext.configure(connection, opts={"include_object": is_ours, "compare_type": True})
    return [str(each) for each in compare_metadata(context, Base.metadata)]


def test_migration_creates_exactly_the_tables_of_the_code_and_runs_once(empty: Settings) -> None:
    first, newest = migrate(empty)
    assert first is None
    assert migrate(empty) == (newest, newest)
    engine = engine_of(empty)
    with engine.begin() as connection:
        assert current_revision(connection) == newest
        assert differences(connection) == []
    engine.dispose()


def test_downgrade_drops_all_tables_and_upgrade_creates_them_again(empty: Settings) -> None:
    migrate(empty)
    engine = engine_of(empty)
    with engine.begin() as connection:
        command.downgrade(alembic_config(connection), "base")
    with engine.begin() as connection:
        assert len(differences(connection)) >= len(Base.metadata.tables)
    engine.dispose()
    assert migrate(empty)[0] is None


def test_database_of_an_earlier_version_keeps_its_data_and_gets_a_version_table_of_its_own(empty: Settings) -> None:
    _, newest = migrate(empty)
    database = Database(empty)
    conversation = database.run(lambda session: conversations.create_or_touch(session, "ada", new_id()))
    change(  # as version 0.2 left it
        empty,
        "CREATE TABLE alembic_version (version_num VARCHAR(32) CONSTRAINT alembic_version_pkc PRIMARY KEY)",
        f"INSERT INTO alembic_version SELECT version_num FROM {VERSION_TABLE}",
        f"DROP TABLE {VERSION_TABLE}",
    )
    assert migrate(empty) == (newest, newest)
    assert migrate(empty) == (newest, newest)
    assert database.run(lambda session: conversations.page(session, "ada", None, 10)).items
    assert conversation
    database.close()
    assert rows_of(empty, f"SELECT version_num FROM {VERSION_TABLE}") == [(newest,)]
    assert rows_of(empty, "SELECT version_num FROM alembic_version") == [(newest,)]


def test_migrations_of_a_host_application_in_the_same_database_are_left_alone(empty: Settings) -> None:
    theirs = "CREATE TABLE alembic_version (version_num VARCHAR(32))", "INSERT INTO alembic_version VALUES ('ae1027a6')"
    make_directory(empty)
    change(empty, *theirs)
    assert migrate(empty)[0] is None
    assert rows_of(empty, "SELECT version_num FROM alembic_version") == [("ae1027a6",)]


def test_tables_of_another_application_stop_the_migration_with_one_sentence_and_stay(empty: Settings) -> None:
    make_directory(empty)
    change(
        empty,
        "CREATE TABLE messages (id INTEGER, content TEXT)",
        "INSERT INTO messages VALUES (1, 'theirs')",
        "CREATE TABLE alembic_version (version_num VARCHAR(32))",
        "INSERT INTO alembic_version VALUES ('0001')",
    )
    with pytest.raises(SettingError, match=r"^MILLRACE_DATABASE_URL: .* names that Millrace needs \(messages\); name"):
        migrate(empty)
    assert rows_of(empty, "SELECT * FROM messages") == [(1, "theirs")]
    engine = engine_of(empty)
    with engine.begin() as connection:
        assert set(inspect(connection).get_table_names()) == {"messages", "alembic_version"}
    engine.dispose()


def test_schema_of_its_own_keeps_clear_of_every_other_table_in_the_database(postgres: PostgresProcess) -> None:
    name = f"schema_{new_id()}"
    postgres.query(f"CREATE DATABASE {name}")
    shared = Settings.of(database_url=postgres.url(name))
    change(shared, "CREATE TABLE messages (id INTEGER)", "CREATE TABLE alembic_version (version_num VARCHAR(32))")
    postgres.query("CREATE SCHEMA third", name)
    in_url = shared.replace(database_url=f"{postgres.url(name)}?options=-csearch_path%3Dthird")
    for settings in (shared.replace(database_schema="chat"), shared.replace(database_schema="other"), in_url):
        first, newest = migrate(settings)
        assert first is None
        assert migrate(settings) == (newest, newest)
        database = Database(settings)
        database.check(5)
        assert not database.run(lambda session: conversations.page(session, "ada", None, 10)).items
        database.run(lambda session: conversations.create_or_touch(session, "ada", new_id()))
        database.close()
        engine = engine_of(settings)
        with engine.begin() as connection:
            assert differences(connection) == []
        engine.dispose()
    tables = "SELECT schemaname FROM pg_tables WHERE tablename = 'conversations' ORDER BY 1"
    assert rows_of(shared, tables) == [("chat",), ("other",), ("third",)]
    postgres.query(f"DROP DATABASE {name} WITH (FORCE)")


def test_database_of_a_newer_version_is_left_alone_with_one_sentence(empty: Settings) -> None:
    migrate(empty)
    change(empty, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(DatabaseUnavailable, match="its revision 9999 is newer than this version of Millrace"):
        migrate(empty)


def test_concurrent_migrations_both_succeed(empty: Settings) -> None:
    environment = {"MILLRACE_DATABASE_URL": empty.database.url}
    ended = sorted(outputs_of(["millrace.worker.store"], environment, environment))
    assert [(code, output.partition("(")[2]) for code, output in ended] == [(0, "unchanged)\n"), (0, "was empty)\n")]


def test_memories_of_the_version_before_get_the_new_search_terms_and_are_found_meanwhile(empty: Settings) -> None:
    """A rolling upgrade: processes of the version before read and add memories next to those of this version."""

    def add_as_before(session: Session, *facts: str) -> None:
        for fact in facts:
            assert memories.add(session, "ada", fact)
            words = " ".join(fact.lower().replace("\ud800", "").split())
            row = {"words": words, "digest": fact_digest(fact)}
            session.execute(text("UPDATE memories SET searchable = :words WHERE digest = :digest"), row)

    def search(question: str) -> list[str]:
        found = database.run(lambda session: memories.search(session, "ada", question, 9))
        return [each.content for each in found]

    make_directory(empty)
    engine = engine_of(empty)
    with engine.begin() as connection:
        command.upgrade(alembic_config(connection), "0001")
    engine.dispose()
    database = Database(empty)
    facts = ("커피를 좋아해요", "lone \ud800 surrogate", *map(str, range(1500)))
    database.run(lambda session: add_as_before(session, *facts), 60)
    assert search("커피가 뭐야?") == []
    assert migrate(empty) == ("0001", "0006")
    assert search("커피가 뭐야?") == ["커피를 좋아해요"]
    database.run(lambda session: add_as_before(session, "Собаку зовут Рекс", "녹차를 좋아해요"))
    assert search("кто такой Рекс?") == ["Собаку зовут Рекс"]
    assert "녹차를 좋아해요" in search("녹차를 살까?")
    assert search("surrogates") == ["lone \ud800 surrogate"]
    database.close()


def test_answers_of_the_version_before_are_read_and_those_of_this_version_survive_a_downgrade(empty: Settings) -> None:
    migrate(empty)
    database = Database(empty)
    asked, older, newer = (
        question(),
        answer("from before"),
        answer(
            images=(ImageReference("i", "png", 9),),
            reasoning_state=ReasoningState("a", "b", []),
            sources=(Link("a", "b"),),
        ),
    )
    for saved in (older, newer):
        assert database.run(lambda session, saved=saved: answers.save_answer(session, asked, saved))
    engine = engine_of(empty)
    with engine.begin() as connection:
        command.downgrade(alembic_config(connection), "0002")
        connection.exec_driver_sql("UPDATE messages SET content = content")
    engine.dispose()
    assert migrate(empty) == ("0002", "0006")
    found = [
        database.run(lambda session, saved=saved: answers.find_answer(session, saved.id)) for saved in (older, newer)
    ]
    assert [each and each.answer for each in found] == [
        older,
        replace(newer, images=(), reasoning_state=None, sources=()),
    ]
    database.close()
