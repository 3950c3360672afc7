"""Interrupts of the greenlet that reads a model's stream, raised only where the greenlet allows them.

A flag that is tested at each delta has no effect while a read blocks, and closing a stream while another greenlet reads
it is an error. So the exception is raised in the reading greenlet itself, which closes the stream in its `finally`.

Interrupted
├── CancelRequested      a user or the system requested a cancel; `by` says which
├── DeadlineExceeded     the answer has reached its time limit
├── HandoverRequested    this process is shutting down, and another worker takes over
└── LeaseLost            another worker has the lease, or the log is not writable: stop and publish nothing more
"""

from types import TracebackType
from typing import Self

import gevent
from greenlet import greenlet

from millrace.worker.contract.events import CancelledBy


class Interrupted(BaseException):
    """The base class; not an `Exception`, because botocore wraps every `Exception` in an error of its own."""


class CancelRequested(Interrupted):
    """A cancel was requested."""

    def __init__(self, by: CancelledBy) -> None:
        super().__init__(by)
        self.by: CancelledBy = by


class DeadlineExceeded(Interrupted):
    """The answer has reached its time limit."""


class HandoverRequested(Interrupted):
    """This process is shutting down, and another worker takes over."""


class LeaseLost(Interrupted):
    """This greenlet must publish nothing more; the argument is the reason, for the operator's log."""


class Interrupt:
    """Raises one exception in the greenlet that created it, at most once, and only inside `armed`.

    A reason triggered before the `armed` block is raised on entry to the block. Later reasons are ignored, except that
    `LeaseLost` replaces a reason that has not been raised yet.
    """

    def __init__(self) -> None:
        self._greenlet: greenlet = gevent.getcurrent()
        self._is_armed = False
        self._is_spent = False
        self._reason: Interrupted | None = None

    @property
    def reason(self) -> Interrupted | None:
        """The reason that was triggered, raised or not."""
        return self._reason

    def armed(self) -> Self:
        """Return a context manager that allows the exception to be raised wherever this greenlet waits in its block."""
        return self

    def __enter__(self) -> None:
        """Begin the block; raises a reason that was triggered before."""
        if self._reason is not None and not self._is_spent:
            self._is_spent = True
            raise self._reason
        self._is_armed = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the block, and let go of what the interrupted frames hold, such as a socket that was not connected yet.

        The greenlet holds this object, which holds the exception, whose traceback holds the greenlet's frames: only a
        garbage collection would free them.
        """
        self._is_armed = False
        if error is not None and error is self._reason:
            error.__traceback__ = None

    def trigger(self, reason: Interrupted) -> None:
        """Interrupt the greenlet, or record the reason until it is armed; call this from another greenlet."""
        if self._is_spent or (self._reason is not None and not isinstance(reason, LeaseLost)):
            return
        is_first = self._reason is None
        self._reason = reason
        if is_first:
            gevent.get_hub().loop.run_callback(self._raise)

    def _raise(self) -> None:
        # Runs in the hub, while the greenlet waits: the greenlet can't leave `armed` between this check and the throw.
        if self._reason is not None and self._is_armed and not self._is_spent:
            self._is_spent = True
            self._greenlet.throw(self._reason)
