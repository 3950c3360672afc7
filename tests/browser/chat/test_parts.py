"""The parts of an answer beside its text: reasoning, sources, tools, its states, its receipt."""

from playwright.sync_api import Page, expect

from tests.browser.test_page import answer, ask, expect_state
from tests.client import emulate

RECORD_STATES = """() => {
    window.states = [];
    new MutationObserver(() => {
        const turn = document.querySelector(".turn:last-child");
        if (!turn) return;
        const { state, phase = "" } = turn.dataset;
        const seen = [state, phase, turn.querySelector(".status").textContent].join("|");
        if (window.states.at(-1) !== seen) window.states.push(seen);
    }).observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true });
}"""


def test_reasoning_sources_and_tools_are_shown_live_and_after_a_reload(page: Page) -> None:
    found = [
        {"title": "The mill", "url": "https://www.example.org/mill"},
        {"title": "The <b>weir</b>", "url": "http://weir.example.net/?a=1"},
        {"title": "Trap", "url": "javascript:document.title=1"},
    ]
    ask(page, emulate(text="It is high.", reasoning="The weir *must* be high.", search=found, tool=True, rate=0))
    for reloads in (0, 1):
        if reloads:
            page.reload()
        expect_state(page, "completed")
        expect(page.locator("#send")).to_be_enabled()
        summary = page.locator(".reasoning-summary")
        expect(summary).to_have_text("Thought about it")
        expect(page.locator(".reasoning-text")).to_be_hidden()
        summary.click()
        expect(page.locator(".reasoning-text")).to_contain_text("be high.")
        cards = page.locator(".sources .card")
        expect(cards.locator(".card-title")).to_have_text([each["title"] for each in found])
        expect(cards.locator(".card-host")).to_have_text(["example.org", "weir.example.net"])
        assert page.locator(".sources a").evaluate_all(
            "all => all.map(({ href, rel, target }) => [href, rel, target])"
        ) == [[each["url"], "noopener noreferrer nofollow", "_blank"] for each in found[:2]]
        tools = page.locator(".tool")
        expect(tools.last.locator(".tool-name")).to_contain_text("look_up")
        tools.last.locator(".tool-name").click()
        expect(tools.last.locator(".tool-input")).to_contain_text("the height of the weir")
        expect(tools.first).to_have_attribute("data-state", "done")
        receipt = page.locator(".popover.receipt")
        page.locator(".receipt-button").click()
        for part in ("bedrock", "First text after", "tokens"):
            expect(receipt.locator(".receipt-list")).to_contain_text(part)
        expect(receipt.locator(".receipt-calls")).to_contain_text("Answer")
        page.keyboard.press("Escape")
        expect(receipt).to_be_hidden()
        expect(page.locator(".receipt-button")).to_be_focused()


def test_progress_names_the_next_provider_and_why_and_then_thinking_and_writing(page: Page) -> None:
    page.evaluate(RECORD_STATES)
    # Slow enough for a page that is slow itself: it skips what has passed when its stream begins.
    ask(page, emulate(text="One two three.", tokens=6, rate=3, reasoning="It depends.", fault="throttle", times=3))
    expect_state(page, "completed")
    assert answer(page) == "One two three."
    states: list[str] = page.evaluate("window.states")
    steps = [
        "queued||Waiting to start",
        "retrying||Retrying with bedrock: the model is busy",
        "running|thinking|Thinking",
        "running|writing|Answering",
        "completed||Complete",
    ]
    assert [each for each in dict.fromkeys(states) if each in steps] == steps, states
