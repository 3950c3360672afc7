"""Creating and following are limited per owner and per address, with counters in Redis."""

import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from flask import Flask
from hypothesis import example, given
from hypothesis import strategies as st

from millrace.webapp import mount
from millrace.webapp.guard import limits
from millrace.webapp.guard.limits import WindowCounts, limit_kind_of, remaining_in
from millrace.webapp.openapi.document import description_of
from millrace.worker.contract.connection import Redis
from millrace.worker.settings.schema import Settings
from tests.valkey import ValkeyProcess
from tests.webapp.site import DEAD_PORT, WHOLE, Site, check_problem, stopping

Build = Callable[..., Site]
API = "/api/generations"
CREATING: list[tuple[str, dict[str, Any]]] = [
    (API, {"message": "a"}),
    (API, {"message": "a", "stream": True}),
    (API, {"message": "a", "stream": False}),
    ("/api/chat", {"message": "a"}),
    ("/api/conversation/me", {"message": "a"}),
    ("/api/conversation-stream/me", {"message": "a"}),
]
EVENT_SOURCE = {"Accept": "text/event-stream"}


def failures_of(site: Site) -> float:
    (line,) = re.findall(r"^millrace_limiter_failures_total\S* (\S+)$", site.user.get("/metrics").text, re.MULTILINE)
    return float(line)


def headers_of(answer: Any) -> tuple[int, int, int]:
    limit, remaining, reset = (int(answer.headers[f"RateLimit-{name}"]) for name in ("Limit", "Remaining", "Reset"))
    return limit, remaining, reset


@pytest.mark.parametrize(("path", "body"), CREATING)
def test_create_beyond_the_limit_is_429_with_retry_after(build: Build, path: str, body: dict[str, Any]) -> None:
    site = build(rate_limit="3/hour")
    for left in (2, 1, 0):
        answer = site.post({"message": "a"})
        assert answer.status_code == 202
        limit, remaining, reset = headers_of(answer)
        assert (limit, remaining) == (3, left)
        assert 0 < reset <= 3600
    made = site.made()
    refused = site.user.post(path, json=body)
    problem = check_problem(refused, 429, "rate_limited")
    wait = int(refused.headers["Retry-After"])
    assert 3500 < wait <= 3600
    assert f"{wait} seconds" in problem["detail"]
    assert headers_of(refused)[:2] == (3, 0)
    assert site.made() == made
    assert site.stranger().post(API, json={"message": "a"}).status_code == 202


def test_all_creating_routes_share_one_limit(build: Build) -> None:
    site = build(rate_limit="2/hour", wait_seconds=0.0)
    site.user.get("/")
    assert site.user.post("/api/conversation/me", json={"message": "a"}).status_code == 504
    assert site.post({"message": "a", "stream": False}).status_code == 202
    check_problem(site.user.post("/api/chat", json={"message": "a"}), 429, "rate_limited")


def test_rejected_requests_count_and_have_limit_headers(build: Build) -> None:
    site = build(rate_limit="2/hour")
    site.user.get("/")
    wrong = site.post({"no": 1})
    assert (wrong.status_code, headers_of(wrong)[1]) == (422, 1)
    site.post(b"x")
    check_problem(site.post({"message": "a"}), 429, "rate_limited")


def test_address_has_its_own_limit(build: Build) -> None:
    site = build(address_rate_limit="3/hour", trusted_proxies=1)

    def ask(address: str) -> int:
        headers = {"X-Forwarded-For": address}
        return site.stranger().post(API, json={"message": "a"}, headers=headers).status_code

    assert [ask("192.0.2.1") for _ in range(4)] == [202, 202, 202, 429]
    assert ask("192.0.2.2") == 202
    # An IPv6 user has a whole network of addresses.
    assert [ask(f"2001:db8::{number}") for number in range(1, 5)] == [202, 202, 202, 429]
    assert ask("2001:db8:0:1::1") == 202


def test_requests_rejected_by_owner_do_not_count_for_the_address(build: Build) -> None:
    site = build(rate_limit="1/hour", address_rate_limit="3/hour")
    assert [site.post({"message": "a"}).status_code for _ in range(5)] == [202, 429, 429, 429, 429]
    assert [site.stranger().post(API, json={"message": "a"}).status_code for _ in range(3)] == [202, 202, 429]


def test_several_rates_hold_at_once(build: Build) -> None:
    site = build(rate_limit="100/hour; 2 per 2 minutes")
    answers = [site.post({"message": "a"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert int(answers[2].headers["Retry-After"]) <= 120


def test_follow_beyond_the_limit_makes_an_event_source_retry_later(build: Build) -> None:
    site = build(follow_rate_limit="2/hour")
    generation = site.ask()
    site.write(site.hold(generation), *WHOLE)
    path = f"{API}/{generation}/events"
    for left in (1, 0):
        answer = site.user.get(path, buffered=True)
        assert answer.status_code == 200
        assert headers_of(answer)[:2] == (2, left)
    check_problem(site.user.get(path), 429, "rate_limited")
    # A 429 would stop an EventSource for good.
    waits: set[int] = set()
    for _ in range(20):
        answer = site.user.get(path, headers=EVENT_SOURCE)
        assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
        found = re.fullmatch(r": too often\nretry: (\d+)\n\n", answer.text)
        assert found is not None, "no event, and the end"
        waits.add(int(found[1]))
    assert min(waits) >= 3500 * 1000
    assert len(waits) > 10, "clients must not all reconnect at once"
    assert site.user.get(f"{API}/{generation}").status_code == 200, "getting the state is not following"


def test_follower_without_an_owner_is_limited_by_address(build: Build) -> None:
    site = build(follow_rate_limit="2/hour")
    answers = [site.stranger().get(f"{API}/{'0' * 32}/events") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [404, 404, 429]


def test_every_creating_or_following_route_is_limited(site: Site) -> None:
    views = {name: (limit_kind_of(view), description_of(view)) for name, view in site.app.view_functions.items()}
    streaming = {
        name: kind for name, (kind, description) in views.items() if description is not None and description.stream
    }
    assert streaming
    assert all(streaming.values()), streaming
    assert views["millrace.conversation_facade.answer"][0] == "create"


def test_counters_have_our_prefix_and_no_owner_names(build: Build, client: Redis) -> None:
    site = build(rate_limit="9/hour", address_rate_limit="9/hour", auth="header", auth_header="X-User", secret_key="")
    answer = site.stranger().post(API, json={"message": "a"}, headers={"X-User": "ada@example.com"})
    assert answer.status_code == 202
    counted = [key.decode() for key in client.scan_iter() if b"LIMITER" in key]
    assert len(counted) == 2
    assert all(key.startswith("mr:limits:") for key in counted)
    assert not [key for key in counted if "ada" in key]
    assert all(0 < int(client.ttl(key)) <= 7200 for key in counted)  # type: ignore[arg-type]


def test_host_apps_limiter_settings_have_no_effect_on_ours(store: ValkeyProcess, client: Redis) -> None:
    host = Flask("host")
    host.config.update(RATELIMIT_ENABLED=False, RATELIMIT_DEFAULT="1/day", SECRET_KEY="theirs")
    host.add_url_rule("/", "home", lambda: "home")
    mount(host, Settings.of(redis_url=store.url, secret_key="ours" * 8, rate_limit="1/hour"))
    user = host.test_client()
    with stopping(host):
        answers = [user.post(f"/millrace{API}", json={"message": "a"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 429]
    assert [user.get("/").status_code for _ in range(3)] == [200] * 3
    assert "RateLimit-Limit" not in user.get("/").headers


@pytest.fixture
def counting(tmp_path: Path) -> Iterator[ValkeyProcess]:
    with ValkeyProcess(tmp_path) as process:
        yield process


def test_unavailable_limiter_storage_allows_following_and_rejects_creating(
    build: Build, counting: ValkeyProcess, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STORAGE_RETRY_SECONDS", 0.0)
    rates = {"rate_limit": "100/hour", "address_rate_limit": "100/hour", "follow_rate_limit": "100/hour"}
    site = build(rate_limit_redis_url=counting.url, **rates)
    generation = site.ask()
    site.write(site.hold(generation), *WHOLE)
    counting.stop()
    made = site.made()
    for path, body in CREATING:
        check_problem(site.user.post(path, json=body), 503, "limits_away")
    assert site.made() == made
    answer = site.user.get(f"{API}/{generation}/events", buffered=True)
    assert (answer.status_code, '"done"' in answer.text) == (200, True)
    assert "RateLimit-Limit" not in answer.headers
    assert failures_of(site) >= len(CREATING) + 1
    assert "limiter_unavailable" in caplog.text
    counting.start()
    assert site.ask()


def test_unresponsive_limiter_storage_delays_no_request_for_long(build: Build, counting: ValkeyProcess) -> None:
    site = build(rate_limit_redis_url=counting.url, rate_limit="100/hour", follow_rate_limit="100/hour")
    generation = site.ask()
    site.write(site.hold(generation), *WHOLE)
    counting.signal(signal.SIGSTOP)
    try:
        with gevent.Timeout(10):
            began = time.monotonic()
            follows = [gevent.spawn(site.user.get, f"{API}/{generation}/events", buffered=True) for _ in range(100)]
            gevent.joinall(follows, raise_error=True)
            check_problem(site.post({"message": "a"}), 503, "limits_away")
        assert {each.get().status_code for each in follows} == {200}
        assert time.monotonic() - began < 5
    finally:
        counting.signal(signal.SIGCONT)


def test_limiter_storage_is_unused_without_limits(build: Build) -> None:
    site = build(rate_limit_redis_url=f"redis://127.0.0.1:{DEAD_PORT}/0")
    assert site.ask()
    assert "RateLimit-Limit" not in site.post({"message": "a"}).headers


AMOUNT, EXPIRY = 10, 60.0


@given(st.integers(0, AMOUNT), st.integers(0, AMOUNT), st.floats(0, EXPIRY, exclude_min=True))
@example(0, AMOUNT, EXPIRY)
def test_requests_remain_again_after_the_returned_seconds(previous: int, current: int, left: float) -> None:
    remaining, seconds = remaining_in(AMOUNT, EXPIRY, WindowCounts(previous, left, current, left + EXPIRY))
    assert 0 <= remaining <= AMOUNT
    assert 0 <= seconds <= EXPIRY
    left -= seconds + 0.001
    # When it expires, the current window becomes the previous one.
    later = (
        WindowCounts(previous, left, current, left + EXPIRY)
        if left > 0
        else WindowCounts(current, left + EXPIRY, 0, 0.0)
    )
    if remaining == 0:
        assert remaining_in(AMOUNT, EXPIRY, later)[0] > 0
