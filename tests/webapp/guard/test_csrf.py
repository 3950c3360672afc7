from collections.abc import Callable
from typing import Any

import pytest

from tests.webapp.guard.auth.issuer import token
from tests.webapp.guard.auth.test_tokens import signed_with
from tests.webapp.harness import WebHarness, check_problem

API = "/api/generations"

FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
    {"Sec-Fetch-Site": ""},
    {"Origin": "http://evil.example"},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": "http://evil.example/localhost"},
    {"Origin": "http://localhost:81"},
    {"Origin": "https://localhost"},
    {"Origin": "http://ada@localhost"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://[::1"},
    {"Origin": "null", "Host": "a:b"},
]
OURS = [
    {},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"},
    {"Origin": "http://localhost"},
    {"Origin": "http://localhost:80"},
]


def test_cross_site_request_with_a_cookie_is_rejected(site: WebHarness) -> None:
    generation = site.ask()
    before = site.made()
    for headers in FOREIGN:
        answers = [
            site.post({"message": "a"}, **headers),
            site.user.post(f"{API}/{generation}/cancel", headers=headers),
            site.user.delete(f"{API}/{generation}", headers=headers),
        ]
        for answer in answers:
            check_problem(answer, 403, "cross_site")
        assert site.made() == before, headers
        assert b'"queued"' in site.user.get(f"{API}/{generation}", headers=headers).data  # reading changes nothing


def test_same_origin_pages_and_programs_are_accepted(site: WebHarness) -> None:
    site.owner()
    for headers in OURS:
        assert site.user.post("/api/conversations", json={}, headers=headers).status_code == 201, headers


@pytest.mark.parametrize(
    "way", [{"auth": "header", "auth_header": "X-User"}, {"auth": "tests.webapp.host_app:user_of"}], ids=str
)
def test_cross_site_request_is_rejected_with_other_ambient_credentials(
    build: Callable[..., WebHarness], way: Any
) -> None:
    client = build(**way).stranger()
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}):
        answer = client.post(API, json={"message": "a"}, headers={"X-User": "ada", **headers})
        check_problem(answer, 403, "cross_site")


def test_bearer_token_needs_no_cross_site_check(build: Callable[..., WebHarness]) -> None:
    client = build(**signed_with("HS256")).stranger()
    headers = {"Authorization": f"Bearer {token()}", "Sec-Fetch-Site": "cross-site"}
    assert client.post(API, json={"message": "a"}, headers=headers).status_code == 202


ALLOWED = "https://app.example"


@pytest.mark.parametrize(("origin", "is_let_in"), [(ALLOWED, True), (f"{ALLOWED}.evil.example", False), (None, False)])
def test_allowed_origin_may_send_cookies(build: Callable[..., WebHarness], origin: str | None, is_let_in: bool) -> None:
    site = build(allowed_origins=(ALLOWED,))
    site.owner()
    headers = {"Sec-Fetch-Site": "cross-site", **({"Origin": origin} if origin else {})}
    assert site.post({"message": "a"}, **headers).status_code == (202 if is_let_in else 403)


def test_cross_site_request_without_a_cookie_creates_no_owner(site: WebHarness) -> None:
    generation = site.ask()
    before = site.made()
    for headers in FOREIGN:
        for path in (API, "/api/conversations"):
            answer = site.stranger().post(path, data='{"message": "a"}', content_type="text/plain", headers=headers)
            check_problem(answer, 403, "cross_site")
            assert "Set-Cookie" not in answer.headers, headers
    assert site.made() == before
    assert site.user.get(f"{API}/{generation}").status_code == 200


def test_rejection_names_both_origins(site: WebHarness) -> None:
    answer = site.stranger().post(API, json={"message": "a"}, headers={"Origin": "https://localhost"})
    assert "its origin is https://localhost, this site is http://localhost." in answer.get_json()["detail"]


@pytest.mark.parametrize(("proxies", "scheme"), [(0, "http"), (1, "https")])
def test_scheme_of_the_origin_is_compared_with_a_trusted_proxys(
    build: Callable[..., WebHarness], proxies: int, scheme: str
) -> None:
    client = build(trusted_proxies=proxies).stranger()
    for origin in ("http", "https"):
        headers = {"Origin": f"{origin}://localhost", "X-Forwarded-Proto": "https"}
        answer = client.post(API, json={"message": "a"}, headers=headers)
        assert answer.status_code == (202 if origin == scheme else 403)


def test_rejected_request_sets_no_cookie(site: WebHarness) -> None:
    for body in ({}, {"message": ""}, {"no": 1}):
        answer = site.stranger().post(API, json=body)
        assert answer.status_code == 422
        assert "Set-Cookie" not in answer.headers
