"""A site of somebody else's, and a system that allows it."""

import json
from collections.abc import Callable, Iterator
from hashlib import sha256

import pytest
from playwright.sync_api import BrowserContext, ConsoleMessage, Page

from tests.browser.conftest import visiting
from tests.browser.widget.host_site import HostSite, host_site
from tests.system import System

KEYS = ("mr-widget-of-ada", "mr-widget-of-bob")
Visit = Callable[..., Page]
HTML = """<!doctype html>
<html lang="en">
<title>Mills</title>
<script type="module" src="{system}/static/widget.js"></script>
<script type="module" src="{system}/static/widget.js?again"></script>
{body}"""


@pytest.fixture(scope="session")
def site() -> Iterator[HostSite]:
    with host_site() as site:
        yield site


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory, site: HostSite) -> Iterator[System]:
    """A system that pages of the site may use."""
    listed = [{"sha256": sha256(key.encode()).hexdigest(), "owner": f"owner {key}"} for key in KEYS]
    settings = {"MILLRACE_ALLOWED_ORIGINS": site.url, "MILLRACE_API_KEYS": json.dumps(listed)}
    with System(tmp_path_factory.mktemp("embedded"), **settings) as running:
        yield running


@pytest.fixture
def visit(context: BrowserContext, site: HostSite, embedded: System) -> Iterator[Visit]:
    """Open a page of the site with a body, as a new user; errors in the console, but for a 422, fail the test."""
    complaints: list[str] = []

    def take(message: ConsoleMessage) -> None:
        if message.type == "error" and "status of 422" not in message.text:
            complaints.append(message.text)

    with visiting(context, "about:blank") as page:
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", take)

        def at(body: str, policy: str = "") -> Page:
            page.goto(site.put("/", HTML.format(system=embedded.url, body=body), policy))
            return page

        yield at
    assert complaints == []
