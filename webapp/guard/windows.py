"""Sliding windows in Redis, each with a count of requests, counted in as many as a request has in one round trip.

The windows and their arithmetic are those of the library `limits`, whose scripts run here within one of ours: a round
trip for each window would take longer than all other checks of a request.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from limits import RateLimitItem
from limits.errors import StorageError
from limits.storage import RedisStorage
from redis import RedisError

from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.scripts import Script
from millrace.worker.errors import RedisKeyInvalid, RedisUnavailable

# ARGV has a window's limit and its seconds for each two keys. A request that one window has no room for does not count
# in those behind it. Returns that window's number or 0, and the counts of that window, otherwise of the first.
_COUNT = """
local function acquire(KEYS, ARGV)
%s
end
local function counts(KEYS, ARGV)
%s
end
local full, shown = 0, 1
for number = 1, #KEYS / 2 do
  local at = 2 * number
  if not acquire({ KEYS[at - 1], KEYS[at] }, { ARGV[at - 1], ARGV[at], 1 }) then
    full, shown = number, number
    break
  end
end
return { full, counts({ KEYS[2 * shown - 1], KEYS[2 * shown] }, { ARGV[2 * shown] }) }
"""


class Counter(NamedTuple):
    """One rate, and the key of its window for one owner or address."""

    rate: RateLimitItem
    key: str


class WindowCounts(NamedTuple):
    """The counts of the previous and the current window, and the seconds until each expires."""

    previous: int
    previous_left: float
    current: int
    current_left: float


class SlidingWindows:
    """The windows in one storage, to which `redis` leads; each method raises StorageError while it is unavailable."""

    def __init__(self, storage: RedisStorage, redis: Redis) -> None:
        self._storage, self._redis = storage, redis
        scripts = storage.SCRIPT_ACQUIRE_SLIDING_WINDOW, storage.SCRIPT_SLIDING_WINDOW
        self._count = Script("count_requests", _COUNT % tuple(each.decode() for each in scripts))

    def count(self, counters: Sequence[Counter]) -> tuple[int | None, WindowCounts]:
        """Count a request in each window, up to the first that has no room for it.

        Returns the place of that one and its counts, or None and the counts of the first.
        """
        keys = [self._storage.prefixed_key(key) for each in counters for key in self._keys_of(each)]
        arguments = [value for each in counters for value in (each.rate.amount, each.rate.get_expiry())]
        try:
            full, found = cast("tuple[int, list[Any]]", self._count(self._redis, keys, *arguments))
        except (RedisError, RedisUnavailable, RedisKeyInvalid) as error:
            raise StorageError(error) from error
        previous, previous_left, current, current_left = (max(0, int(each or 0)) for each in found)
        counts = WindowCounts(previous, previous_left / 1000, current, current_left / 1000)
        return (full - 1 if full else None), counts

    def counts(self, counter: Counter) -> WindowCounts:
        """Return the counts of a window."""
        return WindowCounts(*self._storage.get_sliding_window(counter.key, counter.rate.get_expiry()))

    def _keys_of(self, counter: Counter) -> tuple[str, str]:
        storage = self._storage
        return storage._previous_window_key(counter.key), storage._current_window_key(counter.key)  # noqa: SLF001 - `limits` has no public name for them; a test compares
