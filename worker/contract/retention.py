"""The turn to delete expired data: one process has it at a time."""

from typing import cast

from millrace.worker.contract.connection import Redis, translate_redis_errors
from millrace.worker.contract.keys import RETENTION
from millrace.worker.contract.lifetimes import RETENTION_MS


def take_retention_turn(redis: Redis, process: str) -> bool:
    """Return whether this process deletes expired data now; the next turn is a minute later.

    Deleting twice at once does no harm, so a pass that takes longer needs no renewal. Raises RedisUnavailable.
    """
    with translate_redis_errors():
        return bool(cast("bool | None", redis.set(RETENTION, process, nx=True, px=RETENTION_MS)))
