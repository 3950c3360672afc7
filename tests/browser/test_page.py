"""The page in a real browser: creates, streams, resumes, cancels, and shows only text."""

import json
import urllib.request
from typing import Any

from playwright.sync_api import BrowserContext, Page, expect

from tests.client import emulate, wait_for
from tests.system import System

TEXT = "".join(f"{number} wheel\u00e9\U0001f600 " for number in range(150))


def ask(page: Page, message: str) -> None:
    expect(page.locator("#send")).to_be_enabled()  # before `done`, the page accepts no question
    page.locator("#question").fill(message)
    page.locator("#question").press("Enter")


def answer(page: Page, number: int = -1) -> str:
    return page.locator(".answer").nth(number).evaluate("each => each.textContent")


def expect_state(page: Page, state: str, number: int = -1) -> None:
    turn = page.locator(".turn").nth(number)
    expect(turn).to_have_attribute("data-state", state)


def hold_timers(page: Page, ms: int) -> None:
    """Have the page's timers of this length run only when a test calls them, in `held`.

    Playwright's clock would stay in all later pages of the browser's context, with a `performance` that knows nothing.
    """
    page.evaluate(
        """(wanted) => {
          const { setTimeout } = window;
          window.held = [];
          window.setTimeout = (run, ms, ...more) => (ms === wanted ? -held.push(run) : setTimeout(run, ms, ...more));
        }""",
        ms,
    )


def calls(system: System, message: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{system.emulator_url}/_calls", timeout=30) as response:
        listed: list[dict[str, Any]] = json.load(response)
    return [call for call in listed if call["messages"][-1]["content"][-1].get("text") == message]


def slowly(text: str) -> str:
    return emulate(text=text, tokens=150, rate=20)


def test_answer_appears_incrementally_and_is_exact(page: Page) -> None:
    ask(page, slowly(TEXT))
    wait_for(lambda: answer(page), 40, "the first text")
    assert len(answer(page)) < len(TEXT)
    expect_state(page, "running")
    expect(page.locator("#send")).to_be_disabled()
    expect_state(page, "completed")
    assert answer(page) == TEXT
    expect(page.locator("#send")).to_be_enabled()
    expect(page.locator("#stop")).to_be_disabled()
    assert page.locator("#question").input_value() == ""


def test_reload_during_a_stream_resumes_to_the_exact_text(page: Page, system: System) -> None:
    message = slowly(TEXT + "reloaded")
    ask(page, message)
    wait_for(lambda: len(answer(page)) > 200, 40, "some text")
    assert len(answer(page)) < len(TEXT)
    for _ in range(2):
        page.reload()
        expect(page.locator(".turn")).to_have_count(1)
        wait_for(lambda: len(answer(page)) > 200, 40, "the text again")
    expect_state(page, "completed")
    assert answer(page) == TEXT + "reloaded"
    assert len(calls(system, message)) == 1


def test_stop_cancels_the_model_call_and_keeps_the_partial_text(page: Page, system: System) -> None:
    message = emulate(tokens=1999, chars=5, rate=50)
    ask(page, message)
    wait_for(lambda: len(answer(page)) > 50, 40, "some text")
    page.locator("#stop").click()
    expect_state(page, "cancelled")
    stopped = answer(page)
    assert 50 < len(stopped) < 5000
    ended = wait_for(lambda: [call["ended"] for call in calls(system, message) if call["ended"]], 30, "the call's end")
    assert ended == ["closed_by_client"]
    expect(page.locator("#send")).to_be_enabled()
    page.reload()
    expect_state(page, "cancelled")
    assert answer(page) == stopped


def test_several_turns_are_shown_again_after_a_reload(page: Page) -> None:
    texts = ["First.", "Second.", "Third."]
    for number, text in enumerate(texts):
        ask(page, emulate(text=text, rate=0))
        expect_state(page, "completed", number)
        expect(page.locator("#send")).to_be_enabled()  # enabled after title and suggestions have arrived
    page.reload()
    for number, text in enumerate(texts):
        expect_state(page, "completed", number)
        assert answer(page, number) == text


def test_markup_in_an_answer_is_shown_as_text(page: Page) -> None:
    hostile = '<img src=x onerror="document.title=1"><script>document.title=2</script>\n<b> \u2028 <a href="x">'
    ask(page, emulate(text=hostile, rate=0))
    expect_state(page, "completed")
    assert answer(page) == hostile
    assert page.locator(":is(.question, .answer) :not(p)").count() == 0
    assert page.title().endswith("Millrace")


def test_shift_enter_adds_a_line_and_blank_input_is_not_sent(page: Page) -> None:
    box = page.locator("#question")
    box.press("Enter")
    box.fill("   ")
    box.press("Enter")
    box.fill("one")
    low = box.evaluate("each => each.clientHeight")
    box.press("Shift+Enter")
    assert box.input_value() == "one\n"
    assert box.evaluate("each => each.clientHeight") > low  # the box grows with its text
    expect(page.locator(".turn")).to_have_count(0)


def test_enter_that_belongs_to_an_input_method_sends_nothing(page: Page, context: BrowserContext) -> None:
    box = page.locator("#question")
    box.focus()
    browser = context.new_cdp_session(page)
    browser.send("Input.imeSetComposition", {"text": "\u306b\u307b\u3093", "selectionStart": 3, "selectionEnd": 3})
    browser.send("Input.dispatchKeyEvent", {"type": "rawKeyDown", "key": "Enter", "windowsVirtualKeyCode": 13})
    browser.send("Input.insertText", {"text": "\u65e5\u672c"})
    box.evaluate(  # as Safari reports the Enter that ended the composition
        """box => box.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", keyCode: 229, bubbles: true }))"""
    )
    expect(page.locator(".turn")).to_have_count(0)
    assert box.input_value() == "\u65e5\u672c"
    box.press("Enter")
    expect(page.locator(".question")).to_have_text("\u65e5\u672c")
    expect_state(page, "completed")


def test_escape_stops_the_answer_and_the_focus_returns_to_the_question(page: Page) -> None:
    box = page.locator("#question")
    ask(page, emulate(text="One.", rate=0))
    expect_state(page, "completed")
    expect(box).to_be_focused()
    page.locator("#new").focus()
    ask(page, emulate(tokens=2000, chars=5, rate=50))
    wait_for(lambda: answer(page), 40, "some text")
    page.locator("body").click(position={"x": 1, "y": 1})  # nothing has the focus
    page.keyboard.press("Escape")
    expect_state(page, "cancelled")
    expect(box).to_be_focused()
    page.keyboard.press("Escape")  # without a running answer it does nothing
    ask(page, emulate(tokens=2000, chars=5, rate=50))
    wait_for(lambda: answer(page), 40, "some text")
    page.locator("#stop").click()
    expect_state(page, "cancelled")
    expect(box).to_be_focused()
    expect(page.locator("#send")).to_be_enabled()


def test_focus_elsewhere_stays_when_an_answer_ends(page: Page) -> None:
    ask(page, emulate(tokens=60, rate=20))
    wait_for(lambda: answer(page), 40, "some text")
    page.locator("#new").focus()
    expect_state(page, "completed")
    expect(page.locator("#send")).to_be_enabled()
    expect(page.locator("#new")).to_be_focused()


def test_error_notice_disappears_with_the_next_success(lenient_page: Page, system: System) -> None:
    page, notice = lenient_page, lenient_page.locator("#notice")
    detail = "Rate limit exceeded. Try again in 12 seconds."
    page.route("**/api/generations", lambda route: route.fulfill(status=429, json={"detail": detail}), times=1)
    message = emulate(text="One.", rate=0)
    ask(page, message)
    expect(notice).to_have_text(detail)
    expect(page.locator(".turn")).to_have_count(0)
    assert page.locator("#question").input_value() == message
    page.locator("#send").click()
    expect(notice).to_be_empty()
    expect_state(page, "completed")
    # The server cannot be reached for one call, and then it can for another.
    expect(page.locator("#send")).to_be_enabled()
    ask(page, emulate(tokens=2000, rate=20))
    expect(page.locator(".turn")).to_have_count(2)
    wait_for(lambda: answer(page), 60, "some text")
    conversation = page.evaluate("location.hash.slice(1)")
    page.route(f"**/{conversation}", lambda route: route.abort(), times=1)
    page.locator("#conversations a").press("F2")
    page.locator(".rename-box").fill("Wheel")
    page.locator(".rename-box").press("Enter")
    expect(notice).to_contain_text("The server cannot be reached.")
    page.request.patch(f"{system.url}/api/conversations/{conversation}", data={"title": "Wheels"})
    expect(page.locator("#conversations a")).to_have_text("Wheels")
    expect(notice).to_be_empty()
    page.route("**/cancel", lambda route: route.abort(), times=1)
    page.locator("#stop").click()
    expect(page.locator("#connection")).to_contain_text("The answer stops as soon as it can.")
    expect_state(page, "cancelled")
    expect(page.locator("#connection")).to_be_empty()
    expect(notice).to_be_empty()


def test_failure_is_shown_and_the_partial_text_remains(page: Page) -> None:
    ask(page, emulate(text="0123456789" * 4, tokens=10, rate=100, fault="disconnect", at=5))
    expect_state(page, "failed")
    assert answer(page) == "0123456789" * 2
    expect(page.locator(".status").last).to_contain_text("Failed: ")


def test_page_requests_nothing_from_third_parties(page: Page, system: System) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    ask(page, emulate(text="Done.", rate=0))
    expect_state(page, "completed")
    assert asked
    assert all(url.startswith(system.url + "/") for url in asked)


def test_title_and_suggestions_appear_and_a_suggestion_is_sent(page: Page) -> None:
    tools = {
        "name_conversation": {"tool": {"input": {"title": "Wheels <b>&"}}},
        "suggest_questions": {"tool": {"input": {"suggestions": ["Why <i>wood</i>?", "How big?", "Who?"]}}},
    }
    ask(page, emulate(text="Round.", forced=tools))
    expect_state(page, "completed")
    expect(page.locator("#title")).to_have_text("Wheels <b>&")
    buttons = page.locator(".suggestions button")
    expect(buttons).to_have_text(["Why <i>wood</i>?", "How big?", "Who?"])
    expect(page.locator("#send")).to_be_enabled()
    expect(page.locator("#conversations a")).to_have_text("Wheels <b>&")
    assert page.locator(":is(#title, .suggestions button, #conversations a) *").count() == 0
    page.reload()
    expect(buttons).to_have_count(3)
    expect(page.locator("#title")).to_have_text("Wheels <b>&")
    buttons.first.click()
    expect(page.locator(".question").nth(1)).to_have_text("Why <i>wood</i>?")
    expect(page.locator(".suggestions button").first).to_be_hidden()
