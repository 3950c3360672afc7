"""The turn to delete expired data: of the processes that share a database, one has it at a time."""

from typing import cast

from millrace.worker.contract.keys import retention_key
from millrace.worker.contract.lifetimes import RETENTION_MS
from millrace.worker.contract.redis.connection import Redis, translate_redis_errors


def take_retention_turn(redis: Redis, database: str, process: str) -> bool:
    """Return whether this process deletes expired data of a database now; the next turn is a minute later.

    Other databases may share the Redis: each has a turn of its own. Deleting twice at once does no harm, so a pass that
    takes longer needs no renewal. Raises RedisUnavailable.
    """
    with translate_redis_errors():
        return bool(cast("bool | None", redis.set(retention_key(database), process, nx=True, px=RETENTION_MS)))
