"""The live worker processes: those that have consumed from the queue recently, by Redis's clock."""

from millrace.worker.contract.keys import WORKERS
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.scripts import COUNT_LIVE, RECORD_HEARTBEAT

FORGOTTEN_AFTER_MS = 60_000
LIVE_MS = 10_000


def record_heartbeat(redis: Redis, worker: str) -> None:
    """Record that this worker process has consumed its canary; raises RedisUnavailable."""
    RECORD_HEARTBEAT(redis, (WORKERS,), worker, FORGOTTEN_AFTER_MS)


def count_live_workers(redis: Redis) -> int:
    """Return how many worker processes have consumed their canary in the last ten seconds; raises RedisUnavailable."""
    return int(COUNT_LIVE(redis, (WORKERS,), LIVE_MS))
