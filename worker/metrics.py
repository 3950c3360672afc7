"""The metrics of a worker process: served at a port of its own, and published to Redis every few seconds.

Labels have bounded cardinality: none names a user or a generation.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import assert_never, get_args

from msgspec import UNSET
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from millrace.worker.answer_meter import AnswerMeter
from millrace.worker.background_task import PeriodicTask
from millrace.worker.contract.breaker import Breaker, BreakerState
from millrace.worker.contract.events import Cancelled, CancelledBy, Complete, Error, Latency, Outcome, PaidCall
from millrace.worker.contract.lease import ClaimedGeneration
from millrace.worker.contract.log import Verdict
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.sweep import SWEPT
from millrace.worker.errors import ErrorCode, RedisUnavailable
from millrace.worker.observability.shared_metrics import PUBLISH_SECONDS, process_name, publish
from millrace.worker.providers.router import Router
from millrace.worker.publishing.writers import LogWriters
from millrace.worker.task_transport import DISCARDED

STOP_SECONDS = 2.0
MAX_MODELS = 100  # in labels; the calls of further models are counted as `other`
ENDS = {"complete": ("",), "cancelled": get_args(CancelledBy), "error": get_args(ErrorCode), "left": ("",)}
_FIRST_DELTA_BUCKETS = (0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30)
_QUEUE_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_GENERATION_BUCKETS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 900)
_CHUNK_BUCKETS = (1, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000)
_CANCEL_BUCKETS = (0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.5, 1, 2, 5, 10)


class WorkerMetrics(PeriodicTask):
    """Counts the attempts of one process; publishes once more when it stops."""

    def __init__(self, redis: Redis) -> None:
        super().__init__("publish_metrics", PUBLISH_SECONDS, self.publish, runs_at_stop=True, stop_seconds=STOP_SECONDS)
        self._redis = redis
        self._models: set[tuple[str, str]] = set()
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(DISCARDED)
        registry.register(SWEPT)
        self._started = Counter(
            "millrace_attempts_started",
            "Attempts that have begun here: a generation's first, and takeovers from another worker.",
            ["kind"],
            registry=registry,
        )
        # Prometheus sees no increase in a series that begins with its first event.
        for kind in ("first", "takeover"):
            self._started.labels(kind)
        self._attempts = Counter(
            "millrace_attempts", "Attempts by how they ended here.", ["outcome", "code"], registry=registry
        )
        for outcome, codes in ENDS.items():
            for code in codes:
                self._attempts.labels(outcome, code)
        self._times = AttemptTimes(registry)
        self._tokens = Counter(
            "millrace_tokens",
            "Tokens of paid calls, as far as they are known; those of `reasoning` are in `output` as well.",
            ["kind", "purpose", "provider", "model"],
            registry=registry,
        )
        self._cost = Counter(
            "millrace_cost_dollars",
            "Cost of paid calls in US dollars, where the price is known.",
            ["purpose", "provider", "model"],
            registry=registry,
        )
        self.store_failures = Counter(
            "millrace_store_failures",
            "Times that an answer could not be stored at its end; it is stored later if the database returns in time.",
            registry=registry,
        )
        self.running = Gauge("millrace_worker_running", "Generations that run here.", registry=registry)
        self.capacity = Gauge(
            "millrace_worker_capacity", "Generations that may run here at once (`--concurrency`).", registry=registry
        )

    def record_start(self, claimed: ClaimedGeneration) -> None:
        """Count an attempt that begins."""
        self._started.labels("first" if claimed.attempt == 1 else "takeover").inc()
        if claimed.attempt == 1:
            self._times.queue_wait.observe(claimed.waited_ms / 1000)

    def record_end(self, outcome: Outcome | None, latency: Latency, claimed: ClaimedGeneration, chunks: int) -> None:
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
        self._attempts.labels(name, code).inc()
        if latency.first_delta_ms is not None:
            self._times.first_delta.observe(latency.first_delta_ms / 1000)
            if claimed.attempt == 1:
                self._times.time_to_first_delta.observe((claimed.waited_ms + latency.first_delta_ms) / 1000)
        if outcome is not None:
            self._times.generation.observe(latency.total_ms / 1000)
            self._times.chunks.observe(chunks)

    def record_calls(self, calls: Sequence[PaidCall]) -> None:
        """Count the tokens and the cost of paid calls."""
        for call in calls:
            names = self._names_of(call)
            for kind, count in (
                ("input", call.input_tokens),
                ("output", call.output_tokens),
                ("cache_read", call.cache_read_tokens),
                ("cache_write", call.cache_write_tokens),
                ("reasoning", call.reasoning_tokens),
            ):
                if count:
                    self._tokens.labels(kind, *names).inc(count)
            if call.cost is not UNSET:
                self._cost.labels(*names).inc(call.cost)

    def record_cancel(self, seconds: float) -> None:
        """Count the time that a cancel took."""
        self._times.cancel.observe(seconds)

    def _names_of(self, call: PaidCall) -> tuple[str, str, str]:
        model = (call.provider, call.model)
        if model not in self._models and len(self._models) < MAX_MODELS:
            self._models.add(model)
        return (call.purpose, call.provider, call.model if model in self._models else "other")

    def publish(self) -> None:
        """Publish the metrics of this process once; raises RedisUnavailable."""
        publish(self._redis, process_name("worker"), self.registry)


class AttemptTimes:
    """The histograms of attempts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.queue_wait = Histogram(
            "millrace_queue_wait_seconds",
            "From a generation's creation to its first claim.",
            registry=registry,
            buckets=_QUEUE_BUCKETS,
        )
        self.first_delta = Histogram(
            "millrace_first_delta_seconds",
            "From the claim to the model's first delta.",
            registry=registry,
            buckets=_FIRST_DELTA_BUCKETS,
        )
        self.time_to_first_delta = Histogram(
            "millrace_time_to_first_delta_seconds",
            "From a generation's creation to the model's first delta, in its first attempt.",
            registry=registry,
            buckets=_FIRST_DELTA_BUCKETS,
        )
        self.generation = Histogram(
            "millrace_generation_seconds", "From the claim to the end.", registry=registry, buckets=_GENERATION_BUCKETS
        )
        self.chunks = Histogram(
            "millrace_generation_chunks",
            "Deltas of text and reasoning in an attempt.",
            registry=registry,
            buckets=_CHUNK_BUCKETS,
        )
        self.cancel = Histogram(
            "millrace_cancel_seconds",
            "From a request to cancel to the closed stream of the model.",
            registry=registry,
            buckets=_CANCEL_BUCKETS,
        )


class AnswerTraffic(Collector):
    """The text from the models and the events to Redis, as their owners count them anyway."""

    def __init__(self, router: Router, writers: Iterable[LogWriters]) -> None:
        self._router = router
        self._writers = writers
        self._meters: set[AnswerMeter] = set()
        self._deltas = self._bytes = 0

    def add(self, meter: AnswerMeter) -> None:
        """Count an attempt's deltas while it runs."""
        self._meters.add(meter)

    def retire(self, meter: AnswerMeter) -> None:
        """Keep the counts of an attempt that has ended."""
        self._meters.discard(meter)
        self._deltas += meter.chunks
        self._bytes += meter.received_bytes

    def collect(self) -> Iterator[Metric]:
        """Yield the counters of deltas, of calls and of appends."""
        deltas = self._deltas + sum(meter.chunks for meter in self._meters)
        size = self._bytes + sum(meter.received_bytes for meter in self._meters)
        yield CounterMetricFamily("millrace_provider_deltas", "Deltas of text and reasoning from models.", value=deltas)
        yield CounterMetricFamily("millrace_provider_bytes", "Bytes of text and reasoning from models.", value=size)
        calls = CounterMetricFamily(
            "millrace_provider_calls",
            "Calls of models by their result: `ok`, `interrupted` by a cancel or a handover, `skipped` because of an "
            "open circuit breaker, or the error's code.",
            labels=["provider", "result"],
        )
        results = ("ok", *get_args(ErrorCode))
        counted = {(provider, result): 0 for provider in self._router.providers for result in results}
        for (provider, result), number in sorted((counted | self._router.calls).items()):
            calls.add_metric([provider, result], number)
        yield calls
        appends = CounterMetricFamily(
            "millrace_log_appends",
            "Events sent to logs, by Redis's verdict: `dup` was sent before, `fenced`, `gap` and `lost` show another "
            "claim or lost data, `rejected` an error.",
            labels=["verdict"],
        )
        verdicts: dict[str, int] = dict.fromkeys((*Verdict, "rejected"), 0)
        for writer in self._writers:
            for verdict, number in writer.verdicts.items():
                verdicts[verdict] = verdicts.get(verdict, 0) + number
        for verdict, number in sorted(verdicts.items()):
            appends.add_metric([verdict], number)
        yield appends
        sent = sum(writer.sent_bytes for writer in self._writers)
        yield CounterMetricFamily("millrace_log_bytes", "Bytes of events sent to logs, repeats included.", value=sent)


class BreakerMetrics(PeriodicTask, Collector):
    """The circuit breakers of the models that this process has asked about; their number is bounded.

    Their states are in Redis, and are read in the background: no scrape waits for Redis.
    """

    def __init__(self, breaker: Breaker) -> None:
        super().__init__("read_breakers", PUBLISH_SECONDS, self.read)
        self._breaker = breaker
        self._states: list[BreakerState] | None = None

    def read(self) -> None:
        """Read the states once; raises RedisUnavailable."""
        try:
            self._states = self._breaker.read_states()
        except RedisUnavailable:
            self._states = None  # what was read before is no longer known
            raise

    def collect(self) -> Iterator[Metric]:
        """Yield the states as last read; nothing while Redis is unavailable."""
        if self._states is None:
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
        for state in self._states:
            provider, _, model = state.candidate.partition(":")
            is_open.add_metric([provider, model], state.is_open)
            openings.add_metric([provider, model], state.openings)
        yield from (is_open, openings)
