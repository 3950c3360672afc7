"""A worker's own address for Prometheus."""

import socket
from collections.abc import Generator
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from prometheus_client import CollectorRegistry, Gauge

from millrace.worker.errors import SettingError
from millrace.worker.observability import metrics_server
from millrace.worker.observability.metrics_server import MAX_CONNECTIONS, MetricsServer
from tests.valkey import free_port

HOST = "127.0.0.1"


@contextmanager
def serving(token: str = "", explanation: str = "Answers.") -> Generator[int]:
    registry, port = CollectorRegistry(), free_port()
    Gauge("answers", explanation, registry=registry).set(5)
    server = MetricsServer(registry, HOST, port, token)
    server.start()
    try:
        yield port
    finally:
        server.stop()


def get(port: int, path: str = "/metrics", **headers: str) -> httpx.Response:
    return httpx.get(f"http://{HOST}:{port}{path}", headers=headers, timeout=30, trust_env=False)


def test_metrics_are_served_until_the_stop_and_nothing_else_is() -> None:
    with serving() as port:
        found = get(port)
        assert found.status_code == 200
        assert found.headers["Content-Type"].startswith("text/plain; version=")
        assert "answers 5.0" in found.text
        assert get(port, "/").status_code == get(port, "/metrics/x").status_code == 404
        assert httpx.post(f"http://{HOST}:{port}/metrics", trust_env=False).status_code == 404
    with pytest.raises(httpx.ConnectError):
        get(port)


def test_token_is_required_where_one_is_set() -> None:
    with serving("a token of sixteen") as port:
        for wrong in ({}, {"Authorization": "Bearer another"}, {"Authorization": "Basic a token of sixteen"}):
            refused = get(port, **wrong)
            assert refused.status_code == 401
            assert refused.headers["WWW-Authenticate"].startswith("Bearer ")
            assert get(port, "/", **wrong).status_code == 401
        assert get(port, Authorization="bearer a token of sixteen").status_code == 200


def test_port_that_is_taken_is_a_bad_setting() -> None:
    with serving() as port, pytest.raises(SettingError, match=rf"^MILLRACE_METRICS_PORT: .* port {port} \(.*in use\)"):
        MetricsServer(CollectorRegistry(), HOST, port, "").start()


def test_port_0_serves_nothing() -> None:
    server = MetricsServer(CollectorRegistry(), HOST, 0, "")
    server.start()
    server.stop()


def test_without_a_token_no_client_that_may_be_elsewhere_is_served() -> None:
    with serving() as port:
        for outside in ({"Host": "rebound.example"}, {"X-Forwarded-For": "203.0.113.9"}):
            refused = get(port, **outside)
            assert refused.status_code == 403
            assert "MILLRACE_METRICS_TOKEN" in refused.text
            assert "answers" not in refused.text


def test_clients_that_send_or_take_nothing_are_cut_and_keep_no_scrape_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "REQUEST_SECONDS", 600.0)
    size = 30_000_000  # more than the kernel takes for a client that reads nothing
    with serving(explanation="x" * size) as port, ExitStack() as clients:

        def connect(request: bytes) -> socket.socket:
            client = clients.enter_context(socket.create_connection((HOST, port), timeout=30))
            client.sendall(request)
            return client

        silent = [connect(b"") for _ in range(MAX_CONNECTIONS + 5)]
        for client in silent[:5]:  # the oldest give way
            assert client.recv(1) == b""
        assert len(get(port).content) > size
        monkeypatch.setattr(metrics_server, "REQUEST_SECONDS", 0.5)
        request = f"GET /metrics HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
        body = request.replace(b"GET", b"POST")[:-2] + b"Content-Length: 9\r\n\r\n"
        for started in (b"", request[:20], request[:-2], body):
            assert b"200 OK" not in connect(started).recv(100), started
        slow = connect(request)
        assert connect(b"").recv(1) == b"", "its time is over after that of the slow reader"
        received = 0
        while part := slow.recv(1_000_000):
            received += len(part)
        assert received < size


def test_a_connection_has_one_request() -> None:
    with serving() as port:
        assert get(port).headers["Connection"] == "close"
