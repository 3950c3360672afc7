"""The watcher: renews the leases of the generations that this process runs on one stream node, and forwards cancels.

It also watches generations that have just ended: Redis may lose their last events, which are then published again.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import assert_never

from millrace.worker.answer_meter import AnswerMeter
from millrace.worker.background_task import BackgroundTask
from millrace.worker.contract.lease import ClaimedGeneration, Renewal, have_ended, renew_all
from millrace.worker.contract.redis.connection import Redis, is_unavailable
from millrace.worker.errors import RedisUnavailable
from millrace.worker.interrupt import CancelRequested, Interrupt
from millrace.worker.observability.logs import get_logger
from millrace.worker.publishing.outbox import Outbox
from millrace.worker.settings.schema import Settings

POLL_SECONDS = 0.2
FRESH_SECONDS = 0.1  # the reply to an append within this time has already reported any cancel
RENEWALS_PER_LEASE = 3.2
ENDED_WATCH_SECONDS = 2.5  # Redis syncs its file every second: a crash may lose an end that it has acknowledged
STOP_SECONDS = 1.0

_log = get_logger(__name__)


@dataclass(eq=False)
class RunningGeneration:
    """A claimed generation that this process runs; times are those of `time.monotonic`."""

    claimed: ClaimedGeneration
    interrupt: Interrupt
    outbox: Outbox
    deadline: float
    meter: AnswerMeter

    @property
    def generation(self) -> str:
        """The generation's id."""
        return self.claimed.claim.generation


class Watcher(BackgroundTask):
    """Watches the generations of one node in `running`, to which the process adds and from which it removes.

    `recover` is called with the outbox of each generation whose claim or end Redis has lost.
    """

    stop_seconds = STOP_SECONDS

    def __init__(
        self,
        redis: Redis,
        settings: Settings,
        running: Collection[RunningGeneration],
        recover: Callable[[Outbox], None],
    ) -> None:
        super().__init__()
        self._redis = redis
        self._settings = settings
        self._running = running
        self._recover = recover
        self._ended: dict[RunningGeneration, float] = {}
        self._renew_at = 0.0
        self._is_redis_unavailable = False

    def stop(self) -> None:
        """Stop after the current pass; ends that are being published again get a moment to reach the log."""
        give_up_at = time.monotonic() + STOP_SECONDS
        for run in list(self._ended):
            run.outbox.wait_until_empty(max(0.0, give_up_at - time.monotonic()))
        super().stop()

    def renew_leases(self) -> None:
        """Renew all leases when they are due; raises RedisUnavailable.

        In between, renew only the leases of generations without a recent append, because the reply also reports a
        requested cancel.
        """
        now = time.monotonic()
        is_due = now >= self._renew_at
        runs = [
            run
            for run in [*self._running, *self._ended]
            if run.outbox.is_active and (is_due or now - run.outbox.last_progress_at > FRESH_SECONDS)
        ]
        claims = [run.outbox.claim for run in runs]
        renewals = renew_all(self._redis, claims, self._settings) if claims else []
        if is_due:
            self._renew_at = now + self._settings.generation.lease_seconds / RENEWALS_PER_LEASE
        for run, claim, renewal in zip(runs, claims, renewals, strict=True):
            if run.outbox.claim is claim:  # otherwise the reply is about a claim that was replaced during the call
                self._apply_renewal(run, renewal)

    def _apply_renewal(self, run: RunningGeneration, renewal: Renewal | Exception) -> None:
        if isinstance(renewal, Exception):
            if not is_unavailable(renewal):  # otherwise its master, of a cluster, does not answer now
                _log.error("renewal_rejected", generation=run.generation, error=renewal)
            return
        match renewal.verdict:
            case "held":
                if renewal.cancelled_by:
                    run.interrupt.trigger(CancelRequested(renewal.cancelled_by))
            case "expired":
                run.outbox.abandon("expired")
            case "fenced" | "lost":
                # Only a reclaim recognises an earlier reclaim whose reply was lost. A closed outbox needs none here:
                # its appends detect any loss, and this verdict may only mean that `done` is in the log.
                if run.outbox.is_open:
                    self._recover(run.outbox)
            case _:
                assert_never(renewal.verdict)

    def watch_end(self, run: RunningGeneration) -> None:
        """Watch a generation for a moment after its `done` is in the log, because Redis may still lose it."""
        self._ended[run] = time.monotonic()

    def is_watching_end(self, generation: str) -> bool:
        """Return whether this process has just ended the generation and still watches its end."""
        return any(run.generation == generation for run in self._ended)

    def restore_lost_ends(self) -> None:
        """Publish again the ends that Redis has lost, and stop watching those it has kept; raises RedisUnavailable."""
        now = time.monotonic()
        for run in [run for run in self._ended if not (run.outbox.is_active or run.outbox.is_finished)]:
            del self._ended[run]  # abandoned: another worker has claimed it since
        finished = [run for run in self._ended if run.outbox.is_finished]
        if not finished:
            return
        ended_in_redis = have_ended(self._redis, [run.generation for run in finished])
        for run, has_ended in zip(finished, ended_in_redis, strict=True):
            if has_ended is False:
                self._recover(run.outbox)
                self._ended[run] = now
            elif has_ended and now - self._ended[run] > ENDED_WATCH_SECONDS:
                del self._ended[run]

    def _run(self) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            try:
                self.renew_leases()
                self.restore_lost_ends()
            except RedisUnavailable as error:
                if not self._is_redis_unavailable:
                    _log.warning("redis_unavailable", error=error)
                self._is_redis_unavailable = True
            except Exception:  # noqa: BLE001 - the edge of this greenlet: if it died, every lease would expire
                _log.exception("watcher_failed")
            else:
                self._is_redis_unavailable = False
