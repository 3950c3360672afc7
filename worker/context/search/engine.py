"""The protocol of search engines, and the functions that turn a search service's response into safe results."""

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import httpx

from millrace.worker.text.characters import clean_line, shorten

MAX_RESPONSE_BYTES = 2 << 20  # a page of results has about 50 KB
MAX_TITLE_CHARS = 200
MAX_TEXT_CHARS = 4000  # of one page's excerpt
MAX_URL_CHARS = 2000
_RAW_CHARS_PER_CHAR = 4  # as many as markup and entities may add

_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")


@dataclass(frozen=True)
class SearchResult:
    """One web page: its title, its address, and the excerpt that matches the query, in plain text."""

    title: str
    url: str
    text: str


class SearchEngine(Protocol):
    """Searches the web. Each process has one, used by any number of greenlets at once."""

    def search(self, query: str, count: int) -> list[SearchResult]:
        """Return at most `count` pages, the best first; raises httpx.HTTPError, or ValueError for a bad response."""
        ...

    def close(self) -> None:
        """Close idle connections."""
        ...


def read_body(client: httpx.Client, request: httpx.Request) -> bytes:
    """Return a response's body; raises httpx.HTTPError, or ValueError beyond `MAX_RESPONSE_BYTES`."""
    response = client.send(request, stream=True)
    try:
        response.raise_for_status()
        body = bytearray()
        for part in response.iter_bytes():
            body += part
            if len(body) > MAX_RESPONSE_BYTES:
                raise ValueError("the search service's response is too large")
        return bytes(body)
    finally:
        response.close()


def clean_results(results: Iterable[SearchResult], count: int) -> list[SearchResult]:
    """Return the first `count` results with a web address and an excerpt, without duplicates, in plain text."""
    kept: dict[str, SearchResult] = {}
    for result in results:
        if len(kept) == count:
            break
        text = to_plain(result.text, MAX_TEXT_CHARS)
        if text and is_web_address(result.url):
            title = to_plain(result.title, MAX_TITLE_CHARS)
            kept.setdefault(result.url, SearchResult(title, result.url, text))
    return list(kept.values())


def is_web_address(url: str) -> bool:
    """Return whether the address is safe to show as a link: http or https, with a host."""
    if len(url) > MAX_URL_CHARS:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and url.isprintable() and " " not in url


def to_plain(text: str, max_chars: int) -> str:
    """Return the text without markup and invisible characters, as one line of at most `max_chars` characters."""
    raw = text[: _RAW_CHARS_PER_CHAR * max_chars]
    try:
        plain = html.unescape(_TAG.sub("", raw))
    except ValueError:  # an entity of thousands of digits, which Python does not convert
        plain = raw
    return shorten(clean_line(plain), max_chars)
