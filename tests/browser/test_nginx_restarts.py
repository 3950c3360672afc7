"""The nginx configuration of the documentation in front of two web servers that restart."""

import os
import re
import socket
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import httpx
import pytest

from tests.browser.nginx import Nginx, block, program
from tests.valkey import free_port


class _Streaming(BaseHTTPRequestHandler):
    """Begins a stream, which ends with the server."""

    protocol_version = "HTTP/1.1"
    ended = Event()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b": millrace\n\n")
        self.wfile.flush()
        self.ended.wait(60)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        pass


@contextmanager
def _serving(port: int) -> Generator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", port), _Streaming)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_servers_that_have_restarted_serve_at_once_while_streams_go_on(tmp_path: Path) -> None:
    if program() is None:
        assert "CI" not in os.environ, "there is no nginx to test with: install nginx-light"
        pytest.skip("there is no nginx to test with: install nginx-light")
    with socket.socket() as taken:  # so that the second port is another one
        taken.bind(("127.0.0.1", 0))
        ports = (taken.getsockname()[1], free_port())
    line = re.compile(r"server 127\.0\.0\.1:8000([^;]*);")
    code = line.sub(rf"server 127.0.0.1:8000\1; server 127.0.0.1:{ports[1]}\1;", block("behind-nginx.md"))
    with Nginx(tmp_path / "nginx", code, ports[0]) as nginx, ExitStack() as open_streams:
        address = nginx.url("127.0.0.1")
        refused = [httpx.get(address, trust_env=False).status_code for _ in range(4)]
        assert set(refused) == {502}, "neither of the two serves yet"
        for port in ports:
            open_streams.enter_context(_serving(port))
        open_streams.callback(_Streaming.ended.set)
        statuses: list[int] = []
        for _ in range(8):
            stream = httpx.stream("GET", address, trust_env=False, timeout=30)
            statuses.append(open_streams.enter_context(stream).status_code)
        assert set(statuses) == {200}
