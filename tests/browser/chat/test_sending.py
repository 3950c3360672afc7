"""Questions on their way: lost responses, dead connections, and the first questions of a visitor."""

from playwright.sync_api import Page, Route, expect

from tests.browser.test_page import ask, calls, expect_state, hold_timers
from tests.client import emulate, wait_for
from tests.system import System


def test_question_whose_response_is_lost_with_the_network_is_sent_again_by_itself_and_asked_once(
    lenient_page: Page, system: System
) -> None:
    page, message = lenient_page, emulate(text="Once, offline.", rate=0)
    ask(page, emulate(text="Before.", rate=0))
    expect_state(page, "completed")

    def lose(route: Route) -> None:
        route.fetch()
        page.context.set_offline(True)
        route.abort()

    page.route("**/api/generations", lose, times=1)
    ask(page, message)
    try:
        expect(page.locator(".queued-text")).to_have_text([message])
        expect(page.locator("#question")).to_have_value("")
        page.locator("#question").fill("A draft")
    finally:
        page.context.set_offline(False)
    expect(page.locator(".answer")).to_have_text(["Before.", "Once, offline."])
    expect(page.locator(".queue")).to_be_hidden()
    expect(page.locator("#question")).to_have_value("A draft")
    assert len(calls(system, message)) == 1


def test_question_that_gets_no_response_is_sent_again(lenient_page: Page) -> None:
    page, message = lenient_page, emulate(text="Answered.", rate=0)
    held: list[Route] = []
    hold_timers(page, 60_000)
    page.route("**/api/generations", lambda route: held.append(route), times=1)  # noqa: PLW0108 - Playwright marks the function
    ask(page, message)
    wait_for(lambda: page.title() and held, 40, "the request")
    page.evaluate("held.forEach((reach) => reach())")
    expect(page.locator(".answer")).to_have_text(["Answered."])
    expect_state(page, "completed")


def test_second_question_of_a_new_visitor_waits_for_the_cookie_of_the_first(page: Page) -> None:
    held: list[Route] = []
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.method == "POST" else None)
    page.route("**/api/generations", lambda route: held.append(route), times=1)  # noqa: PLW0108 - Playwright marks the function
    for text in ("One.", "Two."):
        page.locator("#new").click()
        ask(page, emulate(text=text, rate=0))
        expect(page.locator(".turn .status")).to_have_text("Sending")
    wait_for(lambda: page.title() and held, 40, "the request")
    assert len(asked) == 1
    held[0].continue_()
    expect(page.locator(".answer")).to_have_text(["Two."])
    expect(page.locator("#conversations li")).to_have_count(2)


def test_browser_that_keeps_no_cookie_is_told_why_there_is_no_answer(lenient_page: Page) -> None:
    page = lenient_page

    def forget(route: Route) -> None:
        response = route.fetch()
        page.context.clear_cookies()
        headers = {name: value for name, value in response.headers.items() if name != "set-cookie"}
        route.fulfill(status=response.status, headers=headers, body=response.body())

    page.route("**/api/generations", forget, times=1)
    ask(page, emulate(text="Nobody's.", rate=0))
    expect(page.locator("#notice")).to_contain_text("Allow cookies, and ask again.")
