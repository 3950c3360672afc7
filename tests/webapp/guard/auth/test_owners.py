"""Every way to authenticate meets the contract of the seam, and is called once per request."""

from collections.abc import Callable
from typing import Any

import pytest

from millrace.webapp.guard.auth import AUTHENTICATOR
from tests.webapp.guard.auth.issuer import SECRET, token
from tests.webapp.guard.auth.test_tokens import signed_with
from tests.webapp.harness import WHOLE, WebHarness, check_problem, json_of

Build = Callable[..., WebHarness]
API = "/api/generations"

WAYS: dict[str, tuple[dict[str, Any], dict[str, str], dict[str, str]]] = {
    "header": ({"auth": "header", "auth_header": "X-User"}, {"X-User": "ada"}, {"X-User": "eve"}),
    "jwt": (
        signed_with("HS256"),
        {"Authorization": f"Bearer {token(sub='ada')}"},
        {"Authorization": f"Bearer {token(sub='eve')}"},
    ),
    "function": (
        {"auth": "tests.webapp.guard.auth.logins:by_key"},
        {"X-Api-Key": "key of ada"},
        {"X-Api-Key": "key of bob"},
    ),
}


@pytest.mark.parametrize(("settings", "ada", "eve"), WAYS.values(), ids=WAYS)
def test_owner_reaches_only_their_own_generations(
    build: Build, settings: dict[str, Any], ada: dict[str, str], eve: dict[str, str]
) -> None:
    site = build(**settings)
    worker = site.answer_next(*WHOLE)
    whole = site.stranger().post(API, json={"message": "a", "stream": False}, headers=ada)
    worker.join()
    assert json_of(whole)["message"] == "Hello."
    one = f"{API}/{json_of(whole)['id']}"
    calls = [("GET", one), ("GET", f"{one}/events"), ("POST", f"{one}/cancel"), ("DELETE", one)]
    for method, path in calls:
        assert site.stranger().open(path, method=method, headers=ada).status_code == 200
        check_problem(site.stranger().open(path, method=method, headers=eve), 404, "not_found")
        check_problem(site.stranger().open(path, method=method), 401, "unauthorized")
    conversation = {"message": "a", "conversation_id": json_of(whole)["conversation_id"]}
    theirs = site.stranger().post(API, json=conversation, headers=eve)
    check_problem(theirs, 404, "not_found", "conversation_id")
    assert site.stranger().post("/api/conversation-stream/ada", json={}, headers=ada).status_code == 422
    check_problem(site.stranger().post("/api/conversation-stream/ada", json={}, headers=eve), 404, "not_found")


@pytest.mark.parametrize("way", WAYS)
def test_request_is_authenticated_once(build: Build, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, ada, _ = WAYS[way]
    site = build(**settings)
    authenticator: Any = AUTHENTICATOR.of(site.app, "millrace")
    asked: list[Any] = []
    authenticate = authenticator.authenticate
    monkeypatch.setattr(authenticator, "authenticate", lambda request: asked.append(request) or authenticate(request))
    assert site.stranger().post(API, json={"message": "a"}, headers=ada).status_code == 202
    assert len(asked) == 1


def test_signing_secret_is_not_a_valid_token(build: Build) -> None:
    site = build(**signed_with("HS256"))
    answer = site.stranger().post(API, json={"message": "a"}, headers={"Authorization": f"Bearer {SECRET}"})
    check_problem(answer, 401, "unauthorized")
    assert SECRET not in answer.text
