"""The first visit: the document names everything, so that the page is there after two round trips."""

import re

from playwright.sync_api import BrowserContext, expect

from tests.browser.conftest import visiting
from tests.system import System

MODULE = re.compile(r"/static/.*\.m?js$")


def test_every_script_and_sheet_is_named_by_the_document_and_fetched_once(
    context: BrowserContext, system: System
) -> None:
    with visiting(context, "about:blank") as page:
        urls: list[str] = []
        complaints: list[str] = []
        page.on("request", lambda request: urls.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(system.url)
        expect(page.locator("#send")).to_be_visible()
        expect(page.locator(".list-empty")).to_be_visible()
        document = page.request.get(system.url).text()
        assert len(urls) == len(set(urls)), "a file was fetched twice"
        named = {f"{system.url}/{path}" for path in re.findall(r'(?:src|href)="([^"]+)"', document)}
        scripts = {url for url in urls if MODULE.search(url) or url.endswith(".css")}
        assert scripts <= named, scripts - named
        assert complaints == []
