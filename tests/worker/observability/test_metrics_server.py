"""A worker's own address for Prometheus."""

from collections.abc import Generator
from contextlib import contextmanager

import httpx
import pytest
from prometheus_client import CollectorRegistry, Gauge

from millrace.worker.errors import SettingError
from millrace.worker.observability.metrics_server import MetricsServer
from tests.valkey import free_port

HOST = "127.0.0.1"


@contextmanager
def serving(token: str = "") -> Generator[int]:
    registry, port = CollectorRegistry(), free_port()
    Gauge("answers", "Answers.", registry=registry).set(5)
    server = MetricsServer(registry, HOST, port, token)
    server.start()
    try:
        yield port
    finally:
        server.stop()


def get(port: int, path: str = "/metrics", **headers: str) -> httpx.Response:
    return httpx.get(f"http://{HOST}:{port}{path}", headers=headers, trust_env=False)


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
            assert get(port, **wrong).status_code == 401
        assert get(port, Authorization="bearer a token of sixteen").status_code == 200


def test_port_that_is_taken_is_a_bad_setting() -> None:
    with serving() as port, pytest.raises(SettingError, match=rf"^MILLRACE_METRICS_PORT: .* port {port} \(.*in use\)"):
        MetricsServer(CollectorRegistry(), HOST, port, "").start()


def test_port_0_serves_nothing() -> None:
    server = MetricsServer(CollectorRegistry(), HOST, 0, "")
    server.start()
    server.stop()
