"""Every route is limited per owner and per address, with counters in Redis."""

import io
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
from millrace.webapp.guard.limits import limit_kind_of, remaining_in
from millrace.webapp.guard.windows import WindowCounts
from millrace.webapp.openapi.document import description_of
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.settings.schema import Settings
from tests.valkey import ValkeyProcess
from tests.webapp.harness import CREATING, DEAD_PORT, WHOLE, WebHarness, check_problem, json_of, stopping

Build = Callable[..., WebHarness]
API = "/api/generations"
EVENT_SOURCE = {"Accept": "text/event-stream"}


def failures_of(site: WebHarness) -> float:
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
    site.owner()
    assert site.user.post("/api/conversation/me", json={"message": "a"}).status_code == 504
    assert site.post({"message": "a", "stream": False}).status_code == 202
    check_problem(site.user.post("/api/chat", json={"message": "a"}), 429, "rate_limited")


def test_rejected_requests_count_and_have_limit_headers(build: Build) -> None:
    site = build(rate_limit="2/hour")
    site.owner()
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


UNLIMITED_ROUTES = ("/healthz", "/readyz", "/static/<path:name>")


def test_every_route_has_a_limit_of_its_kind(site: WebHarness) -> None:
    kinds: dict[str, str | None] = {}
    for rule in site.app.url_map.iter_rules():
        if rule.rule not in UNLIMITED_ROUTES:
            method = next(each for each in ("GET", "POST", "PUT", "PATCH", "DELETE") if each in (rule.methods or ()))
            kinds[f"{method} {rule.rule}"] = kind = limit_kind_of(site.app.view_functions[rule.endpoint])
            description = description_of(site.app.view_functions[rule.endpoint])
            is_stream = description is not None and (bool(description.stream) or 101 in description.answers)
            allowed = {"GET": {"follow"} if is_stream else {"read", "public"}, "POST": {"create", "write"}}
            if rule.rule == "/api/beacon":  # sent without an owner
                allowed["POST"] = {"public"}
            assert kind in allowed.get(method, {"write", "create"}), (rule.rule, kind)
            assert kind == "create" or not (is_stream and method == "POST"), rule.rule
    assert len(kinds) > 20
    assert kinds["POST /api/conversation/<path:user>"] == "create"


OTHER_KINDS = {
    "read": [("GET", "/api/conversations"), ("GET", "/api/profile"), ("GET", f"{API}/{'0' * 32}")],
    "write": [
        ("DELETE", "/api/memories"),
        ("PATCH", f"/api/conversations/{'0' * 32}"),
        ("POST", f"{API}/0/cancel"),
    ],
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_reading_and_writing_are_limited_per_owner_and_per_address(build: Build, kind: str) -> None:
    site = build(**{f"{kind}_rate_limit": "3/hour", f"address_{kind}_rate_limit": "5/hour"})

    def check_user(allowed: int, variable: str) -> None:
        user = site.stranger()
        site.owner(user)
        for number, (method, path) in enumerate(OTHER_KINDS[kind] * 2):
            answer = user.open(path, method=method)
            assert (answer.status_code == 429) is (number >= allowed), (path, number)
            if number == allowed:
                assert f"({variable})" in check_problem(answer, 429, "rate_limited")["detail"]

    check_user(3, f"MILLRACE_{kind.upper()}_RATE_LIMIT")
    # Another user at the same address does not suffer from the rejected requests, until the address is at its limit.
    check_user(2, f"MILLRACE_ADDRESS_{kind.upper()}_RATE_LIMIT")
    assert site.ask(), "other kinds have limits of their own"


def test_public_pages_are_limited_per_address_and_need_no_authentication(build: Build) -> None:
    site = build(address_read_rate_limit="2/hour", auth="header", auth_header="X-User", secret_key="")
    answers = [site.stranger().get(path).status_code for path in ("/", "/metrics", "/api/openapi.json", "/healthz")]
    assert answers == [200, 200, 429, 200]


def test_unauthenticated_requests_count_for_their_address(build: Build) -> None:
    site = build(address_read_rate_limit="2/hour", auth="header", auth_header="X-User", secret_key="")
    answers = [site.stranger().get("/api/conversations").status_code for _ in range(3)]
    assert answers == [401, 401, 429]


class UnreadBody(io.BytesIO):
    """A body that no one may read."""

    def read(self, _size: int | None = -1) -> bytes:
        raise AssertionError("the body was read")


def test_limits_are_checked_before_the_body_is_read(build: Build) -> None:
    site = build(rate_limit="1/hour", write_rate_limit="1/hour", new_owner_rate_limit="1/hour")
    conversation = str(json_of(site.user.post("/api/conversations", json={}))["id"])
    path = f"/api/conversations/{conversation}"
    assert site.user.patch(path, json={"title": "a"}).status_code == 200
    unread: dict[str, Any] = {"input_stream": UnreadBody(), "content_type": "application/json", "content_length": 99}
    check_problem(site.user.patch(path, **unread), 429, "rate_limited")
    check_problem(site.user.put("/api/profile", **unread), 429, "rate_limited")
    for creating, _ in CREATING:
        check_problem(site.user.post(creating, **unread), 429, "rate_limited")
        check_problem(site.stranger().post(creating, **unread), 429, "too_many_owners")


BEGINNING: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    *(("POST", path, body, {"no": 1}) for path, body in CREATING[:1] + CREATING[3:]),
    ("POST", "/api/conversations", {}, {"no": 1}),
    ("PUT", "/api/profile", {"text": "a"}, {"no": 1}),
]


def test_new_owners_are_limited_per_address(build: Build) -> None:
    site = build(new_owner_rate_limit=f"{len(BEGINNING)}/hour", trusted_proxies=1, wait_seconds=0.0)
    for method, path, body, _ in BEGINNING:
        assert "Set-Cookie" in site.stranger().open(path, method=method, json=body).headers, path
    made = site.made()
    for method, path, body, _ in BEGINNING:
        rejected = site.stranger().open(path, method=method, json=body)
        problem = check_problem(rejected, 429, "too_many_owners")
        assert "(MILLRACE_NEW_OWNER_RATE_LIMIT)" in problem["detail"]
        assert int(rejected.headers["Retry-After"]) > 3000
        assert "Set-Cookie" not in rejected.headers
    assert site.made() == made
    elsewhere = site.stranger().post(API, json={"message": "a"}, headers={"X-Forwarded-For": "192.0.2.1"})
    assert elsewhere.status_code == 202


def test_requests_that_begin_no_owner_do_not_count_as_new_owners(build: Build) -> None:
    site = build(new_owner_rate_limit="1/hour")
    generation = site.ask()
    for path in ("/", "/api/conversations", "/api/profile", f"{API}/{generation}", "/api/events?feed=1"):
        assert site.stranger().get(path).status_code != 429
    assert site.ask()
    other = build(new_owner_rate_limit="1/hour", redis_url=f"{site.services.settings.redis.url.rpartition('/')[0]}/1")
    for method, path, _, wrong in BEGINNING:
        assert other.stranger().open(path, method=method, json=wrong).status_code == 422
    assert other.ask()
    check_problem(other.stranger().post(API, json={"message": "a"}), 429, "too_many_owners")


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
        with gevent.Timeout(30):
            began = time.monotonic()
            follows = [gevent.spawn(site.user.get, f"{API}/{generation}/events", buffered=True) for _ in range(100)]
            gevent.joinall(follows, raise_error=True)
            check_problem(site.post({"message": "a"}), 503, "limits_away")
        assert {each.get().status_code for each in follows} == {200}
        assert time.monotonic() - began < 20
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
