import time
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from itsdangerous import TimestampSigner, URLSafeTimedSerializer

from millrace.webapp.guard.auth.session import COOKIE_LIFE
from millrace.worker.contract.ids import is_id
from millrace.worker.contract.keys import keys_of
from tests.webapp.harness import WebHarness, check_problem, json_of

Build = Callable[..., WebHarness]
API = "/api/generations"


def cookie_of(site: WebHarness, **environment: Any) -> str:
    answer = site.stranger().post(API, json={"message": "a"}, environ_overrides=environment)
    return answer.headers["Set-Cookie"]


def test_first_request_gets_a_signed_http_only_cookie(site: WebHarness) -> None:
    cookie = cookie_of(site)
    assert cookie.startswith(f"{site.cookie_name}=")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/" in cookie
    assert "Expires=" in cookie
    assert "Secure" not in cookie


def test_cookie_is_secure_over_https(site: WebHarness) -> None:
    assert "Secure" in cookie_of(site, **{"wsgi.url_scheme": "https"})


@pytest.mark.parametrize(("setting", "attribute"), [("strict", "SameSite=Strict"), ("none", "SameSite=None")])
def test_samesite_is_a_setting_and_none_implies_secure(build: Build, setting: str, attribute: str) -> None:
    cookie = cookie_of(build(cookie_samesite=setting))
    assert attribute in cookie
    assert ("Secure" in cookie) == (setting == "none")


@pytest.mark.parametrize(("proxies", "is_secure"), [(0, False), (1, True)])
def test_forwarded_headers_are_used_only_from_trusted_proxies(build: Build, proxies: int, is_secure: bool) -> None:
    site = build(trusted_proxies=proxies)
    cookie = site.post({"message": "a"}, X_Forwarded_Proto="https").headers["Set-Cookie"]
    assert ("Secure" in cookie) is is_secure


def test_each_client_gets_one_owner_and_keeps_it(site: WebHarness) -> None:
    for client in (site.user, site.user, site.stranger()):
        client.post(API, json={"message": "a"})
    owners = [site.redis.hget(key, "owner") for key in site.made() if key.endswith(":state")]
    assert len(owners) == 3
    assert len(set(owners)) == 2
    assert all(is_id(owner.decode()) for owner in owners)  # type: ignore[union-attr]


def test_cookie_of_a_server_whose_clock_is_ahead_is_valid_and_an_expired_one_is_not(
    site: WebHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    year, now = int(COOKIE_LIFE.total_seconds()), int(time.time())
    for signed_at, is_valid in ((now + 7200, True), (now + 1, True), (now - year + 60, True), (now - year - 60, False)):
        client = site.stranger()
        with monkeypatch.context() as patches:
            patches.setattr(TimestampSigner, "get_timestamp", lambda _, at=signed_at: at)
            made = client.post(API, json={"message": "a"})
        found = client.get(json_of(made)["events_url"].removesuffix("/events"))
        assert (found.status_code == 200) is is_valid, f"signed {signed_at - now} s from now"
        assert "Set-Cookie" not in found.headers


def test_post_without_a_cookie_gets_one_in_its_response(site: WebHarness) -> None:
    answer = site.stranger().post(API, json={"message": "a"})
    assert f"{site.cookie_name}=" in answer.headers["Set-Cookie"]


def test_reading_gives_no_cookie(site: WebHarness) -> None:
    generation = site.ask()
    stranger = site.stranger()
    for path in ("/", "/healthz", "/api/conversations", "/api/profile", f"{API}/{generation}", "/api/events?feed=1"):
        assert "Set-Cookie" not in stranger.get(path).headers, path
    assert stranger.delete("/api/memories").status_code == 204
    assert stranger.get_cookie(site.cookie_name) is None


@pytest.mark.parametrize("value", ["", "x", "eyJvd25lciI6ImEifQ.aaaaaa.bbbbbbbbbbb", "." * 3000, "\xe9"], ids=range(5))
def test_forged_cookie_has_no_owner(site: WebHarness, value: str) -> None:
    generation = site.ask()
    bare = site.app.test_client(use_cookies=False)  # one that keeps cookies replaces this header by its own
    ours = site.user.get_cookie(site.cookie_name)
    assert ours is not None
    assert bare.get(f"{API}/{generation}", headers={"Cookie": f"{site.cookie_name}={ours.value}"}).status_code == 200
    check_problem(bare.get(f"{API}/{generation}", headers={"Cookie": f"{site.cookie_name}={value}"}), 404, "not_found")


def test_cookie_signed_with_another_secret_has_no_owner(build: Build) -> None:
    ours, theirs = build(), build(secret_key="another" * 5)
    generation = ours.ask()
    cookie = ours.user.get_cookie(ours.cookie_name)
    assert cookie is not None
    for name in (theirs.cookie_name, "millrace"):
        theirs.user.set_cookie(name, cookie.value)
    check_problem(theirs.user.get(f"{API}/{generation}"), 404, "not_found")


def test_cookie_is_good_until_its_key_is_removed_and_is_renewed_with_the_first_key(build: Build) -> None:
    """Both keys in one order, then in the other, then the new one alone: each a restart of the web tier."""
    old, new = "an old key".ljust(40, "o"), "a new key".ljust(40, "n")
    before = build(secret_key=old)
    generation = before.ask()
    conversation = json_of(before.user.get(f"{API}/{generation}"))["conversation_id"]
    names = before.cookie_name, build(secret_key=new).cookie_name
    assert names[0] != names[1]
    browser = {names[0]: value_of(before.user, names[0])}

    def conversations(site: WebHarness) -> list[str]:
        cookies = {"Cookie": "; ".join(f"{name}={value}" for name, value in browser.items())}
        answer = site.app.test_client(use_cookies=False).get("/api/conversations", headers=cookies)
        if given := answer.headers.get("Set-Cookie"):
            name, _, value = given.partition(";")[0].partition("=")
            browser[name] = value
        return [each["id"] for each in json_of(answer)["conversations"]]

    assert conversations(build(secret_key=f"{old}, {new}")) == [conversation]
    assert list(browser) == [names[0]], "a cookie of the first key is not sent again"
    assert conversations(build(secret_key=f"{new},{old}")) == [conversation]
    assert list(browser) == [*names]
    not_renewed = {names[0]: browser.pop(names[0])}
    assert conversations(build(secret_key=new)) == [conversation], "the renewed cookie is signed with the new key"
    for name in (names[0], names[1], "millrace"):
        browser = {name: not_renewed[names[0]]}
        assert conversations(build(secret_key=new)) == [], "a cookie of a removed key is a new visitor's"


def value_of(client: FlaskClient, name: str) -> str:
    cookie = client.get_cookie(name)
    assert cookie is not None
    return cookie.value


def test_two_servers_on_one_host_keep_their_own_cookies(build: Build) -> None:
    sites = build(), build(secret_key="another" * 5)
    browser: dict[str, str] = {}  # one cookie jar for the host: it knows no ports
    owners: list[bytes | None] = []
    for site in (*sites, *sites):
        cookies = {"Cookie": "; ".join(f"{name}={value}" for name, value in browser.items())} if browser else {}
        answer = site.app.test_client(use_cookies=False).post(API, json={"message": "a"}, headers=cookies)
        owners.append(site.redis.hget(keys_of(json_of(answer)["id"]).state, "owner"))  # type: ignore[arg-type]
        if given := answer.headers.get("Set-Cookie"):
            name, _, value = given.partition(";")[0].partition("=")
            browser[name] = value
    assert owners[:2] == owners[2:]
    assert owners[0] != owners[1]


def test_cookie_of_an_earlier_version_is_read_and_sent_again_under_the_new_name(site: WebHarness) -> None:
    for scheme in ("http", "https"):
        secure = {"wsgi.url_scheme": scheme}
        before = site.stranger()
        asked = before.post(API, json={"message": "a"})
        name, _, value = asked.headers["Set-Cookie"].partition(";")[0].partition("=")
        generation = json_of(asked)["id"]
        for other in ("millrace", name):
            client = site.app.test_client(use_cookies=False)
            found = client.get(f"{API}/{generation}", headers={"Cookie": f"{other}={value}"}, environ_overrides=secure)
            assert found.status_code == 200, other
            if other == name and scheme == "http":
                assert "Set-Cookie" not in found.headers
                continue
            renewed, _, rest = found.headers["Set-Cookie"].partition("=")
            assert renewed == (f"__Host-{name}" if scheme == "https" else name)
            assert "Expires=" in rest
            again = {"Cookie": f"{other}=x.y.z; {renewed}={rest.partition(';')[0]}"}
            found = client.get(f"{API}/{generation}", headers=again, environ_overrides=secure)
            assert (found.status_code, "Set-Cookie" in found.headers) == (200, False)


def test_cookie_name_has_the_prefix_that_its_scheme_and_path_allow(site: WebHarness) -> None:
    name = site.cookie_name
    for environment, wanted, path in (
        ({}, name, "/"),
        ({"wsgi.url_scheme": "https"}, f"__Host-{name}", "/"),
        ({"SCRIPT_NAME": "/chat"}, name, "/chat"),
        ({"SCRIPT_NAME": "/chat", "wsgi.url_scheme": "https"}, f"__Secure-{name}", "/chat"),
    ):
        cookie = cookie_of(site, **environment)
        assert cookie.startswith(f"{wanted}="), environment
        assert f"; Path={path}" in cookie, environment
        assert ("; Secure" in cookie) == ("wsgi.url_scheme" in environment), environment
        assert "Domain" not in cookie


def test_signed_cookie_with_an_invalid_owner_is_replaced(site: WebHarness) -> None:
    interface: Any = site.app.session_interface
    serializer: URLSafeTimedSerializer = interface.get_signing_serializer(site.app)
    for owner in (5, None, "x", ["0" * 32], {"owner": 1}):
        client = site.stranger()
        client.set_cookie(site.cookie_name, str(serializer.dumps({"millrace_owner": owner})))
        answer = client.post(API, json={"message": "a"})
        assert answer.status_code == 202
        assert is_id(json_of(answer)["id"])
        assert f"{site.cookie_name}=" in answer.headers["Set-Cookie"]
