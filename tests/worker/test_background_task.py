"""Background work repeats until it is stopped, survives failed calls, and stops within a bounded time."""

import time
from collections.abc import Callable, Iterator, Sequence

import gevent
import pytest
from gevent.event import Event

from millrace.worker.background_task import BackgroundTask, PeriodicTask
from millrace.worker.errors import DatabaseUnavailable, QueueUnavailable, RedisUnavailable

ERRORS: tuple[Exception, ...] = (RedisUnavailable("a"), QueueUnavailable("b"), DatabaseUnavailable("c"), KeyError("d"))


class Counting(BackgroundTask):
    """Counts its passes, and whether it ended by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.passes = 0
        self.has_returned = False

    def _run(self) -> None:
        while not self._stopping.wait(0.001):
            self.passes += 1
        self.has_returned = True


class Hanging(BackgroundTask):
    """Two greenlets that never look at `_stopping`."""

    stop_seconds = 0.1

    def __init__(self) -> None:
        super().__init__()
        self.killed = 0

    def _loops(self) -> Sequence[Callable[[], None]]:
        return (self._hang, self._hang)

    def _hang(self) -> None:
        try:
            Event().wait()
        except gevent.GreenletExit:
            self.killed += 1


class Calls:
    """Counts its calls; the first ones fail with these errors."""

    def __init__(self, *errors: Exception) -> None:
        self.count = 0
        self._errors = errors

    def __call__(self) -> None:
        self.count += 1
        if self.count <= len(self._errors):
            raise self._errors[self.count - 1]


@pytest.fixture(autouse=True)
def deadline() -> Iterator[None]:
    with gevent.Timeout(30):
        yield


def test_a_task_repeats_until_it_is_stopped() -> None:
    task = Counting()
    task.start()
    while task.passes < 3:
        gevent.sleep(0.001)
    task.stop()
    passes = task.passes
    gevent.sleep(0.01)
    assert task.has_returned
    assert task.passes == passes


def test_greenlets_that_do_not_return_are_killed_after_stop_seconds() -> None:
    task = Hanging()
    task.start()
    gevent.sleep(0)
    started_at = time.monotonic()
    task.stop()
    assert task.stop_seconds <= time.monotonic() - started_at < task.stop_seconds + 5
    assert task.killed == 2


def test_a_task_that_was_never_started_can_be_stopped() -> None:
    Counting().stop()


def test_a_failed_call_is_logged_and_does_not_end_the_task(caplog: pytest.LogCaptureFixture) -> None:
    calls = Calls(*ERRORS)
    task = PeriodicTask("sweep", 0.01, calls)
    task.start()
    while calls.count <= len(ERRORS):
        gevent.sleep(0.01)
    task.stop()
    assert caplog.text.count("task_postponed") == 1  # of the three in a row
    assert "task_postponed task=sweep kind=RedisUnavailable error=a failures=1 seconds=0.0" in caplog.text
    assert "task_resumed task=sweep failures=3 seconds=" in caplog.text
    assert caplog.text.count("task_failed") == caplog.text.count("Traceback") == 1


def test_a_dependency_that_stays_away_is_logged_again_after_a_while_with_the_time_that_it_lasts(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millrace.worker.background_task.REPEAT_SECONDS", 0.0)
    task = PeriodicTask("sweep", 0.01, Calls(*ERRORS))
    for _ in ERRORS:
        task._call()
    assert [line.split("failures=")[1][:1] for line in caplog.messages if "task_postponed" in line] == ["1", "2", "3"]


def test_the_first_call_comes_after_the_first_pause() -> None:
    calls = Calls()
    task = PeriodicTask("sweep", 100, calls)
    task.start()
    gevent.sleep(0)
    task.stop()
    assert calls.count == 0


def test_stop_makes_the_last_call_where_the_task_asks_for_it() -> None:
    calls = Calls()
    task = PeriodicTask("publish_metrics", 100, calls, runs_at_stop=True)
    task.start()
    gevent.sleep(0)
    task.stop()
    assert calls.count == 1


def test_stop_kills_a_call_that_takes_too_long() -> None:
    task = PeriodicTask("sweep", 0, lambda: gevent.sleep(100), stop_seconds=0.05)
    task.start()
    gevent.sleep(0.01)
    task.stop()
    assert all(greenlet.dead for greenlet in task._greenlets)
