"""The list of conversations: each opens with its turns and its running stream, in any tab."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.browser.test_page import TEXT, answer, ask, calls, expect_state, slowly
from tests.client import emulate, wait_for
from tests.system import System


def conversations(page: Page) -> list[str]:
    return page.locator("#conversations li").evaluate_all("items => items.map((each) => each.dataset.id)")


def choose(page: Page, conversation: str) -> None:
    page.locator(f"#conversations li[data-id='{conversation}'] a").click()


def shown(page: Page) -> str:
    return page.evaluate("location.hash.slice(1)")


def test_questions_stay_in_one_conversation_until_a_new_one_is_opened(page: Page, system: System) -> None:
    ask(page, emulate(text="One.", rate=0))
    expect_state(page, "completed", 0)
    second = emulate(text="Two, in the same conversation.", rate=0)
    ask(page, second)
    expect_state(page, "completed", 1)
    (call,) = calls(system, second)
    texts = ["".join(block.get("text", "") for block in each["content"]) for each in call["messages"]]
    assert texts == [emulate(text="One.", rate=0), "One.", second]
    first = shown(page)
    page.locator("#new").click()
    expect(page.locator(".turn")).to_have_count(0)
    assert shown(page) == ""
    ask(page, emulate(text="Three.", rate=0))
    expect_state(page, "completed", 0)
    expect(page.locator("#conversations li")).to_have_count(2)
    assert conversations(page) == [shown(page), first]
    choose(page, first)
    expect_state(page, "completed", 1)
    assert [answer(page, 0), answer(page, 1)] == ["One.", "Two, in the same conversation."]
    expect(page.locator("#conversations [aria-current]")).to_have_count(1)
    assert shown(page) == first


def test_second_tab_opens_the_conversation_and_its_running_stream(
    page: Page, context: BrowserContext, system: System
) -> None:
    message = slowly(TEXT + "tabs")
    ask(page, message)
    wait_for(lambda: len(answer(page)) > 100, 40, "some text")
    other = context.new_page()
    other.goto(system.url)
    expect(other.locator("#conversations li")).to_have_count(1)
    choose(other, shown(page))
    wait_for(lambda: len(answer(other)) > 100, 40, "the same text")
    for each in (page, other):
        expect_state(each, "completed")
        assert answer(each) == TEXT + "tabs"
    assert len(calls(system, message)) == 1
    other.close()


def test_conversation_left_while_streaming_continues_and_can_be_reopened(page: Page) -> None:
    ask(page, slowly(TEXT + "left"))
    wait_for(lambda: len(answer(page)) > 100, 40, "some text")
    left = shown(page)
    page.locator("#new").click()
    expect(page.locator(".turn")).to_have_count(0)
    ask(page, emulate(text="Second.", rate=0))
    expect_state(page, "completed")
    assert answer(page) == "Second."
    choose(page, left)
    expect_state(page, "completed")
    assert answer(page) == TEXT + "left"


def test_address_names_the_conversation_and_back_and_forward_switch(page: Page, system: System) -> None:
    opened: list[str] = []
    for text in ("One.", "Two."):
        page.locator("#new").click()
        ask(page, emulate(text=text, rate=0))
        expect_state(page, "completed")
        opened.append(shown(page))
    first, second = opened
    assert first != second
    steps: list[tuple[Callable[[], Any], str, str]] = [
        (page.go_back, first, "One."),
        (page.go_forward, second, "Two."),
        (lambda: page.evaluate("id => { location.hash = id }", first), first, "One."),
        (lambda: page.goto(f"{system.url}/#{second}"), second, "Two."),
        (page.go_back, first, "One."),
    ]
    for step, conversation, text in steps:
        step()
        expect(page.locator(".answer")).to_have_text([text])
        expect(page.locator(f"li[data-id='{conversation}'] [aria-current=page]")).to_have_count(1)
        assert shown(page) == conversation


def test_absent_conversation_opens_an_empty_page_that_reports_it(lenient_page: Page, system: System) -> None:
    lenient_page.goto(f"{system.url}/#{'0' * 32}")
    expect(lenient_page.get_by_role("alert")).to_contain_text("There is no such conversation.")
    expect(lenient_page.locator("#send")).to_be_enabled()
    assert shown(lenient_page) == ""


def test_older_turns_and_conversations_load_page_by_page(page: Page, system: System) -> None:
    def with_limit(limit: str, route: Route) -> None:
        route.continue_(url=re.sub(r"limit=[0-9]+", limit, route.request.url))

    page.route("**/messages?*", partial(with_limit, "limit=3"))
    page.route("**/conversations?*", partial(with_limit, "limit=2"))
    post = partial(page.request.post, f"{system.url}/api/generations")
    texts = [f"Answer {number}." for number in range(5)]
    started = post(data={"message": emulate(text=texts[0], rate=0), "stream": False}).json()
    for text in texts[1:]:
        fields = {"conversation_id": started["conversation_id"], "stream": False}
        assert post(data={"message": emulate(text=text, rate=0), **fields}).ok
    for _ in range(4):
        page.request.post(f"{system.url}/api/conversations", data={})
    page.goto(f"{system.url}/#{started['conversation_id']}")
    page.reload()
    older, more = page.locator("#older"), page.locator("#more")
    expect(page.locator(".answer")).to_have_text(texts[4:])  # the third message is the answer of an older question
    for shown_from in (2, 1, 0):
        older.click()
        expect(page.locator(".answer")).to_have_text(texts[shown_from:])
    expect(older).to_be_hidden()
    expect(page.locator("#conversations li")).to_have_count(5)
    expect(more).to_be_hidden()
    # The loaded turns stay when the newest turns are read again.
    ask(page, emulate(text="Answer 5.", rate=0))
    expect(page.locator(".answer")).to_have_text([*texts, "Answer 5."])
    expect(page.locator("#send")).to_be_enabled()


def test_invalid_hash_opens_an_empty_page(page: Page, system: System) -> None:
    for name in ("x", "<img src=x>"):
        page.goto(f"{system.url}/#{name}")
        page.reload()
        expect(page.locator("#send")).to_be_enabled()
        expect(page.locator(".turn")).to_have_count(0)
