"""What every engine keeps to, over real sockets; and what is particular to each."""

from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from millrace.worker.context.search.answers import ANSWER_BYTES
from millrace.worker.context.search.brave import URL, Brave
from millrace.worker.context.search.engine import Engine, Found
from millrace.worker.context.search.searxng import Searxng
from tests.worker.context.search.service import Service

MILL = ("A mill", "https://mill.example/wheel", "Water drives the wheel.")
RACE = ("A race", "https://race.example/?a=1&b=2", "It leads to the mill.")


@pytest.fixture(params=["searxng", "brave"])
def engine(request: pytest.FixtureRequest, service: Service) -> Iterator[Engine]:
    made = (
        Searxng(service.url, "", 5) if request.param == "searxng" else Brave(f"{service.url}/res/v1/web/search", "k", 5)
    )
    with closing(made):
        yield made


def test_pages_come_in_the_services_order_and_not_more_than_asked_for(engine: Engine, service: Service) -> None:
    service.pages = [MILL, RACE, ("Third", "https://third.example", "x")]
    assert engine.search("mill race", 2) == [Found(*MILL), Found(*RACE)]
    assert service.asked[0][1]["q"] == "mill race"


def test_nothing_found_is_no_pages(engine: Engine) -> None:
    assert engine.search("nothing", 5) == []


def test_markup_becomes_plain_text(engine: Engine, service: Service) -> None:
    service.pages = [("<b>Mill</b> &amp; race", "https://a.example", "the <strong>water</strong>\n  wheel &lt;3")]
    assert engine.search("mill", 5) == [Found("Mill & race", "https://a.example", "the water wheel <3")]


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "", "/path", "http://", "https://a b.example", "http://[x"]
)
def test_what_is_no_page_of_the_web_is_left_out(engine: Engine, service: Service, url: str) -> None:
    service.pages = [("Bad", url, "x"), MILL]
    assert engine.search("mill", 5) == [Found(*MILL)]


def test_the_same_page_comes_once(engine: Engine, service: Service) -> None:
    service.pages = [MILL, MILL, RACE]
    assert engine.search("mill", 5) == [Found(*MILL), Found(*RACE)]


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"results": 3, "web": 3}', b"\xff", b"x" * (ANSWER_BYTES + 1)]
)
def test_what_is_no_answer_is_an_error(engine: Engine, service: Service, body: bytes) -> None:
    service.body = body
    with pytest.raises(ValueError):  # noqa: PT011 - json's and msgspec's messages are their own
        engine.search("mill", 5)


@pytest.mark.parametrize("status", [403, 429, 500])
def test_a_refusal_is_an_error(engine: Engine, service: Service, status: int) -> None:
    service.status = status
    with pytest.raises(httpx.HTTPStatusError):
        engine.search("mill", 5)


def test_a_service_that_is_away_is_an_error(engine: Engine, service: Service) -> None:
    with closing(Searxng("http://127.0.0.1:1", "", 5)) as nobody, pytest.raises(httpx.ConnectError):
        nobody.search("mill", 5)


def test_searxng_is_asked_for_json_and_shown_a_token_only_where_there_is_one(service: Service) -> None:
    for key in ("", "secret"):
        with closing(Searxng(f"{service.url}/", key, 5)) as searxng:
            searxng.search("mill", 5)
    (path, given, without), (_, _, with_key) = service.asked
    assert path == "/search"
    assert given == {"q": "mill", "format": "json"}
    assert "authorization" not in without
    assert with_key["authorization"] == "Bearer secret"


def test_searxng_results_without_content_are_pages_all_the_same(service: Service) -> None:
    service.body = b'{"results": [{"url": "https://a.example", "title": "A", "content": null}]}'
    with closing(Searxng(service.url, "", 5)) as searxng:
        assert searxng.search("mill", 5) == [Found("A", "https://a.example", "")]


def test_brave_is_shown_the_key_and_asked_for_at_most_twenty(service: Service) -> None:
    service.pages = [("A", "https://a.example", "one|two|three")]
    with closing(Brave(f"{service.url}/res/v1/web/search", "key", 5)) as brave:
        assert brave.search("mill", 50) == [Found("A", "https://a.example", "one two three")]
    path, given, headers = service.asked[0]
    assert path == "/res/v1/web/search"
    assert (given["count"], given["text_decorations"]) == ("20", "false")
    assert headers["x-subscription-token"] == "key"


def test_brave_has_an_address_of_its_own() -> None:
    with closing(Brave("", "key", 5)) as brave:
        assert brave._url == URL
