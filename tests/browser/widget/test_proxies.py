"""The page and the widget below a path that only the proxy knows, and behind a proxy that buffers streams."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Response, expect

from tests.browser.conftest import visiting
from tests.browser.nginx import Nginx, block, program, put
from tests.browser.test_page import TEXT, answer, ask, expect_state, slowly
from tests.client import emulate, wait_for
from tests.system import System

LOCATIONS = "    location / { proxy_pass http://millrace; }\n    location /metrics { deny all; }\n"
PATH = "/a/deep-path/chat"
STRIPPING = f"    location {PATH}/ {{ proxy_pass http://millrace/; }}\n"
BUFFERING = "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;"
COMPRESSING = "gzip on; gzip_proxied any; gzip_types text/event-stream; gzip_min_length 1;"
MARKDOWN = "# Race\n\n```python\nwater = 1\n```\n\nThe head is $h^2$."
EMBED = '<script type="module" src="{path}/static/widget.js"></script><millrace-chat></millrace-chat>'


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    if program() is None:
        assert "CI" not in os.environ, "there is no nginx to test with: install nginx-light"
        pytest.skip("there is no nginx to test with: install nginx-light")


def port_of(system: System) -> int:
    port = urlsplit(system.url).port
    assert port is not None
    return port


@pytest.fixture(scope="module")
def stripping(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page below a path that the proxy removes without a word."""
    code = put(block("behind-nginx.md"), LOCATIONS, STRIPPING)
    with Nginx(tmp_path_factory.mktemp("stripping") / "nginx", code, port_of(system)) as nginx:
        yield nginx.url("127.0.0.1") + PATH


@pytest.fixture(scope="module")
def buffering(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a proxy that passes no stream on before its end."""
    code = put(block("behind-nginx.md"), "proxy_buffering    off;", BUFFERING)
    code = put(code, "gzip               off;", COMPRESSING)  # holds back what nginx's buffers alone let through
    with Nginx(tmp_path_factory.mktemp("buffering") / "nginx", code, port_of(system)) as nginx:
        yield nginx.url("127.0.0.1")


def test_page_and_widget_work_below_a_path_that_the_server_does_not_know(
    context: BrowserContext, stripping: str
) -> None:
    responses: list[Response] = []
    with visiting(context, "about:blank") as page:
        page.on("response", lambda response: responses.append(response))  # noqa: PLW0108 - Playwright marks functions
        page.goto(f"{stripping}/")
        ask(page, emulate(text=MARKDOWN))
        expect_state(page, "completed")
        page.reload()
        expect_state(page, "completed")
        page.locator("#new").click()
        expect(page.locator(".turn")).to_have_count(0)
        page.go_back()
        expect_state(page, "completed")
        page.route(
            f"{stripping}/shop", lambda route: route.fulfill(content_type="text/html", body=EMBED.format(path=PATH))
        )
        page.goto(f"{stripping}/shop")
        ask(page, slowly(TEXT + "below a path"))
        wait_for(lambda: len(answer(page)) > 100, 40, "some text")
        assert len(answer(page)) < len(TEXT)
        expect_state(page, "completed")
        assert answer(page) == TEXT + "below a path"
    outside = [each.url for each in responses if not each.url.startswith(f"{stripping}/")]
    assert outside == []
    assert len(responses) > 20
    assert [f"{each.status} {each.url}" for each in responses if each.status >= 400] == []


def test_page_behind_a_buffering_proxy_shows_growing_text_and_the_exact_end(
    context: BrowserContext, buffering: str, tmp_path: Path
) -> None:
    with visiting(context, f"{buffering}/") as page:
        polled: list[str] = []
        page.on("request", lambda request: polled.append(urlsplit(request.url).path))
        ask(page, emulate(text=TEXT + "polled", tokens=150, rate=16))
        wait_for(lambda: len(answer(page)) > 100, 30, "some text")
        assert len(answer(page)) < len(TEXT), "nothing was shown before the end"
        expect_state(page, "completed")
        assert answer(page) == TEXT + "polled"
        (conversation,) = {each for each in polled if each.startswith("/api/generations/") and "events" not in each}
        assert polled.count(conversation) > 2
        expect(page.locator("#send")).to_be_enabled()
        page.reload()
        expect_state(page, "completed")
        assert answer(page) == TEXT + "polled"


def test_widget_that_is_told_not_to_stream_polls_from_the_start(context: BrowserContext, buffering: str) -> None:
    with visiting(context, "about:blank") as page:
        requested: list[str] = []
        page.on("request", lambda request: requested.append(urlsplit(request.url).path))
        embed = EMBED.format(path="").replace("<millrace-chat>", "<millrace-chat streaming=off>")
        page.route(f"{buffering}/shop", lambda route: route.fulfill(content_type="text/html", body=embed))
        page.goto(f"{buffering}/shop")
        ask(page, slowly(TEXT + "not streamed"))
        wait_for(lambda: len(answer(page)) > 100, 40, "some text")
        assert len(answer(page)) < len(TEXT)
        expect_state(page, "completed")
        assert answer(page) == TEXT + "not streamed"
    assert "/api/events" not in requested
