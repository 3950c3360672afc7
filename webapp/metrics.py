"""The metrics of one mount in one web process. Siblings ask for them, and Redis gets them every few seconds."""

from collections.abc import Iterator
from itertools import count

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from millrace.webapp.relay import Hub
from millrace.webapp.relay.counts import RelayCounts
from millrace.webapp.siblings import FromSiblings, Siblings
from millrace.worker.contract.sweep import SWEPT
from millrace.worker.observability.loop_lag import LoopLag
from millrace.worker.observability.shared_metrics import process_name

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

_ALERTING_PROBLEMS = (
    *("unauthorized", "rate_limited", "too_many_owners", "too_many_active", "too_many_readers", "too_many_waiting"),
    *("overloaded", "internal", "redis_away", "queue_away", "store_away", "limits_away"),
)
"""Counted from 0 on: Prometheus sees no increase in a series that begins with its first event."""

_serials = count(1)


class WebMetrics:
    """Metrics of one mount. Labels have bounded cardinality: none names a user or a generation."""

    def __init__(self, hub: Hub) -> None:
        self.serial = next(_serials)
        self.siblings: Siblings | None = None
        """The processes of the same gunicorn, set when this process starts to serve."""
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(ReaderCollector(hub))
        registry.register(SWEPT)
        self.loop_lag = LoopLag(registry)
        self.requests = Counter(
            "millrace_http_requests",
            "Requests by their route and status.",
            ["method", "route", "status"],
            registry=registry,
        )
        self.seconds = Histogram(
            "millrace_http_request_seconds",
            "From a request to its response's headers.",
            registry=registry,
            buckets=_BUCKETS,
        )
        self.messages = Counter(
            "millrace_websocket_messages",
            "Messages on WebSockets by type, and `ok` or the status of their problem.",
            ["type", "status"],
            registry=registry,
        )
        self.problems = Counter(
            "millrace_problems",
            "Requests refused with a problem, by its code; an EventSource that must wait to reconnect counts too.",
            ["code"],
            registry=registry,
        )
        for code in _ALERTING_PROBLEMS:
            self.problems.labels(code)
        self.created = Counter("millrace_generations_created", "Generations created.", registry=registry)
        self.page = PageMetrics(registry)
        self.limiter_failures = Counter(
            "millrace_limiter_failures", "Times that the limiter's storage did not answer.", registry=registry
        )

        self.proxy_faults = Counter(
            "millrace_proxy_faults",
            "Requests that do not fit `MILLRACE_TRUSTED_PROXIES` (`untrusted`: forwarded, but it is 0; `missing`: "
            "forwarded by fewer), or that came by HTTP/1.0 (`http_1_0`).",
            ["kind"],
            registry=registry,
        )
        for kind in ("untrusted", "missing", "http_1_0"):
            self.proxy_faults.labels(kind)

    def of_this_server(self) -> FromSiblings:
        """Return the metrics of this mount in every process of this gunicorn, by their places, within a second."""
        own, siblings = list(self.registry.collect()), self.siblings
        if siblings is None:
            return FromSiblings({"0": own}, 0)
        others = siblings.collect(self.serial)
        return FromSiblings({siblings.place: own, **others.metrics}, others.silent)

    @property
    def process_name(self) -> str:
        """The name under which the metrics are published; further mounts of a process get a number."""
        return process_name("web") if self.serial == 1 else f"{process_name('web')}:{self.serial}"


class PageMetrics:
    """The sums of what pages report about their answers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.answers = Counter(
            "millrace_page_answers",
            "Answers that a page has waited for, by how they ended there (`MILLRACE_BEACON`).",
            ["outcome"],
            registry=registry,
        )
        self.streaming = Counter(
            "millrace_page_streaming_seconds", "Time from a question to the end of its answer.", registry=registry
        )
        self.visible = Counter(
            "millrace_page_visible_seconds", "The part of that time in which the answer was visible.", registry=registry
        )


class ReaderCollector(Collector):
    """The figures that the hub and its relay keep anyway."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        """Yield the numbers of current readers, and what the relay has done so far."""
        hub = self._hub
        yield GaugeMetricFamily("millrace_readers", "Open streams.", value=hub.reader_count)
        yield GaugeMetricFamily(
            "millrace_readers_lagging", "Readers that are served from the log in Redis.", value=hub.lagging_count
        )
        yield GaugeMetricFamily("millrace_readers_full", "Readers that accept nothing for now.", value=hub.full_count)
        yield GaugeMetricFamily(
            "millrace_followed_generations", "Generations that have readers here.", value=hub.followed_count
        )
        ended = CounterMetricFamily(
            "millrace_reader_ends", "Streams that have ended, by reason; `stalled` readers were cut.", labels=["reason"]
        )
        for reason, number in sorted(hub.ended.items()):
            ended.add_metric([reason], number)
        yield ended
        yield from _relay_counters(hub.counts)


def _relay_counters(counts: RelayCounts) -> Iterator[Metric]:
    starts = CounterMetricFamily(
        "millrace_reader_starts",
        "Streams that have begun: `new` ones, and `resumed` ones with a cursor.",
        labels=["kind"],
    )
    starts.add_metric(["new"], counts.new_readers)
    starts.add_metric(["resumed"], counts.resumed_readers)
    yield starts
    received = CounterMetricFamily(
        "millrace_relay_received_events",
        "Events received from Redis, by whether the generation had a reader in this process.",
        labels=["watched"],
    )
    received.add_metric(["yes"], counts.watched_events)
    received.add_metric(["no"], counts.unwatched_events)
    yield received
    size = CounterMetricFamily(
        "millrace_relay_received_bytes", "The bytes of the events received from Redis.", labels=["watched"]
    )
    size.add_metric(["yes"], counts.watched_bytes)
    size.add_metric(["no"], counts.unwatched_bytes)
    yield size
    yield CounterMetricFamily(
        "millrace_relay_sent_events", "Events sent, once for each reader.", value=counts.sent_events
    )
    yield CounterMetricFamily(
        "millrace_relay_sent_bytes", "The bytes of the events sent, before any compression.", value=counts.sent_bytes
    )
    yield CounterMetricFamily(
        "millrace_relay_log_reads", "Reads of logs, for readers that are behind and for gaps.", value=counts.log_reads
    )
    repairs = CounterMetricFamily(
        "millrace_relay_repairs",
        "Logs in which a discontinuity was found and replaced by a snapshot, by its reason.",
        labels=["reason"],
    )
    for reason, number in sorted(counts.repairs.items()):
        repairs.add_metric([reason], number)
    yield repairs
