"""Questions that wait for the running answer, and questions that the server refuses."""

import re
from typing import Any

from playwright.sync_api import Page, Route, expect

from tests.browser.test_page import answer, ask, calls, expect_state
from tests.client import emulate, wait_for
from tests.system import System


def slow(text: str, seconds: float = 3) -> str:
    """Return a question whose answer takes some seconds."""
    return emulate(text=text, tokens=10, rate=10 / seconds)


def type_next(page: Page, message: str) -> None:
    page.locator("#question").fill(message)
    page.locator("#question").press("Enter")


def waiting(page: Page) -> list[str]:
    return page.locator(".queued-text").all_text_contents()


def test_questions_wait_for_the_answer_through_a_reload_and_are_sent_once(page: Page, system: System) -> None:
    box = page.locator("#question")
    ask(page, emulate(tokens=2000, rate=20))  # longer than the test
    wait_for(lambda: answer(page), 40, "some text")
    expect(page.locator("#send")).to_be_disabled()
    next_one, other = emulate(text="Waited.", rate=0), emulate(text="Edited.", rate=0)
    box.fill(next_one)
    expect(page.get_by_role("button", name="Send next")).to_be_enabled()
    box.press("Enter")
    for text in (other, "withdrawn"):
        type_next(page, text)
    expect(page.locator(".queued")).to_have_count(3)
    page.get_by_role("button", name="Do not send this question").last.click()
    page.get_by_role("button", name="Edit this question").last.click()
    expect(box).to_have_value(other)
    assert waiting(page) == [next_one]
    page.reload()
    expect(page.locator(".queued-text")).to_have_text([next_one])
    expect(box).to_have_value(other)  # the draft, too
    wait_for(lambda: answer(page), 40, "the answer again")
    page.locator("#stop").click()
    expect(page.locator(".turn .question")).to_have_text([re.compile("2000"), next_one])
    expect(page.locator(".answer").last).to_have_text("Waited.")
    expect_state(page, "cancelled", 0)
    expect_state(page, "completed")
    expect(page.locator(".queue")).to_be_hidden()
    expect(page.locator("#send")).to_be_enabled()
    box.press("Enter")
    expect(page.locator(".answer").last).to_have_text("Edited.")
    assert len(calls(system, next_one)) == 1
    page.reload()
    expect(page.locator(".turn")).to_have_count(3)
    expect(box).to_have_value("")


def test_question_that_is_sent_now_stops_the_answer_and_one_behind_a_failure_waits_for_the_user(page: Page) -> None:
    ask(page, emulate(tokens=2000, rate=50))
    wait_for(lambda: answer(page), 40, "some text")
    type_next(page, emulate(text="0123456789", tokens=10, rate=10, fault="disconnect", at=5))
    type_next(page, emulate(text="Third.", rate=0))
    expect(page.locator(".queued")).to_have_count(2)
    page.get_by_role("button", name="Stop the answer and send this question now").first.click()
    expect_state(page, "cancelled", 0)
    expect_state(page, "failed", 1)
    expect(page.locator(".queued")).to_have_attribute("data-state", "held")
    expect(page.locator(".turn")).to_have_count(2)
    page.get_by_role("button", name="Stop the answer and send this question now").click()
    expect(page.locator(".answer").last).to_have_text("Third.")
    expect(page.locator(".queue")).to_be_hidden()


def test_question_whose_receipt_is_lost_by_a_reload_is_asked_once(page: Page, system: System) -> None:
    arrived: list[Route] = []

    def swallow(route: Route) -> None:
        route.fetch()
        arrived.append(route)  # the page never gets the response

    page.route("**/api/generations", swallow, times=1)
    message = slow("Only once.", 2)
    ask(page, message)
    wait_for(lambda: page.title() and arrived, 40, "the request")
    page.reload()
    expect_state(page, "completed")
    expect(page.locator(".answer")).to_have_text(["Only once."])
    expect(page.locator("#send")).to_be_enabled()
    page.reload()
    expect(page.locator(".question")).to_have_text([message])
    assert len(calls(system, message)) == 1


def test_rate_limit_counts_down_and_keeps_the_question(lenient_page: Page) -> None:
    page, send = lenient_page, lenient_page.locator("#send")
    detail = "Rate limit exceeded. Try again in 2 seconds."
    limited: dict[str, Any] = {
        "status": 429,
        "json": {"detail": detail, "code": "rate_limited"},
        "headers": {"Retry-After": "2"},
    }
    page.route("**/api/generations", lambda route: route.fulfill(**limited), times=1)
    message = emulate(text="One.", rate=0)
    ask(page, message)
    expect(page.locator("#notice")).to_have_text(detail)
    expect(page.locator(".countdown")).to_contain_text("Ready in")
    expect(send).to_be_disabled()
    page.locator("#question").press("Enter")  # is not sent
    expect(page.locator("#question")).to_have_value(message)
    expect(send).to_be_enabled()
    expect(page.locator("#notice")).to_be_empty()
    expect(page.locator(".countdown")).to_be_hidden()
    send.click()
    expect_state(page, "completed")


def test_another_tab_that_asks_first_lets_the_question_wait(lenient_page: Page, system: System) -> None:
    page = lenient_page
    ask(page, emulate(text="One.", rate=0))
    expect_state(page, "completed")
    expect(page.locator("#send")).to_be_enabled()
    conversation = page.evaluate("location.hash.slice(1)")
    busy: dict[str, Any] = {"status": 409, "json": {"detail": "Busy.", "code": "conversation_busy"}}
    # The other tab's question and this one's cross on their way.
    page.route("**/api/generations", lambda route: route.fulfill(**busy), times=1)
    fields = {"message": slow("Elsewhere.", 2), "conversation_id": conversation}
    assert page.request.post(f"{system.url}/api/generations", data=fields).ok
    type_next(page, emulate(text="Here.", rate=0))
    expect(page.locator(".answer")).to_have_text(["One.", "Elsewhere.", "Here."])
