"""SearXNG, by its JSON API: https://docs.searxng.org/dev/search_api.html.

The instance must allow the format: `search: formats: [html, json]` in its settings.yml, else it answers 403.
"""

import json

import httpx
import msgspec

from millrace.worker.context.search.answers import pages, read_answer
from millrace.worker.context.search.engine import Found


class _Result(msgspec.Struct, frozen=True):
    url: str = ""
    title: str = ""
    content: str | None = None  # some engines say null


class _Answer(msgspec.Struct, frozen=True):
    results: list[_Result] = []


class Searxng:
    """One instance; `key`, where there is one, is for a proxy in front of it that wants a bearer token."""

    def __init__(self, url: str, key: str, seconds: float) -> None:
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._client = httpx.Client(headers=headers, timeout=seconds, trust_env=False)
        self._url = f"{url.rstrip('/')}/search"

    def search(self, query: str, count: int) -> list[Found]:
        """Return the first pages; the service itself gives about twenty."""
        request = self._client.build_request("GET", self._url, params={"q": query, "format": "json"})
        answer = msgspec.convert(json.loads(read_answer(self._client, request)), _Answer)
        return pages((Found(each.title, each.url, each.content or "") for each in answer.results), count)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
