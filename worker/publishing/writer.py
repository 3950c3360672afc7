"""One greenlet a process that appends the events of all its generations, in one round trip after the other.

While a round trip is under way, what is appended meanwhile gathers for the next. What Redis has not acknowledged
is sent again, the same bytes under the same numbers, which its script takes for one.
"""

import random
import time

import redis
from gevent.event import Event as Signal

from millrace.worker.background_task import BackgroundTask
from millrace.worker.contract.connection import Redis, is_unavailable
from millrace.worker.contract.lease import reclaim
from millrace.worker.contract.lifetimes import log_ttl_ms
from millrace.worker.contract.log import Append, AppendResult, Verdict, append_all
from millrace.worker.errors import RedisUnavailable
from millrace.worker.interrupt import CancelAsked
from millrace.worker.observability.logs import get_logger
from millrace.worker.publishing.outbox import Outbox
from millrace.worker.settings.schema import Settings

GIVE_UP_SECONDS = 120.0  # Redis has taken nothing for so long: the lease is long gone, and the next attempt not ours
EVENTS_AT_ONCE = 64  # of one generation, so that one that lags does not keep the others waiting
BYTES_AT_ONCE = 1 << 18  # likewise
ROUND_BYTES = 1 << 21  # of all generations together
_FIRST_PAUSE = 0.05
_MOST_PAUSE = 1.0

_log = get_logger(__name__)


class Writer(BackgroundTask):
    """The only one that writes running generations' logs; `redis` should not retry by itself, so that it decides."""

    def __init__(self, store: Redis, settings: Settings) -> None:
        super().__init__()
        self._redis = store
        self._settings = settings
        self._log_ttl_ms = log_ttl_ms(settings)
        self._flush_seconds = settings.worker.flush_ms / 1000
        self._ready: dict[Outbox, None] = {}
        self._gathering: dict[Outbox, None] = {}
        self._lost: dict[Outbox, None] = {}
        self._woken = Signal()
        self._tick_at = 0.0
        self._failures = 0

    def stop(self) -> None:
        """End after the round under way; what is not in the log by then stays unsaid."""
        self._woken.set()
        super().stop()

    def notice(self, outbox: Outbox) -> None:
        """Hear from an outbox that it holds something."""
        if outbox.is_waiting:
            self._ready[outbox] = None
            self._woken.set()
        if outbox.is_gathering and outbox not in self._gathering:
            if not self._gathering:
                self._tick_at = time.monotonic() + self._flush_seconds
                self._woken.set()
            self._gathering[outbox] = None

    def recover(self, outbox: Outbox) -> None:
        """Hear that Redis has lost the claim or the end of a generation that has nothing to append just now.

        Or that somebody has claimed it since, which is then found out, and its outbox stopped.
        """
        self._lost[outbox] = None
        self._woken.set()

    def _run(self) -> None:
        while True:
            self._await_work()
            if self._stopping.is_set():
                return
            try:
                self._flush_gathered()
                for outbox in list(self._lost):
                    del self._lost[outbox]
                    self._reclaim(outbox)
                self._round()
            except RedisUnavailable as error:
                self._back_off(error)
            except Exception as error:  # noqa: BLE001 - the edge of this greenlet: it must outlive everything
                _log.exception("writer_failed")
                self._back_off(error)

    def _await_work(self) -> None:
        while not self._ready and not self._lost and not self._stopping.is_set():
            left = self._tick_at - time.monotonic() if self._gathering else None
            if left is not None and left <= 0:
                return
            self._woken.clear()
            self._woken.wait(left)

    def _flush_gathered(self) -> None:
        if self._gathering and time.monotonic() >= self._tick_at:
            gathered, self._gathering = self._gathering, {}
            for outbox in gathered:
                outbox.flush()

    def _round(self) -> None:
        appends: list[Append] = []
        parts: list[tuple[Outbox, int]] = []
        size = 0
        for outbox in list(self._ready):
            # Taken out and, where something is left, put in again: the next round begins with the others.
            del self._ready[outbox]
            head = outbox.head(EVENTS_AT_ONCE, BYTES_AT_ONCE)
            if head:
                appends += head
                parts.append((outbox, len(head)))
                size += sum(len(append.data) for append in head)
            if size >= ROUND_BYTES:
                break
        if not appends:
            return
        try:
            answers = append_all(self._redis, appends, self._log_ttl_ms)
        finally:
            for outbox, _ in parts:
                self._ready[outbox] = None
        refusal = self._settle_all(parts, appends, answers)
        if refusal is not None:
            self._back_off(refusal)
        elif self._failures:
            self._failures = 0
            _log.warning("redis_back")

    def _settle_all(
        self, parts: list[tuple[Outbox, int]], appends: list[Append], answers: list[AppendResult | Exception]
    ) -> Exception | None:
        refusal: Exception | None = None
        at = 0
        for outbox, count in parts:
            pairs = list(zip(appends[at : at + count], answers[at : at + count], strict=True))
            at += count
            refusal = self._settle(outbox, pairs) or refusal
            if not outbox.is_waiting:
                self._ready.pop(outbox, None)
        return refusal

    def _settle(self, outbox: Outbox, pairs: list[tuple[Append, AppendResult | Exception]]) -> Exception | None:
        """Act on the answers up to the first that is no success: those behind it are of no meaning then."""
        for append, answer in pairs:
            if not outbox.is_waiting or append.claim is not outbox.claim:
                return None  # stopped meanwhile
            if isinstance(answer, Exception):
                if is_unavailable(answer):
                    return answer
                _log.error(
                    "append_refused",
                    generation=append.claim.generation,
                    seq=append.seq,
                    kind=append.kind,
                    error=type(answer).__name__,
                )
                outbox.refused()
                return None
            if answer.cancelled_by and answer.verdict is not Verdict.FENCED:
                outbox.interrupt.strike(CancelAsked(answer.cancelled_by))
            match answer.verdict:
                case Verdict.APPENDED | Verdict.DUP:
                    outbox.acknowledge()
                case Verdict.OVER:
                    outbox.stop(answer.verdict)
                    return None
                case Verdict.GAP | Verdict.LOST | Verdict.FENCED:
                    # The first of what is unacknowledged does not fit: so what was acknowledged is no more. Or the
                    # claim is another's; where it is this worker's own by a reclaim it has not heard of, that tells.
                    self._lost[outbox] = None
                    return None
        return None

    def _reclaim(self, outbox: Outbox) -> None:
        if not (outbox.is_alive or outbox.has_ended):
            return
        held = outbox.claim
        try:
            again = reclaim(self._redis, outbox.holding, held, self._settings)
        except redis.RedisError as error:
            _log.error("reclaim_refused", generation=held.generation, error=type(error).__name__)
            outbox.stop("refused")
            return
        except RedisUnavailable:
            self._lost[outbox] = None
            raise
        if again is None:
            outbox.stop("fenced")
            return
        _log.warning("reclaimed", generation=held.generation, epoch=again.claim.epoch)
        outbox.reclaimed(again)

    def _back_off(self, error: Exception) -> None:
        if not self._failures:
            _log.warning("translate_redis_errors", error=error)
        self._failures += 1
        now = time.monotonic()
        for outbox in list(self._ready):
            if not outbox.is_waiting:
                del self._ready[outbox]
            elif now - outbox.heard_at > GIVE_UP_SECONDS:
                del self._ready[outbox]
                outbox.stop("redis away")
        pause = min(_MOST_PAUSE, _FIRST_PAUSE * 2 ** min(self._failures - 1, 10))
        self._stopping.wait(pause * random.uniform(0.5, 1))
