"""What is done for all readers in turn: heartbeats, cutting those who take nothing, saying farewell."""

import math
import random
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet

import gevent

from millrace.webapp.relay.frames import farewell
from millrace.webapp.relay.reader import Reader

_SLOTS = 16  # ten thousand heartbeats at once would hold up everything else
_EARLY = 0.95  # the promise is a bound, and timers are late
_DRAIN_STEP_SECONDS = 0.05
_DRAIN_SHARE = 0.8  # of the time, in which all are told; the rest is for those whose socket is full


class Heartbeats:
    """One timer for all: a wheel of slots, each of which is sent its comment once in every period."""

    def __init__(self, period: float) -> None:
        self._step = period * _EARLY / _SLOTS
        self._slots: list[set[Reader]] = [set() for _ in range(_SLOTS)]
        self._now = 0

    def add(self, reader: Reader) -> None:
        """Put a reader into the slot that has just been served."""
        reader.slot = self._now
        self._slots[reader.slot].add(reader)

    def discard(self, reader: Reader) -> None:
        """Forget a reader."""
        self._slots[reader.slot].discard(reader)

    def run(self) -> None:
        """Beat for ever."""
        due = time.monotonic()
        while True:
            due = max(due + self._step, time.monotonic() - 1.0)
            gevent.sleep(max(due - time.monotonic(), 0.0))
            self._now = (self._now + 1) % _SLOTS
            for reader in tuple(self._slots[self._now]):
                reader.beat()


def cut_stalled(readers: AbstractSet[Reader], since: float) -> None:
    """Cut the readers that have been full, and have taken nothing, since then (monotonic seconds)."""
    for reader in tuple(readers):
        if reader.is_full and reader.full_since < since:
            reader.cut()


def drain(readers: AbstractSet[Reader], seconds: float, notify: Callable[[], None]) -> None:
    """End the readers of a set that shrinks as they go, spread over the time; cut those left at its end."""
    began = time.monotonic()
    queue = list(readers)
    random.shuffle(queue)
    total = len(queue)
    while readers and (spent := time.monotonic() - began) < seconds:
        told = min(total, math.ceil(total * spent / (_DRAIN_SHARE * seconds)))
        while len(queue) > total - told:
            queue.pop().finish("drained", farewell())
        notify = _notified(notify)
        gevent.sleep(_DRAIN_STEP_SECONDS)
    for reader in tuple(readers):
        reader.close("drained")


def _notified(notify: Callable[[], None]) -> Callable[[], None]:
    """Call `notify`, and return what to call the next time."""
    try:
        notify()
    except ValueError:  # gunicorn 27 closes the file that it notifies by before it calls `worker_exit`
        return _nothing
    return notify


def _nothing() -> None:
    pass
