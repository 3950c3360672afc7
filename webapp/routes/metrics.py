"""The metrics for Prometheus: of the processes of this gunicorn, or of every web and worker process of the cluster."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from millrace.webapp.guard.access import may_see_metrics
from millrace.webapp.guard.limits import limited
from millrace.webapp.openapi.document import Description, described
from millrace.webapp.problems import Problem
from millrace.webapp.services import Services, services
from millrace.worker.contract.lease import count_unfinished
from millrace.worker.contract.presence import count_live_workers
from millrace.worker.contract.redis.streams import Streams, connect_streams
from millrace.worker.contract.waiting import oldest_waiting_seconds
from millrace.worker.errors import QueueUnavailable, RedisKeyInvalid, RedisUnavailable
from millrace.worker.observability.logs import get_logger
from millrace.worker.observability.shared_metrics import collect, merge

REDIS_SECONDS = 1.0

_log = get_logger(__name__)

routes = Blueprint("metrics", __name__)


@routes.get("/metrics")
@limited("public")
@described(Description(answers={200: str}, media="text/plain"))
def get_metrics() -> Response:
    """Return the metrics of this server's processes, and those that Redis has of the queue and the workers.

    Raises Problem 401 or 403 for a client that may not see them.
    """
    return _exposition(ThisServer)


@routes.get("/metrics/cluster")
@limited("public")
@described(Description(answers={200: str}, media="text/plain"))
def get_cluster_metrics() -> Response:
    """Return the metrics of all web and worker processes; while Redis is unavailable, of this one only.

    Raises Problem 401 or 403 for a client that may not see them.
    """
    return _exposition(AllProcesses)


def _exposition(make_collector: Callable[[Services], Collector]) -> Response:
    if not may_see_metrics():
        raise _refusal()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(make_collector(services()))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _refusal() -> Problem:
    if services().settings.http.metrics_token:
        challenge = {"WWW-Authenticate": 'Bearer realm="millrace metrics"'}
        return Problem(
            401,
            "unauthorized",
            "Send the token of MILLRACE_METRICS_TOKEN as a bearer token to get the metrics.",
            headers=challenge,
        )
    detail = "Only clients that connect directly from the server's machine get the metrics. Set MILLRACE_METRICS_TOKEN."
    return Problem(403, "metrics_not_allowed", detail)


class ThisServer(Collector):
    """The current metrics of every process of this gunicorn, with its place as `process`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        """Yield each metric family once."""
        found = self._services.metrics.of_this_server()
        yield from merge(found.metrics)
        processes = GaugeMetricFamily(
            "millrace_web_processes",
            "Processes of this server: those whose metrics are in this response, and `silent` ones, whose event loop "
            "is blocked.",
            labels=["state"],
        )
        processes.add_metric(["answering"], len(found.metrics))
        processes.add_metric(["silent"], found.silent)
        yield processes
        with _streams_of(self._services) as streams:
            yield from _redis_gauges(self._services, streams)


class AllProcesses(Collector):
    """The last published metrics of all processes and the current ones of this process, each with a `process` label."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        """Yield each metric family once."""
        metrics = self._services.metrics
        collected = {metrics.process_name: list(metrics.registry.collect())}
        with _streams_of(self._services) as streams:
            try:
                with _skip_unreadable("processes"):
                    collected = collect(streams.control) | collected
            except RedisUnavailable as error:
                _log.info("metrics_collection_failed", error=str(error))
            yield from merge(collected)
            yield from _redis_gauges(self._services, streams)


def _redis_gauges(services: Services, streams: Streams) -> Iterator[Metric]:
    """Yield the gauges that Redis holds for all processes; while it is unavailable, only that it is."""
    gauges: list[Metric] = []
    try:
        with _skip_unreadable("workers"):
            alive = count_live_workers(streams.control)
            gauges.append(GaugeMetricFamily("millrace_workers_alive", "Workers that consume.", value=alive))
        unfinished = sum(count_unfinished(node.redis) for node in streams.nodes if node.is_up)
        gauges.append(GaugeMetricFamily("millrace_unfinished", "Generations that have not ended.", value=unfinished))
        waiting = services.task_queue.count_waiting()
        gauges.append(GaugeMetricFamily("millrace_queue_length", "Tasks that wait in the queue.", value=waiting))
        oldest = oldest_waiting_seconds(streams, services.task_queue)
        gauges.append(
            GaugeMetricFamily(
                "millrace_queue_oldest_seconds",
                "Age of the oldest generation that waits for a worker, 0 if none waits.",
                value=oldest,
            )
        )
    except (RedisUnavailable, QueueUnavailable) as error:
        _log.info("metrics_collection_failed", error=str(error))
        gauges = []
        is_up = False
    else:
        is_up = True
    if streams.nodes[1:]:
        nodes = GaugeMetricFamily(
            "millrace_stream_node_up",
            "Whether a stream node, of a cluster each master, answers this process.",
            labels=["node"],
        )
        for node in streams.nodes[1:]:
            nodes.add_metric([node.name], node.is_whole)
        gauges.append(nodes)
    yield from gauges
    yield GaugeMetricFamily("millrace_redis_up", "Whether Redis is available.", value=is_up)


@contextmanager
def _streams_of(services: Services) -> Generator[Streams]:
    statuses = services.streams.statuses
    streams = connect_streams(services.settings, timeout_seconds=REDIS_SECONDS, retries=0, statuses=statuses)
    try:
        yield streams
    finally:
        streams.close()


@contextmanager
def _skip_unreadable(name: str) -> Generator[None]:
    """Leave out and log the metric that is read inside if its key is unreadable."""
    try:
        yield
    except RedisKeyInvalid as error:
        _log.error("metric_unreadable", name=name, error=error)
