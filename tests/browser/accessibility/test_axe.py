"""axe-core finds no violation in any state of the page, in light and dark, wide and narrow."""

from playwright.sync_api import Page, expect

from tests.browser.accessibility.axe import Axe
from tests.browser.test_page import ask, expect_state
from tests.client import emulate, wait_for

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

#### Small
"""


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


def test_no_state_of_a_turn_violates_a_rule(page: Page, axe: Axe) -> None:
    states = States(axe, page)
    states.check("new conversation")
    ask(page, emulate(text=MARKDOWN, rate=0))
    expect_state(page, "completed")
    expect(page.locator("#send")).to_be_enabled()
    states.check("markdown")
    ask(page, emulate(text=MARKDOWN * 20, rate=50))
    wait_for(page.locator(".answer").last.text_content, 20, "some text")
    states.check("an answer that is being written")
    page.keyboard.press("Escape")
    expect_state(page, "cancelled")
    states.check("a stopped answer")
    assert states.violations == [], "\n".join(states.violations)
