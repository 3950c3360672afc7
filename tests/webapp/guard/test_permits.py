"""While several addresses ask, each has few requests under way at once, and the others of it wait in order."""

from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import Event

from millrace.webapp.generation.validation import ParsedRequest, parse
from millrace.webapp.guard import permits
from millrace.webapp.guard.client import client_address
from millrace.webapp.guard.permits import Permit, Permits, release_permit, without_permit
from millrace.webapp.routes import generations
from millrace.worker.settings.schema import Settings
from tests.client import wait_for
from tests.webapp.harness import WHOLE, WebHarness

Build = Callable[..., WebHarness]
ATTACKER, USER = "192.0.2.1", "192.0.2.2"


@pytest.fixture
def shared() -> Permits:
    """Return permits that several addresses have taken."""
    found = Permits(1)
    for address in (USER, ATTACKER):
        found.release(found.take(address))
    return found


def taking(found: Permits, address: str, granted: list[int], number: int) -> "gevent.Greenlet[[], Permit]":
    def take() -> Permit:
        permit = found.take(address)
        granted.append(number)
        return permit

    greenlet = gevent.spawn(take)
    gevent.sleep(0)
    return greenlet


def test_permits_of_one_address_are_granted_in_order_and_another_address_does_not_wait(shared: Permits) -> None:
    granted: list[int] = []
    waiting = [taking(shared, ATTACKER, granted, number) for number in range(4)]
    assert granted == [0]
    user = shared.take(USER)
    for number, greenlet in enumerate(waiting):
        assert granted == list(range(number + 1))
        shared.release(greenlet.get(timeout=30))
        gevent.sleep(0)
    shared.release(user)
    assert shared.count == 0


def test_one_address_alone_never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Permits(1)
    for _ in range(3):
        found.take(ATTACKER)
    monkeypatch.setattr(permits, "SHARED_SECONDS", 0.0)
    found.take(USER)
    found.take(ATTACKER)
    assert found.count == 5


def test_an_overdue_permit_keeps_no_other_waiting_and_is_passed_on_once(
    shared: Permits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(permits, "OVERDUE_SECONDS", 0.05)
    granted: list[int] = []
    first = shared.take(ATTACKER)
    second = taking(shared, ATTACKER, granted, 2).get(timeout=30)
    monkeypatch.setattr(permits, "OVERDUE_SECONDS", 60.0)
    third = taking(shared, ATTACKER, granted, 3)
    shared.release(first)
    gevent.sleep(0)
    assert granted == [2]
    shared.release(second)
    shared.release(third.get(timeout=30))


def test_a_request_that_ends_while_it_waits_leaves_its_place_to_the_next(shared: Permits) -> None:
    granted: list[int] = []
    first = shared.take(ATTACKER)
    second, third = (taking(shared, ATTACKER, granted, number) for number in (2, 3))
    second.kill()
    shared.release(first)
    shared.release(third.get(timeout=30))
    assert (granted, shared.count) == ([3], 0)


def test_there_is_no_permit_outside_a_request() -> None:
    release_permit()
    with without_permit():
        pass


@pytest.fixture
def site(build: Build) -> WebHarness:
    found = build(trusted_proxies=1, max_active_per_user=1000)
    for address in (USER, ATTACKER):
        assert get(found, address) == 200
    return found


def get(site: WebHarness, address: str) -> int:
    return site.user.get("/api/profile", headers={"X-Forwarded-For": address}).status_code


def ask(site: WebHarness, address: str, **body: Any) -> int:
    headers = {"X-Forwarded-For": address}
    return site.stranger().post("/api/generations", json={"message": "a"} | body, headers=headers).status_code


def test_requests_of_an_address_wait_for_its_first_and_those_of_others_do_not(
    site: WebHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(permits, "OVERDUE_SECONDS", 60.0)
    reached, may_go_on = list[str](), Event()

    def parse_slowly(body: Any, settings: Settings) -> ParsedRequest:
        reached.append(client_address())
        if reached[-1] == ATTACKER:
            assert may_go_on.wait(30)
        return parse(body, settings)

    monkeypatch.setattr(generations, "parse", parse_slowly)
    asking = [gevent.spawn(ask, site, ATTACKER) for _ in range(3)]
    wait_for(lambda: reached == [ATTACKER])
    assert ask(site, USER) == 202
    assert reached == [ATTACKER, USER]
    may_go_on.set()
    assert [each.get(timeout=30) for each in asking] == [202] * 3


def test_a_request_that_waits_for_its_whole_answer_keeps_no_other_waiting(
    site: WebHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(permits, "OVERDUE_SECONDS", 60.0)
    asking = gevent.spawn(ask, site, ATTACKER, stream=False)
    wait_for(site.generations)
    with gevent.Timeout(30):
        assert get(site, ATTACKER) == 200
    site.write(site.hold(site.generations()[0]), *WHOLE)
    assert asking.get(timeout=30) == 200
