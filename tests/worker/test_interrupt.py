"""An interrupt is raised once, only inside `armed`, and never in a greenlet that has left it."""

import gc
import weakref
from contextlib import suppress

import gevent
import pytest
from gevent.event import Event

from millrace.worker.interrupt import (
    CancelRequested,
    DeadlineExceeded,
    HandoverRequested,
    Interrupt,
    Interrupted,
    LeaseLost,
)


class Reader:
    """A greenlet that waits inside `armed`, then outside, and records what was raised."""

    def __init__(self) -> None:
        self.raised: list[Interrupted] = []
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
        except Interrupted as reason:
            self.raised.append(reason)
        self.may_end.wait()

    def end(self) -> list[Interrupted]:
        """Let the greenlet end and return what was raised inside `armed`; raises an error that ended the greenlet."""
        self.may_arm.set()
        gevent.sleep(0)
        self.may_end.set()
        self.greenlet.get(timeout=30)
        return self.raised


@pytest.fixture
def reader() -> Reader:
    return Reader()


def run_others() -> None:
    """Let every other greenlet run until it waits."""
    for _ in range(3):
        gevent.sleep(0)


def test_a_wait_inside_armed_is_interrupted(reader: Reader) -> None:
    reader.may_arm.set()
    run_others()
    cancel = CancelRequested("user")
    reader.interrupt.trigger(cancel)
    run_others()
    assert reader.raised == [cancel]
    assert reader.end() == [cancel]


def test_a_reason_before_armed_is_raised_on_entering_it(reader: Reader) -> None:
    handover = HandoverRequested()
    reader.interrupt.trigger(handover)
    run_others()
    assert reader.raised == []
    assert reader.end() == [handover]


def test_only_the_first_reason_is_raised_and_a_wait_outside_armed_is_not_interrupted(reader: Reader) -> None:
    reader.may_arm.set()
    run_others()
    first = DeadlineExceeded()
    for reason in (first, HandoverRequested(), CancelRequested("user"), LeaseLost("fenced")):
        reader.interrupt.trigger(reason)
        run_others()
    assert reader.end() == [first]


def test_a_lost_lease_replaces_a_reason_that_was_not_raised_yet(reader: Reader) -> None:
    reader.interrupt.trigger(HandoverRequested())
    lost = LeaseLost("fenced")
    reader.interrupt.trigger(lost)
    assert reader.end() == [lost]


def test_a_greenlet_that_leaves_armed_after_the_trigger_is_not_interrupted_later() -> None:
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
    run_others()
    assert interrupt is not None
    may_leave.set()  # the hub wakes it before the throw
    interrupt.trigger(HandoverRequested())
    assert greenlet.get(timeout=30) == "untouched"


def test_a_greenlet_that_has_ended_is_not_interrupted(reader: Reader) -> None:
    reader.interrupt.trigger(HandoverRequested())
    reader.end()
    reader.interrupt.trigger(LeaseLost("late"))
    run_others()
    assert reader.greenlet.successful()


def test_the_interrupted_frames_are_freed_at_once() -> None:
    """A socket that was not connected yet is closed by the end of its last reference; a cycle would keep it."""

    class Held:
        pass

    held: list[weakref.ref[Held]] = []
    interrupts: list[Interrupt] = []

    def wait() -> None:
        local = Held()
        held.append(weakref.ref(local))
        Event().wait()

    def read() -> None:
        interrupt = Interrupt()  # as a generation's greenlet holds it
        interrupts.append(interrupt)
        with suppress(CancelRequested), interrupt.armed():
            wait()

    gc.disable()
    try:
        reader = gevent.spawn(read)
        gevent.idle()
        interrupts[0].trigger(CancelRequested("user"))
        reader.get(timeout=30)
        assert held[0]() is None
    finally:
        gc.enable()
