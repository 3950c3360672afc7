"""Column types for text that users and models write, and the database's clock.

PostgreSQL rejects NUL, and neither database accepts a lone surrogate. Text is therefore stored JSON-escaped, as ASCII.
"""

import json
from typing import Any

from sqlalchemy import BigInteger, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.types import TypeDecorator


class EscapedText(TypeDecorator[str]):
    """Any text, stored as the content of a JSON string, without its quotes. Equal texts are stored as equal ones."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return the stored form."""
        return None if value is None else json.dumps(value)[1:-1]

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """Return the text."""
        return None if value is None else str(json.loads(f'"{value}"'))


class JsonText(TypeDecorator[Any]):
    """A JSON value, stored as ASCII text, because PostgreSQL's `jsonb` rejects NUL.

    Raises ValueError for NaN and infinity.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Return the stored form; None becomes NULL."""
        return None if value is None else json.dumps(value, separators=(",", ":"), allow_nan=False)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Return the value."""
        return None if value is None else json.loads(value)


class clock_ms(GenericFunction[int]):  # noqa: N801 - named as an SQL function
    """The database's clock in milliseconds since 1970; the clocks of our machines never decide an order."""

    type = BigInteger()
    inherit_cache = True


@compiles(clock_ms, "sqlite")
def _sqlite_clock(_element: clock_ms, _compiler: SQLCompiler, **_: Any) -> str:
    return "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"


@compiles(clock_ms, "postgresql")
def _postgresql_clock(_element: clock_ms, _compiler: SQLCompiler, **_: Any) -> str:
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"
