"""The log writer: one greenlet per process that appends the events of all its generations, one round trip at a time.

Events that are added during a round trip wait for the next one. Events that Redis has not acknowledged are sent again,
with the same bytes and numbers; the append script recognises duplicates.
"""

import random
import time
from collections import Counter
from typing import assert_never

import redis
from gevent.event import Event as Signal

from millrace.worker.background_task import BackgroundTask
from millrace.worker.contract.lease import reclaim
from millrace.worker.contract.lifetimes import log_ttl_ms
from millrace.worker.contract.log import Append, AppendResult, Verdict, append_all
from millrace.worker.contract.redis.connection import Redis, is_unavailable
from millrace.worker.errors import RedisKeyInvalid, RedisUnavailable
from millrace.worker.interrupt import CancelRequested
from millrace.worker.observability.logs import get_logger
from millrace.worker.publishing.outbox import Outbox
from millrace.worker.settings.schema import Settings

GIVE_UP_SECONDS = 120.0  # without an acknowledgement; by then the lease has expired and another worker has taken over
EVENTS_PER_GENERATION = 64  # in one round trip, so that a generation with a backlog does not delay the others
BYTES_PER_GENERATION = 1 << 18  # likewise
ROUND_TRIP_BYTES = 1 << 21  # for all generations together
_FIRST_PAUSE = 0.05
_MAX_PAUSE = 1.0

_log = get_logger(__name__)


class LogWriter(BackgroundTask):
    """The only writer of the logs of running generations.

    The client `redis` must not retry by itself: the log writer decides what is sent again.
    """

    def __init__(self, redis: Redis, settings: Settings, give_up_seconds: float = GIVE_UP_SECONDS) -> None:
        super().__init__()
        self._redis = redis
        self._settings = settings
        self._give_up_seconds = give_up_seconds
        self._log_ttl_ms = log_ttl_ms(settings)
        self._flush_seconds = settings.worker.flush_ms / 1000
        self._ready: dict[Outbox, None] = {}
        self._unflushed: dict[Outbox, None] = {}
        self._to_reclaim: dict[Outbox, None] = {}
        self._woken = Signal()
        self._flush_at = 0.0
        self._failures = 0
        self.verdicts: Counter[str] = Counter()
        """The replies to appends so far."""
        self.sent_bytes = 0

    def stop(self) -> None:
        """Stop after the current round trip; events that are not in the log by then are never written."""
        self._woken.set()
        super().stop()

    def schedule(self, outbox: Outbox) -> None:
        """Append an outbox's events in the next round trip, and flush what may wait at the next flush."""
        if outbox.has_unacknowledged and not outbox.can_wait:
            self._ready[outbox] = None
            self._woken.set()
        if outbox.has_unflushed and outbox not in self._unflushed:
            if not self._unflushed:
                self._flush_at = time.monotonic() + self._flush_seconds
                self._woken.set()
            self._unflushed[outbox] = None

    def recover(self, outbox: Outbox) -> None:
        """Reclaim a generation whose claim or end Redis has lost, when no append is pending that would detect the loss.

        If another worker has claimed the generation since, the reclaim fails and the outbox is abandoned.
        """
        self._to_reclaim[outbox] = None
        self._woken.set()

    def _run(self) -> None:
        while True:
            self._wait_for_work()
            if self._stopping.is_set():
                return
            try:
                self._flush_outboxes()
                for outbox in list(self._to_reclaim):
                    del self._to_reclaim[outbox]
                    self._reclaim(outbox)
                self._append_ready()
            except RedisUnavailable as error:
                self._back_off(error)
            except Exception as error:  # noqa: BLE001 - the edge of this greenlet: it must survive every error
                _log.exception("writer_failed")
                self._back_off(error)

    def _wait_for_work(self) -> None:
        while not self._ready and not self._to_reclaim and not self._stopping.is_set():
            left = self._flush_at - time.monotonic() if self._unflushed else None
            if left is not None and left <= 0:
                return
            self._woken.clear()
            self._woken.wait(left)

    def _flush_outboxes(self) -> None:
        if self._unflushed and time.monotonic() >= self._flush_at:
            unflushed, self._unflushed = self._unflushed, {}
            for outbox in unflushed:
                outbox.flush()

    def _append_ready(self) -> None:
        appends: list[Append] = []
        batches: list[tuple[Outbox, int]] = []
        size = 0
        for outbox in list(self._ready):
            # Each outbox moves to the end of the queue, so that the next round trip begins with the others.
            del self._ready[outbox]
            oldest = outbox.oldest(EVENTS_PER_GENERATION, BYTES_PER_GENERATION)
            if oldest:
                appends += oldest
                batches.append((outbox, len(oldest)))
                size += sum(len(append.data) for append in oldest)
            if size >= ROUND_TRIP_BYTES:
                break
        if not appends:
            return
        self.sent_bytes += size
        try:
            results = append_all(self._redis, appends, self._log_ttl_ms)
        finally:
            for outbox, _ in batches:
                self._ready[outbox] = None
        error = self._apply_all(batches, appends, results)
        if error is not None:
            self._back_off(error)
        elif self._failures:
            self._failures = 0
            _log.warning("redis_recovered")

    def _apply_all(
        self, batches: list[tuple[Outbox, int]], appends: list[Append], results: list[AppendResult | Exception]
    ) -> Exception | None:
        """Apply the results to each outbox; return the error if one shows that Redis is unavailable."""
        error: Exception | None = None
        start = 0
        for outbox, count in batches:
            pairs = list(zip(appends[start : start + count], results[start : start + count], strict=True))
            start += count
            error = self._apply(outbox, pairs) or error
            if not outbox.has_unacknowledged:
                self._ready.pop(outbox, None)
        return error

    def _apply(self, outbox: Outbox, pairs: list[tuple[Append, AppendResult | Exception]]) -> Exception | None:
        """Apply the results up to the first failure; those after it carry no information."""
        for append, result in pairs:
            if not outbox.has_unacknowledged or append.claim is not outbox.claim:
                return None  # abandoned or reclaimed during the round trip
            if isinstance(result, Exception):
                if is_unavailable(result):
                    return result
                _log.error(
                    "append_rejected",
                    generation=append.claim.generation,
                    seq=append.seq,
                    kind=append.kind,
                    error=type(result).__name__,
                )
                self.verdicts["rejected"] += 1
                outbox.reject_oldest()
                return None
            if result.cancelled_by and result.verdict is not Verdict.FENCED:
                outbox.interrupt.trigger(CancelRequested(result.cancelled_by))
            self.verdicts[result.verdict] += 1
            match result.verdict:
                case Verdict.APPENDED | Verdict.DUP:
                    outbox.acknowledge()
                case Verdict.OVER:
                    outbox.abandon(result.verdict)
                    return None
                case Verdict.GAP | Verdict.LOST | Verdict.FENCED:
                    # Redis has lost acknowledged events, or holds another claim. That claim may be this worker's own,
                    # from a reclaim whose reply was lost; only another reclaim can tell.
                    self._to_reclaim[outbox] = None
                    return None
                case _:
                    assert_never(result.verdict)
        return None

    def _reclaim(self, outbox: Outbox) -> None:
        if not (outbox.is_active or outbox.is_finished):
            return
        held = outbox.claim
        try:
            reclaimed = reclaim(self._redis, outbox.claimed, held, self._settings)
        except (redis.RedisError, RedisKeyInvalid) as error:
            _log.error("reclaim_rejected", generation=held.generation, error=type(error).__name__)
            outbox.abandon("rejected")
            return
        except RedisUnavailable:
            self._to_reclaim[outbox] = None
            raise
        if reclaimed is None:
            outbox.abandon("fenced")
            return
        _log.warning("reclaimed", generation=held.generation, epoch=reclaimed.claim.epoch)
        outbox.resume(reclaimed)

    def _back_off(self, error: Exception) -> None:
        if not self._failures:
            _log.warning("redis_unavailable", error=error)
        self._failures += 1
        now = time.monotonic()
        for outbox in list(self._ready):
            if not outbox.has_unacknowledged:
                del self._ready[outbox]
            elif now - outbox.last_progress_at > self._give_up_seconds:
                del self._ready[outbox]
                outbox.give_up()
        pause = min(_MAX_PAUSE, _FIRST_PAUSE * 2 ** min(self._failures - 1, 10))
        self._stopping.wait(pause * random.uniform(0.5, 1))
