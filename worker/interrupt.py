"""Interrupting the greenlet that reads a model's stream, at the right moment only.

A flag tested at each delta does nothing while a read blocks, and closing a stream under its reader is an error. So
an exception is raised in the reading greenlet, which closes the stream in its `finally`.

Interrupted
├── CancelAsked     somebody asked to cancel; says who
├── TimeIsUp        the answer has taken as long as it may
├── HandOver        this process ends: another shall go on
└── HoldLost        the log is somebody else's, or can't be written any more: stop and say nothing
"""

from collections.abc import Generator
from contextlib import contextmanager

import gevent
from greenlet import greenlet

from millrace.worker.contract.events import CancelledBy


class Interrupted(BaseException):
    """The root; not an `Exception`, because botocore turns every one of those into an error of its own."""


class CancelAsked(Interrupted):
    """Somebody asked to cancel."""

    def __init__(self, by: CancelledBy) -> None:
        super().__init__(by)
        self.by: CancelledBy = by


class TimeIsUp(Interrupted):
    """The answer has taken as long as it may."""


class HandOver(Interrupted):
    """This process ends: another shall go on."""


class HoldLost(Interrupted):
    """Nothing may be written any more; the argument says why, for the log."""


class Interrupt:
    """Strikes one greenlet, the one that made it, once at most, and only within `armed`.

    What comes earlier is noted and raised on entering `armed`; what comes after the first is ignored, except that
    `HoldLost` takes the place of one not raised yet.
    """

    def __init__(self) -> None:
        self._greenlet: greenlet = gevent.getcurrent()
        self._is_armed = False
        self._is_spent = False
        self._noted: Interrupted | None = None

    @property
    def noted(self) -> Interrupted | None:
        """What has been asked for, raised or not."""
        return self._noted

    @contextmanager
    def armed(self) -> Generator[None]:
        """Let the exception through at whatever this greenlet waits for inside the block."""
        if self._noted is not None and not self._is_spent:
            self._is_spent = True
            raise self._noted
        self._is_armed = True
        try:
            yield
        finally:
            self._is_armed = False

    def strike(self, why: Interrupted) -> None:
        """Interrupt the greenlet, or note it; from any other greenlet."""
        if self._is_spent or (self._noted is not None and not isinstance(why, HoldLost)):
            return
        is_first = self._noted is None
        self._noted = why
        if is_first:
            gevent.get_hub().loop.run_callback(self._raise)

    def _raise(self) -> None:
        # In the hub: the greenlet waits for something just now, and can't leave `armed` between test and throw.
        if self._noted is not None and self._is_armed and not self._is_spent:
            self._is_spent = True
            self._greenlet.throw(self._noted)
