"""The owner comes from the proxy's header only."""

from collections.abc import Callable
from typing import Any

import pytest

from millrace.webapp.settings import check
from millrace.worker.errors import SettingError
from millrace.worker.settings.schema import Settings
from tests.webapp.harness import WebHarness, check_problem, json_of

Build = Callable[..., WebHarness]
API = "/api/generations"


@pytest.fixture
def site(build: Build) -> WebHarness:
    return build(auth="header", auth_header="X-Forwarded-User", secret_key="")


def asked_by(site: WebHarness, name: str) -> str:
    sent = {"X-Forwarded-User": name.encode().decode("latin-1")}
    answer = site.stranger().post(API, json={"message": "a"}, headers=sent)
    assert answer.status_code == 202, answer.text
    assert "Set-Cookie" not in answer.headers
    return str(json_of(answer)["id"])


@pytest.mark.parametrize("name", ["ada", "ada@example.com", "a" * 255, "J\u00fcrgen \u65e5\u672c", "{b01}:x/../y"])
def test_header_is_the_owner(site: WebHarness, name: str) -> None:
    generation = asked_by(site, name)
    (state,) = [key for key in site.made() if key.endswith(":state")]
    owner: Any = site.redis.hget(state, "owner")
    assert owner.decode() == name
    mine = {"X-Forwarded-User": name.encode().decode("latin-1")}
    assert site.stranger().get(f"{API}/{generation}", headers=mine).status_code == 200
    theirs = {"X-Forwarded-User": "another user"}
    check_problem(site.stranger().get(f"{API}/{generation}", headers=theirs), 404, "not_found")
    check_problem(site.stranger().delete(f"{API}/{generation}", headers=theirs), 404, "not_found")


@pytest.mark.parametrize("name", ["", " ", "a" * 256, "ada,eve", "ada, ada", "a\x01b", "\xff\xfe"])
def test_invalid_header_value_is_401(site: WebHarness, name: str) -> None:
    answer = site.stranger().post(API, json={"message": "a"}, headers={"X-Forwarded-User": name})
    check_problem(answer, 401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == 'Login realm="millrace"'


@pytest.mark.parametrize("space", ["\u00a0", "\u2003", "\u3000", "\u0085", "\u2028"], ids=ascii)
def test_name_with_an_unusual_space_is_401_not_another_owner(site: WebHarness, space: str) -> None:
    generation = asked_by(site, "alice")
    for name in (f"alice{space}", f"{space}alice"):
        headers = {"X-Forwarded-User": name.encode().decode("latin-1")}
        check_problem(site.stranger().get(f"{API}/{generation}", headers=headers), 401, "unauthorized")
    assert site.stranger().get(f"{API}/{generation}", headers={"X-Forwarded-User": " alice\t"}).status_code == 200


def test_duplicate_header_is_401(site: WebHarness) -> None:
    both = [("X-Forwarded-User", "eve"), ("X-Forwarded-User", "ada")]
    check_problem(site.stranger().post(API, json={"message": "a"}, headers=both), 401, "unauthorized")


def test_unauthenticated_request_does_not_reveal_which_ids_exist(site: WebHarness) -> None:
    there, absent = asked_by(site, "ada"), "0" * 32
    for path in (f"{API}/{there}", f"{API}/{absent}", f"{API}/{there}/events", f"{API}/x/events"):
        check_problem(site.stranger().get(path), 401, "unauthorized")


def test_missing_header_setting_prevents_the_start() -> None:
    with pytest.raises(SettingError, match=r"^MILLRACE_AUTH_HEADER: "):
        check(Settings.of(auth="header"))


@pytest.mark.parametrize(("name", "value"), [("auth_header", "X-User"), ("jwt_secret", "s"), ("jwt_cookie", "c")])
def test_unused_auth_setting_prevents_the_start(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"^MILLRACE_{name.upper()}: has no effect with MILLRACE_AUTH=session"):
        check(Settings.of(secret_key="k" * 32, **{name: value}))  # type: ignore[arg-type]
