"""Answers that go on while the page is offline, or shows another conversation."""

from playwright.sync_api import Page, expect

from tests.browser.test_conversations import choose, shown
from tests.browser.test_page import TEXT, answer, ask, calls, expect_state, slowly
from tests.client import wait_for
from tests.system import System

RECORD_LENGTHS = """() => {
    window.shrunk = [];
    let length = 0;
    new MutationObserver(() => {
        const now = document.querySelector(".turn:last-child .answer")?.textContent.length ?? 0;
        if (now < length) window.shrunk.push([length, now]);
        length = now;
    }).observe(document.querySelector(".chat"), { subtree: true, childList: true, characterData: true });
}"""


def test_page_says_that_it_is_offline_and_the_answer_goes_on_by_itself(lenient_page: Page, system: System) -> None:
    page, message = lenient_page, slowly(TEXT + "offline")
    page.evaluate(RECORD_LENGTHS)
    ask(page, message)
    wait_for(lambda: len(answer(page)) > 100, 40, "some text")
    page.context.set_offline(True)
    try:
        expect(page.locator("#connection")).to_contain_text("You are offline.")
        page.locator("#question").fill("A draft")
    finally:
        page.context.set_offline(False)
    expect(page.locator("#connection")).to_be_empty()
    expect_state(page, "completed")
    assert answer(page) == TEXT + "offline"
    assert page.evaluate("window.shrunk") == []
    assert len(calls(system, message)) == 1


def test_conversation_in_the_background_goes_on_and_shows_its_text_at_once(page: Page, system: System) -> None:
    message = slowly(TEXT + "background")
    ask(page, message)
    wait_for(lambda: len(answer(page)) > 100, 40, "some text")
    first, seen = shown(page), len(answer(page))
    page.locator("#question").fill("A draft of the first")
    page.locator("#new").click()
    expect(page.locator(".turn")).to_have_count(0)
    expect(page.locator("#question")).to_have_value("")
    page.locator("#question").fill("A draft of a new one")
    # Its text must not come from the server: that does not answer.
    page.route("**/messages?*", lambda route: None)
    choose(page, first)
    expect(page.locator("#question")).to_have_value("A draft of the first")
    expect(page.locator(".turn")).to_have_count(1)
    assert len(answer(page)) >= seen
    page.locator("#new").click()
    expect(page.locator("#question")).to_have_value("A draft of a new one")
    choose(page, first)
    expect_state(page, "completed")
    assert answer(page) == TEXT + "background"
    assert len(calls(system, message)) == 1
