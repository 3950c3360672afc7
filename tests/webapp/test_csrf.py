import pytest

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


def test_who_carries_no_cookie_uses_nobodys(site: Site) -> None:
    answer = site.stranger().post(API, json={"message": "a"}, headers={"Origin": "http://evil.example"})
    assert answer.status_code == 202
