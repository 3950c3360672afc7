"""Timers for thousands of streams: those due within the same two milliseconds share one timer of the loop's.

asyncio keeps its timers in a heap that compares them in Python; at 20,000 deltas a second that would be a good part of
a core. Nothing runs before its time, and nothing later than a tick after it.
"""

import asyncio
from collections.abc import Callable
from math import ceil

TICK = 0.002  # seconds

Callback = Callable[[], None]


class Wheel:
    """Calls back at times of the loop's clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin with no timers."""
        self._loop = loop
        self._slots: dict[int, list[Callback]] = {}

    def at(self, when: float, callback: Callback) -> None:
        """Call back at this time, or at once where it is past; there is no cancelling, so check what still holds."""
        slot = ceil(when / TICK)
        callbacks = self._slots.get(slot)
        if callbacks is None:
            self._slots[slot] = callbacks = []
            self._loop.call_at(slot * TICK, self._turn, slot)
        callbacks.append(callback)

    def _turn(self, slot: int) -> None:
        self._run(self._slots.pop(slot))

    def _run(self, callbacks: list[Callback]) -> None:
        try:
            while callbacks:
                callbacks.pop()()
        finally:
            if callbacks:  # one raised; the others are not to miss their time
                self._loop.call_soon(self._run, callbacks)
