"""API keys: beside every method, per request, and taken back while the process runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from millrace.webapp.guard.auth import api_keys
from millrace.webapp.guard.auth.api_keys import KeyRing
from millrace.webapp.settings import check
from millrace.worker.contract.keys import QUEUE, WAITING, hash_of
from millrace.worker.errors import SettingError
from millrace.worker.settings.api_keys import hash_of_key
from millrace.worker.settings.schema import Settings
from tests.webapp.guard.auth.issuer import token
from tests.webapp.guard.auth.test_owners import WAYS
from tests.webapp.guard.auth.test_tokens import bearer, signed_with
from tests.webapp.harness import CREATING, SECRET_KEY, WHOLE, WebHarness, check_problem, json_of

Build = Callable[..., WebHarness]
API = "/api/generations"
ADA, EVE, UNKNOWN = "mr-key-of-ada", "mr-key-of-eve", "mr-of-nobody"
CHALLENGE = 'Bearer realm="millrace", error="invalid_token"'


def setting(**keys: str) -> str:
    return json.dumps([{"sha256": hash_of_key(key), "owner": owner} for owner, key in keys.items()])


KEYS = setting(ada=ADA, eve=EVE)
METHODS: dict[str, dict[str, Any]] = {"session": {}, **{name: settings for name, (settings, *_) in WAYS.items()}}


def ask(site: WebHarness, key: str = ADA, **headers: str) -> Any:
    return site.stranger().post(API, json={"message": "a"}, headers={**bearer(key), **headers})


def owner_of(site: WebHarness, answer: Any) -> str:
    assert answer.status_code == 202, answer.text
    (state,) = [key for key in site.made() if key.endswith(f"{json_of(answer)['id']}:state")]
    return site.redis.hget(state, "owner").decode()  # type: ignore[union-attr]


@pytest.fixture
def site(build: Build) -> WebHarness:
    return build(api_keys=KEYS)


@pytest.mark.parametrize("method", METHODS)
def test_key_finds_its_owner_beside_every_method(build: Build, method: str) -> None:
    site = build(**METHODS[method], api_keys=KEYS)
    worker = site.answer_next(*WHOLE)
    whole = site.stranger().post(API, json={"message": "a", "stream": False}, headers=bearer(ADA))
    worker.join()
    assert json_of(whole)["message"] == "Hello."
    one = f"{API}/{json_of(whole)['id']}"
    for verb, path in [("GET", one), ("GET", f"{one}/events"), ("POST", f"{one}/cancel"), ("DELETE", one)]:
        mine = site.stranger().open(path, method=verb, headers=bearer(ADA))
        assert mine.status_code == 200
        assert "Set-Cookie" not in mine.headers
        theirs = check_problem(site.stranger().open(path, method=verb, headers=bearer(EVE)), 404, "not_found")
        assert "cookie" not in theirs["detail"]
        unknown = site.stranger().open(path, method=verb, headers=bearer(UNKNOWN))
        assert "deploy/keys.py add OWNER" in check_problem(unknown, 401, "unauthorized")["detail"]
        assert unknown.headers["WWW-Authenticate"] == CHALLENGE
        assert UNKNOWN not in unknown.text


def test_unknown_key_creates_no_owner_on_any_route(site: WebHarness) -> None:
    for key in (UNKNOWN, "mr-", "sk-of-another-service", token(), "", "\u00e9", "a" * 9000):
        headers = {"Authorization": f"Bearer {key}".encode().decode("latin-1")}
        for path, body in (*CREATING, ("/api/conversations", {})):
            answer = site.stranger().post(path, json=body, headers=headers)
            check_problem(answer, 401, "unauthorized")
            assert answer.headers["WWW-Authenticate"] == CHALLENGE
            assert "Set-Cookie" not in answer.headers
        check_problem(site.stranger().get(f"{API}/{'0' * 32}/events", headers=headers), 401, "unauthorized")
    assert site.made() == []


def test_session_mode_rejects_bearer_tokens_without_any_key_as_well(build: Build) -> None:
    check_problem(ask(build()), 401, "unauthorized")


def test_other_tokens_are_the_methods_where_it_takes_tokens(build: Build) -> None:
    with_keys, without = (
        build(**signed_with("HS256"), api_keys=KEYS),
        build(auth="tests.webapp.guard.auth.logins:by_key"),
    )
    assert owner_of(with_keys, ask(with_keys, token(sub="bob"))) == "bob"
    detail = check_problem(ask(with_keys, "x"), 401, "unauthorized")["detail"]
    assert "API key" not in detail
    # Without keys, a token of the host application may begin as it likes.
    assert owner_of(without, ask(without, ADA, **{"X-Api-Key": "key of ada"})) == "ada"


def test_key_replaces_the_methods_credentials(build: Build) -> None:
    site = build(auth="header", auth_header="X-User", api_keys=KEYS)
    assert owner_of(site, ask(site, ADA, **{"X-User": "eve"})) == "ada"
    check_problem(ask(site, UNKNOWN, **{"X-User": "eve"}), 401, "unauthorized")


def test_cookie_beside_a_key_is_neither_read_nor_renewed(site: WebHarness) -> None:
    owner = site.owner()
    keyed = site.user.post(API, json={"message": "a"}, headers=bearer(ADA))
    assert owner_of(site, keyed) == "ada"
    assert "Set-Cookie" not in keyed.headers
    assert "Set-Cookie" in site.user.get("/").headers
    assert "Set-Cookie" not in site.user.get("/", headers=bearer(ADA)).headers
    assert owner_of(site, site.user.post(API, json={"message": "a"})) == owner
    cookie = site.user.get_cookie(site.cookie_name)
    assert cookie is not None
    earlier = {"Cookie": f"millrace={cookie.value}"}  # under the name of an earlier version
    bare = site.app.test_client(use_cookies=False)
    assert "Set-Cookie" in bare.get("/api/profile", headers=earlier).headers
    assert "Set-Cookie" not in bare.get("/api/profile", headers={**earlier, **bearer(ADA)}).headers


@pytest.mark.parametrize("method", METHODS)
def test_request_with_a_key_may_come_from_any_site(build: Build, method: str) -> None:
    site = build(**METHODS[method], api_keys=KEYS)
    site.owner()
    foreign = {"Sec-Fetch-Site": "cross-site", "Origin": "https://app.example"}
    assert site.user.post(API, json={"message": "a"}, headers={**foreign, **bearer(ADA)}).status_code == 202
    check_problem(
        site.user.post(API, json={"message": "a"}, headers={**foreign, **bearer(UNKNOWN)}), 401, "unauthorized"
    )
    if method != "jwt":
        without = site.user.post(API, json={"message": "a"}, headers={**foreign, "Authorization": "Basic YTpi"})
        check_problem(without, 403, "cross_site")


def test_owners_of_keys_have_limits_and_lanes_of_their_own(build: Build) -> None:
    site = build(api_keys=KEYS, rate_limit="2/minute", new_owner_rate_limit="1/hour")
    site.redis.lpush(QUEUE, "an earlier message")  # otherwise the first question would need no turn
    asked = {key: ask(site, key) for key in (ADA, EVE)}
    assert [owner_of(site, each) for each in asked.values()] == ["ada", "eve"], "no new owners, which have a limit"
    lanes = {key.decode(): lane.decode() for key, lane in site.redis.hgetall(WAITING[0]).items()}  # type: ignore[union-attr]
    assert {lanes[json_of(each)["id"]] for each in asked.values()} == {hash_of("ada"), hash_of("eve")}
    assert ask(site).status_code == 202
    check_problem(ask(site), 429, "rate_limited")
    assert ask(site, EVE).status_code == 202


def test_file_is_read_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(api_keys, "CHECK_SECONDS", 0.0)
    path, draft = tmp_path / "keys.json", tmp_path / "draft"

    def replace(content: str) -> None:
        draft.write_text(content)
        draft.replace(path)

    replace(setting(ada=ADA))
    ring = KeyRing(str(path))
    assert (ring.owner_of(hash_of_key(ADA)), ring.owner_of(hash_of_key(EVE))) == ("ada", None)
    replace(setting(ada=ADA, eve=EVE))
    assert ring.owner_of(hash_of_key(EVE)) == "eve"
    path.write_text(setting(eve=EVE))
    assert (ring.owner_of(hash_of_key(ADA)), ring.owner_of(hash_of_key(EVE))) == (None, "eve")
    for content in ("[{", None, setting(ada="mr-1") + "]"):
        path.unlink() if content is None else replace(content)
        for _ in range(3):
            assert ring.owner_of(hash_of_key(EVE)) == "eve", "the last good keys count"
    replace(setting(ada=ADA))
    assert (ring.owner_of(hash_of_key(ADA)), ring.owner_of(hash_of_key(EVE))) == ("ada", None)
    failures = [each for each in caplog.messages if each.startswith("api_keys_unreadable")]
    assert len(failures) == 3, "each is logged once"
    assert all("kept=1" in each for each in failures)


def test_new_key_counts_at_once_and_a_revoked_one_for_a_second_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keys.json"
    path.write_text(setting(ada=ADA))
    now = [100.0]
    monkeypatch.setattr(api_keys.time, "monotonic", lambda: now[0])
    ring = KeyRing(str(path))
    path.write_text(setting(ada=ADA, eve=EVE))
    assert ring.owner_of(hash_of_key(EVE)) == "eve"
    path.write_text("[]")
    now[0] += 0.99
    assert ring.owner_of(hash_of_key(ADA)) == "ada"
    now[0] += 0.01
    assert ring.owner_of(hash_of_key(ADA)) is None


def test_open_streams_share_a_check_that_fails_once_the_key_is_revoked(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_keys, "CHECK_SECONDS", 0.0)
    path = tmp_path / "keys.json"
    path.write_text(KEYS)
    site = build(api_keys=str(path))
    with site.app.test_request_context(headers=bearer(ADA)) as context:
        keys = api_keys.KeyAuth(site.services.settings)
        check_again = keys.authorization(context.request, "ada")
    assert check_again is not None
    assert check_again.is_valid()
    assert ADA not in repr(check_again.key)
    path.write_text(setting(eve=EVE))
    assert not check_again.is_valid()
    check_problem(ask(site), 401, "unauthorized")
    path.write_text(setting(bob=ADA))
    assert not check_again.is_valid(), "the key is another owner's now"


def test_bad_keys_prevent_the_start(tmp_path: Path) -> None:
    for wrong in ("[{}]", str(tmp_path / "absent.json"), "keys.json"):
        with pytest.raises(SettingError, match=r"^MILLRACE_API_KEYS: "):
            check(Settings.of(secret_key=SECRET_KEY, api_keys=wrong))
