"""A `MarkdownView` in the page, without a conversation around it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.browser.conftest import complaints_of, visiting
from tests.system import System

_SCRIPT = Path(__file__).with_name("viewing.js").read_text("utf-8")


@pytest.fixture
def view(context: BrowserContext, system: System) -> Iterator[Page]:
    """The page with `viewing.js` in `window.viewing`; errors in the browser's console fail the test."""
    with visiting(context, "about:blank") as page:
        complaints = complaints_of(page)
        page.goto(system.url)
        page.evaluate(_SCRIPT)
        yield page
    assert complaints == []
