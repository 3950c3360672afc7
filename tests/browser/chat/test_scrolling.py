"""The reader's place: at the end it follows the text, and anywhere else nothing moves."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.test_page import answer, ask, expect_state
from tests.client import emulate, wait_for

LINES = "".join(f"Line {number} of a long answer.\n\n" for number in range(200))
DISTANCE = """() => {
    const { scrollTop, scrollHeight, clientHeight } = document.querySelector(".scroller");
    return scrollHeight - clientHeight - scrollTop;
}"""
# The place of the first question on the screen, or of the line at the top edge.
PLACE = """() => {
    const { left, top } = document.querySelector(".scroller").getBoundingClientRect();
    window.watched ??= document.querySelector(".question");
    return Math.round(window.watched.getBoundingClientRect().top - top);
}"""
# The turns that the browser neither lays out nor paints, because they are away from the screen.
SKIPPED = """() => [...document.querySelectorAll(".turn")].map(
    ({ firstElementChild }) => !firstElementChild.checkVisibility({ contentVisibilityAuto: true }),
)"""


def distance(page: Page) -> float:
    return page.evaluate(DISTANCE)


def test_text_is_followed_at_the_end_and_a_reader_above_it_stays_in_place(page: Page) -> None:
    ask(page, emulate(text=LINES * 5, tokens=2000, rate=100))
    newest = page.locator(".newest")
    wait_for(lambda: len(answer(page)) > 2000, 40, "much text")
    wait_for(lambda: distance(page) < 3, 40, "the end")
    expect(newest).to_be_hidden()
    page.locator(".scroller").hover()
    page.mouse.wheel(0, -300)
    expect(newest).to_be_visible()
    place, length = page.evaluate(PLACE), len(answer(page))
    expect(newest).to_have_attribute("data-state", "new")
    wait_for(lambda: len(answer(page)) > length + 500, 40, "more text")
    assert abs(page.evaluate(PLACE) - place) <= 1
    newest.click()
    wait_for(lambda: distance(page) < 3, 40, "the end")
    length = len(answer(page))
    wait_for(lambda: len(answer(page)) > length + 300, 40, "more text")
    wait_for(lambda: distance(page) < 3, 40, "the end")
    select_and_read(page)
    page.keyboard.press("Escape")
    expect_state(page, "cancelled")


def select_and_read(page: Page) -> None:
    """Select some text with the mouse while more arrives: it stays where it is, until the user asks for the newest."""
    box = page.locator(".scroller").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    place, length = page.evaluate(PLACE), len(answer(page))
    page.mouse.move(x + 40, y - 80, steps=4)
    wait_for(lambda: len(answer(page)) > length + 300, 40, "more text")
    assert abs(page.evaluate(PLACE) - place) <= 1
    page.mouse.up()
    expect(page.locator(".newest")).to_be_visible()
    wait_for(lambda: len(answer(page)) > length + 600, 40, "more text")
    assert abs(page.evaluate(PLACE) - place) <= 1
    assert page.evaluate("getSelection().toString()")
    page.locator(".newest").click()
    wait_for(lambda: distance(page) < 3, 40, "the end")


def test_earlier_messages_and_what_loads_above_move_nothing_and_turns_away_from_the_screen_are_skipped(
    page: Page, system_with_turns: Callable[[int], str]
) -> None:
    page.route("**/messages?*", lambda route: route.continue_(url=route.request.url.replace("limit=40", "limit=4")))
    page.goto(system_with_turns(6))
    page.reload()
    expect(page.locator(".turn")).to_have_count(2)
    wait_for(lambda: distance(page) < 3, 40, "the end")
    wait_for(lambda: page.evaluate(SKIPPED) == [True, False], 40, "the turn above the screen to be skipped")
    page.locator("#older").scroll_into_view_if_needed()
    expect(page.locator(".newest")).to_be_visible()
    place = page.evaluate(PLACE)
    page.locator("#older").click()
    expect(page.locator(".turn")).to_have_count(4)
    wait_for(lambda: abs(page.evaluate(PLACE) - place) <= 1, 40, "the same place")  # places are rounded
    wait_for(lambda: page.evaluate(SKIPPED) == [True, False, False, False], 40, "the first turn to be skipped")
    assert abs(page.evaluate(PLACE) - place) <= 1
    assert page.locator(".newest").get_attribute("data-state") is None  # nothing was added at the end
    # Something above the top edge grows, as an image does that has loaded.
    page.evaluate("() => { document.querySelectorAll('.answer')[1].prepend('above\\n'.repeat(40)); }")
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert abs(page.evaluate(PLACE) - place) <= 1
