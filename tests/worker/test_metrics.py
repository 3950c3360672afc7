"""A worker's metrics reach Redis."""

import signal
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gevent
import pytest
from gevent.event import Event
from prometheus_client import CollectorRegistry, generate_latest

from millrace.worker.contract.breaker import Breaker
from millrace.worker.contract.events import (
    Cancelled,
    Chunk,
    Complete,
    Error,
    Latency,
    PaidCall,
    Reasoning,
    Usage,
    encode,
)
from millrace.worker.errors import ProviderError, RedisUnavailable
from millrace.worker.generation import generate
from millrace.worker.metrics import MAX_MODELS, BreakerMetrics, WorkerMetrics
from millrace.worker.observability.shared_metrics import collect, merge, process_name
from millrace.worker.providers.protocol import Stopped
from millrace.worker.publishing.writer import LogWriter
from tests.deploy.monitoring.promtool import promtool
from tests.valkey import ValkeyProcess
from tests.worker.conftest import MakeWorker
from tests.worker.harness import WorkerHarness, claim_attempt, wait_until

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


def test_each_attempt_is_counted_and_published_at_the_latest_when_the_process_stops(
    harness: WorkerHarness, metrics: WorkerMetrics
) -> None:
    metrics.running.set_function(lambda: 7)
    metrics.start()
    claimed = claim_attempt(harness, LogWriter(harness.redis, harness.settings)).claimed
    first, second = replace(claimed, waited_ms=3000), replace(claimed, attempt=2, waited_ms=9_000_000)
    for each in (first, first, second):
        metrics.record_start(each)
    metrics.record_end(COMPLETE, COMPLETE.latency, first, 20)
    metrics.record_end(COMPLETE, COMPLETE.latency, second, 200)
    metrics.record_end(Cancelled("user", Usage(1, 1)), Latency(None, 100), first, 0)
    metrics.record_end(Error("provider_timeout", "", retryable=True), Latency(20_000, 30_000), first, 1)
    metrics.record_end(None, Latency(200, 300), first, 5)
    metrics.record_cancel(0.12)
    assert published(harness, "millrace_worker_running") is None
    metrics.stop()
    for name, labels, value in (
        ("millrace_attempts_started_total", {"kind": "first"}, 2),
        ("millrace_attempts_started_total", {"kind": "takeover"}, 1),
        ("millrace_attempts_total", {"outcome": "complete", "code": ""}, 2),
        ("millrace_attempts_total", {"outcome": "cancelled", "code": "user"}, 1),
        ("millrace_attempts_total", {"outcome": "error", "code": "provider_timeout"}, 1),
        ("millrace_attempts_total", {"outcome": "left", "code": ""}, 1),
        ("millrace_queue_wait_seconds_count", {}, 2),  # a takeover's time since the creation is no wait
        ("millrace_queue_wait_seconds_sum", {}, 6),
        ("millrace_first_delta_seconds_count", {}, 4),  # one attempt had no delta
        ("millrace_first_delta_seconds_bucket", {"le": "0.2"}, 3),
        ("millrace_time_to_first_delta_seconds_count", {}, 3),
        ("millrace_time_to_first_delta_seconds_bucket", {"le": "5.0"}, 2),
        ("millrace_generation_seconds_count", {}, 4),  # one attempt was handed over
        ("millrace_generation_chunks_bucket", {"le": "30.0"}, 3),
        ("millrace_cancel_seconds_bucket", {"le": "0.15"}, 1),
        ("millrace_cancel_seconds_bucket", {"le": "0.1"}, 0),
        ("millrace_worker_running", {}, 7),
    ):
        assert published(harness, name, **labels) == value, (name, labels)
    assert published(harness, "process_cpu_seconds_total") > 0


def test_tokens_and_costs_are_counted_by_purpose_and_model(harness: WorkerHarness, metrics: WorkerMetrics) -> None:
    answer = PaidCall(purpose="answer", provider="p", model="m", input_tokens=10, output_tokens=20, cost=0.5)
    title = PaidCall(purpose="title", provider="p", model="small", input_tokens=1, reasoning_tokens=2, output_tokens=3)
    metrics.record_calls([answer, title])
    metrics.record_calls([answer])
    for number in range(MAX_MODELS + 5):
        metrics.record_calls([PaidCall(purpose="answer", provider="p", model=f"m{number}", input_tokens=1)])
    metrics.publish()
    name, of_answer, of_title = "millrace_tokens_total", ("answer", "p", "m"), ("title", "p", "small")
    for kind, (purpose, provider, model), value in (
        ("input", of_answer, 20),
        ("output", of_answer, 40),
        ("input", of_title, 1),
        ("output", of_title, 3),
        ("reasoning", of_title, 2),
        ("input", ("answer", "p", "other"), 7),
        ("cache_read", of_answer, None),
    ):
        labels = {"kind": kind, "purpose": purpose, "provider": provider, "model": model}
        assert published(harness, name, **labels) == value, labels
    assert published(harness, "millrace_cost_dollars_total", purpose="answer", provider="p", model="m") == 1.0
    assert published(harness, "millrace_cost_dollars_total", purpose="title", provider="p", model="small") is None


def test_metrics_follow_answers_from_the_model_to_the_log(make_worker: MakeWorker) -> None:
    failure = ProviderError("provider_rejected", retryable=False)
    hanging = [Chunk("a"), Event().wait]
    worker = make_worker([failure], [Chunk("caf\u00e9"), Reasoning("hm"), Stopped("end_turn"), Usage(5, 6)], hanging)
    harness, process = worker.harness, worker.process
    process.metrics.publish()  # Prometheus sees no increase in a series that begins with its first event
    assert published(harness, "millrace_provider_calls_total", provider="bedrock", result="provider_throttled") == 0
    assert published(harness, "millrace_log_appends_total", verdict="fenced") == 0
    assert published(harness, "millrace_attempts_started_total", kind="takeover") == 0
    generations = [harness.create_generation("Why?", is_turn=False) for _ in range(3)]
    for each in generations[:2]:
        worker.answer(each)
    stopped = generations[-1]
    answering = gevent.spawn(generate, process, stopped)
    wait_until(lambda: "a" in harness.text(stopped), "the first text")
    process.metrics.publish()
    assert published(harness, "millrace_provider_deltas_total") == 3, "also those of a running generation"
    assert published(harness, "millrace_worker_running") == 1
    harness.cancel(stopped)
    answering.join(30)
    process.metrics.publish()
    promtool("check", "metrics", text=generate_latest(process.metrics.registry).decode())
    events = [event for each in generations for event in harness.events(each)[1:]]
    for name, labels, value in (
        ("millrace_provider_deltas_total", {}, 3),
        ("millrace_provider_bytes_total", {}, 8),
        ("millrace_provider_calls_total", {"provider": "bedrock", "result": "provider_rejected"}, 1),
        ("millrace_provider_calls_total", {"provider": "bedrock", "result": "ok"}, 1),
        ("millrace_provider_calls_total", {"provider": "bedrock", "result": "interrupted"}, 1),
        ("millrace_attempts_total", {"outcome": "cancelled", "code": "user"}, 1),
        ("millrace_cancel_seconds_count", {}, 1),
        ("millrace_cancel_seconds_bucket", {"le": "10.0"}, 1),
        ("millrace_queue_wait_seconds_count", {}, 3),
        ("millrace_log_appends_total", {"verdict": "appended"}, len(events)),
        ("millrace_log_bytes_total", {}, sum(len(encode(event)) for event in events)),
        ("millrace_worker_running", {}, 0),
    ):
        assert published(harness, name, **labels) == value, (name, labels)


def test_metrics_are_published_periodically(harness: WorkerHarness, metrics: WorkerMetrics) -> None:
    metrics.seconds = 0.05
    claimed = claim_attempt(harness, LogWriter(harness.redis, harness.settings)).claimed
    metrics.start()
    for count in (1, 2):
        metrics.record_end(COMPLETE, COMPLETE.latency, claimed, 1)
        with gevent.Timeout(30):
            while published(harness, "millrace_attempts_total", outcome="complete", code="") != count:
                gevent.sleep(0.02)


def test_open_breakers_are_published_by_provider_and_model(valkey: ValkeyProcess) -> None:
    harness = WorkerHarness(valkey.url, breaker_failures=2)
    breaker, metrics = Breaker(harness.settings), WorkerMetrics(harness.redis)
    breakers = BreakerMetrics(breaker)
    metrics.registry.register(breakers)
    for permission in [breaker.ask("bedrock:arn:aws:1") for _ in range(2)]:
        breaker.failed(permission)
    breaker.ask("openai:gpt")
    breakers.read()
    metrics.publish()
    for name, provider, model, value in (
        ("millrace_breaker_open", "bedrock", "arn:aws:1", 1),
        ("millrace_breaker_openings_total", "bedrock", "arn:aws:1", 1),
        ("millrace_breaker_open", "openai", "gpt", 0),
        ("millrace_breaker_openings_total", "openai", "gpt", 0),
    ):
        assert published(harness, name, provider=provider, model=model) == value, (name, provider)
    breaker.close()


def test_scrape_waits_for_nothing_also_while_redis_hangs(make_worker: MakeWorker, valkey: ValkeyProcess) -> None:
    process = make_worker().process
    breaker, registry = Breaker(WorkerHarness(valkey.url, breaker_failures=2).settings), CollectorRegistry()
    breakers = BreakerMetrics(breaker)
    registry.register(breakers)
    breaker.ask("bedrock:m")
    breakers.read()
    assert b'millrace_breaker_open{model="' in generate_latest(registry)
    valkey.signal(signal.SIGSTOP)
    try:
        other = gevent.spawn(lambda: None)
        assert b"millrace_worker_running" in generate_latest(process.metrics.registry)
        generate_latest(registry)
        assert not other.dead, "while a scrape waits, other greenlets run"
        with pytest.raises(RedisUnavailable):
            breakers.read()
    finally:
        valkey.signal(signal.SIGCONT)
    assert b"millrace_breaker_open{" not in generate_latest(registry)
    breaker.close()
