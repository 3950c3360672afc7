"""What a worker counts reaches Redis, and says nothing of who asked."""

from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from millrace.worker.contract.events import Cancelled, Complete, Error, Latency, Usage
from millrace.worker.metrics import WorkerMetrics
from millrace.worker.observability.shared_metrics import collect, merge, process_name
from tests.valkey import ValkeyProcess
from tests.worker.desk import Desk

COMPLETE = Complete("live", "end_turn", Usage(3, 4), Latency(150, 900), "m", "bedrock", "i", stored=False)


@pytest.fixture
def desk(valkey: ValkeyProcess) -> Desk:
    return Desk(valkey.url)


@pytest.fixture
def figures(desk: Desk) -> Iterator[WorkerMetrics]:
    figures = WorkerMetrics(desk.redis)
    yield figures
    figures.stop()


def told(desk: Desk, name: str, **labels: str) -> Any:
    wanted = {**labels, "process": process_name("worker")}
    samples = [each for family in merge(collect(desk.redis)) for each in family.samples]
    return next((each.value for each in samples if each.name == name and each.labels == wanted), None)


def test_each_ending_is_counted_by_its_outcome_and_told_at_the_latest_at_the_end(
    desk: Desk, figures: WorkerMetrics
) -> None:
    figures.running.set_function(lambda: 7)
    figures.start()
    figures.ended(COMPLETE, COMPLETE.usage, COMPLETE.latency)
    figures.ended(COMPLETE, COMPLETE.usage, COMPLETE.latency)
    figures.ended(Cancelled("user", Usage(1, 1)), Usage(1, 1), Latency(None, 100))
    figures.ended(Error("provider_timeout", "", retryable=True), Usage(1, 0), Latency(20_000, 30_000))
    figures.ended(None, Usage(1, 1), Latency(200, 300))
    assert told(desk, "millrace_running") is None
    figures.stop()
    assert told(desk, "millrace_generations_total", outcome="complete", code="") == 2
    assert told(desk, "millrace_generations_total", outcome="cancelled", code="user") == 1
    assert told(desk, "millrace_generations_total", outcome="error", code="provider_timeout") == 1
    assert told(desk, "millrace_generations_total", outcome="left", code="") == 1
    assert told(desk, "millrace_first_delta_seconds_count") == 4, "one had none"
    assert told(desk, "millrace_first_delta_seconds_bucket", le="0.2") == 3
    assert told(desk, "millrace_generation_seconds_count") == 4, "one goes on elsewhere"
    assert told(desk, "millrace_tokens_total", kind="output") == 9
    assert told(desk, "millrace_running") == 7
    assert told(desk, "process_cpu_seconds_total") > 0


def test_metrics_are_published_periodically(desk: Desk, figures: WorkerMetrics) -> None:
    figures.seconds = 0.05
    figures.start()
    for count in (1, 2):
        figures.ended(COMPLETE, COMPLETE.usage, COMPLETE.latency)
        with gevent.Timeout(10):
            while told(desk, "millrace_generations_total", outcome="complete", code="") != count:
                gevent.sleep(0.02)
