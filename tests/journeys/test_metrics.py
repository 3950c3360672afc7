"""The whole system is observable: metrics of all processes at one address, and machine-readable logs."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.monitoring.dashboard import ROWS
from tests.client import Client, emulate, wait_for
from tests.deploy.monitoring.prometheus import Prometheus, prometheus
from tests.system import System

MODELS = ("amazon.nova-pro-v1:0", "amazon.nova-lite-v1:0")


def sum_of(text: str, name: str, **labels: str) -> float:
    """Return the sum over all processes of a figure's samples with these labels."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    lines = [line for line in text.splitlines() if re.match(rf"{name}(\{{|\s)", line)]
    return sum(float(line.split()[-1]) for line in lines if all(each in line for each in wanted))


def lines_of(log: str) -> list[dict[str, Any]]:
    """Return the lines of a log that are ours; Celery greets in plain text before it logs."""
    return [json.loads(line) for line in log.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system of two web processes and two workers, whose models have a price and circuit breakers."""
    candidates = [{"provider": "bedrock", "id": name, "price": {"input": 3.0, "output": 15.0}} for name in MODELS]
    settings = {
        "MILLRACE_MODEL_ID": MODELS[0],
        "MILLRACE_MODELS": json.dumps({MODELS[0]: {"candidates": candidates}}),
        "MILLRACE_BEACON": "on",
    }
    with System(tmp_path_factory.mktemp("watched"), "--web", "2", "--worker", "2", **settings) as running:
        yield running


def test_one_metrics_address_covers_all_processes(watched: System) -> None:
    with Client(watched.url) as client:
        for _ in range(4):
            client.whole(client.ask(emulate(text="Complete.", rate=0)))
        client.whole(client.ask(emulate(text="a b c d", tokens=4, fault="disconnect", at=2, rate=0)))
        stopped = client.ask(emulate(tokens=1000, rate=20))
        reader = client.follow(stopped)
        _ = [next(reader) for _ in range(4)]

        def figures() -> str:
            return client.http.get("/metrics/cluster").text

        def processes(tier: str) -> set[str]:
            return set(re.findall(rf'process="({tier}:[^"]+)"', figures()))

        def wait_until(count: int, name: str, **labels: str) -> None:
            # Each process tells its own every five seconds.
            wait_for(lambda: sum_of(figures(), name, **labels) == count, 20, f"{count} by {name} {labels}")

        wait_until(1, "millrace_readers")
        wait_until(1, "millrace_unfinished")
        client.cancel(stopped)
        assert list(reader)[-1].event["type"] == "done"
        wait_until(4, "millrace_attempts_total", outcome="complete")
        wait_until(1, "millrace_attempts_total", outcome="cancelled")
        wait_until(1, "millrace_attempts_total", outcome="error", code="provider_unavailable")
        wait_until(6, "millrace_first_delta_seconds_count")
        wait_until(6, "millrace_http_requests_total", method="POST", route="/api/generations", status="202")
        wait_until(2, "millrace_workers_alive")
        wait_until(1, "millrace_redis_up")
        for tier in ("web", "worker"):
            wait_for(lambda tier=tier: len(processes(tier)) == 2, 60, f"both processes of the {tier} tier")


def test_no_panel_of_the_dashboard_is_empty_under_load_and_prometheus_evaluates_all_alerts(
    watched: System, tmp_path: Path
) -> None:
    target = {watched.url.removeprefix("http://"): "/metrics/cluster"}
    with prometheus(tmp_path / "prometheus", target) as server, Client(watched.url) as client:
        # Prometheus sees no increase in a series that begins with its first event.
        wait_for(lambda: len(server.query("millrace_worker_capacity")) == 2, 60, "the series of both workers")
        client.whole(client.ask(emulate(text="Watched.", tokens=8, rate=0)))
        client.whole(client.ask(emulate(text="a b c d", tokens=4, fault="disconnect", at=2, rate=0)))
        stopped = client.ask(emulate(tokens=1000, rate=20))
        reader = client.follow(stopped)
        cursor = [next(reader) for _ in range(4)][-1].cursor
        client.cancel(stopped)
        list(client.follow(stopped, cursor))
        beacon = {"outcome": "cancelled", "streaming_seconds": 2.0, "visible_seconds": 1.0}
        assert client.http.post("/api/beacon", json=beacon).status_code == 204

        def empty() -> list[tuple[str, str]]:
            queries = [(panel.title, query) for row in ROWS for panel in row.panels for query, _ in panel.queries]
            asked = [each for each in queries if "millrace_stream_node_up" not in each[1]]  # without such nodes
            return [each for each in asked if not server.query(each[1].replace("$__rate_interval", "5m"))]

        until = time.monotonic() + 60
        while left := empty():
            assert time.monotonic() < until, left
            client.http.get(f"/api/generations/{'0' * 32}")  # a problem, whose series begins with the first one
            time.sleep(0.5)
        health = wait_for(lambda: evaluated(server), 60, "an evaluation of all alerts")
        assert set(health.values()) == {"ok"}


def evaluated(server: Prometheus) -> dict[str, str]:
    """Return the health of each alert by its name; nothing before all have been evaluated."""
    found = {rule["name"]: rule["health"] for group in server.get("rules")["groups"] for rule in group["rules"]}
    return {} if "unknown" in found.values() else found


def test_a_request_id_appears_in_the_logs_of_web_and_worker(system: System, client: Client) -> None:
    answer = client.post({"message": emulate(text="Found.", tokens=3, rate=0)}, **{"X-Request-Id": "find-me"})
    generation = answer.json()["id"]
    client.whole(generation)
    assert answer.headers["X-Request-Id"] == "find-me"

    def ended() -> list[dict[str, Any]]:
        lines = lines_of(system.logs()["worker1"])
        return [line for line in lines if line["event"] == "ended" and line["generation"] == generation]

    (line,) = wait_for(ended, 30, "the worker's line")
    logs = system.logs()
    assert (line["generation"], line["request_id"], line["attempt"]) == (generation, "find-me", 1)
    assert (line["outcome"], line["chars"], line["chunks"]) == ("complete", 6, 3)
    assert line["total_ms"] >= line["first_delta_ms"] >= 0
    assert line["output_tokens"] == 3
    assert line["is_exact"] is True
    asked = [each for each in lines_of(logs["web"]) if each.get("request_id") == "find-me"]
    assert [each["event"] for each in asked] == ["request"]
    assert asked[0]["owner"] == line["owner"]
    assert re.fullmatch(r"[0-9a-f]{32}", line["owner"])
    # Gunicorn's own lines have the same form: not one of the web's is anything else.
    assert all(each.startswith("{") for each in logs["web"].splitlines())
