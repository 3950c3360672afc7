"""Those who follow are asked again whether they may, one check for all who share a right."""

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


class Door:
    """A right that a test takes back, and how often it was asked."""

    def __init__(self, key: str, holds: Callable[[], bool] | None = None) -> None:
        self.is_open = True
        self.asked = 0
        self.right = Authorization(key, self._ask)
        self._holds = holds

    def _ask(self) -> bool:
        self.asked += 1
        return self.is_open if self._holds is None else self._holds()


@pytest.fixture
def rights() -> AuthorizationChecks:
    return AuthorizationChecks()


def follow(rights: AuthorizationChecks, door: Door | None) -> PullReader:
    reader = PullReader("0" * 32, START)
    rights.hold(door.right if door else None, reader)
    return reader


def test_who_shares_a_right_is_asked_once_and_cut_together(rights: AuthorizationChecks) -> None:
    taken, kept = Door("taken"), Door("kept")
    cut = [follow(rights, taken) for _ in range(3)]
    left = [follow(rights, kept), follow(rights, None)]
    rights.look()
    assert (taken.asked, kept.asked) == (1, 1)
    assert not [reader for reader in (*cut, *left) if reader.ended_because]
    taken.is_open = False
    rights.look()
    assert {reader.ended_because for reader in cut} == {"revoked"}
    assert all(reader.last_words.startswith(b"retry: ") for reader in cut), "they may come back, and hear why not"
    assert {reader.ended_because for reader in left} == {None}


def test_who_has_left_is_forgotten_and_asked_for_no_more(rights: AuthorizationChecks) -> None:
    door = Door("left")
    readers = [follow(rights, door) for _ in range(2)]
    readers[0].close("client_left")
    rights.cut_unsure(time.monotonic())
    assert len(rights._held) == 1
    readers[1].close("client_left")
    rights.cut_unsure(time.monotonic())
    assert not rights._held
    rights.look()
    assert door.asked == 0


def test_a_right_that_nobody_can_confirm_is_none_after_a_while(rights: AuthorizationChecks) -> None:
    def fail() -> bool:
        raise ConnectionError("the login's database is away")

    unsure, sure = follow(rights, Door("unsure", fail)), follow(rights, Door("sure"))
    rights.look()
    assert unsure.ended_because is None, "it may be back in a moment"
    now = time.monotonic()
    rights._held["sure"].confirmed_at = now + timing.SURE_SECONDS
    rights.cut_unsure(now + timing.SURE_SECONDS - 1)
    assert unsure.ended_because is None
    rights.cut_unsure(now + timing.SURE_SECONDS + 1)
    assert unsure.ended_because == "revoked"
    assert sure.ended_because is None


def test_who_comes_back_with_the_same_right_is_sure_again(rights: AuthorizationChecks) -> None:
    door = Door("same")
    follow(rights, door)
    rights._held["same"].confirmed_at -= timing.SURE_SECONDS
    later = follow(rights, door)  # its request has just been let in
    rights.cut_unsure(time.monotonic())
    assert later.ended_because is None


def test_checks_that_hang_hold_up_no_others(rights: AuthorizationChecks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "CHECK_SECONDS", 0.2)
    monkeypatch.setattr(timing, "_LONGEST_PAUSE", 0.0)

    def hang() -> bool:
        gevent.sleep(60)
        return True

    doors = [Door(f"hangs {number}", hang) for number in range(40)]
    readers = [follow(rights, door) for door in doors]
    closed = Door("closed")
    closed.is_open = False
    refused = follow(rights, closed)
    with gevent.Timeout(10):
        rights.look()
    assert refused.ended_because == "revoked"
    assert not [reader for reader in readers if reader.ended_because]
    assert all(door.asked == 1 for door in doors)


@pytest.fixture
def running(rights: AuthorizationChecks, monkeypatch: pytest.MonkeyPatch) -> Iterator[AuthorizationChecks]:
    monkeypatch.setattr(timing, "ROUND_SECONDS", 0.1)
    monkeypatch.setattr(timing, "_GLANCE_SECONDS", 0.1)
    greenlet = gevent.spawn(rights.run)
    yield rights
    greenlet.kill()


def test_it_goes_round_for_ever(running: AuthorizationChecks) -> None:
    door = Door("a while")
    reader = follow(running, door)
    wait_for(lambda: door.asked >= 3, 10, "the third round")
    door.is_open = False
    wait_for(lambda: reader.ended_because, 10, "the cut")
    wait_for(lambda: not running._held, 10, "forgetting")
