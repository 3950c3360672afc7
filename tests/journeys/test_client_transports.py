"""`millrace-client` in Node by EventSource, fetch and polling: one text, however the connections are cut."""

import itertools
import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.browser.nginx import Nginx, block, buffering, program
from tests.client import Client, emulate
from tests.journeys.client_package import add_client
from tests.journeys.cutting_proxy import CuttingProxy, Weather
from tests.journeys.hostile_server import PING, STREAM, HostileServer, frame, response, sends
from tests.journeys.npm_packages import NpmPackages, result_of
from tests.system import System

TRANSPORTS = ("eventsource", "fetch", "polling")
ALIVE = STREAM.replace(b"retry: 1\n\n", b"retry: 1\n" + PING)  # EventSource sees no comment
FOLLOW = """
import { EventSource } from "eventsource";
import { follow } from "millrace-client";
globalThis.EventSource = EventSource;
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
  failure = [error.constructor.name, error.status, error.message];
}
console.log(JSON.stringify({ events, connection, failure }));
"""
SLEEP = """
import { follow } from "millrace-client";
const { now } = Date;
const ids = [];
const onEvent = (event, id) => {
  ids.push(id);
  Date.now = () => now() + 60_000;
};
await follow(process.argv[2], { onEvent, pauseMs: 1 });
console.log(JSON.stringify(ids));
"""
CONNECT = """
import { Millrace } from "millrace-client";
const log = [];
const connection = new Millrace({ base: process.argv[2], pauseMs: 1 }).connect({
  onFeed: ({ conversation_id }) => log.push(["feed", conversation_id]),
  onMissed: () => log.push(["missed"]),
  onRefused: ({ status }) => log.push(["refused", status]),
});
await new Promise((resolve) => {
  for (const id of ["a", "b", "c"]) {
    const take = ({ type }, cursor) => {
      log.push([id, type, cursor]);
      if (type === "complete") {
        connection.pause();
        connection.resume();
      }
      if (type === "done") resolve();
    };
    connection.follow(id, { take, reject: ({ status }) => log.push([id, "rejected", status]) });
  }
  connection.unfollow("c");
});
connection.close();
console.log(JSON.stringify(log));
"""
TEXT = "caf\u00e9 \U0001f600 \u2028 done\n\ndata: x\n\nid: 9-9\r\n"


@pytest.fixture
def system(free_system: System) -> System:
    """A system in which one reader may reconnect as often as it likes."""
    return free_system


@pytest.fixture(scope="module")
def packages(npm_packages: NpmPackages) -> NpmPackages:
    add_client(npm_packages.directory)
    return npm_packages


def cookie_of(client: Client) -> str:
    return "; ".join(f"{name}={value}" for name, value in client.http.cookies.items())


def result(text: str, reasoning: str = "") -> list[Any]:
    """Return the result of a reader that has taken a whole answer in order."""
    return [text, reasoning, "completed", "complete", True, []]


def test_text_is_exact_by_each_transport_wherever_connections_are_cut(
    client: Client, system: System, packages: NpmPackages
) -> None:
    """Each first connection is cut, and those after it are whole; the places are some bytes apart."""
    generations = [client.ask(emulate(text=each + TEXT, chars=5, rate=0, reasoning="Hm.")) for each in "ab"]
    for each in generations:
        client.whole(each)
    with ExitStack() as stack:
        running: dict[str, tuple[Any, CuttingProxy]] = {}
        for transport in TRANSPORTS:
            cuts = itertools.count(1, 41)
            weather = Weather(only_streams=transport != "polling", is_half_plain=True, has_short_retry=True)
            proxy = stack.enter_context(
                CuttingProxy(system.url, lambda n, cuts=cuts: next(cuts) if n % 2 == 0 else None, weather)
            )
            arguments = (f"{proxy.url}/", cookie_of(client), transport, json.dumps(generations), "25")
            running[transport] = packages.start("millrace.mjs", *arguments), proxy
        for transport, (process, proxy) in running.items():
            found = result_of(process)
            assert sorted(found["results"]) == [result(each + TEXT, "Hm.") for each in "ab"], transport
            assert proxy.cut >= 20, transport
            others = {*TRANSPORTS} - {transport} - ({"fetch"} if transport == "eventsource" else set())
            assert not [each for each in others if found["requests"][each]], found["requests"]


def test_polled_events_make_the_same_answer_as_the_log_whenever_the_client_polls(packages: NpmPackages) -> None:
    assert packages.run("polled_logs.mjs", "5000") == []


def test_event_source_resumes_exactly_and_fetch_finds_out_why_one_has_given_up(packages: NpmPackages) -> None:
    answers = [
        sends(ALIVE, frame(1), frame(2), frame(3)[:-1]),  # the blank line is missing: the event has not arrived
        response("503 Service Unavailable"),  # ends an EventSource, and so fetch asks again at once
        response("429 Too Many Requests", Retry_After="1"),
        response("200 OK", b"<html>Sign in to the network</html>", Content_Type="text/html"),
        sends(ALIVE, frame(3), frame(4)[:20]),
        sends(ALIVE, is_closed=False),  # a dead socket
        sends(ALIVE, *10 * [PING], frame(4), pause=0.5),  # longer than the silence, but alive
        sends(),  # closes without a word
        response("500 Internal Server Error", b"<html>", Content_Type="text/html"),
        sends(ALIVE, frame(5), PING + frame(6)[:9], frame(6)[9:], frame(7, "complete"), frame(8, "done")),
    ]
    with HostileServer(*answers) as server:
        found = packages.run(packages.add(FOLLOW), server.url)
    kinds = [*6 * ["chunk"], "complete", "done"]
    assert found["events"] == [[f"1-{number}", kind] for number, kind in enumerate(kinds, 1)]
    assert found["failure"] is None
    assert server.cursors == ["", "1-2", "1-2", "1-2", "1-2", "1-3", "1-3", "1-4", "1-4", "1-4"]
    by_event_source = ["after=" in each for each in server.addresses]
    assert by_event_source == [False, True, False, True, False, True, True, True, False, True]
    assert server.times[3] - server.times[2] >= 1, "Retry-After"
    assert found["connection"][-2:] == [False, True]


def test_refusal_and_end_are_found_out_where_event_source_has_given_up(packages: NpmPackages) -> None:
    problem = b'{"detail": "Generation not found."}'
    refusal = response("404 Not Found", problem, Content_Type="application/problem+json")
    script = packages.add(FOLLOW)
    with HostileServer(refusal, refusal) as server:
        assert packages.run(script, server.url)["failure"] == ["MillraceError", 404, "Generation not found."]
    ended = response("204 No Content")
    with HostileServer(sends(ALIVE, frame(1)), ended, ended) as server:
        found = packages.run(script, server.url)
    assert (found["events"], found["failure"]) == ([["1-1", "chunk"]], None)


def test_computer_that_has_slept_for_a_minute_reconnects_although_its_timers_stood_still(packages: NpmPackages) -> None:
    with HostileServer(sends(ALIVE, frame(1), is_closed=False), sends(ALIVE, frame(2, "done"))) as server:
        assert packages.run(packages.add(SLEEP), server.url) == ["1-1", "1-2"]
    assert server.times[1] - server.times[0] < 37.5, "two and a half heartbeats of waking time"


def named_frame(source: str, cursor: str, **event: str) -> bytes:
    """Return a frame of a connection that carries several streams."""
    return f"data: {json.dumps({**event, 'generation': source})}\nid: {source}@{cursor}\n\n".encode()


def test_one_unknown_generation_rejects_only_itself_and_the_others_go_on_with_fresh_cursors(
    packages: NpmPackages,
) -> None:
    refusal = json.dumps({"detail": "Generation not found.", "generation_id": "b"}).encode()
    changed = named_frame("feed", "5-0", type="conversation_changed", conversation_id="x")
    answers = [
        response("404 Not Found", refusal, Content_Type="application/problem+json"),
        sends(ALIVE, named_frame("a", "1-1", type="chunk"), changed, named_frame("a", "1-2", type="chunk")[:-1]),
        sends(ALIVE, named_frame("a", "1-2", type="chunk"), changed, named_frame("a", "1-3", type="complete")),
        sends(ALIVE, named_frame("a", "1-4", type="done")),
    ]
    with HostileServer(*answers) as server:
        log = packages.run(packages.add(CONNECT), server.url.removesuffix("events"))
    asked = [parse_qs(urlsplit(each).query) for each in server.addresses]
    assert [each.get("follow", []) for each in asked] == [["a", "b"], ["a"], ["a@1-1"], ["a@1-3"]]
    assert [each["feed"] for each in asked] == 4 * [["1"]], "after a loss, events may have been missed"
    assert log == [
        ["b", "rejected", 404],
        ["missed"],
        ["a", "chunk", "1-1"],
        ["feed", "x"],
        ["missed"],
        ["a", "chunk", "1-2"],
        ["feed", "x"],
        ["a", "complete", "1-3"],
        ["missed"],
        ["a", "done", "1-4"],
    ]


@pytest.mark.skipif(program() is None and "CI" not in os.environ, reason="there is no nginx to test with")
def test_client_polls_behind_a_proxy_that_buffers_the_stream(
    client: Client, system: System, packages: NpmPackages, tmp_path: Path
) -> None:
    generation = client.ask(emulate(text=TEXT, tokens=30, rate=4, reasoning="Hm."))
    with Nginx(tmp_path / "nginx", buffering(block("behind-nginx.md")), urlsplit(system.url).port or 0) as nginx:
        url = nginx.url("127.0.0.1") + "/"
        found = packages.run("millrace.mjs", url, cookie_of(client), "auto", json.dumps([generation]), "1")
    assert found["results"] == [result(TEXT, "Hm.")]
    assert found["requests"]["eventsource"] == 1
    assert found["requests"]["fetch"] == 0
    assert found["requests"]["polling"] > 3
