"""Sweeping and ringing, as every process does, web or worker."""

import logging

from worker.contract.connection import Redis
from worker.contract.lease import sweep
from worker.contract.queue import Doorbell
from worker.contract.settings import Settings

_log = logging.getLogger(__name__)


def sweep_and_ring(redis: Redis, settings: Settings, doorbell: Doorbell) -> None:
    """Sweep once, and ring for what has no holder; raises RedisAway, QueueAway.

    What could not be rung is swept again in a few seconds.
    """
    swept = sweep(redis, settings)
    if swept.ring or swept.suspected or swept.ended:
        _log.info("swept rung=%d suspected=%d ended=%d", len(swept.ring), swept.suspected, swept.ended)
    for generation in swept.ring:
        doorbell.ring(generation)
