"""`client.js` in Chromium, on an empty page: by EventSource, through a network that goes away, and without streams."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, Request

from tests.browser.conftest import visiting
from tests.browser.nginx import Nginx, block, buffering, program
from tests.client import emulate, wait_for
from tests.system import System

START = """async (message) => {
  const { fold, Millrace, START } = await import("/static/client.js");
  const millrace = new Millrace({ base: "/" });
  globalThis.found = { connected: [], feed: [], missed: 0, answers: [START, START], ids: [[], []] };
  const take = (number) => (event, id) => {
    found.answers[number] = fold(found.answers[number], event);
    found.ids[number].push(id);
  };
  await millrace.call("api/conversations", { method: "POST", body: {} });
  globalThis.connection = millrace.connect({
    onFeed: ({ type }) => found.feed.push(type),
    onMissed: () => found.missed++,
    onConnection: (isConnected) => found.connected.push(isConnected),
  });
  connection.start();
  const { id } = await millrace.ask(message);
  connection.follow(id, { take: take(0) });
  millrace.follow(id, { onEvent: take(1) });
}"""
TEXT = "".join(f"{number} caf\u00e9 \U0001f600 \u2028 " for number in range(12))


def start(page: Page, url: str, message: str) -> None:
    """Ask on an empty page of a server, and follow the answer both ways."""
    page.route(f"{url}/empty", lambda route: route.fulfill(content_type="text/html", body="<!doctype html>"))
    page.goto(f"{url}/empty")
    page.evaluate(START, message)


def found(page: Page) -> Any:
    return page.evaluate("found")


def wait_for_answers(page: Page) -> Any:
    """Wait until both ways have the answer's end; return all that was found."""
    wait_for(lambda: all(each["isDone"] for each in found(page)["answers"]), 40, "the answers' end")
    return found(page)


def test_event_source_carries_both_ways_and_resumes_exactly_after_the_network_was_away(
    context: BrowserContext, system: System
) -> None:
    """Chromium reports at once that it is offline; the server's heartbeats would only be missed after 37 s."""
    streams: list[str] = []

    def note(request: Request) -> None:
        if "/events" in request.url:
            streams.append(request.resource_type)

    with visiting(context, "about:blank") as page:
        page.on("request", note)
        start(page, system.url, emulate(text=f"away {TEXT}", tokens=60, rate=8))
        wait_for(lambda: all(len(each["text"]) > 20 for each in found(page)["answers"]), 40, "some text")
        context.set_offline(True)
        wait_for(lambda: False in found(page)["connected"], 40, "the loss")
        context.set_offline(False)
        result = wait_for_answers(page)
        page.evaluate("connection.close()")
    assert [each["text"] for each in result["answers"]] == 2 * [f"away {TEXT}"]
    for ids in result["ids"]:
        numbers = [tuple(map(int, each.split("-"))) for each in ids]
        assert numbers == sorted(set(numbers)), "no event comes twice"
    assert result["connected"][-1] is True
    assert result["missed"] >= 2, "the page reads again after a loss"
    assert streams.count("eventsource") >= 4


@pytest.mark.skipif(program() is None and "CI" not in os.environ, reason="there is no nginx to test with")
def test_client_polls_answer_and_feed_behind_a_proxy_that_buffers_streams(
    context: BrowserContext, system: System, tmp_path: Path
) -> None:
    port = urlsplit(system.url).port or 0
    behind = Nginx(tmp_path / "nginx", buffering(block("behind-nginx.md")), port)
    with behind as nginx, visiting(context, "about:blank") as page:
        start(page, nginx.url("127.0.0.1"), emulate(text=f"late {TEXT}", tokens=32, rate=4))
        result = wait_for_answers(page)
        page.evaluate("found.feed.length = 0")
        page.evaluate("fetch('/api/conversations', { method: 'POST', body: '{\"title\": \"Wheels\"}' })")
        wait_for(lambda: "conversation_changed" in found(page)["feed"], 40, "the feed")
        page.evaluate("connection.close()")
    assert [each["text"] for each in result["answers"]] == 2 * [f"late {TEXT}"]
    assert [each["outcome"]["type"] for each in result["answers"]] == 2 * ["complete"]
