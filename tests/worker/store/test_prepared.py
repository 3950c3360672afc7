"""Prepared statements: a query returns the same in a session and on the driver's connection, values of all types."""

import pytest
from sqlalchemy import bindparam, column, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from millrace.worker.contract.ids import new_id
from millrace.worker.errors import DatabaseUnavailable
from millrace.worker.store import conversations
from millrace.worker.store.database import Database
from millrace.worker.store.prepared import PreparedInsert, PreparedQuery, Reader, is_sqlite
from millrace.worker.store.tables import ConversationRow

OWNER = "ada \0 \ud800 % :x \N{SNOWMAN}"
CONTEXT = {"a": [1, None, "\0"]}

_ADD = PreparedInsert(ConversationRow, lambda row: row)
_TITLES = PreparedQuery(
    select(ConversationRow.__table__)
    .where(ConversationRow.owner == bindparam("owner"), ConversationRow.title.is_distinct_from("100 %"))
    .order_by(ConversationRow.updated_ms)
    .limit(bindparam("count"))
)


def add(database: Database, *titles: str | None) -> None:
    def work(session: Session) -> None:
        for number, title in enumerate(titles):
            times = {"created_ms": 1, "updated_ms": number}
            _ADD.run(session, id=new_id(), owner=OWNER, title=title, context=CONTEXT, deleted_ms=None, **times)

    database.run(work)


def test_query_returns_the_same_rows_in_a_session_and_from_the_driver(database: Database) -> None:
    add(database, "\ud800", None, "100 %", "third")

    def read(reader: Reader) -> list[tuple[object, ...]]:
        return [tuple(row) for row in _TITLES.rows(reader, owner=OWNER, count=9)]

    by_driver = database.read(read)
    assert by_driver == database.run(read)
    assert [row[1:4] for row in by_driver] == [(OWNER, title, CONTEXT) for title in ("\ud800", None, "third")]


def test_first_row_has_named_columns_and_is_none_where_there_is_none(database: Database) -> None:
    add(database, "one", "two")
    for run in (database.read, database.run):
        row = run(lambda reader: _TITLES.first(reader, owner=OWNER, count=9))
        assert (row.title, row.updated_ms) == ("one", 0)
        assert run(lambda reader: _TITLES.first(reader, owner="eve", count=9)) is None
        assert len(run(lambda reader: [*_TITLES.rows(reader, owner=OWNER, count=1)])) == 1


def test_missing_parameter_is_an_error_and_not_null(database: Database) -> None:
    with pytest.raises(KeyError, match="owner"):
        database.read(lambda reader: _TITLES.first(reader, count=9))


def test_error_of_the_driver_is_that_of_sqlalchemy_and_the_next_read_works(database: Database) -> None:
    wrong = PreparedQuery(text("SELECT nothing FROM conversations").columns(column("nothing")))
    with pytest.raises(DatabaseUnavailable) as raised:
        database.read(wrong.first)
    assert isinstance(raised.value.__cause__, DBAPIError)
    assert "nothing" in str(raised.value)
    assert database.read(lambda reader: conversations.find(reader, "ada", "none")) is None
    assert database.read(is_sqlite) == database.is_sqlite
