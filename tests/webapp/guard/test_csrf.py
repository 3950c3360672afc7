from collections.abc import Callable
from typing import Any

import pytest

from tests.webapp.guard.auth.issuer import token
from tests.webapp.guard.auth.test_tokens import signed_with
from tests.webapp.site import Site, check_problem

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
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://[::1"},
]
OURS = [
    {},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"},
    {"Origin": "http://localhost"},
    {"Origin": "https://localhost"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=range(len(FOREIGN)))
def test_another_site_can_use_nobodys_cookie(site: Site, headers: dict[str, str]) -> None:
    generation = site.ask()
    before = site.made()
    answers = [
        site.post({"message": "a"}, **headers),
        site.user.post(f"{API}/{generation}/cancel", headers=headers),
        site.user.delete(f"{API}/{generation}", headers=headers),
    ]
    for answer in answers:
        check_problem(answer, 403, "cross_site")
    assert site.made() == before
    assert b'"queued"' in site.user.get(f"{API}/{generation}", headers=headers).data  # reading changes nothing


@pytest.mark.parametrize("headers", OURS, ids=range(len(OURS)))
def test_ones_own_page_and_programs_may(site: Site, headers: dict[str, str]) -> None:
    site.user.get("/")
    assert site.post({"message": "a"}, **headers).status_code == 202


@pytest.mark.parametrize(
    "way", [{"auth": "header", "auth_header": "X-User"}, {"auth": "tests.webapp.host:who"}], ids=str
)
def test_without_a_cookie_too_where_something_else_names_the_owner(build: Callable[..., Site], way: Any) -> None:
    client = build(**way).stranger()
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}):
        answer = client.post(API, json={"message": "a"}, headers={"X-User": "ada", **headers})
        check_problem(answer, 403, "cross_site")


def test_a_token_that_the_page_itself_has_to_send_needs_no_such_check(build: Callable[..., Site]) -> None:
    client = build(**signed_with("HS256")).stranger()
    headers = {"Authorization": f"Bearer {token()}", "Sec-Fetch-Site": "cross-site"}
    assert client.post(API, json={"message": "a"}, headers=headers).status_code == 202


ALLOWED = "https://app.example"


@pytest.mark.parametrize(("origin", "is_let_in"), [(ALLOWED, True), (f"{ALLOWED}.evil.example", False), (None, False)])
def test_an_origin_on_the_list_may_use_its_users_cookie(
    build: Callable[..., Site], origin: str | None, is_let_in: bool
) -> None:
    site = build(allowed_origins=(ALLOWED,))
    site.user.get("/")
    headers = {"Sec-Fetch-Site": "cross-site", **({"Origin": origin} if origin else {})}
    assert site.post({"message": "a"}, **headers).status_code == (202 if is_let_in else 403)


def test_who_carries_no_cookie_uses_nobodys(site: Site) -> None:
    answer = site.stranger().post(API, json={"message": "a"}, headers={"Origin": "http://evil.example"})
    assert answer.status_code == 202
