"""A long answer stays cheap while it grows: each condition is a count or a ratio, true on a slow machine as well.

`python -m tests.browser.text.performance URL` prints times.
"""

from typing import Any

from playwright.sync_api import Page

from tests.browser.text.performance import TEXTS, Meter, feed

CHARACTERS = 100_000
FRAMES = 80
TRIES = 3  # a collection of garbage may fall into either half; were each piece dearer than the last, each would fail
TIMES_READ = {"mixed": 2, "code": 8, "table": 2}  # an open code block is read again now and then, one paragraph always


def test_long_answers_cost_as_much_in_their_second_half_and_keep_their_nodes(page: Page) -> None:
    meter = Meter(page)
    feed(page, TEXTS["mixed"](20_000), size=500, every=0)  # compiled before anything is measured
    for name, times_read in TIMES_READ.items():
        text = TEXTS[name](CHARACTERS)
        ratios: list[float] = []
        got: dict[str, Any] = {}
        while not ratios or (ratios[-1] > 2.5 and len(ratios) < TRIES):
            got = feed(page, text, size=len(text) // FRAMES, every=0)
            marks = meter.marks
            ratios.append((marks["end"] - marks["half"]) / (marks["half"] - marks["start"]))
        assert min(ratios) < 2.5, (name, "the cost of a piece grows with the text", ratios)
        assert got["same"], (name, "finished blocks are the same nodes")
        assert got["kept"] > 200 or name != "mixed"
        assert 0 < got["lexed"] < times_read * CHARACTERS, (name, "the text is read again and again", got)
        assert got["made"] < 2.5 * got["nodes"], (name, "nodes are made again", got)
        assert got["characters"] > 0.5 * CHARACTERS, (name, got)


def test_memory_is_released_with_the_answer(page: Page) -> None:
    meter = Meter(page)
    text = TEXTS["mixed"](CHARACTERS // 2)
    feed(page, text, size=2500, every=0)
    heap, nodes = meter.heap(), meter.metrics()["Nodes"]
    for _ in range(3):
        feed(page, text, size=2500, every=0)
    assert meter.heap() < heap + 2e6, "three answers that are gone left their memory behind"
    assert meter.metrics()["Nodes"] < nodes + 200
