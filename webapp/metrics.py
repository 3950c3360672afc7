"""What a web process counts and measures; told every few seconds to whichever web is asked for it."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from millrace.webapp.relay import Hub

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class WebMetrics:
    """One process's figures; no label of theirs names a user, a generation or anything else without number."""

    def __init__(self, hub: Hub) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(Readers(hub))
        self.requests = Counter(
            "millrace_requests", "Requests by their route and status.", ["method", "route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "millrace_request_seconds", "From a request to its answer's headers.", registry=registry, buckets=_BUCKETS
        )
        self.limiter_failures = Counter(
            "millrace_limiter_failures", "Times that the limiter's storage did not answer.", registry=registry
        )


class Readers(Collector):
    """Those who follow, as the hub counts them anyway."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        """Yield how many follow now, and how many streams have ended, by why."""
        yield GaugeMetricFamily("millrace_readers", "Streams that are followed.", value=self._hub.reader_count)
        ended = CounterMetricFamily("millrace_streams_ended", "Streams that have ended, by why.", labels=["why"])
        for why, count in sorted(self._hub.ended.items()):
            ended.add_metric([why], count)
        yield ended
