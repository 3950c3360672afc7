"""The React example in a real browser, built as its page says: streams, resumes, stops, retries, reports errors."""

import os
import re
import subprocess
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from millrace.worker.contract.ids import new_id
from tests.browser.aisdk_site import previewing
from tests.browser.conftest import visiting
from tests.browser.example_page import expect_ready, say, text_of
from tests.browser.test_page import TEXT, calls, slowly
from tests.client import emulate, wait_for
from tests.journeys.npm_packages import NODE, NpmPackages
from tests.system import ROOT, System

EXAMPLE = ROOT / "deploy/examples/react"
VITE = "node_modules/vite/bin/vite.js"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, system: System) -> Iterator[str]:
    """The address of the built example, which sends its requests to the system."""
    example = NpmPackages(tmp_path_factory.mktemp("react"), EXAMPLE)
    environment = {**os.environ, "MILLRACE_CLIENT": str(ROOT / "webapp/static"), "MILLRACE_URL": system.url}
    subprocess.run([NODE, VITE, "build"], cwd=example.directory, env=environment, check=True, capture_output=True)
    with previewing(example, [NODE, VITE, "preview"], environment) as url:
        yield url


@pytest.fixture
def chat(context: BrowserContext, address: str) -> Iterator[Page]:
    with visiting(context, address) as page:
        yield page


def test_answer_streams_and_survives_a_reload_and_a_second_tab_follows_it(
    chat: Page, context: BrowserContext, system: System
) -> None:
    text = TEXT + new_id()
    message = slowly(text)
    say(chat, message)
    wait_for(lambda: len(text_of(chat)) > 200, 40, "some text")
    expect(chat).to_have_url(re.compile("#[0-9a-f]{32}$"))
    chat.reload()
    other = context.new_page()
    other.goto(chat.url)
    for page in (chat, other):
        wait_for(lambda page=page: len(text_of(page)) > 200, 40, "the text again")
        wait_for(lambda page=page: text_of(page) == text, 30, "the whole text")
        expect_ready(page)
    other.close()
    assert len(calls(system, message)) == 1
    chat.reload()
    expect_ready(chat)
    assert text_of(chat) == text
    say(chat, emulate(text="And more."))
    expect_ready(chat, answers=2)
    assert text_of(chat) == f"{text}And more."


def test_stop_ends_the_call_of_the_model_and_retry_replaces_the_answer(chat: Page, system: System) -> None:
    second = f"The second: {new_id()}."
    message = emulate(text=new_id() * 400, chars=5, rate=50, then={"text": second})
    say(chat, message)
    wait_for(lambda: len(text_of(chat)) > 50, 40, "some text")
    chat.get_by_role("button", name="Stop").click()
    expect_ready(chat)
    assert 50 < len(text_of(chat)) < 12_000
    wait_for(lambda: [each["ended"] for each in calls(system, message)] == ["closed_by_client"], 30, "the call's end")
    chat.get_by_role("button", name="Retry").click()
    wait_for(lambda: text_of(chat) == second, 40, "the second answer")
    expect_ready(chat)
    chat.reload()
    expect_ready(chat)
    assert text_of(chat) == second


def test_rejected_question_shows_the_reason_and_goes_back_into_the_box(chat: Page) -> None:
    say(chat, "x" * 40_000)
    expect(chat.get_by_role("alert")).to_contain_text("at most")
    expect(chat.get_by_label("Message")).to_have_value("x" * 40_000)
    expect(chat.locator("li")).to_have_count(0)
    say(chat, emulate(text="Shorter."))
    expect_ready(chat)
    assert text_of(chat) == "Shorter."
