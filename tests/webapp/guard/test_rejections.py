"""Rejections come at once, until a client ignores many of them."""

import time
from collections.abc import Callable

import gevent
import pytest

from millrace.webapp.guard import rejections
from millrace.webapp.guard.rejections import RejectionPace
from tests.webapp.harness import WebHarness

HELD_SECONDS = 2.0  # long enough for a busy machine to answer what is not held


def seconds_of(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def test_only_a_client_that_goes_on_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejections, "HELD_SECONDS", HELD_SECONDS)
    pace = RejectionPace()
    assert seconds_of(lambda: [pace.hold("a") for _ in range(rejections.QUICK_REJECTIONS)]) < HELD_SECONDS
    assert seconds_of(lambda: pace.hold("a")) >= HELD_SECONDS
    assert seconds_of(lambda: pace.hold("b")) < HELD_SECONDS
    later = time.monotonic() + rejections._MEMORY_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert seconds_of(lambda: pace.hold("a")) < HELD_SECONDS


def test_held_rejections_and_remembered_clients_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejections, "HELD_SECONDS", HELD_SECONDS)
    monkeypatch.setattr(rejections, "QUICK_REJECTIONS", 1)
    monkeypatch.setattr(rejections, "MAX_HELD", 2)
    monkeypatch.setattr(rejections, "_MAX_KEYS", 3)
    pace = RejectionPace()
    for key in "abcd":
        pace.hold(key)
    assert list(pace._rejected) == ["b", "c", "d"]
    held = [gevent.spawn(pace.hold, key) for key in "bc"]
    gevent.sleep(0)
    assert seconds_of(lambda: pace.hold("d")) < HELD_SECONDS, "it would be the third"
    gevent.joinall(held, raise_error=True)
    assert seconds_of(lambda: pace.hold("d")) >= HELD_SECONDS


def test_loop_of_rejected_requests_is_slowed_down(
    build: Callable[..., WebHarness], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejections, "HELD_SECONDS", HELD_SECONDS)
    monkeypatch.setattr(rejections, "QUICK_REJECTIONS", 2)
    site = build(read_rate_limit="1/hour", follow_rate_limit="1/hour", new_owner_rate_limit="1/hour")
    site.ask()
    for path, headers in (("/api/profile", {}), ("/api/events?feed=1", {"Accept": "text/event-stream"})):
        quick = [seconds_of(lambda: site.user.get(path, headers=headers).close()) for _ in range(3)]  # noqa: B023
        assert max(quick) < HELD_SECONDS, path
        assert seconds_of(lambda: site.user.get(path, headers=headers).close()) >= HELD_SECONDS, path  # noqa: B023
    times = [seconds_of(lambda: site.stranger().post("/api/generations", json={"message": "a"})) for _ in range(3)]
    assert times[-1] >= HELD_SECONDS > max(times[:-1])
