"""GET /metrics: the figures of all processes, web and worker, and of what waits in Redis, for Prometheus."""

from collections.abc import Iterator

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from millrace.webapp.openapi.describing import Description, described
from millrace.webapp.services import Services, services
from millrace.worker.contract.connection import connect
from millrace.worker.contract.lease import count_unfinished
from millrace.worker.contract.presence import count_live_workers
from millrace.worker.errors import QueueUnavailable, RedisUnavailable
from millrace.worker.observability.logs import get_logger
from millrace.worker.observability.shared_metrics import collect, merge, process_name

ANSWER_SECONDS = 1.0

_log = get_logger(__name__)

routes = Blueprint("metrics", __name__)


@routes.get("/metrics")
@described(Description(answers={200: str}, media="text/plain"))
def get_metrics() -> Response:
    """Return all figures in Prometheus's text format; while Redis is away, this process's alone."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(AllProcesses(services()))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class AllProcesses(Collector):
    """What all processes have told, and this one as it stands; each sample says whose it is."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        """Yield every family once."""
        told = {process_name("web"): list(self._services.figures.registry.collect())}
        redis = connect(self._services.settings.redis.url, timeout_seconds=ANSWER_SECONDS, retries=0)
        gauges: dict[str, tuple[str, int]] = {}
        try:
            told = collect(redis) | told
            gauges["millrace_workers_alive"] = "Workers that consume.", count_live_workers(redis)
            gauges["millrace_unfinished"] = "Generations that have not ended.", count_unfinished(redis)
            gauges["millrace_queue_length"] = "Rings that wait.", self._services.task_queue.count_waiting()
        except (RedisUnavailable, QueueUnavailable) as away:
            _log.info("figures_not_collected", error=str(away))
            is_up = False
        else:
            is_up = True
        finally:
            redis.close()
        gauges["millrace_redis_up"] = "Whether Redis answered just now.", int(is_up)
        yield from merge(told)
        for name, (documentation, value) in gauges.items():
            yield GaugeMetricFamily(name, documentation, value=value)
