"""Statements that are built once: SQLAlchemy takes several times as long to build one as the database to run it.

A query can also be run by the database's driver alone. SQLAlchemy's way of running a statement takes several times as
long as a query by primary key, and an answer's first text waits for four such queries.
"""

from collections import namedtuple
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import CursorResult, Executable, Select, Table, TextualSelect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.pool import PoolProxiedConnection

from millrace.worker.store.tables import Base


class PreparedInsert:
    """An insert that is built once for each database.

    `build` completes an insert with the values that are the same in every row; it may use `on_conflict_do_nothing` and
    `on_conflict_do_update`. Both databases spell these alike, but SQLAlchemy has a class for each.
    """

    def __init__(self, table: type[Base], build: Callable[[sqlite.Insert], Executable]) -> None:
        rows = cast("Table", table.__table__)  # the class would go through the ORM's bulk insert, at twice the cost
        self._built = {
            "sqlite": build(sqlite.insert(rows)),
            "postgresql": build(cast("sqlite.Insert", postgresql.insert(rows))),
        }

    def run(self, session: Session, **values: Any) -> CursorResult[Any]:
        """Insert one row; `values` are those of its other columns, and of the parameters that `build` has named."""
        connection = session.connection()
        return connection.execute(self._built[connection.dialect.name], values)


@dataclass(frozen=True)
class DriverConnection:
    """A connection of the driver, with no transaction open, and the dialect of its SQL."""

    connection: Any
    dialect: Dialect


@contextmanager
def lend_connection(engine: Engine) -> Generator[DriverConnection]:
    """Lend a connection of the engine's pool; the driver's errors are raised as SQLAlchemy's.

    After any error the connection is closed: an interrupted statement may still be running on it, and a transaction
    must find it as it was.
    """
    dialect, driver = engine.dialect, cast("Any", engine.dialect.loaded_dbapi)
    pooled: PoolProxiedConnection | None = None
    try:
        pooled = engine.raw_connection()
        connection: Any = pooled.driver_connection
        if dialect.name != "sqlite":  # whose connections are always in this mode, see `database.py`
            connection.autocommit = True
        yield DriverConnection(connection, dialect)
        if dialect.name != "sqlite":
            connection.autocommit = False
    except BaseException as error:
        is_lost = pooled is not None and dialect.is_disconnect(cast("Any", error), pooled, None)
        if pooled is not None:
            pooled.invalidate(error)
        if is_lost:
            engine.dispose()  # the pool's other connections were probably lost at the same time
        if not isinstance(error, driver.Error):
            raise
        wrapped = DBAPIError.instance(None, None, error, driver.Error, connection_invalidated=is_lost, dialect=dialect)
        raise cast("DBAPIError", wrapped) from error
    finally:
        if pooled is not None:
            pooled.close()


Reader = Session | DriverConnection
"""Where a prepared query runs: in a session's transaction, or on a connection of the driver."""


def is_sqlite(reader: Reader) -> bool:
    """Return whether the reader's database is SQLite; otherwise it is PostgreSQL."""
    dialect = reader.dialect if isinstance(reader, DriverConnection) else reader.connection().dialect
    return dialect.name == "sqlite"


class PreparedQuery:
    """A query with named parameters, for either database. It takes no lists: their length is part of the SQL."""

    def __init__(self, query: "Select[*tuple[Any, ...]] | TextualSelect") -> None:
        self._query = query
        self._compiled: dict[str, CompiledQuery] = {}

    def rows(self, reader: Reader, **values: Any) -> Generator[Any]:
        """Yield the rows, as named tuples; those that are not taken may not be read from the database."""
        if isinstance(reader, Session):
            yield from reader.connection().execute(self._query, values)
            return
        compiled = self._compiled.get(reader.dialect.name)
        if compiled is None:
            compiled = self._compiled[reader.dialect.name] = CompiledQuery(self._query, reader.dialect)
        with closing(reader.connection.cursor()) as cursor:
            cursor.execute(compiled.sql, compiled.parameters(values))
            yield from map(compiled.row, cursor)

    def first(self, reader: Reader, **values: Any) -> Any:
        """Return the first row, None if there is none."""
        with closing(self.rows(reader, **values)) as rows:
            return next(rows, None)


class CompiledQuery:
    """The SQL of a query for one driver, and how its types convert parameters and columns."""

    def __init__(self, query: "Select[*tuple[Any, ...]] | TextualSelect", dialect: Dialect) -> None:
        if dialect.name == "sqlite":  # its default, a tuple of values, would have to be put in order each time
            dialect = type(dialect)(paramstyle="named")
        compiled: Any = query.compile(dialect=dialect)
        self.sql: str = compiled.string
        binds: dict[str, Any] = compiled.binds
        self._constants = {name: bind.effective_value for name, bind in binds.items() if not bind.required}
        writers = {name: bind.type.dialect_impl(dialect).bind_processor(dialect) for name, bind in binds.items()}
        self._writers = {name: write for name, write in writers.items() if write is not None}
        columns: Any = query.selected_columns
        self._columns = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns]
        # Two tables may have columns of one name: such a column is reached by its position only.
        self._row: Any = namedtuple("_row", [column.key for column in columns], rename=True)  # noqa: PYI024 - as built

    def parameters(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the driver's parameters."""
        values = self._constants | values
        for name, write in self._writers.items():
            values[name] = write(values[name])
        return values

    def row(self, row: Any) -> Any:
        """Return a row of the driver with its values converted."""
        return self._row(*(read(each) if read else each for read, each in zip(self._columns, row, strict=True)))
