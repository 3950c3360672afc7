"""Asks again, for as long as somebody follows, whether they still may: a token runs out, or is taken back."""

import time
from collections.abc import Hashable
from dataclasses import dataclass, field

import gevent
from gevent.pool import Pool

from millrace.webapp.guard.auth.protocol import Authorization
from millrace.webapp.relay.frames import farewell
from millrace.webapp.relay.reader import Reader
from millrace.worker.observability.logs import get_logger

ROUND_SECONDS = 15.0
SURE_SECONDS = 55.0  # a right that nobody has confirmed for longer is none: whatever hangs, it is cut within a minute
CHECK_SECONDS = 5.0
_GLANCE_SECONDS = 2.5
_AT_ONCE = 64
_LONGEST_PAUSE = 0.1

_log = get_logger(__name__)


@dataclass(eq=False)
class _Held:
    right: Authorization
    readers: set[Reader] = field(default_factory=set[Reader])
    confirmed_at: float = field(default_factory=time.monotonic)


class AuthorizationChecks:
    """One timer for all readers of a process; those with the same right share one check."""

    def __init__(self) -> None:
        self._held: dict[Hashable, _Held] = {}

    def hold(self, right: Authorization | None, reader: Reader) -> None:
        """Have a reader's right, which has just let it in, asked again while it follows; None can't change."""
        if right is not None:
            held = self._held.setdefault(right.key, _Held(right))
            held.readers.add(reader)
            held.confirmed_at = time.monotonic()

    def run(self) -> None:
        """Look after the rights until killed."""
        rounds = gevent.spawn(self._go_round)
        try:
            while True:
                gevent.sleep(_GLANCE_SECONDS)
                self.cut_unsure(time.monotonic())
        finally:
            rounds.kill(block=False)

    def cut_unsure(self, now: float) -> None:
        """Cut those whose right was not confirmed for too long, and forget those who have left."""
        for key, held in list(self._held.items()):
            held.readers = {reader for reader in held.readers if not reader.ended_because}
            if not held.readers:
                del self._held[key]
            elif now - held.confirmed_at > SURE_SECONDS:
                _cut(held, "unsure")

    def look(self) -> None:
        """Check every right once, spread over half a round, many at a time where the checks take long."""
        pool = Pool(_AT_ONCE)
        pause = min(_LONGEST_PAUSE, ROUND_SECONDS / 2 / max(1, len(self._held)))
        for held in list(self._held.values()):
            pool.spawn(self._check, held)  # waits for a place in the pool
            gevent.sleep(pause)
        pool.join()

    def _go_round(self) -> None:
        while True:
            began = time.monotonic()
            self.look()
            gevent.sleep(max(0.0, began + ROUND_SECONDS - time.monotonic()))

    def _check(self, held: _Held) -> None:
        asked_at = time.monotonic()
        try:
            with gevent.Timeout(CHECK_SECONDS, TimeoutError("no answer")):
                is_held = held.right.is_valid()
        except Exception:  # noqa: BLE001 - the edge of this greenlet: the check may be an app's own function
            _log.warning("right_not_confirmed", readers=len(held.readers), exc_info=True)
            return
        if is_held:
            held.confirmed_at = asked_at
        else:
            _cut(held, "refused")


def _cut(held: _Held, why: str) -> None:
    _log.info("readers_cut", readers=len(held.readers), why=why)
    for reader in tuple(held.readers):
        reader.finish("revoked", farewell())
