"""Counting in several windows by one script gives what the library's own calls give one after the other."""

import random
from collections.abc import Iterator

import pytest
from limits import RateLimitItem, RateLimitItemPerHour
from limits.errors import StorageError
from limits.storage import RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from millrace.webapp.guard.windows import Counter, SlidingWindows, WindowCounts
from millrace.worker.contract.redis.connection import Redis, connect
from tests.valkey import ValkeyProcess
from tests.webapp.harness import DEAD_PORT

OWNER, ADDRESS = RateLimitItemPerHour(3), RateLimitItemPerHour(5)


@pytest.fixture
def storage(store: ValkeyProcess, client: Redis) -> Iterator[RedisStorage]:
    connection = connect(store.url)
    yield RedisStorage(store.url, connection_pool=connection.connection_pool, key_prefix="mr:limits")
    connection.close()


def counter_of(rate: RateLimitItem, subject: str) -> Counter:
    return Counter(rate, rate.key_for("create", subject))


def test_a_request_counts_in_each_window_up_to_the_first_that_is_full(storage: RedisStorage, client: Redis) -> None:
    windows = SlidingWindows(storage, client)
    owner, address = counter_of(OWNER, "owner"), counter_of(ADDRESS, "address")
    assert [windows.count([owner, address])[0] for _ in range(5)] == [None, None, None, 0, 0]
    assert (windows.counts(owner).current, windows.counts(address).current) == (3, 3)
    other = counter_of(OWNER, "other")
    assert [windows.count([other, address])[0] for _ in range(3)] == [None, None, 1]
    assert (windows.counts(other).current, windows.counts(address).current) == (3, 5)


def test_the_counts_are_those_of_the_full_window_or_of_the_first(storage: RedisStorage, client: Redis) -> None:
    windows = SlidingWindows(storage, client)
    owner, address = counter_of(OWNER, "owner"), counter_of(RateLimitItemPerHour(1), "address")
    full, counts = windows.count([owner, address])
    assert (full, counts.previous, counts.current) == (None, 0, 1)
    assert 0 < counts.current_left <= 2 * OWNER.get_expiry()
    windows.count([owner])
    full, counts = windows.count([owner, address])
    assert (full, counts.current) == (1, 1)


def test_one_script_counts_as_the_librarys_own_calls_do(storage: RedisStorage, client: Redis) -> None:
    windows, strategy = SlidingWindows(storage, client), SlidingWindowCounterRateLimiter(storage)
    rates = [RateLimitItemPerHour(4), RateLimitItemPerHour(9), RateLimitItemPerHour(7)]
    rng = random.Random(5)
    for _ in range(60):
        used = rng.sample(rates, rng.randint(1, 3))
        full, counts = windows.count([counter_of(rate, "ours") for rate in used])
        expected = next((at for at, rate in enumerate(used) if not strategy.hit(rate, "create", "theirs")), None)
        assert full == expected
        theirs = counter_of(used[full or 0], "theirs")
        assert counts[::2] == WindowCounts(*storage.get_sliding_window(theirs.key, theirs.rate.get_expiry()))[::2]


def test_a_window_moves_on_as_the_librarys_does(storage: RedisStorage, client: Redis) -> None:
    windows, owner = SlidingWindows(storage, client), counter_of(OWNER, "owner")
    assert [windows.count([owner])[0] for _ in range(4)] == [None, None, None, 0]
    client.pexpire(f"mr:limits:{{{owner.key}}}", 1000 * OWNER.get_expiry() - 1)  # the first hour has just passed
    full, counts = windows.count([owner])  # of the three in the hour before, somewhat fewer count
    assert full is None
    assert (counts.previous, counts.current) == (3, 1)


def test_an_unavailable_storage_raises_its_error() -> None:
    url = f"redis://127.0.0.1:{DEAD_PORT}"
    windows = SlidingWindows(RedisStorage(url, wrap_exceptions=True), connect(url, retries=0))
    with pytest.raises(StorageError):
        windows.count([counter_of(OWNER, "owner")])
    with pytest.raises(StorageError):
        windows.counts(counter_of(OWNER, "owner"))
