"""Work that a process repeats in greenlets of its own, from `start` to `stop`."""

import random
import time
from collections.abc import Callable, Sequence

import gevent
from gevent.event import Event as Signal

from millrace.worker.errors import DependencyUnavailable
from millrace.worker.observability.logs import get_logger

STOP_SECONDS = 1.0
REPEAT_SECONDS = 30.0  # a dependency that stays away is logged again this often, not at every call

_log = get_logger(__name__)


class BackgroundTask:
    """Base class of all background work.

    A subclass implements `_run`, which loops until `_stopping` is set: `while not self._stopping.wait(seconds): …`.
    A subclass that needs several greenlets overrides `_loops` instead. A loop must catch every `Exception` within
    a pass, because a greenlet that dies is not restarted.
    """

    stop_seconds = STOP_SECONDS

    def __init__(self) -> None:
        self._stopping = Signal()
        self._greenlets: list[gevent.Greenlet[..., None]] = []

    def start(self) -> None:
        """Spawn the greenlets and return at once."""
        self._greenlets = [gevent.spawn(loop) for loop in self._loops()]

    def stop(self) -> None:
        """Let the current pass finish, for at most `stop_seconds`, then kill the greenlets."""
        self._stopping.set()
        gevent.joinall(self._greenlets, self.stop_seconds)
        gevent.killall(self._greenlets)

    def _loops(self) -> Sequence[Callable[[], None]]:
        """Return the functions to run, each in a greenlet of its own."""
        return (self._run,)

    def _run(self) -> None:
        raise NotImplementedError


class PeriodicTask(BackgroundTask):
    """Calls one function periodically, in one greenlet.

    The pause before each call is between 70 and 100 percent of `seconds`, so that processes that started together do
    not all call Redis at the same moment. A failed call is logged and does not prevent the next one: an unavailable
    dependency is logged as a warning, at first and every half minute while it lasts, and so is its return; any other
    exception is logged as an error with its traceback.

    With `runs_at_stop`, the function runs one last time during `stop`, for at most `stop_seconds`.
    """

    def __init__(
        self,
        name: str,
        seconds: float,
        function: Callable[[], None],
        *,
        runs_at_stop: bool = False,
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        super().__init__()
        self.name = name
        self.seconds = seconds
        self.stop_seconds = stop_seconds
        self._function = function
        self._runs_at_stop = runs_at_stop
        self._failures = 0
        self._failing_since = self._logged_at = 0.0

    def _run(self) -> None:
        while not self._stopping.wait(self.seconds * random.uniform(0.7, 1.0)):
            self._call()
        if self._runs_at_stop:
            self._call()

    def _call(self) -> None:
        try:
            self._function()
        except DependencyUnavailable as error:
            self._note_failure(error)
        except Exception:  # noqa: BLE001 - the edge of this greenlet
            _log.exception("task_failed", task=self.name)
        else:
            if self._failures:
                seconds = round(time.monotonic() - self._failing_since, 1)
                _log.warning("task_resumed", task=self.name, failures=self._failures, seconds=seconds)
            self._failures = 0

    def _note_failure(self, error: DependencyUnavailable) -> None:
        now = time.monotonic()
        if not self._failures:
            self._failing_since = now
        if not self._failures or now - self._logged_at >= REPEAT_SECONDS:
            self._logged_at = now
            failures, seconds = self._failures + 1, round(now - self._failing_since, 1)
            how_long = {"failures": failures, "seconds": seconds}
            _log.warning("task_postponed", task=self.name, kind=type(error).__name__, error=error, **how_long)
        self._failures += 1
