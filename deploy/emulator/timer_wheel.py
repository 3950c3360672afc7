"""Timers for thousands of streams: callbacks due within the same two milliseconds share one timer of asyncio.

asyncio keeps its timers in a heap that compares them in Python; at 20,000 deltas a second that would take a large part
of a core. A callback never runs before its time, and at most one tick after it.
"""

import asyncio
from collections.abc import Callable
from math import ceil

TICK = 0.002  # seconds

Callback = Callable[[], None]


class TimerWheel:
    """Runs callbacks at given times of the event loop's clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start without timers."""
        self._loop = loop
        self._slots: dict[int, list[Callback]] = {}

    def call_at(self, when: float, callback: Callback) -> None:
        """Run a callback at this time, or soon if the time has passed.

        A timer cannot be cancelled: the callback must check whether it still applies.
        """
        slot = ceil(when / TICK)
        callbacks = self._slots.get(slot)
        if callbacks is None:
            self._slots[slot] = callbacks = []
            self._loop.call_at(slot * TICK, self._expire, slot)
        callbacks.append(callback)

    def _expire(self, slot: int) -> None:
        self._run(self._slots.pop(slot))

    def _run(self, callbacks: list[Callback]) -> None:
        try:
            while callbacks:
                callbacks.pop()()
        finally:
            if callbacks:  # one raised; the others must still run in time
                self._loop.call_soon(self._run, callbacks)
