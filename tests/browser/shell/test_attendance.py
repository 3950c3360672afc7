"""The page reports how long its answers took and were visible, where the server wants it, and nothing more."""

from typing import Any

from playwright.sync_api import Page, Route

from tests.browser.test_page import answer, ask, expect_state
from tests.browser.test_tabs import show_or_hide
from tests.client import emulate, wait_for

RECORD_BEACONS = """
    window.beacons = [];
    navigator.sendBeacon = (url, body) => {
        body.text().then((text) => beacons.push([new URL(url, location).pathname, body.type, JSON.parse(text)]));
        return true;
    };
"""
META = '<meta name="millrace-beacon" content="on">'


def want_beacons(route: Route) -> None:
    page = route.fetch()
    route.fulfill(response=page, body=page.text().replace("<title>", f"{META}<title>", 1))


def beacons(page: Page, count: int) -> list[list[Any]]:
    wait_for(lambda: page.evaluate("beacons.length") == count, 20, f"{count} beacons")
    found: list[list[Any]] = page.evaluate("beacons")
    return found


def test_each_answer_is_reported_once_with_its_visible_time(page: Page) -> None:
    page.add_init_script(RECORD_BEACONS)
    address = page.url
    page.route(address, want_beacons)
    page.goto("about:blank")
    page.goto(address)
    ask(page, emulate(text="Visible.", tokens=60, rate=20))
    expect_state(page, "completed")
    ((path, kind, figures),) = beacons(page, 1)
    assert (path, kind) == ("/api/beacon", "application/json")
    assert list(figures) == ["outcome", "streaming_seconds", "visible_seconds"]
    assert figures["outcome"] == "completed"
    assert 0 < figures["visible_seconds"] == figures["streaming_seconds"]
    ask(page, emulate(tokens=160, rate=20))
    wait_for(lambda: answer(page), 40, "some text")
    show_or_hide(page, "hidden")
    hidden = beacons(page, 2)[1][2]
    assert hidden["outcome"] == "completed"
    assert 0 < hidden["visible_seconds"] < hidden["streaming_seconds"]
    show_or_hide(page, "visible")
    ask(page, emulate(tokens=1000, rate=20))
    wait_for(lambda: answer(page), 40, "some text")
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide'))")
    assert beacons(page, 3)[2][2]["outcome"] == "left"
    page.keyboard.press("Escape")


def test_nothing_is_reported_unless_the_server_asks_for_it(page: Page) -> None:
    page.add_init_script(RECORD_BEACONS)
    page.reload()
    ask(page, emulate(text="Unseen.", rate=0))
    expect_state(page, "completed")
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide'))")
    assert page.evaluate("beacons") == []
