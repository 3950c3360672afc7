"""The metrics of a worker process: served at a port of its own, and published to Redis every few seconds."""

from collections.abc import Iterator
from typing import assert_never

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from millrace.worker.background_task import PeriodicTask
from millrace.worker.contract.breaker import Breaker
from millrace.worker.contract.connection import Redis
from millrace.worker.contract.events import Cancelled, Complete, Error, Latency, Outcome, Usage
from millrace.worker.errors import RedisUnavailable
from millrace.worker.observability.shared_metrics import PUBLISH_SECONDS, process_name, publish
from millrace.worker.task_transport import DISCARDED

STOP_SECONDS = 2.0
_FIRST_DELTA_BUCKETS = (0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30)
_GENERATION_BUCKETS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 900)


class WorkerMetrics(PeriodicTask):
    """Counts the attempts of one process; publishes once more when it stops.

    Labels have bounded cardinality: none names a user or a generation.
    """

    def __init__(self, redis: Redis) -> None:
        super().__init__("publish_metrics", PUBLISH_SECONDS, self.publish, runs_at_stop=True, stop_seconds=STOP_SECONDS)
        self._redis = redis
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(DISCARDED)
        self._generations = Counter(
            "millrace_attempts", "Attempts by how they ended here.", ["outcome", "code"], registry=registry
        )
        self._first_delta = Histogram(
            "millrace_first_delta_seconds",
            "From the claim to the model's first delta.",
            registry=registry,
            buckets=_FIRST_DELTA_BUCKETS,
        )
        self._generation = Histogram(
            "millrace_generation_seconds", "From the claim to the end.", registry=registry, buckets=_GENERATION_BUCKETS
        )
        self._tokens = Counter("millrace_tokens", "Tokens, as far as they are known.", ["kind"], registry=registry)
        self.running = Gauge("millrace_worker_running", "Generations that run here.", registry=registry)
        self.capacity = Gauge(
            "millrace_worker_capacity", "Generations that may run here at once (`--concurrency`).", registry=registry
        )

    def record_end(self, outcome: Outcome | None, usage: Usage, latency: Latency) -> None:
        """Count an attempt that has ended; an outcome of None means that another worker takes over."""
        match outcome:
            case Complete():
                name, code = "complete", ""
            case Cancelled(by):
                name, code = "cancelled", by
            case Error(code):
                name = "error"
            case None:
                name, code = "left", ""
            case _:
                assert_never(outcome)
        self._generations.labels(name, code).inc()
        if latency.first_delta_ms is not None:
            self._first_delta.observe(latency.first_delta_ms / 1000)
        if outcome is not None:
            self._generation.observe(latency.total_ms / 1000)
            self._tokens.labels("input").inc(usage.input_tokens)
            self._tokens.labels("output").inc(usage.output_tokens)

    def publish(self) -> None:
        """Publish the metrics of this process once; raises RedisUnavailable."""
        publish(self._redis, process_name("worker"), self.registry)


class BreakerMetrics(Collector):
    """The circuit breakers of the models that this process has asked about; their number is bounded."""

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker

    def collect(self) -> Iterator[Metric]:
        """Read the states from Redis; yield nothing while it is unavailable."""
        try:
            states = self._breaker.read_states()
        except RedisUnavailable:
            return
        is_open = GaugeMetricFamily(
            "millrace_breaker_open",
            "Whether calls of a model are suspended by its circuit breaker, which all workers share.",
            labels=["provider", "model"],
        )
        openings = CounterMetricFamily(
            "millrace_breaker_openings",
            "Times that this process opened a model's circuit breaker.",
            labels=["provider", "model"],
        )
        for state in states:
            provider, _, model = state.candidate.partition(":")
            is_open.add_metric([provider, model], state.is_open)
            openings.add_metric([provider, model], state.openings)
        yield from (is_open, openings)
