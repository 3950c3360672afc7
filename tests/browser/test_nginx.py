"""The nginx configuration of the documentation, as it stands there, in front of the whole system."""

import itertools
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Playwright, expect
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from millrace.worker.settings.schema import Settings
from tests.browser.conftest import browsing
from tests.browser.nginx import HOST, Nginx, block, program, put
from tests.browser.proxied_streams import assert_resumed_and_cancelled, assert_streams_share_a_connection
from tests.client import emulate, parse_frames
from tests.system import System

PAGE = "behind-nginx.md"
ADDRESS_LIMIT = 8
LISTEN = "    listen 80;                              # inside a network; HTTPS is below\n"
LOCATIONS = "    location / { proxy_pass http://millrace; }\n    location /metrics { deny all; }\n"


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    if program() is None:
        assert "CI" not in os.environ, "there is no nginx to test with: install nginx-light"
        pytest.skip("there is no nginx to test with: install nginx-light")


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory, installed: None) -> Iterator[System]:
    limits = {"MILLRACE_ADDRESS_RATE_LIMIT": f"{ADDRESS_LIMIT}/hour"}
    with System(tmp_path_factory.mktemp("proxied"), MILLRACE_TRUSTED_PROXIES="1", **limits) as running:
        yield running


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The first block with that for HTTPS and HTTP/2, and a certificate."""
    certificate = [str(tmp_path_factory.mktemp("certificate") / name) for name in ("chat.pem", "chat.key")]
    subject = ["-subj", f"/CN={HOST}", "-days", "1", "-out", certificate[0], "-keyout", certificate[1]]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject], check=True, capture_output=True
    )
    lines = put(block(PAGE, 1), "/etc/ssl/chat.example.com.pem", certificate[0])
    return put(block(PAGE), LISTEN, put(lines, "/etc/ssl/chat.example.com.key", certificate[1]))


@pytest.fixture(scope="module")
def nginx(proxied: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """The first block of the page, unchanged."""
    with Nginx(tmp_path_factory.mktemp("nginx") / "plain", block(PAGE), port_of(proxied)) as running:
        yield running


def port_of(system: System) -> int:
    port = urlsplit(system.url).port
    assert port is not None
    return port


def client(nginx: Nginx, address: str = "127.0.0.1", scheme: str = "http") -> httpx.Client:
    """Return a client with an address of its own, which calls the server by its name."""
    transport = httpx.HTTPTransport(local_address=address, verify=False)
    headers = {"Host": f"{HOST}:{nginx.port}"}
    return httpx.Client(base_url=nginx.url("127.0.0.1", scheme), headers=headers, transport=transport, timeout=60)


def connection_to(nginx: Nginx) -> socket.socket:
    """Return a connection from an address of its own."""
    return socket.create_connection(("127.0.0.1", nginx.port), source_address=("127.0.0.7", 0))


def ask_on_the_page(playwright: Playwright, chromium: str, profile: Path, url: str) -> list[str]:
    """Ask a question on the page at a host name, and return all addresses that the page has requested."""
    flags = (f"--host-resolver-rules=MAP {HOST} 127.0.0.1", "--ignore-certificate-errors", "--no-proxy-server")
    requested: list[str] = []
    with browsing(playwright, chromium, profile, *flags) as context:
        page = context.new_page()
        page.on("request", lambda request: requested.append(request.url))
        page.goto(url)
        page.locator("#question").fill(emulate(text="The wheel turns."))
        page.locator("#question").press("Enter")
        expect(page.locator(".turn")).to_have_attribute("data-state", "completed")
        assert page.locator(".answer").text_content() == "The wheel turns."
        page.reload()
        expect(page.locator(".turn")).to_have_attribute("data-state", "completed")
    return requested


def test_page_at_a_plain_host_name_asks_a_question(
    nginx: Nginx, playwright: Playwright, chromium: str, tmp_path: Path
) -> None:
    ask_on_the_page(playwright, chromium, tmp_path, nginx.url())


def test_cross_site_rejection_names_both_origins_and_the_default_port_is_equal(nginx: Nginx) -> None:
    with client(nginx) as http:

        def post(host: str, origin: str) -> httpx.Response:
            return http.post("/api/conversations", json={}, headers={"Host": host, "Origin": origin})

        assert post(HOST, f"http://{HOST}:80").status_code == 201
        assert post(f"{HOST}:80", f"http://{HOST}").status_code == 201
        refused = post(f"{HOST}:8080", f"http://{HOST}")
        assert refused.status_code == 403
        assert f"its origin is http://{HOST}, this site is http://{HOST}:8080" in refused.json()["detail"]


def test_made_up_forwarded_address_does_not_evade_the_limit_and_other_clients_are_not_limited(nginx: Nginx) -> None:
    def ask(http: httpx.Client, number: int) -> int:
        http.cookies.clear()  # each time another owner
        made_up = {"X-Forwarded-For": f"203.0.113.{number}, 203.0.113.{number + 1}", "X-Real-IP": f"203.0.113.{number}"}
        return http.post("/api/generations", json={"message": emulate(text="x")}, headers=made_up).status_code

    with client(nginx, "127.0.0.3") as first, client(nginx, "127.0.0.4") as second:
        assert [ask(first, number) for number in range(ADDRESS_LIMIT + 2)] == [202] * ADDRESS_LIMIT + [429] * 2
        assert ask(second, 1) == 202


def test_stream_is_passed_on_while_it_is_made(nginx: Nginx) -> None:
    body = {"message": emulate(text="wheel " * 80, tokens=80, rate=20), "stream": True}
    began = time.monotonic()
    with client(nginx) as http, http.stream("POST", "/api/generations", json=body) as response:
        received = list(parse_frames(response.iter_lines()))
    chunks = [each.at - began for each in received if each.event["type"] == "chunk"]
    assert len(chunks) > 20
    assert chunks[-1] - chunks[0] > 1.0, "they arrived all at once"
    pauses = sum(later - earlier > 0.01 for earlier, later in itertools.pairwise(chunks))
    assert pauses > 10, "they arrived in a few pieces"
    assert "gzip" not in response.headers.get("Content-Encoding", "")


def test_whole_answer_may_take_longer_than_nginx_waits_by_default(
    nginx: Nginx, proxied: System, tmp_path: Path
) -> None:
    (seconds,) = re.findall(r"proxy_read_timeout (\d+)s;", block(PAGE))
    assert int(seconds) >= Settings().relay.wait_seconds + 5
    shorter = put(block(PAGE), f"proxy_read_timeout {seconds}s;", "proxy_read_timeout 1s;")
    body = {"message": emulate(text="late", first_delay=2.5), "stream": False}
    with Nginx(tmp_path / "shorter", shorter, port_of(proxied)) as cut, client(nginx) as patient, client(cut) as hasty:
        with ThreadPoolExecutor(2) as both:
            answers = list(both.map(lambda http: http.post("/api/generations", json=body), (patient, hasty)))
        assert [each.status_code for each in answers] == [200, 504], "the line decides how long nginx waits"
        assert answers[0].json()["message"] == "late"


def test_websocket_passes_with_its_location_and_is_explained_without(
    nginx: Nginx, proxied: System, tmp_path: Path
) -> None:
    with client(nginx, "127.0.0.6") as http:
        refused = http.get("/api/ws", headers={"Connection": "Upgrade", "Upgrade": "websocket"})
        assert (refused.status_code, refused.json()["code"]) == (426, "upgrade_required")
    code = put(block(PAGE), LOCATIONS, block(PAGE, 3) + LOCATIONS)
    with Nginx(tmp_path / "upgraded", code, port_of(proxied)) as upgraded:
        address = f"ws://{HOST}:{upgraded.port}/api/ws"
        with connect(address, origin=Origin(upgraded.url()), sock=connection_to(upgraded)) as user:
            user.send(json.dumps({"type": "send", "message": emulate(tokens=10, rate=50)}))
            kinds: list[str] = []
            while "done" not in kinds:
                kinds.append(json.loads(user.recv(timeout=30)).get("event", {}).get("type", ""))
            assert kinds.count("chunk") > 1
        with (
            pytest.raises(InvalidStatus) as foreign,
            connect(address, origin=Origin("http://evil"), sock=connection_to(upgraded)),
        ):
            pass
        assert foreign.value.response.status_code == 403


def test_metrics_are_not_passed_on(nginx: Nginx, proxied: System) -> None:
    with client(nginx) as http:
        assert http.get("/metrics").status_code == 403
        assert "checks" not in http.get("/readyz").json()
    assert httpx.get(f"{proxied.url}/metrics", timeout=30, trust_env=False).status_code == 200


def test_page_below_a_path_over_https_works_and_every_address_has_the_prefix(
    proxied: System, secured: str, playwright: Playwright, chromium: str, tmp_path: Path
) -> None:
    with Nginx(tmp_path / "below", put(secured, LOCATIONS, block(PAGE, 2)), port_of(proxied)) as nginx:
        url = nginx.url(scheme="https")
        requested = ask_on_the_page(playwright, chromium, tmp_path / "profile", f"{url}/chat")
        assert len(requested) > 8
        assert all(each == f"{url}/chat" or each.startswith(f"{url}/chat/") for each in requested), requested
        with client(nginx, scheme="https") as http:
            asked = http.post("/chat/api/generations", json={"message": emulate(text="x")})
            cookie = asked.headers["Set-Cookie"]
            assert cookie.startswith("__Secure-millrace_")
            assert "Path=/chat" in cookie
            made = asked.json()
            for address in (made["events_url"], made["cancel_url"], asked.headers["Location"]):
                assert address.startswith("/chat/api/generations/")
            assert "done" in http.get(made["events_url"]).text
            assert http.get("/chat/metrics").status_code == 403


def test_a_stream_is_resumed_and_cancelled_and_the_app_notices_a_client_that_is_gone(
    nginx: Nginx, proxied: System
) -> None:
    with client(nginx, "127.0.0.8") as http:
        assert_resumed_and_cancelled(http, proxied)


def test_many_streams_share_one_connection_of_http_2_and_none_waits_for_another(
    proxied: System, secured: str, tmp_path: Path
) -> None:
    with Nginx(tmp_path / "h2", secured, port_of(proxied)) as nginx, client(nginx, "127.0.0.9", "https") as http:
        assert_streams_share_a_connection(http, proxied)


class Whoami(BaseHTTPRequestHandler):
    """The login of an app, and in its place what Millrace would receive: `/whoami` knows one session."""

    def do_GET(self) -> None:
        known = "session=ada" in self.headers.get("Cookie", "")
        self.send_response(200 if known or self.path != "/whoami" else 401)
        body = json.dumps(dict(self.headers)).encode()
        self.send_header("X-User", "ada")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name
        """Log nothing."""


def test_login_block_passes_on_the_name_that_the_app_knows_and_no_other(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Whoami) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        login = put(block("authentication.md"), "127.0.0.1:5000", f"127.0.0.1:{server.server_port}")
        code = put(block(PAGE), LOCATIONS, login + LOCATIONS)
        with Nginx(tmp_path / "login", code, server.server_port) as nginx, client(nginx, "127.0.0.5") as http:
            assert http.get("/api/profile", headers={"X-Forwarded-User": "eve"}).status_code == 401
            assert http.get("/whoami").status_code == 404
            forged = {"Cookie": "session=ada", "X-Forwarded-User": "eve", "X-Forwarded-For": "203.0.113.9"}
            received = {name.lower(): value for name, value in http.get("/api/profile", headers=forged).json().items()}
        server.shutdown()
    assert received["x-forwarded-user"] == "ada"
    assert received["x-forwarded-for"] == "127.0.0.5"
    assert received["host"] == f"{HOST}:{nginx.port}"
