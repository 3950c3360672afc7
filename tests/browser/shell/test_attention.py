"""A user who looks elsewhere: marks in the list, in the tab, notifications, and one feed for all hidden tabs."""

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.test_conversations import choose, shown
from tests.browser.test_page import answer, ask, expect_state
from tests.browser.test_tabs import show_or_hide
from tests.client import emulate, wait_for
from tests.system import System

RECORD_NOTIFICATIONS = """
    window.notified = [];
    window.Notification = class extends EventTarget {
        static permission = "granted";
        static requestPermission = async () => "granted";
        constructor(title, options) { super(); window.notified.push([title, options.body]); window.latest = this; }
        close() {}
    };
"""
NAME = "a scripted answer"  # the emulator's title for every conversation
SLOW = {"tokens": 20, "rate": 10}


@pytest.fixture
def notified_page(page: Page) -> Page:
    """The page in a browser that records its notifications."""
    page.add_init_script(RECORD_NOTIFICATIONS)
    page.reload()
    return page


def icon_of(page: Page) -> str:
    return page.locator("link[rel=icon]").evaluate("each => each.href")


def test_answer_that_ends_while_the_page_is_hidden_marks_the_tab_and_notifies_once(
    notified_page: Page, context: BrowserContext, system: System
) -> None:
    page = notified_page
    page.locator(".open-settings").click()
    page.locator("input[name=notifications]").check()
    page.keyboard.press("Escape")
    ask(page, emulate(**SLOW))
    wait_for(lambda: answer(page), 40, "some text")
    asked = shown(page)
    show_or_hide(page, "hidden")
    expect(page).to_have_title(f"(1) {NAME} \u2013 Millrace")
    assert icon_of(page).endswith("/icon-ready.svg")
    assert page.evaluate("notified") == [["Your answer is ready", NAME]]
    # The notification opens the conversation.
    page.evaluate("location.hash = ''")
    page.evaluate("latest.dispatchEvent(new Event('click'))")
    wait_for(lambda: shown(page) == asked, 40, "the conversation")
    show_or_hide(page, "visible")
    expect(page).to_have_title(f"{NAME} \u2013 Millrace")
    assert icon_of(page).endswith("/icon.svg")
    expect_state(page, "completed")
    # An answer that ends before the user's eyes is no news.
    ask(page, emulate(text="Seen.", rate=0))
    expect_state(page, "completed", 1)
    expect(page.locator("#send")).to_be_visible()
    expect(page).to_have_title(f"{NAME} \u2013 Millrace")
    expect(page.locator("[data-mark]")).to_have_count(0)
    assert len(page.evaluate("notified")) == 1


def test_conversation_left_is_marked_running_then_unread_until_it_is_opened_in_any_tab(
    page: Page, context: BrowserContext, system: System
) -> None:
    ask(page, emulate(**SLOW))
    wait_for(lambda: answer(page), 40, "some text")
    left = shown(page)
    page.locator("#new").click()
    item = f"li[data-id='{left}']"
    expect(page.locator(f"{item}[data-mark=running]")).to_have_count(1)
    expect(page.locator(f"{item} .mark")).to_have_attribute("aria-label", "Answering")
    expect(page.locator(f"{item}[data-mark=unread]")).to_have_count(1)
    other = context.new_page()
    other.goto(system.url)
    expect(other.locator(f"{item}[data-mark=unread] .mark")).to_have_attribute("aria-label", "New answer")
    choose(other, left)
    expect_state(other, "completed")
    for tab in (page, other):
        expect(tab.locator(f"{item}[data-mark]")).to_have_count(0)
    other.close()


def test_hidden_tabs_share_one_connection_and_each_marks_its_own_answer(
    page: Page, context: BrowserContext, system: System
) -> None:
    ask(page, emulate(text="An owner.", rate=0))
    expect_state(page, "completed")
    tabs: list[Page] = []
    opened: dict[Page, int] = {}
    for number in range(3):
        tab = context.new_page()
        opened[tab] = 0
        tab.on("request", lambda request, tab=tab: _count(opened, tab, request.url))
        tab.goto(system.url)
        expect(tab.locator("#conversations li")).to_have_count(1 + number)
        ask(tab, emulate(tokens=80, rate=10))
        wait_for(lambda tab=tab: answer(tab), 40, "some text")
        opened[tab] = 0
        show_or_hide(tab, "hidden")
        tabs.append(tab)
    for tab in tabs:
        expect(tab).to_have_title(f"(1) {NAME} \u2013 Millrace")
    assert sum(count > 0 for count in opened.values()) == 1, opened
    for tab in tabs:
        tab.close()


def _count(opened: dict[Page, int], tab: Page, url: str) -> None:
    opened[tab] += "/api/events" in url


def test_second_device_sees_question_answer_title_and_deletion_live(
    lenient_page: Page, context: BrowserContext, system: System
) -> None:
    page = lenient_page  # the browser's console reports that the deleted conversation is not found
    ask(page, emulate(text="One.", rate=0))
    expect_state(page, "completed")
    conversation = shown(page)
    other = context.new_page()  # with the same cookie, as a second device that signs in as the same user
    other.goto(f"{system.url}/#{conversation}")
    expect(other.locator(".answer")).to_have_text("One.")
    ask(page, emulate(text="Two.", rate=0, forced={"name_conversation": {"tool": {"input": {"title": "Named"}}}}))
    expect(other.locator(".question")).to_have_count(2)
    expect(other.locator(".answer").last).to_have_text("Two.")
    page.request.patch(f"{system.url}/api/conversations/{conversation}", data={"title": "Renamed"})
    for tab in (page, other):
        expect(tab.locator("#conversations a")).to_have_text("Renamed")
        expect(tab.locator("#title")).to_have_text("Renamed")
        expect(tab).to_have_title("Renamed \u2013 Millrace")
    other.locator("#question").fill("A draft")
    page.request.delete(f"{system.url}/api/conversations/{conversation}")
    expect(other.locator("#notice")).to_contain_text("There is no such conversation.")
    expect(other.locator("#question")).to_have_value("A draft")  # in a new conversation
    expect(page.locator("#conversations li")).to_have_count(0)
    expect(other.locator("#conversations li")).to_have_count(0)
    other.close()


def test_answer_that_ended_while_no_tab_was_open_is_marked_at_the_next_visit(page: Page, system: System) -> None:
    ask(page, emulate(text="Seen.", rate=0))
    expect_state(page, "completed")
    seen = shown(page)
    page.locator("#new").click()
    ask(page, emulate(**SLOW))
    wait_for(lambda: answer(page), 40, "some text")
    left = shown(page)
    expect(page.locator(f"li[data-id='{left}'][data-mark=running]")).to_have_count(1)
    page.goto("about:blank")
    conversation = f"{system.url}/api/conversations/{left}"
    wait_for(lambda: page.request.get(conversation).json()["active_generation"] is None, 40, "the end")
    for _ in range(2):  # also after a reload, until it is opened
        page.goto("about:blank")
        page.goto(system.url)
        expect(page.locator(f"li[data-id='{left}'][data-mark=unread]")).to_have_count(1)
        expect(page.locator(f"li[data-id='{seen}'][data-mark]")).to_have_count(0)
    choose(page, left)
    expect(page.locator("[data-mark]")).to_have_count(0)


def test_question_that_is_edited_elsewhere_removes_what_followed_it(page: Page, system: System) -> None:
    for text in ("One.", "Two.", "Three."):
        ask(page, emulate(text=text, rate=0))
        expect(page.locator(".answer").last).to_have_text(text)
        expect_state(page, "completed")
        expect(page.locator("#send")).to_be_enabled()
    conversation = f"{system.url}/api/conversations/{shown(page)}"
    messages = page.request.get(f"{conversation}/messages").json()["messages"]
    second = [each for each in messages if each["role"] == "user"][1]["id"]
    edited = {"message": emulate(text="Instead.", rate=0)}
    assert page.request.post(f"{conversation}/messages/{second}/edit", data=edited).ok
    expect(page.locator(".answer")).to_have_text(["One.", "Instead."])
    expect(page.locator(".question")).to_have_count(2)
