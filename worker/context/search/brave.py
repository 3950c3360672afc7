"""Brave Search: https://api-dashboard.search.brave.com/api-reference/web/search/get."""

import json

import httpx
import msgspec

from millrace.worker.context.search.engine import SearchResult, clean_results, read_body
from millrace.worker.settings.parsers import is_direct

URL = "https://api.search.brave.com/res/v1/web/search"
MAX_RESULTS = 20


class _BraveResult(msgspec.Struct, frozen=True):
    url: str = ""
    title: str = ""
    description: str | None = None
    extra_snippets: list[str] = []


class _Web(msgspec.Struct, frozen=True):
    results: list[_BraveResult] = []


class _BraveResponse(msgspec.Struct, frozen=True):
    web: _Web | None = None  # absent if nothing was found


class Brave:
    """The search engine Brave; `key` is the subscription's."""

    def __init__(self, url: str, key: str, seconds: float) -> None:
        headers = {"Accept": "application/json", "X-Subscription-Token": key}
        self._url = url or URL
        self._client = httpx.Client(headers=headers, timeout=seconds, trust_env=not is_direct(self._url))

    def search(self, query: str, count: int) -> list[SearchResult]:
        """Return the first pages, with the snippets that the subscription includes."""
        parameters = {"q": query, "count": str(min(count, MAX_RESULTS)), "text_decorations": "false"}
        request = self._client.build_request("GET", self._url, params=parameters)
        response = msgspec.convert(json.loads(read_body(self._client, request)), _BraveResponse)
        results = response.web.results if response.web else []
        return clean_results(
            (
                SearchResult(result.title, result.url, " ".join([result.description or "", *result.extra_snippets]))
                for result in results
            ),
            count,
        )

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()
