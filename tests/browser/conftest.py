"""The installed Chromium against the whole system."""

import os
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Playwright, expect, sync_playwright

from tests.system import System

expect.set_options(timeout=30_000)  # ms; the default of 5 s is too short while other tests use the processors

# The headless shell is Chromium without the window around the page, which takes a third of the processor time.
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def chromium() -> str:
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        assert "CI" not in os.environ, "there is no Chromium to test with: set CHROMIUM to its path"
        pytest.skip("there is no Chromium to test with: set CHROMIUM to its path")
    return found


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system")) as running:
        yield running


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@contextmanager
def browsing(playwright: Playwright, chromium: str, profile: Path, *flags: str) -> Generator[BrowserContext]:
    """Open a browser with its own profile, and with further flags."""
    context = playwright.chromium.launch_persistent_context(
        str(profile), executable_path=chromium, headless=True, args=[*FLAGS, *flags]
    )
    yield context
    context.close()


@pytest.fixture(scope="session")
def context(
    playwright: Playwright, chromium: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BrowserContext]:
    with browsing(playwright, chromium, tmp_path_factory.mktemp("profile")) as context:
        yield context


@contextmanager
def visiting(context: BrowserContext, url: str) -> Generator[Page]:
    """Open the page as a new user."""
    context.clear_cookies()
    page = context.new_page()
    page.goto(url)
    yield page
    page.close()


def complaints_of(page: Page) -> list[str]:
    """Return a list that gets every error of the page, and of the browser's console, from now on."""
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    return complaints


@pytest.fixture
def page(context: BrowserContext, system: System) -> Iterator[Page]:
    """The page of a new user; errors in the browser's console fail the test."""
    with visiting(context, "about:blank") as page:
        complaints = complaints_of(page)
        page.goto(system.url)
        yield page
    # Another test may change the addresses of the machine, which Chromium takes for a new network.
    assert [each for each in complaints if "ERR_NETWORK_CHANGED" not in each] == []


@pytest.fixture
def lenient_page(context: BrowserContext, system: System) -> Iterator[Page]:
    """The page of a new user whose requests may fail, which the browser's console reports."""
    with visiting(context, system.url) as page:
        yield page
