"""axe-core in the page, and the browser's media features."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.accessibility.axe import Axe
from tests.journeys.npm_packages import NpmPackages

Coarse = Callable[[Page], Any]


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> Axe:
    """The rules of axe-core; skips the test where its package cannot be installed."""
    packages = NpmPackages(tmp_path_factory.mktemp("axe"), Axe.PACKAGES)
    return Axe(packages.directory / "node_modules/axe-core/axe.min.js")


@pytest.fixture
def touched() -> Coarse:
    """A context manager in which the page's pointer is a finger."""

    @contextmanager
    def touch(page: Page) -> Generator[None]:
        browser = page.context.new_cdp_session(page)
        browser.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
        yield
        browser.send("Emulation.setTouchEmulationEnabled", {"enabled": False})
        browser.detach()

    return touch
