"""Repeated authorization checks for open streams: a token may expire or be revoked while its reader follows."""

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import gevent
from gevent.pool import Pool

from millrace.webapp.guard.auth.protocol import Authorization
from millrace.webapp.relay.frames import stream_end
from millrace.webapp.relay.reader import Reader
from millrace.worker.background_task import BackgroundTask
from millrace.worker.observability.logs import get_logger

CHECK_INTERVAL_SECONDS = 15.0
# An authorization that no check has confirmed for longer is treated as revoked: even if every check hangs, readers are
# cut within a minute.
CONFIRMED_SECONDS = 55.0
CHECK_TIMEOUT_SECONDS = 5.0
_EXPIRY_INTERVAL_SECONDS = 2.5
_CONCURRENT_CHECKS = 64
_MAX_PAUSE_SECONDS = 0.1

_log = get_logger(__name__)


@dataclass(eq=False)
class _SharedCheck:
    """An authorization and the readers that depend on it; `confirmed_at` is in monotonic seconds."""

    authorization: Authorization
    readers: set[Reader] = field(default_factory=set[Reader])
    confirmed_at: float = field(default_factory=time.monotonic)


class AuthorizationChecks(BackgroundTask):
    """One timer for all readers of a process; readers with the same authorization share one check."""

    def __init__(self) -> None:
        super().__init__()
        self._checks: dict[Hashable, _SharedCheck] = {}

    def add(self, authorization: Authorization | None, reader: Reader) -> None:
        """Check a reader's authorization, which its request has confirmed, while it follows; None never changes."""
        if authorization is not None:
            check = self._checks.setdefault(authorization.key, _SharedCheck(authorization))
            check.readers.add(reader)
            check.confirmed_at = time.monotonic()

    def cut_unconfirmed(self, now: float) -> None:
        """Cut the readers whose authorization was not confirmed in time, and forget the readers that have left."""
        for key, check in list(self._checks.items()):
            check.readers = {reader for reader in check.readers if not reader.end_reason}
            if not check.readers:
                del self._checks[key]
            elif now - check.confirmed_at > CONFIRMED_SECONDS:
                _cut(check, "unconfirmed")

    def check_all(self) -> None:
        """Check every authorization once, spread over half the interval, many at a time where checks take long."""
        pool = Pool(_CONCURRENT_CHECKS)
        pause = min(_MAX_PAUSE_SECONDS, CHECK_INTERVAL_SECONDS / 2 / max(1, len(self._checks)))
        for check in list(self._checks.values()):
            pool.spawn(self._check, check)  # waits for a free slot in the pool
            gevent.sleep(pause)
        pool.join()

    def _loops(self) -> Sequence[Callable[[], None]]:
        return self._cut_repeatedly, self._check_repeatedly

    def _cut_repeatedly(self) -> None:
        while not self._stopping.wait(_EXPIRY_INTERVAL_SECONDS):
            self.cut_unconfirmed(time.monotonic())

    def _check_repeatedly(self) -> None:
        pause = 0.0
        while not self._stopping.wait(pause):
            began = time.monotonic()
            self.check_all()
            pause = max(0.0, began + CHECK_INTERVAL_SECONDS - time.monotonic())

    def _check(self, check: _SharedCheck) -> None:
        started_at = time.monotonic()
        try:
            with gevent.Timeout(CHECK_TIMEOUT_SECONDS, TimeoutError("the check did not return in time")):
                is_valid = check.authorization.is_valid()
        except Exception:  # noqa: BLE001 - the edge of this greenlet: the check may be the host application's function
            _log.warning("authorization_check_failed", readers=len(check.readers), exc_info=True)
            return
        if is_valid:
            check.confirmed_at = started_at
        else:
            _cut(check, "refused")


def _cut(check: _SharedCheck, why: str) -> None:
    _log.info("readers_cut", readers=len(check.readers), why=why)
    for reader in tuple(check.readers):
        reader.finish("revoked", stream_end())
