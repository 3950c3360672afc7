"""The Caddyfile as it stands in `deploy/proxies`, in front of the whole system; only names and ports are replaced."""

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Self

import httpx
import pytest
from websockets.sync.client import connect

from tests.browser.nginx import HOST, put
from tests.browser.proxied_streams import assert_resumed_and_cancelled, assert_streams_share_a_connection
from tests.browser.test_nginx import Whoami, port_of
from tests.client import emulate, parse_frames, wait_for
from tests.docs.pages import ROOT, read
from tests.system import System

CADDYFILE = ROOT / "deploy/proxies/Caddyfile"
SERVER = "chat.example.com {\n"
UPSTREAM = "127.0.0.1:8000"


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    if shutil.which("caddy") is None:
        assert "CI" not in os.environ, "there is no Caddy to test with: install caddy"
        pytest.skip("there is no Caddy to test with: install caddy")


class Caddy:
    """Caddy in a process of its own in front of a port, from `with` to its end; it makes its own certificate."""

    def __init__(self, directory: Path, upstream_port: int) -> None:
        directory.mkdir()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._directory = directory
        self._configuration = directory / "Caddyfile"
        certificates = f"default_sni {HOST}\nskip_install_trust\nauto_https disable_redirects"
        site = f"{{\nadmin off\n{certificates}\nhttps_port {self.port}\n}}\n{HOST} {{\nbind 127.0.0.1\ntls internal\n"
        named = put(CADDYFILE.read_text(), SERVER, site)
        self._configuration.write_text(put(named, UPSTREAM, f"127.0.0.1:{upstream_port}"))

    def __enter__(self) -> Self:
        """Start it and wait until it answers."""
        self._log = (self._directory / "log").open("wb")
        self._process = subprocess.Popen(
            ["caddy", "run", "--config", self._configuration, "--adapter", "caddyfile"],
            env={**os.environ, "HOME": str(self._directory), "XDG_DATA_HOME": str(self._directory / "data")},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        wait_for(self._answers, 60, "Caddy")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:  # it waits for the streams that are still open
            self._process.kill()
            self._process.wait()
        self._log.close()

    def client(self, headers: Mapping[str, str] | None = None, *, http2: bool = False) -> httpx.Client:
        """Return a client that asks for the server by its name."""
        named = {"Host": f"{HOST}:{self.port}", **(headers or {})}
        transport = httpx.HTTPTransport(verify=False, http2=http2)
        return httpx.Client(base_url=f"https://127.0.0.1:{self.port}", headers=named, transport=transport, timeout=60)

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._directory / "log").read_text()
        try:
            with self.client() as http:
                http.get("/healthz")
        except httpx.TransportError:
            return False
        return True


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory, installed: None) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("proxied"), MILLRACE_TRUSTED_PROXIES="1") as running:
        yield running


@pytest.fixture(scope="module")
def caddy(proxied: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caddy]:
    with Caddy(tmp_path_factory.mktemp("caddy") / "caddy", port_of(proxied)) as running:
        yield running


def test_configuration_is_formatted_and_has_no_warnings(tmp_path: Path) -> None:
    checked = subprocess.run(
        ["caddy", "adapt", "--validate", "--config", CADDYFILE, "--adapter", "caddyfile"],
        env={**os.environ, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    assert '"level":"warn"' not in checked.stderr
    assert subprocess.run(["caddy", "fmt", CADDYFILE], capture_output=True, text=True, check=False).returncode == 0
    (seconds,) = set(re.findall(r"proxy_read_timeout (\d+)s;", read(ROOT / "deploy/docs/behind-nginx.md")))
    assert f"read_timeout {seconds}s" in CADDYFILE.read_text()


def test_a_stream_is_passed_on_while_it_is_made(caddy: Caddy) -> None:
    body = {"message": emulate(text="paddle " * 40, tokens=40, rate=20), "stream": True}
    with caddy.client(http2=True) as http, http.stream("POST", "/api/generations", json=body) as response:
        assert response.http_version == "HTTP/2"
        received = list(parse_frames(response.iter_lines()))
    chunks = [each.at for each in received if each.event["type"] == "chunk"]
    assert len(chunks) > 20
    assert chunks[-1] - chunks[0] > 1.0, "they arrived all at once, or in a few pieces"


def test_a_stream_is_resumed_and_cancelled_and_the_app_notices_a_client_that_is_gone(
    caddy: Caddy, proxied: System
) -> None:
    with caddy.client() as http:
        assert_resumed_and_cancelled(http, proxied)


def test_many_streams_share_one_connection_of_http_2_and_none_waits_for_another(caddy: Caddy, proxied: System) -> None:
    with caddy.client() as http:
        assert_streams_share_a_connection(http, proxied)


def test_websocket_passes_without_further_lines(caddy: Caddy) -> None:
    insecure = ssl.create_default_context()
    insecure.check_hostname, insecure.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", caddy.port)) as connection:
        address = f"wss://{HOST}:{caddy.port}/api/ws"
        with connect(address, sock=connection, ssl=insecure, server_hostname=HOST) as user:
            user.send(json.dumps({"type": "send", "message": emulate(text="paddle", tokens=2)}))
            kinds: list[str] = []
            while "done" not in kinds:
                kinds.append(json.loads(user.recv(timeout=30)).get("event", {}).get("type", ""))


def test_made_up_headers_are_replaced_and_metrics_are_not_passed_on(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Whoami) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        forged = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil"}
        with Caddy(tmp_path / "echo", server.server_port) as caddy, caddy.client(forged) as http:
            received = {name.lower(): value for name, value in http.get("/api/profile").json().items()}
            assert [http.get(path).status_code for path in ("/metrics", "/metrics/cluster")] == [403, 403]
        server.shutdown()
    assert received["x-forwarded-for"] == "127.0.0.1"
    assert received["x-forwarded-proto"] == "https"
    assert received["host"] == f"{HOST}:{caddy.port}"
