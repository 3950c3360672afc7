"""The types of columns that bear what models and people write, and the database's own clock.

PostgreSQL takes no NUL, and neither database a lone surrogate: text is kept JSON-escaped, which is ASCII.
"""

import json
from typing import Any

from sqlalchemy import BigInteger, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.types import TypeDecorator


class Escaped(TypeDecorator[str]):
    """Any text, kept as the inside of a JSON string. Equal texts are kept as equal ones."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return what is kept."""
        return None if value is None else json.dumps(value)[1:-1]

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """Return the text."""
        return None if value is None else str(json.loads(f'"{value}"'))


class Json(TypeDecorator[Any]):
    """A value of JSON, kept as ASCII text: PostgreSQL's own type refuses NUL. Raises ValueError for NaN or infinity."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Return what is kept; None is kept as NULL."""
        return None if value is None else json.dumps(value, separators=(",", ":"), allow_nan=False)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Return the value."""
        return None if value is None else json.loads(value)


class clock_ms(GenericFunction[int]):  # noqa: N801 - named as the SQL function that it stands for
    """The database's clock in milliseconds since 1970, so that no machine's own decides an order."""

    type = BigInteger()
    inherit_cache = True


@compiles(clock_ms, "sqlite")
def _sqlite_clock(_element: clock_ms, _compiler: SQLCompiler, **_: Any) -> str:
    return "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"


@compiles(clock_ms, "postgresql")
def _postgresql_clock(_element: clock_ms, _compiler: SQLCompiler, **_: Any) -> str:
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"
