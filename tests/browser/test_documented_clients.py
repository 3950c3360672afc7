"""The functions of the documentation in Chromium, as printed: the text is exact although connections are cut or die."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Route

from tests.browser.conftest import visiting
from tests.browser.test_page import TEXT as PLAIN_TEXT
from tests.browser.test_page import answer, ask, expect_state
from tests.client import emulate
from tests.docs.programs import programs, with_constants
from tests.journeys.cutting_proxy import CuttingProxy, Weather
from tests.journeys.npm_packages import NpmPackages
from tests.system import System

CLIENTS = programs("webapp/docs/use-from-browser.md")
BEFORE_AND_AFTER = programs("webapp/docs/moving-over.md")
PACKAGES = {
    "@microsoft/fetch-event-source": 'export * from "/npm/@microsoft/fetch-event-source/lib/esm/index.js";',
    "event-source-polyfill": """import "/npm/event-source-polyfill/src/eventsource.js";
        export const { EventSourcePolyfill } = globalThis;""",
}
TEXT = "".join(f"{number} caf\u00e9 \U0001f600 \u2028data: x\n\nid: 9-9\r\n" for number in range(12))
CUT = Weather(only_streams=True, is_half_plain=True, has_short_retry=True)
SILENT = Weather(only_streams=True, has_short_retry=True, is_silent=True)
RUN = """async (question) => {
  const { answer } = await import("/documented/function.mjs");
  let shown = "";
  await answer(question, (text) => (shown = text));
  return shown;
}"""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system with a heartbeat each second, and no limit of reconnects."""
    settings = {"MILLRACE_HEARTBEAT_SECONDS": "1", "MILLRACE_FOLLOW_RATE_LIMIT": "off"}
    with System(tmp_path_factory.mktemp("system"), **settings) as running:
        yield running


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return NpmPackages(tmp_path_factory.mktemp("npm")).directory / "node_modules"


def serve(route: Route, *, text: str) -> None:
    route.fulfill(content_type="text/html" if text.startswith("<") else "text/javascript", body=text)


def run(page: Page, url: str, code: str, question: str, packages: Path | None = None) -> Any:
    """Run a documented function in an empty page of a server; returns the last text that it shows."""
    for package, source in PACKAGES.items():
        code = code.replace(f'"{package}"', f'"/documented/{package}"')
        page.route(f"{url}/documented/{package}", partial(serve, text=source))

    def serve_package(route: Route) -> None:
        assert packages
        path = packages / route.request.url.partition("/npm/")[2]
        serve(route, text=(path if path.suffix == ".js" else path.with_suffix(".js")).read_text("utf-8"))

    page.route(f"{url}/npm/**", serve_package)
    page.route(f"{url}/documented/function.mjs", partial(serve, text=code))
    page.route(f"{url}/empty", partial(serve, text="<!doctype html>"))
    page.goto(f"{url}/empty")
    return page.evaluate(RUN, question)


@pytest.mark.parametrize("name", CLIENTS)
def test_text_is_exact_although_each_connection_is_cut_after_an_event_or_two(
    system: System, context: BrowserContext, name: str, packages: Path
) -> None:
    with (
        CuttingProxy(system.url, lambda n: 300 + 13 * n % 97 if n < 20 else None, CUT) as proxy,
        visiting(context, "about:blank") as page,
    ):
        question = emulate(text=TEXT, chars=6, rate=30)
        assert run(page, proxy.url, CLIENTS[name], question, packages) == TEXT
        assert proxy.cut >= 12


@pytest.mark.parametrize("name", ["with_follow.mjs", "with_eventsource.mjs"])
def test_client_notices_a_dead_connection_by_its_missing_heartbeats(
    system: System, context: BrowserContext, name: str
) -> None:
    code = with_constants(CLIENTS[name], SILENCE_MS="5000")
    with (
        CuttingProxy(system.url, lambda n: 400 + 13 * n if n < 3 else None, SILENT) as proxy,
        visiting(context, "about:blank") as page,
    ):
        assert run(page, proxy.url, code, emulate(text=TEXT, chars=6, rate=30)) == TEXT
        assert (proxy.cut, proxy.streams) == (3, 4)


def test_page_notices_a_dead_connection_and_goes_on_at_the_very_character(
    system: System, context: BrowserContext
) -> None:
    """The page learns from the server how often heartbeats come: at the default interval, it would wait for 37.5 s."""
    with (
        CuttingProxy(system.url, lambda n: 900 + 17 * n if n < 3 else None, SILENT) as proxy,
        visiting(context, proxy.url) as page,
    ):
        ask(page, emulate(text=PLAIN_TEXT, chars=20, rate=30))
        expect_state(page, "completed")
        assert answer(page) == PLAIN_TEXT
        assert proxy.cut == 3


@pytest.mark.parametrize("name", BEFORE_AND_AFTER)
def test_front_ends_show_the_same_answer_before_and_after_moving_over(
    system: System, context: BrowserContext, name: str
) -> None:
    with visiting(context, "about:blank") as page:
        code = BEFORE_AND_AFTER[name]
        assert run(page, system.url, code, emulate(text=TEXT, chars=6, rate=200)) == TEXT
