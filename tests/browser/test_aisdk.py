"""The example with the AI SDK in a real browser: streams, resumes, stops, retries, and survives a killed worker."""

import os
import signal
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from millrace.webapp.facades.aisdk.dialect import SdkVersion
from millrace.worker.contract.ids import new_id
from tests.browser.aisdk_site import EXAMPLE, build, serving
from tests.browser.conftest import visiting
from tests.browser.example_page import expect_ready, say, text_of
from tests.browser.test_page import TEXT, calls, slowly
from tests.client import emulate, wait_for
from tests.journeys.npm_packages import NpmPackages
from tests.system import System

VERSIONS: tuple[SdkVersion, ...] = (7, 6)
# They differ in what a stream may hold, not in the connections to it: the older one has the tests of the streams only.
in_each_version = pytest.mark.parametrize("address", VERSIONS, indirect=True)
in_one_version = pytest.mark.parametrize("address", VERSIONS[:1], indirect=True)
OTHER_TEXT = "".join(f"{number} weir " for number in range(150))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("aisdk"), "--worker", "2") as running:
        yield running


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> NpmPackages:
    return NpmPackages(tmp_path_factory.mktemp("example"), EXAMPLE)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> NpmPackages:
    return NpmPackages(tmp_path_factory.mktemp("npm"))


@pytest.fixture(scope="module")
def address(request: pytest.FixtureRequest, own: System, example: NpmPackages, others: NpmPackages) -> Iterator[str]:
    """The address of the example, built with one version of the SDK."""
    version: SdkVersion = request.param
    build(example, version, others)
    with serving(example, version, own.url) as url:
        yield url


@pytest.fixture
def chat(context: BrowserContext, address: str) -> Iterator[Page]:
    with visiting(context, address) as page:
        page.evaluate("localStorage.clear()")
        yield page


@in_each_version
def test_answer_streams_and_survives_reloads_to_the_exact_text(chat: Page, own: System) -> None:
    text = TEXT + new_id()
    message = slowly(text)
    say(chat, message)
    had = 200
    for _ in range(2):
        wait_for(lambda had=had: len(text_of(chat)) > had, 40, "more text")
        had = len(text_of(chat))
        assert had < len(text)
        chat.reload()
    wait_for(lambda: text_of(chat) == text, 30, "the whole text")
    expect_ready(chat)
    chat.reload()
    expect_ready(chat)
    assert text_of(chat) == text
    assert len(calls(own, message)) == 1


@in_one_version
def test_second_tab_follows_the_same_answer(chat: Page, context: BrowserContext) -> None:
    say(chat, slowly(TEXT + "tabs"))
    wait_for(lambda: len(text_of(chat)) > 50, 40, "some text")
    other = context.new_page()
    other.goto(chat.url)
    wait_for(lambda: len(text_of(other)) > 50, 40, "the text in the other tab")
    for page in (chat, other):
        wait_for(lambda page=page: text_of(page) == TEXT + "tabs", 30, "the whole text")
        expect_ready(page)
    other.close()


@in_each_version
def test_stop_ends_the_call_of_the_model_and_leaving_does_not(chat: Page, own: System) -> None:
    message = emulate(text=new_id() * 400, chars=5, rate=50)
    say(chat, message)
    wait_for(lambda: len(text_of(chat)) > 50, 40, "some text")
    chat.get_by_role("button", name="Stop").click()
    expect_ready(chat)
    assert 50 < len(text_of(chat)) < 12_000
    wait_for(lambda: [each["ended"] for each in calls(own, message)] == ["closed_by_client"], 30, "the call's end")


@in_one_version
def test_stop_before_the_first_word_is_not_lost(chat: Page, own: System) -> None:
    message = emulate(text=new_id(), first_delay=20)
    say(chat, message)
    chat.get_by_role("button", name="Stop").click()
    expect(chat.get_by_role("status")).to_have_text("ready")
    assert text_of(chat) == ""
    assert "finished" not in [each["ended"] for each in calls(own, message)]


@in_one_version
def test_retry_replaces_the_answer_by_another_one(chat: Page) -> None:
    first, second = (f"The {which}: {new_id()}." for which in ("first", "second"))
    say(chat, emulate(text=first, then={"text": second}))
    wait_for(lambda: text_of(chat) == first, 40, "the first answer")
    expect_ready(chat)
    chat.get_by_role("button", name="Retry").click()
    wait_for(lambda: text_of(chat) == second, 40, "the second answer")
    expect_ready(chat)
    say(chat, emulate(text="And more."))
    expect(chat.locator("li.assistant")).to_have_count(2)
    expect_ready(chat, answers=2)
    assert text_of(chat) == f"{second}And more."


@in_each_version
def test_killed_worker_is_taken_over_with_the_exact_text_of_the_second_attempt(chat: Page, own: System) -> None:
    script = {"text": OTHER_TEXT, "tokens": 150, "rate": 30}
    say(chat, emulate(text=TEXT + new_id(), tokens=150, rate=20, then=script))
    wait_for(lambda: len(text_of(chat)) > 200, 40, "some text")
    for pid in own.pids()["worker"]:  # whichever has it: both die, and are started again
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: text_of(chat).startswith("0 weir"), 40, "the second attempt's text")
    expect_ready(chat)
    assert text_of(chat) == OTHER_TEXT


@in_one_version
def test_restart_of_the_web_server_is_a_pause(chat: Page, own: System) -> None:
    text = TEXT + new_id()
    message = slowly(text)
    say(chat, message)
    wait_for(lambda: len(text_of(chat)) > 200, 40, "some text")
    for pid in own.pids()["web"]:
        os.kill(pid, signal.SIGTERM)
    wait_for(lambda: text_of(chat) == text, 60, "the whole text")
    expect_ready(chat)
    assert len(calls(own, message)) == 1


@in_one_version
def test_rejected_question_shows_the_reason(chat: Page) -> None:
    say(chat, "x" * 32_001)
    expect(chat.get_by_role("alert")).to_have_text("messages: A text has at most 32000 characters.")
