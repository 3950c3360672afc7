"""Stop, retry, edit, copy, and the choice of a model."""

from typing import Any

from playwright.sync_api import Page, Request, expect

from tests.browser.test_page import answer, ask, calls, expect_state
from tests.client import emulate, wait_for
from tests.system import System

ESCAPE_OF_AN_INPUT_METHOD = """box => box.dispatchEvent(
    new KeyboardEvent("keydown", { key: "Escape", keyCode: 229, isComposing: true, bubbles: true, cancelable: true })
)"""


def test_failed_answer_is_kept_until_it_is_tried_again_and_is_copied_as_markdown(page: Page, system: System) -> None:
    text = "# Weir\n\n- **stone** and `wood`\n"
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=system.url)
    ask(page, emulate(text=text, tokens=10, rate=50, fault="disconnect", at=5, times=1))
    expect_state(page, "failed")
    assert answer(page)
    retry = page.get_by_role("button", name="Try again", exact=True)
    expect(page.locator(".retry-model")).to_be_hidden()  # there is only one model
    retry.click()
    expect_state(page, "completed")
    expect(page.locator(".turn")).to_have_count(1)
    expect(retry).to_be_enabled()
    page.get_by_role("button", name="Copy as Markdown").click()
    expect(page.locator(".copy-answer")).to_have_attribute("data-state", "copied")
    assert page.evaluate("navigator.clipboard.readText()") == text
    page.reload()
    expect_state(page, "completed")
    expect(page.locator(".turn")).to_have_count(1)


def test_notice_of_an_answer_that_runs_elsewhere_does_not_stay(lenient_page: Page) -> None:
    page = lenient_page
    ask(page, emulate(text="One.", rate=0))
    expect_state(page, "completed")
    busy = {"detail": "An answer is still running.", "code": "conversation_busy"}
    page.route("**/retry", lambda route: route.fulfill(status=409, json=busy), times=1)
    page.get_by_role("button", name="Try again", exact=True).click()
    expect(page.locator("#notice")).to_have_text(busy["detail"])
    expect(page.locator("#notice")).to_be_empty()


def test_answer_is_tried_again_with_the_chosen_model(lenient_page: Page, system: System) -> None:
    page = lenient_page
    default = page.request.get(f"{system.url}/api/models").json()["default"]
    models = [{"name": name, "is_default": name == default, "context_tokens": 1} for name in (default, "other")]
    page.route("**/api/models", lambda route: route.fulfill(json={"default": default, "models": models}))
    page.reload()
    ask(page, emulate(text="One.", rate=0))
    expect_state(page, "completed")
    page.locator(".retry-model").click()
    items = page.locator(".models .menu-item")
    expect(items).to_have_text([default, "other"])
    expect(items.first).to_have_attribute("aria-current", "true")
    sent: list[Any] = []
    page.on("request", lambda request: sent.append(body_of(request)) if request.url.endswith("/retry") else None)
    items.last.click()
    expect(page.locator("#notice")).not_to_be_empty()  # the server does not know it
    assert sent == [{"model": "other"}]
    expect(page.locator(".answer")).to_have_text("One.")  # nothing is lost
    page.locator(".retry-model").click()
    items.first.click()
    wait_for(lambda: page.title() and len(sent) == 2, 40, "the second request")
    expect_state(page, "completed")
    expect(page.locator("#notice")).to_be_empty()


def body_of(request: Request) -> Any:
    return request.post_data_json


def test_edited_question_replaces_what_followed_here_and_in_another_tab(page: Page, system: System) -> None:
    for text in ("One.", "Two."):
        ask(page, emulate(text=text, rate=0))
        expect_state(page, "completed")
        expect(page.locator("#send")).to_be_enabled()
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator(".answer")).to_have_text(["One.", "Two."])
    other.locator(".question").last.hover()
    other.get_by_role("button", name="Edit the question").last.click()
    other.locator(".edit-text").last.fill("Typed here, while")
    other.locator(".edit-text").last.evaluate(ESCAPE_OF_AN_INPUT_METHOD)
    edited = emulate(text="New.", rate=0)
    page.locator(".question").first.hover()
    edit = page.get_by_role("button", name="Edit the question")
    edit.first.click()
    page.keyboard.press("Escape")
    expect(edit.first).to_be_focused()
    edit.first.click()
    box = page.locator(".edit-text").first
    expect(box).to_have_value(emulate(text="One.", rate=0))
    box.fill(edited)
    box.press("Enter")
    for each in (page, other):
        expect(each.locator(".question")).to_have_text([edited])
        expect(each.locator(".answer")).to_have_text(["New."])
        expect_state(each, "completed")
    expect(other.locator(".queued-text")).to_have_text(
        ["Typed here, while"]
    )  # its question is gone, and it is not lost
    expect(other.locator(".queued-label")).to_have_text(["Not sent"])
    page.reload()
    expect(page.locator(".answer")).to_have_text(["New."])
    assert len(calls(system, edited)) == 1
    other.close()
