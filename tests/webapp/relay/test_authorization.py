"""Open streams are authorized again and again, with one check for all readers of one authorization."""

import time
from collections.abc import Callable, Iterator

import gevent
import pytest

from millrace.webapp.guard.auth.protocol import Authorization
from millrace.webapp.relay import authorization as timing
from millrace.webapp.relay.authorization import AuthorizationChecks
from millrace.webapp.relay.reader import PullReader
from millrace.worker.contract.ids import START
from tests.client import wait_for


class RevocableAuthorization:
    """An authorization that a test can revoke; it counts its checks."""

    def __init__(self, key: str, override: Callable[[], bool] | None = None) -> None:
        self.is_valid = True
        self.check_count = 0
        self.authorization = Authorization(key, self._check)
        self._override = override

    def _check(self) -> bool:
        self.check_count += 1
        return self.is_valid if self._override is None else self._override()


@pytest.fixture
def checks() -> AuthorizationChecks:
    return AuthorizationChecks()


def follow(checks: AuthorizationChecks, revocable: RevocableAuthorization | None) -> PullReader:
    reader = PullReader("0" * 32, START)
    checks.add(revocable.authorization if revocable else None, reader)
    return reader


def test_readers_with_one_authorization_share_a_check_and_are_cut_together(checks: AuthorizationChecks) -> None:
    taken, kept = RevocableAuthorization("taken"), RevocableAuthorization("kept")
    cut = [follow(checks, taken) for _ in range(3)]
    left = [follow(checks, kept), follow(checks, None)]
    checks.check_all()
    assert (taken.check_count, kept.check_count) == (1, 1)
    assert not [reader for reader in (*cut, *left) if reader.end_reason]
    taken.is_valid = False
    checks.check_all()
    assert {reader.end_reason for reader in cut} == {"revoked"}
    assert all(reader.render_end().startswith(b"retry: ") for reader in cut), "clients may reconnect, and get the 401"
    assert {reader.end_reason for reader in left} == {None}


def test_authorization_is_not_checked_after_its_last_reader_left(checks: AuthorizationChecks) -> None:
    revocable = RevocableAuthorization("left")
    readers = [follow(checks, revocable) for _ in range(2)]
    readers[0].close("client_left")
    checks.cut_unconfirmed(time.monotonic())
    assert len(checks._checks) == 1
    readers[1].close("client_left")
    checks.cut_unconfirmed(time.monotonic())
    assert not checks._checks
    checks.check_all()
    assert revocable.check_count == 0


def test_authorization_that_cannot_be_confirmed_is_revoked_after_a_bound(checks: AuthorizationChecks) -> None:
    def fail() -> bool:
        raise ConnectionError("the login's database is unavailable")

    unsure, sure = (
        follow(checks, RevocableAuthorization("unsure", fail)),
        follow(checks, RevocableAuthorization("sure")),
    )
    checks.check_all()
    assert unsure.end_reason is None, "the check may succeed the next time"
    now = time.monotonic()
    checks._checks["sure"].confirmed_at = now + timing.CONFIRMED_SECONDS
    checks.cut_unconfirmed(now + timing.CONFIRMED_SECONDS - 1)
    assert unsure.end_reason is None
    checks.cut_unconfirmed(now + timing.CONFIRMED_SECONDS + 1)
    assert unsure.end_reason == "revoked"
    assert sure.end_reason is None


def test_new_request_with_the_same_authorization_confirms_it(checks: AuthorizationChecks) -> None:
    revocable = RevocableAuthorization("same")
    follow(checks, revocable)
    checks._checks["same"].confirmed_at -= timing.CONFIRMED_SECONDS
    later = follow(checks, revocable)  # its request has just been let in
    checks.cut_unconfirmed(time.monotonic())
    assert later.end_reason is None


def test_hanging_checks_do_not_delay_others(checks: AuthorizationChecks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "CHECK_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(timing, "_MAX_PAUSE_SECONDS", 0.0)

    def hang() -> bool:
        gevent.sleep(60)
        return True

    revocables = [RevocableAuthorization(f"hangs {number}", hang) for number in range(40)]
    readers = [follow(checks, revocable) for revocable in revocables]
    closed = RevocableAuthorization("closed")
    closed.is_valid = False
    refused = follow(checks, closed)
    with gevent.Timeout(30):
        checks.check_all()
    assert refused.end_reason == "revoked"
    assert not [reader for reader in readers if reader.end_reason]
    assert all(revocable.check_count == 1 for revocable in revocables)


@pytest.fixture
def running(checks: AuthorizationChecks, monkeypatch: pytest.MonkeyPatch) -> Iterator[AuthorizationChecks]:
    monkeypatch.setattr(timing, "CHECK_INTERVAL_SECONDS", 0.1)
    monkeypatch.setattr(timing, "_EXPIRY_INTERVAL_SECONDS", 0.1)
    checks.start()
    yield checks
    checks.stop()


def test_checks_are_repeated_until_stopped(running: AuthorizationChecks) -> None:
    revocable = RevocableAuthorization("a while")
    reader = follow(running, revocable)
    wait_for(lambda: revocable.check_count >= 3, 30, "the third round")
    revocable.is_valid = False
    wait_for(lambda: reader.end_reason, 30, "the cut")
    wait_for(lambda: not running._checks, 30, "forgetting")
