"""Which worker processes live and consume, by Redis's clock."""

from millrace.worker.contract.connection import Redis
from millrace.worker.contract.keys import WORKERS
from millrace.worker.contract.scripts import ALIVE, SEEN

FORGET_MS = 60_000
ALIVE_MS = 10_000


def say_alive(redis: Redis, name: str) -> None:
    """Note that the worker process called `name` has consumed its canary; raises RedisUnavailable."""
    SEEN(redis, (WORKERS,), name, FORGET_MS)


def count_alive(redis: Redis) -> int:
    """Return how many worker processes have consumed in the last ten seconds; raises RedisUnavailable."""
    return int(ALIVE(redis, (WORKERS,), ALIVE_MS))
