"""GET /metrics: the metrics of all web and worker processes, and of the queue in Redis, for Prometheus."""

from collections.abc import Generator, Iterator
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
from millrace.worker.contract.connection import connect
from millrace.worker.contract.lease import count_unfinished
from millrace.worker.contract.presence import count_live_workers
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
    """Return the metrics of all processes in Prometheus's format; while Redis is unavailable, of this one only.

    Raises Problem 401 or 403 for a client that may not see them.
    """
    if not may_see_metrics():
        raise _refusal()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(AllProcesses(services()))
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


class AllProcesses(Collector):
    """The last published metrics of all processes and the current ones of this process, each with a `process` label."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        """Yield each metric family once."""
        collected = {self._services.metrics.process_name: list(self._services.metrics.registry.collect())}
        redis = connect(self._services.settings.redis.url, timeout_seconds=REDIS_SECONDS, retries=0)
        gauges: dict[str, tuple[str, int]] = {}
        try:
            with _skip_unreadable("processes"):
                collected = collect(redis) | collected
            with _skip_unreadable("workers"):
                gauges["millrace_workers_alive"] = "Workers that consume.", count_live_workers(redis)
            gauges["millrace_unfinished"] = "Generations that have not ended.", count_unfinished(redis)
            gauges["millrace_queue_length"] = "Tasks that wait in the queue.", self._services.task_queue.count_waiting()
        except (RedisUnavailable, QueueUnavailable) as error:
            _log.info("metrics_collection_failed", error=str(error))
            is_up = False
        else:
            is_up = True
        finally:
            redis.close()
        gauges["millrace_redis_up"] = "Whether Redis is available.", int(is_up)
        yield from merge(collected)
        for name, (documentation, value) in gauges.items():
            yield GaugeMetricFamily(name, documentation, value=value)


@contextmanager
def _skip_unreadable(name: str) -> Generator[None]:
    """Leave out and log the metric that is read inside if its key is unreadable."""
    try:
        yield
    except RedisKeyInvalid as error:
        _log.error("metric_unreadable", name=name, error=error)
