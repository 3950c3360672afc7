"""The bound on a model's silence: one timer for a whole stream, where the socket's own takes one for every read."""

import time
from types import TracebackType
from typing import Self

import gevent
from greenlet import greenlet


class ReadTimeout:
    """Raises TimeoutError in the greenlet that made it, once a single read has waited for so many seconds.

    Used by `with`; `waits` goes before each read and `hears` behind it.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._greenlet: greenlet = gevent.getcurrent()
        self._since: float | None = None
        self._look_in(seconds)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave off."""
        self._timer.close()

    def waits(self) -> None:
        """A read begins."""
        self._since = time.monotonic()

    def hears(self) -> None:
        """It has brought something; whatever the greenlet waits for now, is not the model."""
        self._since = None

    def _look_in(self, seconds: float) -> None:
        self._timer = gevent.get_hub().loop.timer(seconds)
        self._timer.start(self._look)

    def _look(self) -> None:
        self._timer.close()
        left = self._seconds if self._since is None else self._since + self._seconds - time.monotonic()
        if left > 0:
            self._look_in(left)
        else:
            self._greenlet.throw(TimeoutError(f"the model has said nothing for {self._seconds:g} s"))
