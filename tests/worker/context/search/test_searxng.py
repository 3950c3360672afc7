"""Requests to SearXNG, and what is particular to its responses."""

from contextlib import closing

from millrace.worker.context.search.engine import SearchResult
from millrace.worker.context.search.searxng import Searxng
from tests.worker.context.search.search_service import SearchService


def test_searxng_receives_the_json_format_and_a_token_only_if_configured(service: SearchService) -> None:
    for key in ("", "secret"):
        with closing(Searxng(f"{service.url}/", key, 5)) as searxng:
            searxng.search("mill", 5)
    (path, parameters, without_key), (_, _, with_key) = service.requests
    assert path == "/search"
    assert parameters == {"q": "mill", "format": "json"}
    assert "authorization" not in without_key
    assert with_key["authorization"] == "Bearer secret"


def test_a_searxng_result_without_content_is_left_out(service: SearchService) -> None:
    service.body = (
        b'{"results": [{"url": "https://a.example", "title": "A", "content": null},'
        b'{"url": "https://b.example", "title": "B", "content": "b"}]}'
    )
    with closing(Searxng(service.url, "", 5)) as searxng:
        assert searxng.search("mill", 5) == [SearchResult("B", "https://b.example", "b")]
