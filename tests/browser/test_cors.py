"""In a real browser, a page of an allowed origin may call the API, and a page of another origin gets nothing."""

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Playwright

from tests.browser.conftest import browsing
from tests.client import emulate
from tests.system import System


class Elsewhere(BaseHTTPRequestHandler):
    """Another site: an empty page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name
        """Log nothing."""


@contextmanager
def elsewhere(host: str) -> Generator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{host}:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def origins() -> Iterator[dict[str, str]]:
    # Another host is another site; another port is the same site, but another origin.
    with elsewhere("localhost") as site, elsewhere("127.0.0.1") as port, elsewhere("localhost") as foreign:
        yield {"another site": site, "another port": port, "foreign": foreign}


@pytest.fixture(scope="module")
def open_system(tmp_path_factory: pytest.TempPathFactory, origins: dict[str, str]) -> Iterator[System]:
    listed = f"{origins['another site']}, {origins['another port']}"
    settings = {"MILLRACE_ALLOWED_ORIGINS": listed, "MILLRACE_COOKIE_SAMESITE": "none"}
    with System(tmp_path_factory.mktemp("open"), **settings) as running:
        yield running


@pytest.fixture(scope="module")
def lenient(
    playwright: Playwright, chromium: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BrowserContext]:
    """A browser that allows third-party cookies, which not all do by default."""
    profile = tmp_path_factory.mktemp("lenient")
    (profile / "Default").mkdir()
    (profile / "Default" / "Preferences").write_text(json.dumps({"profile": {"cookie_controls_mode": 0}}))
    with browsing(playwright, chromium, profile) as context:
        yield context


@pytest.fixture
def visit(lenient: BrowserContext, open_system: System, origins: dict[str, str]) -> Iterator[Any]:
    pages: list[Page] = []

    def at(origin: str) -> Page:
        lenient.clear_cookies()
        pages.append(lenient.new_page())
        pages[-1].goto(open_system.url)
        assert pages[-1].evaluate(BEGIN) == 201  # gives the user a cookie
        pages[-1].goto(origins[origin])
        return pages[-1]

    yield at
    for page in pages:
        page.close()


BEGIN = """async () => {
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" };
  return (await fetch("/api/conversations", options)).status;
}"""
CALLS = """async ({ base, message, endless }) => {
  const seen = {};
  const call = async (name, path, options = {}) => {
    const answer = await fetch(base + path, { credentials: "include", ...options });
    const text = await answer.text();
    seen[name] = answer.status;
    return { answer, json: text && answer.status !== 200 || text.startsWith("{") ? JSON.parse(text || "{}") : {} };
  };
  const post = (body, more = {}) => ({
    method: "POST",
    headers: { "Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID(), ...more },
    body: JSON.stringify(body),
  });
  const asked = await call("ask", "/api/generations", post({ message }));
  seen.location = asked.answer.headers.get("Location");
  seen.text = await new Promise((resolve, reject) => {
    let text = "";
    const source = new EventSource(base + asked.json.events_url, { withCredentials: true });
    source.onerror = () => source.readyState === EventSource.CLOSED && reject(new Error("refused"));
    source.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      if (event.type === "chunk") text += event.content;
      if (event.type === "done") { source.close(); resolve(text); }
    };
  });
  const look = await call("look", `/api/generations/${asked.json.id}`);
  const top = look.json.last_event_id;
  await call("events again", asked.json.events_url, { headers: { "Last-Event-ID": top } });
  await call("head", asked.json.events_url, { method: "HEAD" });
  await call("bad cursor", asked.json.events_url + "?after=x");
  await call("absent", "/api/generations/" + "0".repeat(32));
  await call("bad field", "/api/generations", post({ no: 1 }));
  const streamed = await fetch(base + "/api/generations", {
    credentials: "include",
    ...post({ message: endless, stream: true }),
  });
  seen.id = streamed.headers.get("Millrace-Generation-Id")?.length;
  await call("stop", `/api/generations/${streamed.headers.get("Millrace-Generation-Id")}`, { method: "DELETE" });
  await streamed.text();
  return seen;
}"""


@pytest.mark.parametrize("origin", ["another site", "another port"])
def test_page_of_an_allowed_origin_creates_follows_gets_and_cancels(
    visit: Any, open_system: System, origin: str
) -> None:
    given = {"base": open_system.url, "message": emulate(text="From afar.", rate=0)}
    seen = visit(origin).evaluate(CALLS, {**given, "endless": emulate(tokens=5000, rate=50)})
    assert seen.pop("location").startswith("/api/generations/")
    assert seen == {
        "ask": 202,
        "text": "From afar.",
        "look": 200,
        "events again": 204,
        "head": 200,
        "bad cursor": 400,
        "absent": 404,
        "bad field": 422,
        "id": 32,
        "stop": 202,
    }


def test_page_of_another_origin_can_neither_read_nor_change_anything(visit: Any, open_system: System) -> None:
    page = visit("foreign")
    tried = page.evaluate(
        """async ({ base }) => {
          const tries = {
            read: () => fetch(base + "/healthz", { credentials: "include" }),
            ask: () => fetch(base + "/api/generations", {
              method: "POST", credentials: "include",
              headers: { "Content-Type": "application/json" }, body: JSON.stringify({ message: "a" }),
            }),
          };
          const seen = {};
          for (const [name, attempt] of Object.entries(tries)) {
            try { seen[name] = (await attempt()).status; } catch (error) { seen[name] = error.name; }
          }
          return seen;
        }""",
        {"base": open_system.url},
    )
    assert tried == {"read": "TypeError", "ask": "TypeError"}
    # A form is sent without a preflight, with the cookie, and is rejected.
    with page.expect_response(lambda response: "/cancel" in response.url) as refused:
        page.evaluate(
            """base => {
              const form = document.createElement("form");
              form.method = "post";
              form.action = base + "/api/generations/" + "0".repeat(32) + "/cancel";
              document.body.append(form);
              form.submit();
            }""",
            open_system.url,
        )
    assert "cookie" in refused.value.request.all_headers()
    assert refused.value.status == 403
    assert refused.value.json()["code"] == "cross_site"
