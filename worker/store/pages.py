"""Paging by cursor: a page, and the mark where the next one begins."""

import re
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

_MARK = re.compile(r"([0-9]{1,15})-([0-9a-f]{1,32})", re.ASCII)


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some of many; `more` is the cursor of the next page, None where this is the last."""

    items: list[T]
    more: str | None


def mark(place: int, last: str | int) -> str:
    """Return the cursor that stands behind a row which is ordered by `place` and then by `last`."""
    return f"{place}-{last}"


def unmark(cursor: str) -> tuple[int, str]:
    """Return the two parts of a cursor; raises ValueError where it is none."""
    found = _MARK.fullmatch(cursor)
    if found is None:
        raise ValueError("a cursor is what a page before gave as its own")
    return int(found[1]), found[2]
