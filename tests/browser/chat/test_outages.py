"""The page while parts of the system die: it goes on at the very character, and only a snapshot may shrink a text."""

import os
import signal

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat.test_resume import RECORD_LENGTHS
from tests.browser.test_page import TEXT, answer, ask, calls, slowly
from tests.client import Client, emulate, wait_for
from tests.system import System

PATIENCE_MS = 90_000
OFFLINE_SECONDS = 30


def wait_until_ready(system: System) -> None:
    with Client(system.url) as client:
        wait_for(lambda: client.http.get("/readyz").status_code == 200, 60, "the system to be ready again")


@pytest.mark.parametrize("role", ["web", "worker"])
def test_answer_goes_on_exactly_when_a_process_is_killed(lenient_page: Page, system: System, role: str) -> None:
    page, text = lenient_page, f"{TEXT}{role}"
    message = slowly(text)
    page.evaluate(RECORD_LENGTHS)
    ask(page, message)
    wait_for(lambda: len(answer(page)) > 100, 60, "some text")
    assert len(answer(page)) < len(text)
    for pid in system.pids()[role]:
        os.kill(pid, signal.SIGKILL)
    turn = page.locator(".turn").last
    expect(turn).to_have_attribute("data-state", "completed", timeout=PATIENCE_MS)
    assert answer(page) == text
    shrunk = page.evaluate("window.shrunk")
    assert len(shrunk) <= (role == "worker"), "a takeover begins the text again, once; nothing else does"
    assert len(calls(system, message)) == (2 if role == "worker" else 1)
    wait_until_ready(system)


def test_page_that_was_offline_for_half_a_minute_ends_in_the_exact_text(lenient_page: Page, system: System) -> None:
    page, text = lenient_page, f"{TEXT}half a minute"
    message = emulate(text=text, tokens=150, rate=150 / (OFFLINE_SECONDS + 5))
    page.evaluate(RECORD_LENGTHS)
    ask(page, message)
    wait_for(lambda: answer(page), 60, "some text")
    page.context.set_offline(True)
    try:
        seen = answer(page)
        page.wait_for_timeout(1000 * OFFLINE_SECONDS)  # longer than a heartbeat: the connection is given up meanwhile
        assert answer(page).startswith(seen)
    finally:
        page.context.set_offline(False)
    expect(page.locator(".turn").last).to_have_attribute("data-state", "completed", timeout=PATIENCE_MS)
    assert answer(page) == text
    assert page.evaluate("window.shrunk") == []
    assert len(calls(system, message)) == 1
