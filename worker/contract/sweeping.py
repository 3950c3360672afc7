"""Sweeping and ringing, as every process does, web or worker."""

from millrace.worker.contract.connection import Redis
from millrace.worker.contract.lease import sweep
from millrace.worker.contract.queue import TaskQueue
from millrace.worker.observability.logs import get_logger
from millrace.worker.settings.schema import Settings

_log = get_logger(__name__)


def sweep_and_enqueue(redis: Redis, settings: Settings, task_queue: TaskQueue) -> None:
    """Sweep once, and ring for what has no holder; raises RedisUnavailable, QueueUnavailable.

    What could not be rung is swept again in a few seconds.
    """
    swept = sweep(redis, settings)
    if swept.ring or swept.suspected or swept.ended:
        _log.info("swept", rung=len(swept.ring), suspected=swept.suspected, ended=swept.ended)
    for generation in swept.ring:
        task_queue.enqueue(generation)
