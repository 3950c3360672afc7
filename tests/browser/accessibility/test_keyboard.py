"""Everything can be reached with the keyboard, each stop shows its focus, and nothing keeps it."""

from playwright.sync_api import Page, expect

from tests.browser.test_page import ask, expect_state
from tests.client import emulate, wait_for

STOP = """() => {
  const each = document.activeElement;
  if (each === document.body) return null;
  const shown = each.id === "question" ? each.closest(".composer-box") : each;
  const { outlineStyle, outlineWidth } = getComputedStyle(shown);
  const { width, height } = each.getBoundingClientRect();
  return { name: each.id || each.className, isMarked: outlineStyle !== "none" && parseFloat(outlineWidth) > 0,
    isShown: each.checkVisibility() && width > 0 && height > 0 };
}"""


PARTS = (
    "skip-link",
    "sidebar-toggle",
    "new",
    "search-box",
    "item-link",
    "scroller",
    "retry",
    "chip",
    "question",
    "send",
)


def stops_from(page: Page, first: str) -> list[str]:
    """Return the names of all stops of the Tab key from the first one on."""
    page.locator(first).focus()
    stops: list[str] = []
    for _ in range(60):
        stop = page.evaluate(STOP)
        if stop is None:
            return stops  # the browser's own controls come next
        assert stop["isMarked"], stop
        assert stop["isShown"], stop
        stops.append(stop["name"])
        page.keyboard.press("Tab")
    raise AssertionError(f"the focus does not leave the page: {stops}")


def places_in(stops: list[str]) -> list[int | None]:
    return [next((at for at, stop in enumerate(stops) if part in stop.split()), None) for part in PARTS]


def test_tab_reaches_every_part_in_order_and_each_stop_shows_the_focus(page: Page) -> None:
    ask(page, emulate(text="A [link](https://example.org).", rate=0))
    expect_state(page, "completed")
    expect(page.locator(".suggestions button").first).to_be_visible()
    expect(page.locator("#conversations a").first).to_have_text("a scripted answer")
    found: list[int | None] = [None]

    def is_whole() -> bool:
        stops = stops_from(page, ".skip-link")
        found[:] = places_in(stops)
        return None not in found

    # The page may put the stored answer in place of the streamed one meanwhile, and the focus with it.
    wait_for(is_whole, 60, f"a stop at each of {PARTS}")
    assert found == sorted(at for at in found if at is not None), dict(zip(PARTS, found, strict=True))


def test_dialogs_and_the_drawer_keep_the_focus_and_give_it_back(page: Page) -> None:
    for opener, inside in ((".open-settings", ".settings"), (".open-help", ".help")):
        page.locator(opener).focus()
        page.keyboard.press("Enter")
        expect(page.locator(inside)).to_be_visible()
        for key in ["Tab"] * 4 + ["Shift+Tab"] * 6:
            page.keyboard.press(key)
            assert page.evaluate(
                "inside => document.activeElement === document.body || !!document.activeElement.closest(inside)", inside
            )
        page.keyboard.press("Escape")
        expect(page.locator(inside)).to_be_hidden()
        expect(page.locator(opener)).to_be_focused()
    page.set_viewport_size({"width": 360, "height": 740})
    expect(page.locator(".app[data-layout=narrow]")).to_be_visible()
    page.locator(".sidebar-toggle").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".sidebar-close")).to_be_focused()
    for _ in range(6):
        page.keyboard.press("Tab")
        stop = page.evaluate("document.activeElement.className")
        assert page.evaluate("!document.activeElement.closest('.bar, .chat')"), stop
    page.locator(".sidebar-close").focus()
    page.keyboard.press("Escape")
    expect(page.locator(".scrim")).to_be_hidden()
    expect(page.locator(".sidebar-toggle")).to_be_focused()
