"""Brave Search: https://api-dashboard.search.brave.com/api-reference/web/search/get."""

import json

import httpx
import msgspec

from millrace.worker.context.search.answers import pages, read_answer
from millrace.worker.context.search.engine import Found

URL = "https://api.search.brave.com/res/v1/web/search"
MOST_RESULTS = 20


class _Result(msgspec.Struct, frozen=True):
    url: str = ""
    title: str = ""
    description: str | None = None
    extra_snippets: list[str] = []


class _Web(msgspec.Struct, frozen=True):
    results: list[_Result] = []


class _Answer(msgspec.Struct, frozen=True):
    web: _Web | None = None  # absent where nothing was found


class Brave:
    """The service with a subscription's key."""

    def __init__(self, url: str, key: str, seconds: float) -> None:
        headers = {"Accept": "application/json", "X-Subscription-Token": key}
        self._client = httpx.Client(headers=headers, timeout=seconds, trust_env=False)
        self._url = url or URL

    def search(self, query: str, count: int) -> list[Found]:
        """Return the first pages, with the snippets that the subscription gives."""
        given = {"q": query, "count": str(min(count, MOST_RESULTS)), "text_decorations": "false"}
        request = self._client.build_request("GET", self._url, params=given)
        answer = msgspec.convert(json.loads(read_answer(self._client, request)), _Answer)
        results = answer.web.results if answer.web else []
        texts = (" ".join([each.description or "", *each.extra_snippets]) for each in results)
        return pages((Found(each.title, each.url, text) for each, text in zip(results, texts, strict=True)), count)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
