"""What a process does again and again, in a greenlet of its own."""

import gevent
from gevent.event import Event as Signal

STOP_SECONDS = 1.0


class BackgroundTask:
    """The base of those who make rounds: `_run` looks at `_stopping` between two, and returns once that is set."""

    stop_seconds = STOP_SECONDS

    def __init__(self) -> None:
        self._stopping = Signal()
        self._greenlet: gevent.Greenlet[..., None] | None = None

    def start(self) -> None:
        """Begin."""
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        """End after the round under way, or in the midst of one that takes too long."""
        self._stopping.set()
        if self._greenlet is not None:
            self._greenlet.join(self.stop_seconds)
            self._greenlet.kill()

    def _run(self) -> None:
        raise NotImplementedError
