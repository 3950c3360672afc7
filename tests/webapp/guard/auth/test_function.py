"""The host app's function returns the owner."""

from collections.abc import Callable
from typing import Any

import gevent
import pytest
from flask import request

from millrace.webapp.guard.auth.protocol import AUTHORIZATION, Authorization
from millrace.webapp.settings import check
from millrace.worker.errors import SettingError
from millrace.worker.settings.schema import Settings, load
from tests.webapp.guard.auth import logins
from tests.webapp.harness import WebHarness, check_problem

Build = Callable[..., WebHarness]
API = "/api/generations"
BY_KEY = "tests.webapp.guard.auth.logins:by_key"


@pytest.fixture
def site(build: Build) -> WebHarness:
    return build(auth=BY_KEY, secret_key="")


def post(site: WebHarness, key: str) -> Any:
    return site.stranger().post(API, json={"message": "a"}, headers={"X-Api-Key": key})


@pytest.mark.parametrize(("key", "owner"), [("key of ada", b"ada"), ("key of bob", b"42"), ("key of zero", b"0")])
def test_return_value_of_the_function_is_the_owner(site: WebHarness, key: str, owner: bytes) -> None:
    assert post(site, key).status_code == 202
    (state,) = [key for key in site.made() if key.endswith(":state")]
    assert site.redis.hget(state, "owner") == owner


def test_function_that_returns_none_or_nothing_is_401_and_its_abort_passes_through(site: WebHarness) -> None:
    for key in ("unknown", "key of an empty text"):
        answer = post(site, key)
        check_problem(answer, 401, "unauthorized")
        assert answer.headers["WWW-Authenticate"] == 'Login realm="millrace"'
    check_problem(post(site, "key of a rejected user"), 403, "forbidden")


@pytest.mark.parametrize("key", ["key of a list", "key of blanks", "key of true"])
def test_invalid_owner_from_the_function_is_500(site: WebHarness, key: str, caplog: pytest.LogCaptureFixture) -> None:
    check_problem(post(site, key), 500, "internal")
    assert "the function of MILLRACE_AUTH returned" in caplog.text
    assert site.made() == []


@pytest.mark.parametrize(
    ("key", "error"), [("key that ends the process", "SystemExit"), ("key that cancels", "CancelledError")]
)
def test_function_that_raises_no_exception_but_an_exit_is_500(
    site: WebHarness, key: str, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    check_problem(post(site, key), 500, "internal")
    assert f"the function of MILLRACE_AUTH raised {error}" in caplog.text
    assert site.made() == []


@pytest.mark.parametrize("error", [gevent.GreenletExit(), gevent.Timeout(5)])
def test_function_that_is_interrupted_lets_the_interruption_pass(site: WebHarness, error: BaseException) -> None:
    logins.failures["interrupted"] = error
    try:
        with pytest.raises(type(error)):
            post(site, "interrupted")
    finally:
        del logins.failures["interrupted"]


def test_authorization_is_checked_again_with_the_same_headers(site: WebHarness) -> None:
    def authorization_of(**headers: str) -> Authorization:
        sent = {"X-Api-Key": "key of ada", **headers}
        with site.app.test_client() as client:
            client.get(f"{API}/{'0' * 32}", headers=sent)
            return request.environ[AUTHORIZATION]

    authorization = authorization_of()
    assert authorization.key == authorization_of(**{"Last-Event-ID": "1-5"}).key
    assert authorization.key != authorization_of(Authorization="another").key
    assert authorization.is_valid()
    logins.revoked.add("key of ada")
    try:
        assert not authorization.is_valid()
    finally:
        logins.revoked.clear()
    assert authorization.is_valid()


@pytest.mark.parametrize(
    "path", ["nowhere:by_key", "tests.webapp.guard.auth.logins:absent", "tests.webapp.guard.auth.logins:NOT_A_FUNCTION"]
)
def test_missing_function_prevents_the_start(path: str) -> None:
    with pytest.raises(SettingError, match=f"^MILLRACE_AUTH: {path} "):
        check(Settings.of(auth=path))


@pytest.mark.parametrize("value", ["none", "Session", "package.module", ":function", "a:b:c", "a.:b", "os.path:x y"])
def test_invalid_auth_setting_prevents_the_start(value: str) -> None:
    with pytest.raises(
        SettingError, match=r"^MILLRACE_AUTH: takes session, header, jwt, host, or package\.module:function$"
    ):
        load({"MILLRACE_AUTH": value})
