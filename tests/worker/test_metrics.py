"""A worker's metrics reach Redis."""

from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from millrace.worker.contract.breaker import Breaker
from millrace.worker.contract.events import Cancelled, Complete, Error, Latency, Usage
from millrace.worker.metrics import BreakerMetrics, WorkerMetrics
from millrace.worker.observability.shared_metrics import collect, merge, process_name
from tests.valkey import ValkeyProcess
from tests.worker.harness import WorkerHarness

COMPLETE = Complete("live", "end_turn", Usage(3, 4), Latency(150, 900), "m", "bedrock", "i", stored=False)


@pytest.fixture
def harness(valkey: ValkeyProcess) -> WorkerHarness:
    return WorkerHarness(valkey.url)


@pytest.fixture
def metrics(harness: WorkerHarness) -> Iterator[WorkerMetrics]:
    metrics = WorkerMetrics(harness.redis)
    yield metrics
    metrics.stop()


def published(harness: WorkerHarness, name: str, **labels: str) -> Any:
    wanted = {**labels, "process": process_name("worker")}
    samples = [each for family in merge(collect(harness.redis)) for each in family.samples]
    return next((each.value for each in samples if each.name == name and each.labels == wanted), None)


def test_each_end_is_counted_by_its_outcome_and_published_at_the_latest_when_the_process_stops(
    harness: WorkerHarness, metrics: WorkerMetrics
) -> None:
    metrics.running.set_function(lambda: 7)
    metrics.start()
    metrics.record_end(COMPLETE, COMPLETE.usage, COMPLETE.latency)
    metrics.record_end(COMPLETE, COMPLETE.usage, COMPLETE.latency)
    metrics.record_end(Cancelled("user", Usage(1, 1)), Usage(1, 1), Latency(None, 100))
    metrics.record_end(Error("provider_timeout", "", retryable=True), Usage(1, 0), Latency(20_000, 30_000))
    metrics.record_end(None, Usage(1, 1), Latency(200, 300))
    assert published(harness, "millrace_worker_running") is None
    metrics.stop()
    assert published(harness, "millrace_attempts_total", outcome="complete", code="") == 2
    assert published(harness, "millrace_attempts_total", outcome="cancelled", code="user") == 1
    assert published(harness, "millrace_attempts_total", outcome="error", code="provider_timeout") == 1
    assert published(harness, "millrace_attempts_total", outcome="left", code="") == 1
    assert published(harness, "millrace_first_delta_seconds_count") == 4, "one attempt had no delta"
    assert published(harness, "millrace_first_delta_seconds_bucket", le="0.2") == 3
    assert published(harness, "millrace_generation_seconds_count") == 4, "one attempt was handed over"
    assert published(harness, "millrace_tokens_total", kind="output") == 9
    assert published(harness, "millrace_worker_running") == 7
    assert published(harness, "process_cpu_seconds_total") > 0


def test_metrics_are_published_periodically(harness: WorkerHarness, metrics: WorkerMetrics) -> None:
    metrics.seconds = 0.05
    metrics.start()
    for count in (1, 2):
        metrics.record_end(COMPLETE, COMPLETE.usage, COMPLETE.latency)
        with gevent.Timeout(10):
            while published(harness, "millrace_attempts_total", outcome="complete", code="") != count:
                gevent.sleep(0.02)


def test_open_breakers_are_published_by_provider_and_model(valkey: ValkeyProcess) -> None:
    harness = WorkerHarness(valkey.url, breaker_failures=2)
    breaker, metrics = Breaker(harness.settings), WorkerMetrics(harness.redis)
    metrics.registry.register(BreakerMetrics(breaker))
    for permission in [breaker.ask("bedrock:arn:aws:1") for _ in range(2)]:
        breaker.failed(permission)
    breaker.ask("openai:gpt")
    metrics.publish()
    for name, provider, model, value in (
        ("millrace_breaker_open", "bedrock", "arn:aws:1", 1),
        ("millrace_breaker_openings_total", "bedrock", "arn:aws:1", 1),
        ("millrace_breaker_open", "openai", "gpt", 0),
        ("millrace_breaker_openings_total", "openai", "gpt", 0),
    ):
        assert published(harness, name, provider=provider, model=model) == value, (name, provider)
    breaker.close()
