"""The contract of every search engine, over real sockets, and the particulars of each."""

import socket
from collections.abc import Iterator
from contextlib import closing

import gevent
import httpx
import pytest

from millrace.worker.context.search.brave import Brave
from millrace.worker.context.search.engine import MAX_RESPONSE_BYTES, MAX_TEXT_CHARS, SearchEngine, SearchResult
from millrace.worker.context.search.searxng import Searxng
from tests.worker.context.search.search_service import SearchService

MILL = ("A mill", "https://mill.example/wheel", "Water drives the wheel.")
RACE = ("A race", "https://race.example/?a=1&b=2", "It leads to the mill.")


@pytest.fixture(params=["searxng", "brave"])
def engine(request: pytest.FixtureRequest, service: SearchService) -> Iterator[SearchEngine]:
    engine = (
        Searxng(service.url, "", 5) if request.param == "searxng" else Brave(f"{service.url}/res/v1/web/search", "k", 5)
    )
    with closing(engine):
        yield engine


def test_results_keep_the_services_order_and_the_requested_count(engine: SearchEngine, service: SearchService) -> None:
    service.pages = [MILL, RACE, ("Third", "https://third.example", "x")]
    assert engine.search("mill race", 2) == [SearchResult(*MILL), SearchResult(*RACE)]
    assert service.requests[0][1]["q"] == "mill race"


def test_an_empty_response_has_no_results(engine: SearchEngine) -> None:
    assert engine.search("nothing", 5) == []


def test_markup_becomes_plain_text(engine: SearchEngine, service: SearchService) -> None:
    service.pages = [("<b>Mill</b> &amp; race", "https://a.example", "the <strong>water</strong>\n  wheel &lt;3")]
    assert engine.search("mill", 5) == [SearchResult("Mill & race", "https://a.example", "the water wheel <3")]


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "", "/path", "http://", "https://a b.example", "http://[x"]
)
def test_a_result_without_a_web_address_is_left_out(engine: SearchEngine, service: SearchService, url: str) -> None:
    service.pages = [("Bad", url, "x"), MILL]
    assert engine.search("mill", 5) == [SearchResult(*MILL)]


def test_a_result_without_an_excerpt_is_left_out(engine: SearchEngine, service: SearchService) -> None:
    service.pages = [("Empty", "https://a.example", " <b></b> "), MILL]
    assert engine.search("mill", 1) == [SearchResult(*MILL)]


def test_titles_and_excerpts_hold_no_invisible_characters_and_are_bounded(
    engine: SearchEngine, service: SearchService
) -> None:
    service.pages = [("Mill\u202e\0 \U000e0041 می‌خواهم", "https://a.example", "a&#" + "9" * 5000 + "b" * 100_000)]
    (page,) = engine.search("mill", 1)
    assert page.title == "Mill می‌خواهم"
    assert len(page.text) == MAX_TEXT_CHARS


def test_duplicate_pages_are_removed(engine: SearchEngine, service: SearchService) -> None:
    service.pages = [MILL, MILL, RACE]
    assert engine.search("mill", 5) == [SearchResult(*MILL), SearchResult(*RACE)]


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"results": 3, "web": 3}', b"\xff", b"x" * (MAX_RESPONSE_BYTES + 1)]
)
def test_a_malformed_response_is_an_error(engine: SearchEngine, service: SearchService, body: bytes) -> None:
    service.body = body
    with pytest.raises(ValueError):  # noqa: PT011 - the messages are those of json and msgspec
        engine.search("mill", 5)


@pytest.mark.parametrize("status", [403, 429, 500])
def test_an_error_status_is_an_error(engine: SearchEngine, service: SearchService, status: int) -> None:
    service.status = status
    with pytest.raises(httpx.HTTPStatusError):
        engine.search("mill", 5)


def test_an_unreachable_service_is_an_error(engine: SearchEngine, service: SearchService) -> None:
    with closing(Searxng("http://127.0.0.1:1", "", 5)) as unreachable, pytest.raises(httpx.ConnectError):
        unreachable.search("mill", 5)


def test_a_service_of_this_machine_is_reached_past_the_proxy_of_the_environment(
    service: SearchService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.pages = [MILL]
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    for engine in (Searxng(service.url, "", 5), Brave(f"{service.url}/res/v1/web/search", "k", 5)):
        assert len(engine.search("mills", 5)) == 1
        engine.close()


def test_a_service_elsewhere_is_reached_through_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        engines = (Brave("", "k", 5), "api.search.brave.com"), (Searxng("https://sx.test", "", 5), "sx.test")
        for engine, host in engines:
            searching = gevent.spawn(engine.search, "mills", 5)
            connection, _ = proxy.accept()
            with connection:
                assert connection.recv(500).startswith(f"CONNECT {host}:443 ".encode())
            with pytest.raises(httpx.HTTPError):
                searching.get(timeout=30)
            engine.close()
