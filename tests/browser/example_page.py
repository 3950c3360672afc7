"""The page of an example in React, as the AI SDK's and `useMillrace`'s both show it: a form, a list, a status."""

from playwright.sync_api import Page, expect


def say(page: Page, message: str) -> None:
    page.get_by_label("Message").fill(message)
    page.get_by_role("button", name="Send").click()


def text_of(page: Page) -> str:
    """Return the texts of all answers."""
    return page.evaluate("[...document.querySelectorAll('li.assistant span')].map(each => each.textContent).join('')")


def expect_ready(page: Page, answers: int = 1) -> None:
    expect(page.get_by_role("status")).to_have_text("ready")
    expect(page.locator("li.assistant")).to_have_count(answers)
    expect(page.get_by_role("alert")).to_have_count(0)
