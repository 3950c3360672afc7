"""Announcements for screen readers: finished sentences, each once, and no code."""

from playwright.sync_api import Page, expect

from tests.browser.test_page import ask, expect_state
from tests.client import emulate

PROSE = "# Mills\n\nA **weir** holds [water](https://example.org) back. It is `v1.2` high!"
ANSWER = PROSE + "\n\n```js\nlet a = 1. b;\n```\n\nDone"
SPOKEN = "Mills A weir holds water back. It is v1.2 high! Code block. Done"
# Announces every beginning of a text in turn, each as soon as it has arrived.
ANNOUNCE = """async (text) => {
    const { endOfSentences, speakable } = await import(new URL("static/chat/announcer.js", document.baseURI));
    const announced = [];
    let end = 0;
    for (let length = 1; length <= text.length; length++) {
        const next = endOfSentences(text.slice(0, length), end);
        if (next < end) throw new Error(`goes back from ${end} to ${next}`);
        if (next > end) announced.push(text.slice(end, next));
        end = next;
    }
    announced.push(text.slice(end));
    return { whole: announced.join(""), spoken: announced.map(speakable).filter(Boolean) };
}"""
TEXTS = {
    ANSWER: ["Mills", "A weir holds water back.", "It is v1.2 high!", "Code block.", "Done"],
    "水車は回る。とても速い！\n": ["水車は回る。", "とても速い！"],
    "One. Two? “Three!” Four": ["One.", "Two?", "“Three!”", "Four"],
    "| a | b |\n| --- | --- |\n| 1 | 2 |\n": ["a | b |", "1 | 2 |"],
    "```\nnever closed. ": ["Code block."],
}


def test_sentences_are_announced_once_and_only_when_they_are_finished(page: Page) -> None:
    for text, spoken in TEXTS.items():
        announced = page.evaluate(ANNOUNCE, text)
        assert announced["whole"] == text
        assert announced["spoken"] == spoken, text
    region = page.locator(".announcer")
    expect(region).to_have_attribute("aria-live", "polite")
    page.evaluate(
        """() => {
            window.announced = [];
            new MutationObserver((changes) => {
                const added = changes.flatMap(({ addedNodes }) => [...addedNodes]);
                window.announced.push(...added.map((each) => each.textContent));
            }).observe(document.querySelector(".announcer"), { childList: true });
        }"""
    )
    ask(page, emulate(text=ANSWER, tokens=len(ANSWER), rate=20))
    expect_state(page, "completed")
    expect(page.locator("#send")).to_be_enabled()
    announced = page.evaluate("window.announced")
    assert " ".join(announced) == SPOKEN
    assert 1 < len(announced) < 10, announced  # not each token, and not all at the end
