"""GET /metrics has this server and the queue, GET /metrics/cluster every process; both serve without Redis."""

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from millrace.worker.contract.presence import record_heartbeat
from millrace.worker.observability.shared_metrics import process_name, publish
from tests.deploy.monitoring.promtool import promtool
from tests.valkey import ValkeyProcess
from tests.webapp.harness import DEAD_PORT, WHOLE, WebHarness

Build = Callable[..., WebHarness]
API = "/api/generations"


def figures_of(site: WebHarness, path: str = "/metrics") -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    answer = site.stranger().get(path)
    assert answer.status_code == 200
    assert answer.mimetype == "text/plain"
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            labels = tuple(sorted((name, value) for name, value in sample.labels.items() if name != "process"))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def value(figures: dict[str, Any], name: str, **labels: str) -> float:
    return figures.get(name, {}).get(tuple(sorted(labels.items())), 0.0)


def test_requests_are_counted_by_route_and_status(site: WebHarness) -> None:
    generation = site.ask()
    site.user.get(f"{API}/{generation}")
    site.user.get(f"{API}/{'0' * 32}")
    site.user.get("/no/such/page")
    site.user.open("/healthz", method="BREW")
    figures = figures_of(site)
    assert value(figures, "millrace_http_requests_total", method="POST", route=API, status="202") == 1
    one = f"{API}/<generation>"
    assert value(figures, "millrace_http_requests_total", method="GET", route=one, status="200") == 1
    assert value(figures, "millrace_http_requests_total", method="GET", route=one, status="404") == 1
    assert value(figures, "millrace_http_requests_total", method="GET", route="none", status="404") == 1
    assert value(figures, "millrace_http_requests_total", method="other", route="none", status="405") == 1
    assert value(figures, "millrace_http_request_seconds_count") == 5
    assert value(figures, "millrace_problems_total", code="not_found") == 2
    assert value(figures, "millrace_problems_total", code="method_not_allowed") == 1
    assert value(figures, "millrace_generations_created_total") == 1


def test_repeated_create_is_counted_once_and_a_rate_limited_event_source_as_limited(build: Build) -> None:
    site = build(follow_rate_limit="1/hour")
    again = {"Idempotency-Key": "k"}
    generation, _ = (site.user.post(API, json={"message": "a"}, headers=again).get_json()["id"] for _ in range(2))
    site.write(site.hold(generation), *WHOLE)
    for accepted in ("text/event-stream", "text/event-stream", "*/*"):
        site.user.get(f"{API}/{generation}/events", headers={"Accept": accepted}, buffered=True)
    figures = figures_of(site)
    assert value(figures, "millrace_generations_created_total") == 1
    assert value(figures, "millrace_problems_total", code="rate_limited") == 2


def test_series_that_alerts_watch_begin_at_zero(build: Build) -> None:
    figures = figures_of(build())
    for name, labels in (
        ("millrace_problems_total", {"code": "store_away"}),
        ("millrace_proxy_faults_total", {"kind": "untrusted"}),
        ("millrace_relay_repairs_total", {"reason": "gap"}),
        ("millrace_sweep_generations_total", {"decision": "ended"}),
        ("millrace_limiter_failures_total", {}),
    ):
        assert tuple(labels.items()) in figures[name], (name, labels)


def test_metrics_include_readers_queue_and_workers(site: WebHarness) -> None:
    generation = site.ask()
    site.ask()
    site.write(site.hold(generation), *WHOLE)
    site.user.get(f"{API}/{generation}/events", buffered=True)
    record_heartbeat(site.redis, "worker one")
    figures = figures_of(site)
    assert value(figures, "millrace_readers") == 0
    assert value(figures, "millrace_reader_ends_total", reason="done") == 1
    assert value(figures, "millrace_reader_starts_total", kind="new") == 1
    assert value(figures, "millrace_relay_sent_events_total") == len(WHOLE) + 1
    assert value(figures, "millrace_relay_sent_bytes_total") > 100
    assert value(figures, "millrace_relay_log_reads_total") > 0
    for name in ("millrace_readers_lagging", "millrace_readers_full", "millrace_followed_generations"):
        assert figures[name] == {(): 0}, name
    assert value(figures, "millrace_queue_length") == 2
    assert value(figures, "millrace_queue_oldest_seconds") > 0
    assert value(figures, "millrace_web_processes", state="answering") == 1
    assert value(figures, "millrace_unfinished") == 1
    assert value(figures, "millrace_workers_alive") == 1
    assert value(figures, "millrace_redis_up") == 1


def test_metrics_include_other_processes_once(site: WebHarness) -> None:
    registry = CollectorRegistry()
    Counter("millrace_attempts", "Attempts.", ["outcome"], registry=registry).labels("complete").inc(3)
    publish(site.redis, "worker:elsewhere:7", registry)
    site.services.housekeeping.publish_metrics()
    text = site.stranger().get("/metrics/cluster").text
    assert 'millrace_attempts_total{outcome="complete",process="worker:elsewhere:7"} 3.0' in text
    own = [line for line in text.splitlines() if line.startswith("millrace_readers{")]
    assert len(own) == 1, "this process is not listed a second time from Redis"
    assert process_name("web") in own[0]
    assert "worker:elsewhere" not in site.stranger().get("/metrics").text, "each server's own address has its own"
    helps = re.findall(r"^# HELP (\S+)", text, re.MULTILINE)
    assert len(helps) == len(set(helps))


def test_metrics_of_this_process_remain_while_redis_is_unavailable(build: Build) -> None:
    site = build(redis_url=f"redis://127.0.0.1:{DEAD_PORT}/0")
    for path in ("/metrics", "/metrics/cluster"):
        figures = figures_of(site, path)
        assert value(figures, "millrace_redis_up") == 0
        assert "millrace_readers" in figures
        assert "millrace_queue_length" not in figures


def test_scrape_is_answered_before_prometheus_gives_up_while_redis_hangs(build: Build, tmp_path: Path) -> None:
    with ValkeyProcess(tmp_path) as valkey:
        site = build(redis_url=valkey.url)
        valkey.signal(signal.SIGSTOP)
        try:
            for path in ("/metrics", "/metrics/cluster"):
                with gevent.Timeout(10):
                    assert value(figures_of(site, path), "millrace_redis_up") == 0
        finally:
            valkey.signal(signal.SIGCONT)
        assert value(figures_of(site), "millrace_redis_up") == 1


def test_promtool_finds_nothing_wrong(site: WebHarness) -> None:
    generation = site.ask()
    site.write(site.hold(generation), *WHOLE)
    site.user.get(f"{API}/{generation}/events", buffered=True)
    publish(site.redis, "worker:elsewhere:7", site.services.metrics.registry)
    for path in ("/metrics", "/metrics/cluster"):
        promtool("check", "metrics", text=site.stranger().get(path).text)


@pytest.mark.parametrize("auth", [{"auth": "header", "auth_header": "X-User"}, {}])
def test_no_label_names_a_user_or_a_generation(build: Build, auth: dict[str, Any]) -> None:
    site = build(**auth, max_active_per_user=1)
    headers = {"X-User": "ada@example.com"}
    generation = site.stranger().post(API, json={"message": "a"}, headers=headers).get_json()["id"]
    site.stranger().get(f"{API}/{generation}", headers=headers)
    site.stranger().post("/api/conversation/ada@example.com", json={"message": "a"}, headers=headers)
    for path in ("/metrics", "/metrics/cluster"):
        text = site.stranger().get(path).text
        assert "ada" not in text
        assert generation not in text
