"""The metrics of one mount in one web process. Siblings ask for them, and Redis gets them every few seconds."""

from collections.abc import Iterator
from itertools import count

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from millrace.webapp.relay import Hub
from millrace.webapp.siblings import FromSiblings, Siblings
from millrace.worker.observability.shared_metrics import process_name

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

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


class ReaderCollector(Collector):
    """The reader counts that the hub keeps anyway."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        """Yield the number of current readers, and of ended streams by reason."""
        yield GaugeMetricFamily("millrace_readers", "Open streams.", value=self._hub.reader_count)
        ended = CounterMetricFamily(
            "millrace_reader_ends", "Readers that have left, by reason; `stalled` ones were cut.", labels=["reason"]
        )
        for reason, number in sorted(self._hub.ended.items()):
            ended.add_metric([reason], number)
        yield ended
