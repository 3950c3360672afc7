"""Which workers live."""

from millrace.worker.contract.connection import Redis
from millrace.worker.contract.keys import WORKERS
from millrace.worker.contract.presence import ALIVE_MS, FORGET_MS, count_alive, say_alive


def age(redis: Redis, name: str, ms: int) -> None:
    redis.zincrby(WORKERS, -ms, name)


def test_a_worker_lives_while_it_says_so(redis: Redis) -> None:
    assert count_alive(redis) == 0
    for name in ("one", "two", "one"):
        say_alive(redis, name)
    assert count_alive(redis) == 2
    age(redis, "one", ALIVE_MS + 1000)
    assert count_alive(redis) == 1
    say_alive(redis, "one")
    assert count_alive(redis) == 2


def test_one_long_gone_is_forgotten(redis: Redis) -> None:
    say_alive(redis, "gone")
    age(redis, "gone", FORGET_MS + 1000)
    say_alive(redis, "here")
    assert redis.zrange(WORKERS, 0, -1) == [b"here"]
