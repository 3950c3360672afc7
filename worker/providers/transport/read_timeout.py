"""A read timeout with one timer for a whole stream; the socket's own needs one for every read."""

import time
from types import TracebackType
from typing import Self

import gevent
from greenlet import greenlet


class ReadTimeout:
    """Raise TimeoutError in the greenlet that created it, once a single read has taken `seconds`.

    A context manager; call `begin_read` before each read and `end_read` after it. Time between reads does not count.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._greenlet: greenlet = gevent.getcurrent()
        self._read_since: float | None = None
        self._start_timer(seconds)

    def __enter__(self) -> Self:
        """Return the timeout, whose timer runs already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the timer."""
        self._timer.close()

    def begin_read(self) -> None:
        """Start to count: the greenlet waits for the model from here on."""
        self._read_since = time.monotonic()

    def end_read(self) -> None:
        """Stop counting: the read has returned, and any later wait is not the model's."""
        self._read_since = None

    def _start_timer(self, seconds: float) -> None:
        self._timer = gevent.get_hub().loop.timer(seconds)
        self._timer.start(self._check)

    def _check(self) -> None:
        self._timer.close()
        remaining = self._seconds if self._read_since is None else self._read_since + self._seconds - time.monotonic()
        if remaining > 0:
            self._start_timer(remaining)
        else:
            self._greenlet.throw(TimeoutError(f"no data from the model for {self._seconds:g} s"))
