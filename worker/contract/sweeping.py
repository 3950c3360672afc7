"""Sweeping and ringing, as every process does, web or worker."""

from millrace.worker.contract.connection import Redis
from millrace.worker.contract.lease import sweep
from millrace.worker.contract.logs import get_logger
from millrace.worker.contract.queue import Doorbell
from millrace.worker.contract.settings import Settings

_log = get_logger(__name__)


def sweep_and_ring(redis: Redis, settings: Settings, doorbell: Doorbell) -> None:
    """Sweep once, and ring for what has no holder; raises RedisAway, QueueAway.

    What could not be rung is swept again in a few seconds.
    """
    swept = sweep(redis, settings)
    if swept.ring or swept.suspected or swept.ended:
        _log.info("swept", rung=len(swept.ring), suspected=swept.suspected, ended=swept.ended)
    for generation in swept.ring:
        doorbell.ring(generation)
