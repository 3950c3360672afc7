"""Every kind of response has CORS headers for the allowed origins and no others."""

from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from millrace.webapp.problems import Problem
from tests.webapp.harness import DEAD_PORT, WHOLE, WebHarness, json_of

Build = Callable[..., WebHarness]
API = "/api/generations"
OURS, OTHER = "https://app.example", "http://localhost:5173"
OURS_MAY = {
    "Access-Control-Allow-Origin": OURS,
    "Access-Control-Allow-Credentials": "true",
    "Access-Control-Expose-Headers": (
        "Millrace-Generation-Id, Millrace-Heartbeat-Seconds, Location, Retry-After, "
        "RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, X-Request-Id, X-Should-Retry"
    ),
}
FOREIGN = [
    *("https://evil.example", "null", "", "*", "https://app.example.evil.example", "https://app.example:8443"),
    *("http://app.example", "https://APP.example", "https://app.example/", "https://app.example, https://evil.example"),
]


def cors_of(answer: TestResponse) -> dict[str, str]:
    return {name: value for name, value in answer.headers if name.startswith("Access-Control-")}


@pytest.fixture
def site(build: Build) -> WebHarness:
    site = build(allowed_origins=(OURS, OTHER))
    site.app.add_url_rule("/fail", "fail", _fail)
    return site


def _fail() -> str:
    raise ZeroDivisionError


def one_response_of_each_kind(site: WebHarness, origin: str) -> dict[str, TestResponse]:
    """Return one response of each kind to the same user."""
    sent = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}

    def call(method: str, path: str, **more: Any) -> TestResponse:
        return site.user.open(path, method=method, headers=sent, **more)

    generation = site.ask()
    one = f"{API}/{generation}"
    site.write(site.hold(generation), *WHOLE)
    top = json_of(call("GET", one))["last_event_id"]
    return {
        "200": call("GET", one),
        "202": call("POST", API, json={"message": "a"}),
        "stream": call("GET", f"{one}/events", buffered=True),
        "204": call("GET", f"{one}/events?after={top}"),
        "HEAD": call("HEAD", f"{one}/events"),
        "400": call("GET", f"{one}/events?after=x"),
        "404": call("GET", f"{API}/x"),
        "404 of no route": call("GET", "/nowhere"),
        "405": call("PUT", one),
        "415": call("POST", API, data=b"x"),
        "422": call("POST", API, json={"no": 1}),
        "500": call("GET", "/fail"),
        "503": call("GET", "/readyz"),
        "page": call("GET", "/"),
    }


def test_every_kind_of_response_has_cors_headers_for_an_allowed_origin(site: WebHarness) -> None:
    answers = one_response_of_each_kind(site, OURS)
    for kind, answer in answers.items():
        assert cors_of(answer) == OURS_MAY, kind
        assert "Origin" in answer.headers["Vary"], kind
        if kind[0].isdigit():
            assert answer.status_code == int(kind[:3])
    assert answers["stream"].mimetype == "text/event-stream"


@pytest.mark.parametrize("origin", FOREIGN, ids=range(len(FOREIGN)))
def test_unlisted_origin_gets_no_cors_headers(site: WebHarness, origin: str) -> None:
    for path in (f"{API}/x", "/healthz", "/"):
        answer = site.user.get(path, headers={"Origin": origin})
        assert cors_of(answer) == {}
        assert "Origin" in answer.headers["Vary"]
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    assert cors_of(site.user.options(API, headers=asked)) == {}


def test_second_allowed_origin_is_returned_alone(site: WebHarness) -> None:
    answer = site.user.get("/healthz", headers={"Origin": OTHER})
    assert answer.headers.getlist("Access-Control-Allow-Origin") == [OTHER]


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_preflight_returns_allowed_methods_and_headers(site: WebHarness, method: str) -> None:
    asked = {
        "Origin": OURS,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "content-type,idempotency-key,x-evil",
    }
    answer = site.stranger().options(f"{API}/x/events", headers=asked)
    assert answer.status_code == 204
    assert cors_of(answer) == OURS_MAY | {
        "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
        "Access-Control-Allow-Headers": ("Content-Type, Authorization, Idempotency-Key, Last-Event-ID, X-CSRF-Token"),
        "Access-Control-Max-Age": "600",
    }
    assert "Set-Cookie" not in answer.headers


def test_no_cors_headers_without_allowed_origins(build: Build) -> None:
    site = build()
    answer = site.user.get("/healthz", headers={"Origin": OURS})
    assert cors_of(answer) == {}
    assert "Origin" not in answer.headers.get("Vary", "")


def test_response_for_unavailable_redis_has_cors_headers(build: Build) -> None:
    site = build(allowed_origins=(OURS,), redis_url=f"redis://127.0.0.1:{DEAD_PORT}/0")

    headers = {"Origin": OURS, "Sec-Fetch-Site": "cross-site"}
    answer = site.user.post(API, json={"message": "a"}, headers=headers)
    assert (answer.status_code, cors_of(answer)) == (503, OURS_MAY)


def test_early_rejection_has_cors_headers(site: WebHarness) -> None:
    def refuse() -> None:
        raise Problem(429, "rate_limited", "Too many.")

    site.app.before_request(refuse)
    answer = site.user.get("/healthz", headers={"Origin": OURS})
    assert (answer.status_code, cors_of(answer)) == (429, OURS_MAY)
    assert answer.headers["Retry-After"]
