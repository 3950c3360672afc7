"""An interrupt strikes once, only where it may, and never a greenlet that has gone on to something else."""

import gevent
import pytest
from gevent.event import Event

from millrace.worker.interrupt import CancelAsked, HandOver, HoldLost, Interrupt, Interrupted, TimeIsUp


class Reader:
    """A greenlet that waits within `armed`, then outside of it, and says what has struck it."""

    def __init__(self) -> None:
        self.struck: list[Interrupted] = []
        self.is_ready, self.may_arm, self.may_end = Event(), Event(), Event()
        self.greenlet = gevent.spawn(self._run)
        assert self.is_ready.wait(30)

    def _run(self) -> None:
        self.interrupt = Interrupt()
        self.is_ready.set()
        self.may_arm.wait()
        try:
            with self.interrupt.armed():
                Event().wait()
        except Interrupted as why:
            self.struck.append(why)
        self.may_end.wait()

    def end(self) -> list[Interrupted]:
        """Let it end, and return what has struck it; raises what has killed it."""
        self.may_arm.set()
        gevent.sleep(0)
        self.may_end.set()
        self.greenlet.get(timeout=30)
        return self.struck


@pytest.fixture
def reader() -> Reader:
    return Reader()


def turn() -> None:
    """Let every other greenlet run until it waits."""
    for _ in range(3):
        gevent.sleep(0)


def test_it_strikes_what_waits_within_armed(reader: Reader) -> None:
    reader.may_arm.set()
    turn()
    asked = CancelAsked("user")
    reader.interrupt.strike(asked)
    turn()
    assert reader.struck == [asked]
    assert reader.end() == [asked]


def test_what_comes_before_armed_is_noted_and_raised_on_entering(reader: Reader) -> None:
    over = HandOver()
    reader.interrupt.strike(over)
    turn()
    assert reader.struck == []
    assert reader.end() == [over]


def test_only_the_first_strikes_and_what_waits_outside_is_left_alone(reader: Reader) -> None:
    reader.may_arm.set()
    turn()
    first = TimeIsUp()
    for why in (first, HandOver(), CancelAsked("user"), HoldLost("fenced")):
        reader.interrupt.strike(why)
        turn()
    assert reader.end() == [first]


def test_a_lost_hold_takes_the_place_of_what_was_only_noted(reader: Reader) -> None:
    reader.interrupt.strike(HandOver())
    lost = HoldLost("fenced")
    reader.interrupt.strike(lost)
    assert reader.end() == [lost]


def test_one_that_leaves_armed_between_strike_and_throw_is_not_hit_later() -> None:
    may_leave, left = Event(), Event()

    def run() -> str:
        nonlocal interrupt
        interrupt = Interrupt()
        with interrupt.armed():
            may_leave.wait()
        left.set()
        gevent.sleep(0)
        gevent.sleep(0)
        return "untouched"

    interrupt: Interrupt | None = None
    greenlet = gevent.spawn(run)
    turn()
    assert interrupt is not None
    may_leave.set()  # its waking stands in the hub's queue before the throw
    interrupt.strike(HandOver())
    assert greenlet.get(timeout=30) == "untouched"


def test_a_greenlet_that_has_ended_is_left_alone(reader: Reader) -> None:
    reader.interrupt.strike(HandOver())
    reader.end()
    reader.interrupt.strike(HoldLost("late"))
    turn()
    assert reader.greenlet.successful()
