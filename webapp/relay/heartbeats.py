"""Periodic work over all readers: heartbeats, cutting stalled readers, draining."""

import math
import random
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet

import gevent

from millrace.webapp.relay.frames import stream_end
from millrace.webapp.relay.reader import Reader
from millrace.worker.background_task import BackgroundTask

_SLOTS = 16  # ten thousand heartbeats at once would delay everything else
_EARLY = 0.95  # the promised interval is an upper bound, and timers fire late
_DRAIN_STEP_SECONDS = 0.05
_DRAIN_SHARE = 0.8  # of the drain time, in which all readers are ended; the rest is for those whose socket is full


class Heartbeats(BackgroundTask):
    """One timer for all readers: a wheel of slots, each of which gets its heartbeat once per period."""

    def __init__(self, period: float) -> None:
        super().__init__()
        self._step = period * _EARLY / _SLOTS
        self._slots: list[set[Reader]] = [set() for _ in range(_SLOTS)]
        self._current = 0

    def add(self, reader: Reader) -> None:
        """Put a reader into the slot that was served last."""
        reader.slot = self._current
        self._slots[reader.slot].add(reader)

    def discard(self, reader: Reader) -> None:
        """Remove a reader."""
        self._slots[reader.slot].discard(reader)

    def _run(self) -> None:
        due = time.monotonic() + self._step
        while not self._stopping.wait(max(due - time.monotonic(), 0.0)):
            self._current = (self._current + 1) % _SLOTS
            for reader in tuple(self._slots[self._current]):
                reader.send_heartbeat()
            due = max(due + self._step, time.monotonic() - 1.0)


def cut_stalled(readers: AbstractSet[Reader], since: float) -> None:
    """Cut the readers that have been full, and have accepted no byte, since that time (monotonic seconds)."""
    for reader in tuple(readers):
        if reader.is_full and reader.full_since < since:
            reader.cut()


def drain(readers: AbstractSet[Reader], seconds: float, notify: Callable[[], None]) -> None:
    """End the readers of a set that shrinks as they leave, spread over the time; close those left at its end."""
    began = time.monotonic()
    queue = list(readers)
    random.shuffle(queue)
    total = len(queue)
    while readers and (elapsed := time.monotonic() - began) < seconds:
        ended = min(total, math.ceil(total * elapsed / (_DRAIN_SHARE * seconds)))
        while len(queue) > total - ended:
            queue.pop().finish("drained", stream_end())
        notify = _call_notify(notify)
        gevent.sleep(_DRAIN_STEP_SECONDS)
    for reader in tuple(readers):
        reader.close("drained")


def _call_notify(notify: Callable[[], None]) -> Callable[[], None]:
    """Call `notify`, and return the function to call the next time."""
    try:
        notify()
    except ValueError:  # gunicorn 27 closes the file behind `notify` before it calls `worker_exit`
        return _do_nothing
    return notify


def _do_nothing() -> None:
    pass
