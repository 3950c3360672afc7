from millrace.worker.contract.keys import retention_key
from millrace.worker.contract.lifetimes import RETENTION_MS
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.retention import take_retention_turn


def test_one_process_at_a_time_deletes_expired_data(redis: Redis) -> None:
    assert take_retention_turn(redis, "db/chat/", "web:a:1")
    assert not take_retention_turn(redis, "db/chat/", "web:a:1")
    assert not take_retention_turn(redis, "db/chat/", "web:b:2")
    assert redis.get(retention_key("db/chat/")) == b"web:a:1"
    assert RETENTION_MS - 10_000 < int(redis.pttl(retention_key("db/chat/"))) <= RETENTION_MS  # type: ignore[arg-type]


def test_databases_that_share_a_redis_have_turns_of_their_own(redis: Redis) -> None:
    assert take_retention_turn(redis, "db/a/", "web:a:1")
    assert take_retention_turn(redis, "db/b/", "web:a:1")
    assert not take_retention_turn(redis, "db/b/", "web:a:1")
