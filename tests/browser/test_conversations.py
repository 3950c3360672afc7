"""The list of conversations: each opens with its turns and its running stream, in any tab."""

from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.test_page import TEXT, answer, ask, calls, expect_state, slowly
from tests.client import emulate, wait_for
from tests.system import System


def conversations(page: Page) -> list[str]:
    return page.locator("#conversations li").evaluate_all("items => items.map((each) => each.dataset.id)")


def choose(page: Page, conversation: str) -> None:
    page.locator(f"#conversations li[data-id='{conversation}'] button").first.click()


def shown(page: Page) -> str:
    return page.evaluate("location.hash.slice(1)")


def test_questions_stay_in_one_conversation_until_a_new_one_is_opened(page: Page, system: System) -> None:
    ask(page, emulate(text="One.", rate=0))
    expect_state(page, "completed", 0)
    second = emulate(text="Two.", rate=0)
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
    assert [answer(page, 0), answer(page, 1)] == ["One.", "Two."]
    expect(page.locator("#conversations [aria-current]")).to_have_count(1)
    assert shown(page) == first


def test_second_tab_opens_the_conversation_and_its_running_stream(
    page: Page, context: BrowserContext, system: System
) -> None:
    message = slowly(TEXT + "tabs")
    ask(page, message)
    wait_for(lambda: len(answer(page)) > 100, 20, "some text")
    other = context.new_page()
    other.goto(system.url)
    expect(other.locator("#conversations li")).to_have_count(1)
    choose(other, shown(page))
    wait_for(lambda: len(answer(other)) > 100, 20, "the same text")
    for each in (page, other):
        expect_state(each, "completed")
        assert answer(each) == TEXT + "tabs"
    assert len(calls(system, message)) == 1
    other.close()


def test_conversation_left_while_streaming_continues_and_can_be_reopened(page: Page) -> None:
    ask(page, slowly(TEXT + "left"))
    wait_for(lambda: len(answer(page)) > 100, 20, "some text")
    left = shown(page)
    page.locator("#new").click()
    expect(page.locator(".turn")).to_have_count(0)
    ask(page, emulate(text="Second.", rate=0))
    expect_state(page, "completed")
    assert answer(page) == "Second."
    choose(page, left)
    expect_state(page, "completed")
    assert answer(page) == TEXT + "left"


def test_deleted_conversation_disappears_and_its_generation_is_cancelled(page: Page, system: System) -> None:
    message = emulate(tokens=2000, chars=6, rate=50)
    ask(page, message)
    wait_for(lambda: len(answer(page)) > 50, 20, "some text")
    page.locator("#conversations li button").last.click()
    expect(page.locator("#conversations li")).to_have_count(0)
    expect(page.locator(".turn")).to_have_count(0)
    ended = wait_for(lambda: [call["ended"] for call in calls(system, message) if call["ended"]], 5, "the call's end")
    assert ended == ["closed_by_client"]
    page.reload()
    expect(page.locator("#send")).to_be_enabled()
    expect(page.locator("#conversations li")).to_have_count(0)


def test_invalid_hash_opens_an_empty_page(page: Page, system: System) -> None:
    for name in ("x", "<img src=x>"):
        page.goto(f"{system.url}/#{name}")
        page.reload()
        expect(page.locator("#send")).to_be_enabled()
        expect(page.locator(".turn")).to_have_count(0)
