"""Requests to Brave Search, and what is particular to its responses."""

from contextlib import closing

from millrace.worker.context.search.brave import URL, Brave
from millrace.worker.context.search.engine import SearchResult
from tests.worker.context.search.search_service import SearchService


def test_brave_receives_the_key_and_a_count_of_at_most_twenty(service: SearchService) -> None:
    service.pages = [("A", "https://a.example", "one|two|three")]
    with closing(Brave(f"{service.url}/res/v1/web/search", "key", 5)) as brave:
        assert brave.search("mill", 50) == [SearchResult("A", "https://a.example", "one two three")]
    path, parameters, headers = service.requests[0]
    assert path == "/res/v1/web/search"
    assert (parameters["count"], parameters["text_decorations"]) == ("20", "false")
    assert headers["x-subscription-token"] == "key"


def test_brave_has_a_default_address() -> None:
    with closing(Brave("", "key", 5)) as brave:
        assert brave._url == URL
