"""Tests of the timer wheel, with an event loop whose clock stands still."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from deploy.emulator.timer_wheel import TICK, TimerWheel


class StubLoop:
    """Records the timers of the event loop, and runs them when a test asks for it."""

    def __init__(self) -> None:
        """Start without timers."""
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def call_at(self, when: float, callback: Callable[..., None], *arguments: Any) -> None:
        """Record a timer."""
        self.timers.append((when, lambda: callback(*arguments)))

    def call_soon(self, callback: Callable[..., None], *arguments: Any) -> None:
        """Record a timer that is due at once."""
        self.call_at(0.0, callback, *arguments)

    def run(self) -> None:
        """Run the recorded timers; timers that they add are recorded again."""
        timers, self.timers = self.timers, []
        for _, callback in sorted(timers, key=lambda timer: timer[0]):
            callback()


@pytest.fixture
def loop() -> StubLoop:
    """Return a loop without timers."""
    return StubLoop()


@pytest.fixture
def wheel(loop: StubLoop) -> TimerWheel:
    """Return a wheel on the stub loop."""
    return TimerWheel(cast(asyncio.AbstractEventLoop, loop))


def test_callbacks_within_one_tick_share_a_timer(loop: StubLoop, wheel: TimerWheel) -> None:
    ran: list[int] = []
    for number in range(100):
        wheel.call_at(5.0001 + number * 1e-5, lambda number=number: ran.append(number))
    assert len(loop.timers) == 1
    loop.run()
    assert sorted(ran) == list(range(100))


def test_callback_never_runs_early_and_at_most_one_tick_late(loop: StubLoop, wheel: TimerWheel) -> None:
    for step in range(1000):
        when = 3.0 + step * 0.00037
        wheel.call_at(when, lambda: None)
        due = max(timer[0] for timer in loop.timers)
        assert -1e-9 <= due - when < TICK + 1e-9, f"a callback for {when} is due at {due}"


def test_callback_that_raises_does_not_stop_the_others(loop: StubLoop, wheel: TimerWheel) -> None:
    ran: list[int] = []

    def fail() -> None:
        raise RuntimeError

    for number in range(3):
        wheel.call_at(1.0, lambda number=number: ran.append(number))
        wheel.call_at(1.0, fail)
    for _ in range(4):
        try:
            loop.run()
        except RuntimeError:
            continue
    assert sorted(ran) == [0, 1, 2]


def test_callback_may_add_a_callback_for_the_same_tick(loop: StubLoop, wheel: TimerWheel) -> None:
    ran: list[str] = []
    wheel.call_at(1.0, lambda: wheel.call_at(1.0, lambda: ran.append("second")))
    loop.run()
    loop.run()
    assert ran == ["second"]
