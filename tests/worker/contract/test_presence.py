"""The heartbeats of live workers."""

from millrace.worker.contract.keys import WORKERS
from millrace.worker.contract.presence import FORGOTTEN_AFTER_MS, LIVE_MS, count_live_workers, record_heartbeat
from millrace.worker.contract.redis.connection import Redis


def age(redis: Redis, name: str, ms: int) -> None:
    redis.zincrby(WORKERS, -ms, name)


def test_worker_is_live_while_it_records_heartbeats(redis: Redis) -> None:
    assert count_live_workers(redis) == 0
    for name in ("one", "two", "one"):
        record_heartbeat(redis, name)
    assert count_live_workers(redis) == 2
    age(redis, "one", LIVE_MS + 1000)
    assert count_live_workers(redis) == 1
    record_heartbeat(redis, "one")
    assert count_live_workers(redis) == 2


def test_worker_without_heartbeats_is_removed(redis: Redis) -> None:
    record_heartbeat(redis, "gone")
    age(redis, "gone", FORGOTTEN_AFTER_MS + 1000)
    record_heartbeat(redis, "here")
    assert redis.zrange(WORKERS, 0, -1) == [b"here"]
