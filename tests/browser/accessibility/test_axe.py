"""axe-core finds no violation in any state of the page, in light and dark, wide and narrow."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, Route, expect

from tests.browser.accessibility.axe import Axe
from tests.browser.test_page import ask, expect_state
from tests.client import emulate

SOURCES = [{"title": "Mills", "url": "https://example.org/mills"}]
MARKDOWN = """# Mills

A **mill** with `code`, a [link](https://example.org/mill) and ~~nothing~~ else.

1. One
   - nested
2. Two

- [x] done
- [ ] open

> A quote.

```python
def follow(url: str, after: str = "") -> None:  # a comment
    return [None, 42, True, "text", str(url)]
```

| wheel | head |
|---|---:|
| overshot | 6 |

$$E = mgh$$

---

## Small
"""
EXCERPT = [{"text": "… carries ", "is_hit": False}, {"text": "water", "is_hit": True}]
FOUND: list[Any] = [
    {
        "id": "0" * 32,
        "title": "Found",
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
        "active_generation": None,
        "match": {"message_id": None, "role": None, "excerpt": EXCERPT},
    }
]


def answering(answer: Any) -> Callable[[Route], None]:
    """Return a handler that gives the answer at once: the index has a delay of its own, which is not the subject."""
    return lambda route: route.fulfill(json=answer)


class States:
    """Collects the violations of the states that a test brings the page to."""

    def __init__(self, axe: Axe, page: Page) -> None:
        self._axe, self._page = axe, page
        self.violations: list[str] = []

    def check(self, state: str) -> None:
        """Check the page in light and dark."""
        for scheme in ("light", "dark"):
            self._page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            self.violations += [f"{state}, {scheme}: {each}" for each in self._axe.violations(self._page)]


def test_no_state_of_the_chat_violates_a_rule(page: Page, axe: Axe) -> None:
    states = States(axe, page)
    states.check("a new conversation")
    ask(page, emulate(text=MARKDOWN, reasoning="Because.", search=SOURCES, rate=0))
    expect_state(page, "completed")
    expect(page.locator(".answer .hljs-keyword, .answer .katex")).not_to_have_count(0)
    expect(page.locator(".suggestions button").last).to_be_visible()
    page.locator(".reasoning-summary").click()
    states.check("a complete answer")
    page.locator(".receipt-button").click()
    states.check("a receipt")
    page.locator(".edit-question").click()
    states.check("a question that is edited")
    page.keyboard.press("Escape")
    ask(page, emulate(text="Half of", fault="exception_mid_stream", rate=0))
    expect_state(page, "failed")
    ask(page, emulate(text=MARKDOWN * 20, reasoning="Because. " * 9, rate=20))
    expect(page.locator(".turn[data-phase=thinking]")).to_be_visible()
    states.check("an answer that is thought about, below one that has failed")
    expect(page.locator(".turn[data-phase=writing]")).to_be_visible()
    page.locator("#question").fill("The next question")
    page.locator("#question").press("Enter")
    expect(page.locator(".queued")).to_be_visible()
    states.check("an answer that is being written, and a question that waits for it")
    page.locator(".queued-withdraw").click()
    page.keyboard.press("Escape")
    expect_state(page, "cancelled")
    assert states.violations == [], "\n".join(states.violations)


def test_no_state_of_the_page_around_the_chat_violates_a_rule(page: Page, axe: Axe) -> None:
    states = States(axe, page)
    ask(page, emulate(text="Water carries the sound.", rate=0))
    expect_state(page, "completed")
    expect(page.locator(".item")).to_have_count(1)
    for opener, opened in ((".open-settings", ".settings .memories-empty"), (".open-help", ".help")):
        page.locator(opener).click()
        expect(page.locator(opened)).to_be_visible()
        states.check(opener)
        page.keyboard.press("Escape")
    page.locator(".item-more").click()
    expect(page.locator("[role=menu]")).to_be_visible()
    states.check("the menu of a conversation")
    page.locator("[data-action=rename]").click()
    expect(page.locator(".rename-box")).to_be_focused()
    states.check("a conversation that is renamed")
    page.keyboard.press("Escape")
    for found, shown in ((FOUND, ".excerpt mark"), ([], ".list-empty")):
        page.route("**/api/conversations?*q=*", answering({"conversations": found, "next": None}))
        page.locator(".search-box").fill(f"water {len(found)}")
        expect(page.locator(shown)).to_be_visible()
        states.check(f"a search that finds {len(found)}")
    page.locator(".search-box").fill("")
    page.set_viewport_size({"width": 360, "height": 740})
    page.locator(".sidebar-toggle").click()
    expect(page.locator(".scrim")).to_be_visible()
    states.check("the drawer")
    page.locator(".item-link").focus()
    page.keyboard.press("Delete")
    expect(page.locator(".toast")).to_be_visible()
    states.check("a deletion that can be undone")
    assert states.violations == [], "\n".join(states.violations)


def test_no_state_without_the_server_violates_a_rule(lenient_page: Page, axe: Axe) -> None:
    page, states, held = lenient_page, States(axe, lenient_page), list[Route]()
    page.route("**/api/conversations?*", lambda route: held.append(route), times=1)  # noqa: PLW0108 - it is marked
    page.reload()
    expect(page.locator(".skeletons")).to_be_visible()
    states.check("a list that is being loaded")
    held.pop().continue_()
    expect(page.locator(".list-empty")).to_be_visible()
    limited: Any = {"status": 429, "json": {"detail": "Later.", "code": "rate_limited"}}
    page.route("**/api/generations", lambda route: route.fulfill(headers={"Retry-After": "900"}, **limited), times=1)
    ask(page, "Too often?")
    expect(page.locator(".countdown")).to_be_visible()
    page.context.set_offline(True)
    try:
        expect(page.locator("#connection")).not_to_be_empty()
        states.check("no network, and a limit that is counted down")
    finally:
        page.context.set_offline(False)
    assert states.violations == [], "\n".join(states.violations)
