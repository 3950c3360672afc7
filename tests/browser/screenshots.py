"""Takes the pictures of the page that the documentation shows: `python -m tests.browser.screenshots`.

The page is the real one, with a running system behind it. The model is the local endpoint, which answers as these
scripts say; on their way the questions change places with the scripts, so that the pictures show what a user types.
"""

import json
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from tests.client import emulate
from tests.system import ROOT, System

IMAGES = ROOT / "webapp/docs/images"
ANSWER = """A **millrace** is the channel that carries water to a mill wheel, and away from it. The part above the \
wheel is the *head race*, the part below it the *tail race*.

| Wheel | Head | Efficiency | Where it stands |
|---|---:|---:|---|
| Undershot | 0.5 m | 30 % | in a river with a steady flow |
| Breastshot | 2.4 m | 55 % | beside a weir |
| Overshot | 6.0 m | 82 % | in a steep valley |

The power of the wheel follows from the flow and the head:

```python
def power(flow: float, head: float, efficiency: float) -> float:
    \"\"\"Return watts for a flow in cubic metres per second.\"\"\"
    return 9810 * flow * head * efficiency


print(power(0.2, 6.0, 0.82))  # about 9.7 kW
```

A sluice gate at the upper end sets how much water comes in; whatever the wheel cannot use leaves by a spillway.
"""


@dataclass(frozen=True)
class Exchange:
    """A question as it is typed, and the script of its answer."""

    question: str
    title: str
    text: str
    tokens: int
    rate: int

    @property
    def script(self) -> str:
        """Return the message that makes the local endpoint answer so."""
        suggestions = {"tool": {"input": {"suggestions": ["Which wheel suits a slow river?", "How is a weir built?"]}}}
        forced = {"name_conversation": {"tool": {"input": {"title": self.title}}}, "suggest_questions": suggestions}
        return emulate(text=self.text, tokens=self.tokens, rate=self.rate, forced=forced)


OTHERS = [
    Exchange(question, title, "It depends on the river.", 5, 0)
    for question, title in (
        ("How is a weir built?", "Building a weir"),
        ("Why do leases expire?", "Leases and fences"),
        ("What does a cursor hold?", "Cursors of a stream"),
        ("Explain backpressure", "Backpressure, explained"),
    )
]
QUICK = Exchange("What is a millrace, and which wheel suits which river?", "Mill wheels and rivers", ANSWER, 90, 0)
SLOW = Exchange("And a millrace, in short?", "Another mill", ANSWER, 300, 60)


class Stage:
    """A page on which exchanges take place."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self._questions: dict[str, str] = {}
        page.route("**/api/generations", self._replace_question)
        page.route("**/api/conversations/*/messages*", self._replace_scripts)
        page.goto(url)

    def ask(self, exchange: Exchange) -> None:
        """Ask a question; its answer is then running."""
        self._questions[exchange.script] = exchange.question
        expect(self.page.locator("#send")).to_be_visible()
        self.page.locator("#question").fill(exchange.question)
        self.page.locator("#question").press("Enter")
        expect(self.page.locator(".turn .question").last).to_have_text(exchange.question)

    def wait(self) -> None:
        """Wait for the end of the answer and all that follows it."""
        expect(self.page.locator(".turn").last).to_have_attribute("data-state", "completed")
        expect(self.page.locator(".suggestions button").last).to_be_visible()

    def _replace_question(self, route: Route) -> None:
        body: Any = route.request.post_data_json
        script = [script for script, question in self._questions.items() if question == body["message"]][-1]
        route.continue_(post_data=json.dumps({**body, "message": script}))

    def _replace_scripts(self, route: Route) -> None:
        response = route.fetch()
        page = response.json()
        for message in page.get("messages", []):
            message["content"] = self._questions.get(message["content"], message["content"])
        route.fulfill(response=response, json=page)


@contextmanager
def stage(browser: Browser, url: str, width: int, height: int, scheme: Any) -> Generator[Stage]:
    """Open the page in a window of its own."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
    )
    opened = Stage(context.new_page(), url)
    yield opened
    opened.page.unroute_all(behavior="ignoreErrors")
    context.close()


def take(stage: Stage, name: str) -> None:
    stage.page.mouse.move(0, 0)
    stage.page.screenshot(path=IMAGES / name)


def main() -> None:
    """Take the pictures, with the machine's own fonts."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with (
        tempfile.TemporaryDirectory() as directory,
        System(Path(directory)) as system,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        with stage(browser, system.url, 1200, 880, "light") as desk:
            for exchange in OTHERS:
                desk.ask(exchange)
                desk.wait()
                desk.page.locator("#new").click()
            desk.ask(QUICK)
            desk.wait()
            expect(desk.page.locator(".hljs-keyword")).not_to_have_count(0)
            expect(desk.page.locator(".item-link[aria-current]")).to_have_text(QUICK.title)
            take(desk, "page.png")
            desk.page.emulate_media(color_scheme="dark")
            desk.page.locator("#new").click()
            desk.ask(SLOW)
            expect(desk.page.locator(".answer .code .hljs-keyword, .answer .code .code-part")).not_to_have_count(0)
            take(desk, "page-dark.png")
        with stage(browser, system.url, 390, 780, "light") as phone:
            phone.ask(QUICK)
            phone.wait()
            expect(phone.page.locator(".hljs-keyword")).not_to_have_count(0)
            phone.page.locator(".scroller").evaluate("each => { each.scrollTop = 0 }")
            take(phone, "page-phone.png")
        browser.close()


if __name__ == "__main__":
    main()
