"""Keyset pagination: pages, and the cursors that lead from one to the next.

A cursor holds the two sort keys of a page's last row, `<number>-<key>`. The next page holds the rows after it, so that
rows added in between are neither repeated nor skipped, as they would be with an offset.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Row = TypeVar("Row")
T = TypeVar("T")

_CURSOR = re.compile(r"([0-9]{1,15})-([0-9a-f]{1,32})", re.ASCII)


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some items of many, and the cursor of the next page; None on the last page."""

    items: list[T]
    next_cursor: str | None


def make_page(
    rows: Sequence[Row], count: int, keys: Callable[[Row], tuple[int, str | int]], record: Callable[[Row], T]
) -> Page[T]:
    """Return a page of the first `count` rows.

    The query asks for `count + 1` rows: the extra one only shows that there is a next page. `keys` returns the two sort
    keys of a row, `record` converts it.
    """
    next_cursor = encode_cursor(*keys(rows[count - 1])) if len(rows) > count else None
    return Page([record(row) for row in rows[:count]], next_cursor)


def encode_cursor(number: int, key: str | int) -> str:
    """Return the cursor after the row with these two sort keys."""
    return f"{number}-{key}"


def decode_cursor(cursor: str) -> tuple[int, str]:
    """Return the two sort keys in a cursor; raises ValueError if it is malformed."""
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise ValueError("Malformed cursor. Use the one that the previous page returned.")
    return int(match[1]), match[2]
