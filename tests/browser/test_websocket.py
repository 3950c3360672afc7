"""The browser's own WebSocket on the page: its cookie, the content security policy, and another site's page."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from playwright.sync_api import BrowserContext

from tests.client import emulate
from tests.docs.pages import blocks
from tests.system import System

OPEN = """([url]) => new Promise((resolve) => {
  const socket = new WebSocket(url);
  socket.onopen = () => resolve("open");
  socket.onclose = ({code}) => resolve(code);
})"""
ASK = """async ([url, message]) => {
  %s
  const steps = [];
  return {text: await ask(url, message, (text) => steps.push(text)), steps};
}"""


class AnotherSite(BaseHTTPRequestHandler):
    """An empty page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name
        """Say nothing."""


def test_page_asks_on_a_websocket_with_its_cookie_and_another_site_cannot(
    context: BrowserContext, system: System
) -> None:
    (code,) = [each.code for each in blocks("js") if each.page.name == "websocket.md"]
    ask = ASK % code.replace("export function", "function")
    url = f"ws{system.url.removeprefix('http')}/api/ws"
    page = context.new_page()
    page.goto(system.url)
    assert page.evaluate(OPEN, [url]) == "open"
    found = page.evaluate(ask, [url, emulate(text="one two three", chars=4, rate=30)])
    assert found["text"] == "one two three"
    assert len(found["steps"]) > 1
    with ThreadingHTTPServer(("127.0.0.1", 0), AnotherSite) as other:
        Thread(target=other.serve_forever, daemon=True).start()
        page.goto(f"http://127.0.0.1:{other.server_port}/")  # cookies know no port: the browser sends ours from there
        assert page.evaluate(OPEN, [url]) == 1006
        page.close()
        other.shutdown()
    lines = [json.loads(line) for line in system.logs()["web"].splitlines() if '"/api/ws"' in line]
    assert [line["status"] for line in lines if line["event"] == "request"] == [101, 101, 403]
    assert len({line["owner"] for line in lines if line["status"] == 101}) == 1, "the page keeps its cookie"
