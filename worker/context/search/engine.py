"""The seam between a question and whoever searches the web."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Found:
    """One page: its title, its address, and the part of it that fits the query, in plain text."""

    title: str
    url: str
    text: str


class Engine(Protocol):
    """Searches the web; one a process, used by any number of greenlets at once."""

    def search(self, query: str, count: int) -> list[Found]:
        """Return at most so many pages, the best first; raises httpx.HTTPError, ValueError for what is no answer."""
        ...

    def close(self) -> None:
        """Close the connections that are kept."""
        ...
