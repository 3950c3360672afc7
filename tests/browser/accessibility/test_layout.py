"""The page at the size of a phone, magnified, with wider text, on paper, from right to left, and without motion."""

from playwright.sync_api import Page, expect

from tests.browser.accessibility.conftest import Coarse
from tests.browser.test_page import ask, expect_state
from tests.client import emulate, wait_for

WORD = "Wasserradwerkstattschluesselanhaenger" * 8
TEXT = f"# {WORD}\n\nA {WORD} and `{WORD}`\n\n- {WORD}\n\n```\n{WORD * 3}\n```\n\n|{WORD}|b|\n|-|-|\n|c|{WORD}|\n"
WIDER = """() => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`
    * { line-height: 1.5 !important; letter-spacing: 0.12em !important; word-spacing: 0.16em !important; }
    p { margin-block-end: 2em !important; }`);
  document.adoptedStyleSheets = [sheet];
}"""  # WCAG 2.2, 1.4.12
OUTSIDE = """() => [...document.querySelectorAll("button, a, input, textarea, select, h1, h2, p")].filter(each => {
  const { left, right, width } = each.getBoundingClientRect();
  return each.checkVisibility({ visibilityProperty: true }) && width > 1
    && !each.closest(".table-scroll, pre, .sources, .visually-hidden, .skip-link")
    && (left < -0.5 || right > innerWidth + 0.5);
}).map(each => each.outerHTML.slice(0, 120))"""
CUT = """() => [...document.querySelectorAll("body *")].filter(each => {
  const { overflowY, webkitLineClamp } = getComputedStyle(each);
  const hasText = [...each.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
  return hasText && each.checkVisibility() && !["visible", "auto"].includes(overflowY) && webkitLineClamp === "none"
    && !each.closest(".visually-hidden, textarea")
    && each.clientHeight > 1 && each.scrollHeight > each.clientHeight + 1;
}).map(each => each.outerHTML.slice(0, 120))"""
SMALL = """least => [...document.querySelectorAll("button, select, summary, input, textarea")].filter(each => {
  const { width, height } = each.getBoundingClientRect();
  return each.checkVisibility({ opacityProperty: true }) && width > 1 && !each.matches(".task")
    && Math.min(width, height) < least - 0.5;
}).map(each => `${each.outerHTML.slice(0, 100)} ${JSON.stringify(each.getBoundingClientRect())}`)"""


def widths(page: Page) -> list[int]:
    found: list[int] = page.evaluate("[document.documentElement.scrollWidth, document.body.scrollWidth]")
    return found


def test_page_fits_every_width_with_long_words_and_wider_text(page: Page, touched: Coarse) -> None:
    ask(page, emulate(text=TEXT, rate=0))
    expect_state(page, "completed")
    for width, height in ((320, 256), (320, 640), (360, 740), (820, 1180), (1440, 900), (2560, 1440)):
        page.set_viewport_size({"width": width, "height": height})  # the first is 1280 × 1024 at 400 %
        assert max(widths(page)) <= width, width
        assert page.evaluate(OUTSIDE) == [], width
        assert page.evaluate(SMALL, 24) == [], width
        expect(page.locator("#question")).to_be_in_viewport(ratio=0.9)
        reading = page.locator(".scroller").bounding_box()
        assert reading is not None
        assert reading["height"] > height * 0.25, (width, height)
        line = page.locator(".answer p").first.bounding_box()
        assert line is not None
        assert line["width"] <= 46 * 16
    with touched(page):
        page.set_viewport_size({"width": 360, "height": 740})
        assert page.evaluate("matchMedia('(pointer: coarse)').matches")
        assert page.evaluate(SMALL, 24) == []
        sizes = page.locator("#ask button:visible, .bar button:visible").evaluate_all(
            "each => each.map(button => button.getBoundingClientRect().height)"
        )
        assert min(sizes, default=0) >= 44
        page.locator(".sidebar-toggle").hover()  # as after a tap, which leaves the pointer where it was
        expect(page.locator(".sidebar-toggle")).to_have_css("background-color", "rgba(0, 0, 0, 0)")
    page.evaluate(WIDER)
    for width in (320, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate(CUT) == [], width
        assert page.evaluate(OUTSIDE) == [], width


def test_no_panel_is_cut_on_a_phone_and_no_notice_covers_the_question(page: Page) -> None:
    ask(page, emulate(text="In short.", rate=0))
    expect_state(page, "completed")
    page.set_viewport_size({"width": 320, "height": 640})
    page.locator(".receipt-button").click()
    expect(page.locator(".receipt-calls")).to_be_visible()
    assert page.locator(".receipt").evaluate("each => each.scrollWidth - each.clientWidth") <= 0
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": 1280, "height": 800})
    page.locator(".item-link").focus()
    page.keyboard.press("Delete")
    toast, question = page.locator(".toast").bounding_box(), page.locator("#ask").bounding_box()
    assert toast is not None
    assert question is not None
    assert toast["y"] + toast["height"] <= question["y"]


def test_page_works_from_right_to_left_on_paper_and_without_motion(page: Page) -> None:
    ask(page, emulate(text="A line of text.\n\n" * 80, rate=0))
    expect_state(page, "completed")
    page.evaluate("document.documentElement.dir = 'rtl'")
    column = page.locator("#conversations").bounding_box()
    chat = page.locator(".chat").bounding_box()
    assert column is not None
    assert chat is not None
    assert column["x"] > chat["x"]
    assert page.evaluate(OUTSIDE) == []
    page.evaluate("document.documentElement.dir = 'ltr'")
    page.emulate_media(media="print")
    for hidden in ("#ask", "#conversations", ".bar", ".suggestions"):
        expect(page.locator(hidden)).to_be_hidden()
    assert page.locator(".scroller").evaluate(
        "each => each.scrollHeight <= each.clientHeight + 1"
    )  # all of it is printed
    page.emulate_media(media="screen", reduced_motion="reduce", forced_colors="active")
    ask(page, emulate(tokens=2000, rate=50))
    wait_for(page.locator(".answer").last.text_content, 40, "some text")
    running = "document.getAnimations().filter(({ playState }) => playState === 'running').length"
    assert page.evaluate(running) == 0
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(running) > 0
    page.keyboard.press("Escape")
    expect_state(page, "cancelled")
    page.emulate_media(forced_colors="none")
