"""Several tabs of one user, hidden tabs, and a page whose connection is lost."""

from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import visiting
from tests.browser.test_conversations import choose, shown
from tests.browser.test_page import TEXT, answer, ask, calls, expect_state, slowly
from tests.client import emulate, wait_for
from tests.faults.tcp_proxy import TcpProxy
from tests.system import System

SHOW_OR_HIDE = """state => {
    Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def show_or_hide(page: Page, state: str) -> None:
    """Make the page "visible" or "hidden", as switching tabs does; Playwright keeps all tabs visible."""
    page.evaluate(SHOW_OR_HIDE, state)


def test_question_asked_in_one_tab_and_its_live_answer_appear_in_the_other(
    page: Page, context: BrowserContext, system: System
) -> None:
    other = context.new_page()
    asked: list[str] = []
    other.on("request", lambda request: asked.append(request.url))
    other.goto(system.url)
    expect(other.locator("#send")).to_be_enabled()
    context.clear_cookies()  # until the first question there may be no owner, and so no feed
    assert not any("/api/events" in url for url in asked)
    ask(page, emulate(text="One.", rate=0))
    expect(other.locator("#conversations li")).to_have_count(1)
    choose(other, shown(page))
    expect(other.locator(".answer")).to_have_text("One.")
    message = emulate(text=TEXT + "live", tokens=600, rate=40)
    ask(page, message)
    expect(other.locator(".question").nth(1)).to_have_text(message)
    wait_for(lambda: len(answer(other)) > 100, 40, "some text")
    assert len(answer(other)) < len(TEXT)
    expect(other.locator("#send")).to_be_disabled()
    for each in (page, other):
        expect_state(each, "completed")
        assert answer(each) == TEXT + "live"
        expect(each.locator("#send")).to_be_enabled()
    ask(other, emulate(text="Three.", rate=0))
    expect(page.locator(".answer").nth(2)).to_have_text("Three.")
    other.locator("#new").click()
    ask(other, emulate(text="Four.", rate=0))
    expect(page.locator("#conversations li")).to_have_count(2)
    expect(page.locator(".answer")).to_have_count(3)
    assert len(calls(system, message)) == 1
    other.close()


def test_seven_tabs_do_not_exhaust_the_connections_and_each_continues_exactly(
    page: Page, context: BrowserContext, system: System
) -> None:
    message = slowly(TEXT + "seven")
    ask(page, message)
    wait_for(lambda: len(answer(page)) > 50, 40, "some text")
    show_or_hide(page, "hidden")
    seen = len(answer(page))
    tabs, held = [page], ""
    for _ in range(6):
        tabs.append(context.new_page())
        tabs[-1].goto(f"{system.url}/#{shown(page)}")
        wait_for(lambda: len(answer(tabs[-1])) > seen, 40, "more text")
        show_or_hide(tabs[-1], "hidden")
        held = held or answer(page)  # with all that had arrived when it was hidden, and was still to be drawn
    assert answer(page) == held
    for tab in tabs:
        expect(tab.locator("#connection")).to_be_empty()
        show_or_hide(tab, "visible")
        expect_state(tab, "completed")
        assert answer(tab) == TEXT + "seven"
        show_or_hide(tab, "hidden")
    # A visible tab shows the turns that it missed while it was hidden.
    show_or_hide(tabs[-1], "visible")
    ask(tabs[-1], emulate(text="Next.", rate=0))
    expect_state(tabs[-1], "completed", 1)
    show_or_hide(page, "visible")
    expect_state(page, "completed", 1)
    assert answer(page) == "Next."
    assert len(calls(system, message)) == 1
    for tab in tabs:  # as windows beside one another
        show_or_hide(tab, "visible")
    ask(tabs[3], emulate(text="In all.", rate=0))
    for tab in tabs:
        expect_state(tab, "completed", 2)
        assert answer(tab) == "In all."
        expect(tab.locator("#connection")).to_be_empty()
    for tab in tabs[1:]:
        tab.close()


def test_lost_connection_is_shown_until_it_is_back_and_the_answer_is_exact(
    context: BrowserContext, system: System
) -> None:
    message = slowly(TEXT + "cut")
    with (
        TcpProxy(urlsplit(system.url).port or 0) as network,
        visiting(context, f"http://127.0.0.1:{network.port}/") as page,
    ):
        ask(page, message)
        wait_for(lambda: len(answer(page)) > 100, 40, "some text")
        network.is_down = True
        network.cut()
        lost = page.get_by_text("Connection lost. Reconnecting\u2026")
        expect(lost).to_be_visible()
        assert len(answer(page)) < len(TEXT)
        network.is_down = False
        expect(lost).to_have_count(0)
        expect_state(page, "completed")
        assert answer(page) == TEXT + "cut"
    assert len(calls(system, message)) == 1
