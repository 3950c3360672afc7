"""SearXNG through its JSON API: https://docs.searxng.org/dev/search_api.html.

The instance must allow the format, with `search: formats: [html, json]` in its settings.yml; otherwise it responds 403.
"""

import json

import httpx
import msgspec

from millrace.worker.context.search.engine import SearchResult, clean_results, read_body
from millrace.worker.settings.parsers import is_direct


class _SearxngResult(msgspec.Struct, frozen=True):
    url: str = ""
    title: str = ""
    content: str | None = None  # null from some engines


class _SearxngResponse(msgspec.Struct, frozen=True):
    results: list[_SearxngResult] = []


class Searxng:
    """The search engine SearXNG; `key`, if set, is a bearer token for a proxy in front of the instance."""

    def __init__(self, url: str, key: str, seconds: float) -> None:
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._client = httpx.Client(headers=headers, timeout=seconds, trust_env=not is_direct(url))
        self._url = f"{url.rstrip('/')}/search"

    def search(self, query: str, count: int) -> list[SearchResult]:
        """Return the first pages; the service has no parameter for their number and returns about twenty."""
        request = self._client.build_request("GET", self._url, params={"q": query, "format": "json"})
        response = msgspec.convert(json.loads(read_body(self._client, request)), _SearxngResponse)
        return clean_results(
            (SearchResult(result.title, result.url, result.content or "") for result in response.results), count
        )

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()
