from millrace.worker.contract.connection import Redis
from millrace.worker.contract.keys import RETENTION
from millrace.worker.contract.lifetimes import RETENTION_MS
from millrace.worker.contract.retention import take_retention_turn


def test_one_process_at_a_time_deletes_expired_data(redis: Redis) -> None:
    assert take_retention_turn(redis, "web:a:1")
    assert not take_retention_turn(redis, "web:a:1")
    assert not take_retention_turn(redis, "web:b:2")
    assert redis.get(RETENTION) == b"web:a:1"
    assert RETENTION_MS - 10_000 < int(redis.pttl(RETENTION)) <= RETENTION_MS  # type: ignore[arg-type]
