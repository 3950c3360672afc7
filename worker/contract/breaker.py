"""The circuit breaker of each provider's model, shared by all workers: a model that fails is not called for a while.

```text
        enough failures within the window          open time is over, a call is asked for
 closed ──────────────────────────────────▶ open ─────────────────────────────────────────▶ probing
   ▲                                          ▲                                              │  │
   │                                          └── the probe fails: twice the time, bounded ──┘  │
   └───────────────────────────── the probe succeeds ───────────────────────────────────────────┘
```

One call at a time probes, under a lease: a prober that dies gives way to the next, and one that is cancelled does so at
once. Each opening and each closing begins a period; a failure of a call that was asked for in an earlier period is
ignored. `lua/breaker.lua` decides all of this, by Redis's clock.

Only failures create keys, and all keys expire. The caller asks only about models that requests may name.
"""

import time
from dataclasses import dataclass
from typing import Literal, cast

from redis.exceptions import RedisError

from millrace.worker.contract.ids import new_id
from millrace.worker.contract.keys import breaker_keys
from millrace.worker.contract.lifetimes import STATE_MS, to_ms
from millrace.worker.contract.redis.connection import connect, run_each
from millrace.worker.contract.scripts import BREAKER
from millrace.worker.errors import DependencyUnavailable
from millrace.worker.observability.logs import get_logger
from millrace.worker.settings.schema import Settings

REPLY_SECONDS = 0.5  # an answer waits no longer than this for Redis's decision
PAUSE_SECONDS = 1.0  # after a failure to reach Redis, so that calls meanwhile do not wait for it either
MAX_OBSERVED = 100  # candidates; further ones have a breaker and no metric

_log = get_logger(__name__)


@dataclass(frozen=True)
class Permission:
    """Whether a candidate may be called; the call's result is reported with it.

    `wait_seconds`: if denied, until a probe may begin. `token` and `period` are empty if Redis was not asked.
    """

    candidate: str
    is_allowed: bool = True
    is_probe: bool = False
    wait_seconds: float = 0.0
    token: str = ""
    period: str = ""


@dataclass(frozen=True)
class BreakerState:
    """The breaker of one candidate: whether it is open, by Redis, and how often this process has opened it."""

    candidate: str
    is_open: bool
    openings: int


class Breaker:
    """The breakers of all candidates, each named `<provider>:<model>`; any number of greenlets may use it.

    No method but `read_states` raises: without Redis, every candidate is allowed and reports have no effect. Only
    `ask`, a failure and the result of a probe cost a round trip. Each permission is for one call and one report.
    """

    def __init__(self, settings: Settings) -> None:
        own = settings.breaker
        lease_seconds = max(own.probe_seconds, settings.providers.start_seconds)  # a slow start is no dead prober
        times = (own.window_seconds, own.open_seconds, own.max_open_seconds, lease_seconds)
        self._is_off = own.failures == 0
        self._rules = (own.failures, *(to_ms(each) for each in times), STATE_MS)
        self._redis = connect(settings.redis.url, "control", timeout_seconds=REPLY_SECONDS, retries=0)
        self._openings: dict[str, int] = {}
        self._is_away = False
        self._asks_again_at = 0.0

    def ask(self, candidate: str) -> Permission:
        """Return whether the candidate may be called now, and whether the call is a probe."""
        if self._is_off:
            return Permission(candidate)
        self._observe(candidate)
        token = new_id()
        reply = self._run("ask", candidate, token, "")
        if reply is None:
            return Permission(candidate)
        verdict, period, wait_ms = reply
        return Permission(candidate, verdict != b"open", verdict == b"probe", wait_ms / 1000, token, period.decode())

    def succeeded(self, permission: Permission) -> None:
        """Report that the call works: a probe closes the breaker, and so does a call made although it was denied."""
        if permission.is_probe or not permission.is_allowed:
            self._report("succeeded", permission)

    def failed(self, permission: Permission) -> None:
        """Report that the call failed because of its provider; a call made although it was denied does not count."""
        if permission.is_allowed:
            self._report("failed", permission)

    def abandoned(self, permission: Permission) -> None:
        """Report that the call ended without a result, such as by a cancel: if it was a probe, another may begin."""
        if permission.is_probe:
            self._report("abandoned", permission)

    def read_states(self) -> list[BreakerState]:
        """Return the states of the candidates that this process has asked about; raises RedisUnavailable."""
        openings = dict(self._openings)
        pipeline = self._redis.pipeline(transaction=False)
        for candidate in openings:
            pipeline.hget(breaker_keys(candidate)[0], "openings")
        replies = run_each(pipeline) if openings else []
        return [
            BreakerState(candidate, isinstance(reply, bytes) and reply != b"0", count)
            for (candidate, count), reply in zip(openings.items(), replies, strict=True)
        ]

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _observe(self, candidate: str) -> None:
        if len(self._openings) < MAX_OBSERVED:
            self._openings.setdefault(candidate, 0)

    def _report(self, verb: Literal["succeeded", "failed", "abandoned"], permission: Permission) -> None:
        if not permission.token:
            return
        candidate = permission.candidate
        reply = self._run(verb, candidate, permission.token, permission.period)
        verdict, _, wait_ms = reply or (b"", b"", 0)
        if verdict == b"opened":
            if candidate in self._openings:
                self._openings[candidate] += 1
            _log.warning("breaker_opened", candidate=candidate, seconds=wait_ms / 1000)
        elif verdict == b"closed":
            _log.info("breaker_closed", candidate=candidate)

    def _run(self, verb: str, candidate: str, token: str, period: str) -> tuple[bytes, bytes, int] | None:
        """Return the script's reply, or None if Redis does not serve."""
        if time.monotonic() < self._asks_again_at:
            return None
        try:
            reply = BREAKER(self._redis, breaker_keys(candidate), verb, token, period, *self._rules)
        except (DependencyUnavailable, RedisError) as error:
            self._asks_again_at = time.monotonic() + PAUSE_SECONDS
            if not self._is_away:
                self._is_away = True
                _log.warning("breaker_without_redis", error=error)
            return None
        self._is_away = False
        return cast("tuple[bytes, bytes, int]", reply)
