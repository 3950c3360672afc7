"""Looks after the generations that this process runs: renews their leases, hears of cancels, keeps their deadlines.

For a moment it looks after those, too, that have just ended: what Redis loses of an end is told again.

Two greenlets: one talks to Redis, with a bound on each wait; the other only reads the clock, so that deadlines and
the end of the process hold while Redis stands still.
"""

import time
from collections.abc import Callable, Collection

import gevent
from gevent.event import Event as Signal

from millrace.worker.contract.connection import Redis
from millrace.worker.contract.lease import Renewal, have_ended, renew_all
from millrace.worker.errors import RedisUnavailable
from millrace.worker.interrupt import CancelAsked, HandOver, TimeIsUp
from millrace.worker.observability.logs import get_logger
from millrace.worker.publishing.outbox import Outbox
from millrace.worker.run import RunningGeneration
from millrace.worker.settings.schema import Settings

LOOK_SECONDS = 0.2
HEARD_SECONDS = 0.1  # an append within so long has told who asked to cancel
RENEWALS_PER_LEASE = 3.2
LAG_SECONDS = 1.0
KEPT_SECONDS = 2.5  # Redis writes its file each second: an end that it has acknowledged may be lost in a crash
STOP_SECONDS = 1.0
FAREWELL_SECONDS = 2.5  # for handing over, after which the process goes, whatever Redis does

_log = get_logger(__name__)


class Watcher:
    """Watches over `runs`, which others add to and take from; `recover` is told of claims that Redis has lost."""

    def __init__(
        self, store: Redis, settings: Settings, runs: Collection[RunningGeneration], recover: Callable[[Outbox], None]
    ) -> None:
        self._redis = store
        self._settings = settings
        self._runs = runs
        self._recover = recover
        self._kept: dict[RunningGeneration, float] = {}
        self._renew_at = 0.0
        self._is_away = False
        self._stopping = Signal()
        self._greenlets: list[gevent.Greenlet[..., None]] = []
        self.leave_at: float | None = None
        """When this process hands over what still runs; set from a signal handler, so it is only looked at here."""

    def start(self) -> None:
        """Begin to watch."""
        self._greenlets = [gevent.spawn(self._look_for_ever), gevent.spawn(self._mind_the_clock)]

    def stop(self) -> None:
        """End after the round under way; ends that are being told again have a moment for it."""
        waits_until = time.monotonic() + STOP_SECONDS
        for run in list(self._kept):
            run.outbox.wait(max(0.0, waits_until - time.monotonic()))
        self._stopping.set()
        gevent.joinall(self._greenlets, STOP_SECONDS)
        gevent.killall(self._greenlets)

    def look(self) -> None:
        """Renew all leases when it is time; in between, ask after those that no append has told of; raises RedisUnavailable.

        Both are the same script, which also says who asked to cancel.
        """
        now = time.monotonic()
        is_time = now >= self._renew_at
        runs = [
            run
            for run in [*self._runs, *self._kept]
            if run.outbox.is_alive and (is_time or now - run.outbox.heard_at > HEARD_SECONDS)
        ]
        claims = [run.outbox.claim for run in runs]
        renewals = renew_all(self._redis, claims, self._settings) if claims else []
        if is_time:
            self._renew_at = now + self._settings.generation.lease_seconds / RENEWALS_PER_LEASE
        for run, claim, renewal in zip(runs, claims, renewals, strict=True):
            if run.outbox.claim is claim:  # else claimed anew meanwhile: the answer is of the old claim
                self._heed(run, renewal)

    def _heed(self, run: RunningGeneration, renewal: Renewal | Exception) -> None:
        if isinstance(renewal, Exception):
            _log.error("renewal_refused", generation=run.holding.claim.generation, error=renewal)
        elif renewal.verdict == "expired":
            run.outbox.stop("expired")
        elif renewal.verdict != "held":
            # Fenced or lost, a reclaim decides: it alone knows one before it whose reply was lost. Where everything is
            # on its way, to `done`, its appends tell, and this may be the answer to a `done` that is in the log.
            if run.outbox.is_open:
                self._recover(run.outbox)
        elif renewal.cancelled_by:
            run.interrupt.strike(CancelAsked(renewal.cancelled_by))

    def keep(self, run: RunningGeneration) -> None:
        """Look after a generation for a little longer whose end is in the log: Redis may lose it yet."""
        self._kept[run] = time.monotonic()

    def has_kept(self, generation: str) -> bool:
        """Whether this process has just ended a generation and looks after its end."""
        return any(run.holding.claim.generation == generation for run in self._kept)

    def look_back(self) -> None:
        """Have the ends told again that Redis has lost, and forget those it has kept; raises RedisUnavailable."""
        now = time.monotonic()
        for run in [run for run in self._kept if not (run.outbox.is_alive or run.outbox.has_ended)]:
            del self._kept[run]  # somebody else has claimed it since
        ended = [run for run in self._kept if run.outbox.has_ended]
        if not ended:
            return
        known = have_ended(self._redis, [run.holding.claim.generation for run in ended])
        for run, is_known in zip(ended, known, strict=True):
            if not is_known:
                self._recover(run.outbox)
                self._kept[run] = now
            elif now - self._kept[run] > KEPT_SECONDS:
                del self._kept[run]

    def _look_for_ever(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                self.look()
                self.look_back()
            except RedisUnavailable as error:
                if not self._is_away:
                    _log.warning("translate_redis_errors", error=error)
                self._is_away = True
            except Exception:  # noqa: BLE001 - the edge of this greenlet: without it every lease would run out
                _log.exception("watcher_failed")
            else:
                self._is_away = False

    def _mind_the_clock(self) -> None:
        before = time.monotonic()
        while not self._stopping.wait(LOOK_SECONDS):
            now = time.monotonic()
            if now - before - LOOK_SECONDS > LAG_SECONDS:
                _log.warning("hub_blocked", seconds=round(now - before - LOOK_SECONDS, 1))
            self.keep_deadlines(now)
            before = time.monotonic()

    def keep_deadlines(self, now: float) -> None:
        """Interrupt the runs whose time is up, and all of them once this process must leave."""
        for run in list(self._runs):
            if now >= run.ends_by:
                run.interrupt.strike(TimeIsUp())
            if self.leave_at is not None and now >= self.leave_at:
                run.interrupt.strike(HandOver())
                if now >= self.leave_at + FAREWELL_SECONDS:
                    run.outbox.stop("the process ends")
