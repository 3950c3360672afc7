"""Questions that are not accepted: they are never lost, whatever the user does meanwhile and whatever storage holds."""

import json

from playwright.sync_api import Page, Route, expect

from tests.browser.test_page import ask, expect_state
from tests.client import emulate, wait_for

GARBAGE = [
    "null",
    "[]",
    '"text"',
    "7",
    "{",
    '{"draft": 5, "queue": "x"}',
    '{"queue": [null, {}, {"text": "t", "key": "k"}]}',
    json.dumps({"theme": {"a": 1}, "streaming": "sideways", "model": 42, "wrap": "yes", "isSidebarOpen": None}),
]
FILL = """(text) => {
  const path = location.pathname;
  for (const kind of ["", "unread ", "running "]) localStorage.setItem(`millrace ${kind}${path}`, text);
  sessionStorage.setItem(`millrace unsent ${path} new`, text);
}"""

REFUSE = """
  const refuse = () => { throw new DOMException("no", "SecurityError"); };
  for (const name of ["localStorage", "sessionStorage"]) Object.defineProperty(window, name, { get: refuse });
  window.BroadcastChannel = class { constructor() { refuse(); } };
"""  # as Firefox does for a site that may keep nothing


def test_question_that_is_refused_after_its_new_conversation_was_left_waits_in_the_next_one(lenient_page: Page) -> None:
    page, held = lenient_page, list[Route]()
    ask(page, emulate(text="Stays.", rate=0))
    expect_state(page, "completed")
    expect(page.locator("#send")).to_be_enabled()
    stays = page.evaluate("location.hash")
    page.locator("#new").click()
    page.route("**/api/generations", lambda route: held.append(route), times=2)  # noqa: PLW0108 - Playwright marks the function
    refused = emulate(text="Not lost.", rate=0)
    ask(page, refused)
    expect(page.locator(".welcome")).to_be_hidden()
    expect(page.locator(".turn .status")).to_have_text("Sending")
    wait_for(lambda: page.title() and held, 40, "the request")
    page.evaluate("hash => (location.hash = hash)", stays)
    expect(page.locator(".answer")).to_have_text("Stays.")
    held.pop().fulfill(status=422, json={"code": "no", "detail": "Not now."})
    expect(page.locator("#notice")).to_contain_text("is kept in a new conversation. Not now.")
    page.locator("#new").click()
    expect(page.locator(".queued-text")).to_have_text([refused])
    expect(page.locator(".queued-label")).to_have_text(["Not sent"])
    # Another one, while a new conversation is open already; and then a reload, which ends its request.
    second = emulate(text="Nor this.", rate=0)
    ask(page, second)
    wait_for(lambda: page.title() and held, 40, "the second request")
    page.locator("#new").click()
    expect(page.locator(".turn")).to_have_count(0)
    page.reload()
    expect(page.locator(".queued-text")).to_contain_text([second])
    page.locator(".queued-send").first.click()
    expect(page.locator(".answer").last).to_have_text("Nor this.")


def test_page_works_with_anything_in_storage(page: Page) -> None:
    for garbage in GARBAGE:
        page.evaluate(FILL, garbage)
        page.reload()
        expect(page.locator("#send")).to_be_enabled()
        assert page.locator("#question").input_value() == ""
    ask(page, emulate(text="Unharmed.", rate=0))
    expect(page.locator(".answer")).to_have_text("Unharmed.")
    expect_state(page, "completed")
    page.add_init_script(REFUSE)
    page.goto(page.url.partition("#")[0])
    page.reload()
    ask(page, emulate(text="Without storage.", rate=0))
    expect(page.locator(".answer")).to_have_text("Without storage.")
    expect_state(page, "completed")


def test_chosen_model_that_the_server_does_not_offer_any_more_gives_way_to_the_servers_choice(
    lenient_page: Page,
) -> None:
    page = lenient_page
    chosen = json.dumps({"model": "withdrawn"})
    page.evaluate("chosen => localStorage.setItem(`millrace ${location.pathname}`, chosen)", chosen)
    page.reload()
    for text in ("First.", "Second."):
        ask(page, emulate(text=text, rate=0))
        expect(page.locator(".answer").last).to_have_text(text)
        expect_state(page, "completed")
        expect(page.locator("#notice")).to_be_empty()
    assert '"model":null' in page.evaluate("localStorage.getItem(`millrace ${location.pathname}`)")


def test_page_without_a_network_says_so_once_and_stops_the_answer_when_the_network_is_back(lenient_page: Page) -> None:
    page = lenient_page
    ask(page, emulate(tokens=2000, rate=50))
    expect_state(page, "running")
    page.context.set_offline(True)
    try:
        expect(page.locator("#connection")).to_contain_text("You are offline.")
        page.locator("#stop").click()
        expect(page.locator("#connection")).to_contain_text("The answer stops as soon as you are online.")
        expect(page.locator("#notice")).to_be_empty()
    finally:
        page.context.set_offline(False)
    expect_state(page, "cancelled")
    expect(page.locator("#connection")).to_be_empty()
